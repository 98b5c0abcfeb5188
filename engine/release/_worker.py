"""Reads one foreign checkpoint in a process of its own: FILE KEY OUT. Run by path, it imports nothing of ours.

Only tensors come out, as a safetensors file. A refusal is one line of JSON on the standard output and exit code 3.
"""

import contextlib
import json
import pickle
import re
import sys
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

REFUSED = 3
MAX_BYTES = 2 * 2**30
_MAX_MEMORY_BYTES = 12 * 2**30
_MAX_CPU_SECONDS = 240


class _Refused(Exception):
    pass


def _limit_resources() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        for kind, most in (
            (resource.RLIMIT_DATA, _MAX_MEMORY_BYTES),
            (resource.RLIMIT_CPU, _MAX_CPU_SECONDS),
            (resource.RLIMIT_FSIZE, MAX_BYTES + 2**24),
            (resource.RLIMIT_CORE, 0),
        ):
            _, hard = resource.getrlimit(kind)
            resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _load(path: str) -> Any:
    import torch

    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
                raise _Refused(f"unpacks to more than {MAX_BYTES // 2**20} MiB")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"(?i)unsupported (?:global|class|type):? \S+ ?\S*", str(error))
        if named:
            found = f"holds code or objects, not only tensors ({named[0][:160]})"
        else:
            found = "is damaged or no PyTorch checkpoint, or holds more than tensors"
        raise _Refused(f"{found}; nothing of it was run") from error
    except Exception as error:
        reason = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise _Refused(f"is damaged or no PyTorch checkpoint ({reason})") from error


def _state(loaded: Any, key: str) -> Mapping[str, Any]:
    """What lies under ``key``; without one, and where it is left out, the file holds the tensors themselves."""
    import torch

    if not isinstance(loaded, Mapping):
        raise _Refused(f"holds a {type(loaded).__name__}, not named tensors")
    if not key:
        return loaded
    inner = loaded.get(key)
    if isinstance(inner, Mapping):
        return inner
    if not loaded or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise _Refused(f"has no '{key}' inside; it holds: {', '.join(map(str, list(loaded)[:6])) or 'nothing'}")
    return loaded


def _tensors(state: Mapping[str, Any]) -> dict[str, Any]:
    import torch

    total = 0
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _Refused(f"holds '{name}', a {type(value).__name__}, where only tensors may be")
        plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
        if not plain or value.is_complex():
            raise _Refused(f"holds '{name}', a tensor of kind {value.dtype}, {value.layout}, {value.device}")
        total += value.numel() * value.element_size()
    if total > MAX_BYTES:
        raise _Refused(f"holds {total // 2**20} MiB of tensors; at most {MAX_BYTES // 2**20} are read")
    tensors = {}
    for name, value in state.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise _Refused(f"holds NaN or infinity in '{name}'")
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)
    return tensors


def main(path: str, key: str, target: str) -> int:
    """Read, check, write; the exit code."""
    _limit_resources()
    warnings.simplefilter("ignore")
    from safetensors.torch import save_file

    try:
        save_file(_tensors(_state(_load(path), key)), target)
    except _Refused as refusal:
        sys.stdout.write(json.dumps({"refused": str(refusal)}) + "\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
