"""Finding, checking and loading a pretrained network: nothing in its file is run, every name and shape must fit."""

import json
import logging
import os
import pickle
import re
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.errors import CheckpointRefused, PretrainedNotFound, WeightsCorrupt
from engine.files import file_sha256
from engine.release.read import check_shapes
from train.pretrained.catalogue import PRETRAINED, PretrainedKind, Rules

_log = logging.getLogger(__name__)

LOCK_NAME = "experts.json"
"""Beside the files: name to SHA-256, as first seen. It has its name from earlier versions, whose notes still count."""

_COUNTER = "num_batches_tracked"
"""A counter that old files lack and no frozen network reads."""
_WRAPPERS = ("state_dict.", "model_state_dict.")
_PARALLEL = "module."


def load_pretrained(kind: PretrainedKind, folder: Path) -> nn.Module:
    """The frozen network ``kind`` from its published file in ``folder``, in evaluation mode.

    What it takes and returns stands in its class's docstring; images are float32 (B, 3, H, W) in [-1, 1] unless that
    says otherwise. Gradients pass to the input; the weights want none.

    Raises:
        PretrainedNotFound: no such file; the message says which, from where, and who needs it.
        WeightsCorrupt: the file differs from its published checksum, or from the one noted at first use.
        CheckpointRefused: damaged, more than tensors, or of another network.
    """
    path = pretrained_path(kind, folder)
    _check(kind, path)
    source = PRETRAINED[kind]
    tensors = _renamed(_read(path), source.rules, path)
    with torch.device("meta"):
        network = source.build(tensors)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items() if not name.endswith(_COUNTER)}
    check_shapes(path, tensors, expected, kind)
    # Buffers of our own (means, deviations) lie outside the state dict: build again where memory is real.
    network = source.build(tensors)
    network.load_state_dict({name: value.float() for name, value in tensors.items()}, strict=False)
    return network.eval().requires_grad_(False)


def pretrained_path(kind: PretrainedKind, folder: Path) -> Path:
    """Where the file of a pretrained network is.

    Raises:
        PretrainedNotFound: it is not in ``folder``.
    """
    source = PRETRAINED[kind]
    names = (*source.files, f"{kind}.safetensors", f"{kind}.pth", f"{kind}.pt")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    checksum = f" (SHA-256 {source.sha256_prefix}...)" if source.sha256_prefix else ""
    raise PretrainedNotFound(
        f"the {kind} network is not in {folder}: put {' or '.join(source.files)}{checksum} there, or the same "
        f"tensors as {kind}.safetensors. It comes from {source.origin}. Licence: {source.licence}. "
        f"Needed by: {source.needed_by}"
    )


def _check(kind: PretrainedKind, path: Path) -> None:
    digest = file_sha256(path)
    published = PRETRAINED[kind].sha256_prefix
    if published and path.name in PRETRAINED[kind].files and not digest.startswith(published):
        raise WeightsCorrupt(f"{path} has SHA-256 {digest}, the published file's begins with {published}")
    lock = path.parent / LOCK_NAME
    known = _read_lock(lock)
    if path.name not in known:
        _write_lock(lock, {**known, path.name: digest})
    elif known[path.name] != digest:
        raise WeightsCorrupt(
            f"{path} has changed since its first use (SHA-256 {digest}, noted {known[path.name]}); if that is meant, "
            f"take its line out of {lock}"
        )


def _read_lock(lock: Path) -> dict[str, str]:
    if not lock.exists():
        return {}
    try:
        known = json.loads(lock.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise WeightsCorrupt(f"{lock} cannot be read: {error}; remove it to note the files anew") from error
    if not isinstance(known, dict) or not all(isinstance(value, str) for value in known.values()):
        raise WeightsCorrupt(f"{lock} must be an object of file names and checksums; remove it to note them anew")
    return known


def _write_lock(lock: Path, known: Mapping[str, str]) -> None:
    text = json.dumps(dict(sorted(known.items())), indent=2) + "\n"
    try:
        # Several processes of one run may get here at once: each replaces the file by a whole one.
        with tempfile.NamedTemporaryFile("w", dir=lock.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
        os.replace(file.name, lock)  # noqa: PTH105
    except OSError as error:
        _log.warning("checksums of pretrained networks cannot be noted in %s: %s", lock, error)


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (
        SafetensorError,
        OSError,
        pickle.UnpicklingError,
        zipfile.BadZipFile,
        RuntimeError,
        EOFError,
    ) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise CheckpointRefused(f"{path} cannot be read as tensors only: {reason[0][:200]}") from error
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointRefused(f"{path} is damaged: {error}") from error
    tensors = dict(_tensors(loaded, ""))
    for prefix in (*_WRAPPERS, _PARALLEL):
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors


def _tensors(value: Any, name: str) -> list[tuple[str, Tensor]]:
    """Tensors of nested dictionaries, named by their keys with dots between."""
    if isinstance(value, Tensor):
        return [(name, value)]
    if not isinstance(value, Mapping):
        return []
    return [
        pair
        for key, inner in value.items()
        if not str(key).startswith("optim")
        for pair in _tensors(inner, f"{name}.{key}" if name else str(key))
    ]


def _renamed(tensors: Mapping[str, Tensor], rules: Rules, path: Path) -> dict[str, Tensor]:
    """Ours by the first rule that matches the whole name."""
    renamed: dict[str, Tensor] = {}
    unknown = []
    for name, tensor in tensors.items():
        if name.endswith(_COUNTER):
            continue
        for pattern, ours in rules:
            match = re.fullmatch(pattern, name)
            if match:
                if ours is not None:
                    renamed[match.expand(ours)] = tensor
                break
        else:
            unknown.append(name)
    if unknown:
        more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
        raise CheckpointRefused(f"{path} holds tensors of another network: {', '.join(unknown[:8])}{more}")
    return renamed
