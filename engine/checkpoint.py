"""Weights folders: ``config.json``, ``*.safetensors``, ``SHA256SUMS`` and a model card. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from engine.config import FORMAT_VERSION
from engine.errors import WeightsCorrupt, WeightsNotFound
from engine.files import file_sha256

_BUNDLED = Path(__file__).resolve().parent / "weights"
CHECKSUMS = "SHA256SUMS"


@dataclass(frozen=True, slots=True)
class WeightsFolder:
    """An opened weights folder whose checksums held."""

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def open(cls, name_or_path: str | Path = "default") -> WeightsFolder:
        """Find, verify and read a weights folder.

        Args:
            name_or_path: the name of a bundled folder (``gohd weights list``) or the path of any folder.

        Raises:
            WeightsNotFound: there is none.
            WeightsCorrupt: a checksum, the format version or the JSON is wrong.
        """
        path = resolve_weights(name_or_path)
        verify_checksums(path)
        try:
            config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise WeightsCorrupt(f"{path / 'config.json'} cannot be read: {error}") from error
        version = config.get("format_version") if isinstance(config, dict) else None
        if version != FORMAT_VERSION:
            raise WeightsCorrupt(
                f"{path} has format version {version!r}, this program reads {FORMAT_VERSION}; "
                "update gohd-live or export the weights again"
            )
        return cls(path=path, config=config)

    def section(self, name: str) -> Mapping[str, Any]:
        """One section of the config, empty when absent."""
        section = self.config.get(name, {})
        if not isinstance(section, dict):
            raise WeightsCorrupt(f"{self.path / 'config.json'}: section '{name}' must be an object")
        return section

    def file(self, name: str) -> Path:
        """Path of ``name`` inside the folder, checked to be listed in the checksums."""
        path = self.path / name
        if not path.is_file():
            raise WeightsCorrupt(f"{self.path} lacks {name}; fetch or export the weights again")
        return path

    def checksum(self, name: str) -> str:
        """SHA-256 of ``name`` in hexadecimal digits."""
        return file_sha256(self.file(name))

    def tensors(self, name: str) -> dict[str, torch.Tensor]:
        """All tensors of one safetensors file, on the CPU, half precision widened to float32."""
        try:
            loaded = load_file(self.file(name))
        except (SafetensorError, OSError) as error:
            raise WeightsCorrupt(f"{self.path / name} is not a readable safetensors file: {error}") from error
        return {key: value.float() if value.is_floating_point() else value for key, value in loaded.items()}


def list_weights() -> list[Path]:
    """The bundled weights folders."""
    return sorted(path.parent for path in _BUNDLED.glob("*/config.json"))


def resolve_weights(name_or_path: str | Path) -> Path:
    """Folder of a bundled name or a path.

    Raises:
        WeightsNotFound: neither exists; the message lists what does.
    """
    bundled = _BUNDLED / name_or_path
    for path in (bundled, Path(name_or_path)):
        if (path / "config.json").is_file():
            return path
    names = ", ".join(path.name for path in list_weights()) or "none"
    raise WeightsNotFound(
        f"no weights called '{name_or_path}': name a bundled folder ({names}) or a path with config.json"
    )


def verify_checksums(folder: Path) -> None:
    """Compare every file that ``SHA256SUMS`` lists.

    Raises:
        WeightsCorrupt: the list is missing or malformed, or a file (config, safetensors, ONNX) is missing, unlisted or
            another.
    """
    listing = folder / CHECKSUMS
    try:
        lines = listing.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsCorrupt(f"{listing} cannot be read: {error}") from error
    listed: dict[str, str] = {}
    for line in lines:
        digest, _, name = line.partition("  ")
        if len(digest) != 64 or not name or Path(name).name != name:
            raise WeightsCorrupt(f"{listing} has a malformed line: {line[:80]!r}")
        listed[name] = digest
    for path in _checked_files(folder):
        if path.name not in listed:
            raise WeightsCorrupt(f"{path} is not listed in {CHECKSUMS}")
    for name, digest in listed.items():
        path = folder / name
        if not path.is_file():
            raise WeightsCorrupt(f"{path} is listed in {CHECKSUMS} but missing")
        if file_sha256(path) != digest:
            raise WeightsCorrupt(f"{path} differs from its checksum; fetch or export the weights again")


def write_checksums(folder: Path) -> None:
    """Write ``SHA256SUMS`` over ``config.json`` and every safetensors and ONNX file of ``folder``."""
    text = "".join(f"{file_sha256(path)}  {path.name}\n" for path in _checked_files(folder))
    (folder / CHECKSUMS).write_text(text, encoding="utf-8")


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors as safetensors, contiguous and on the CPU."""
    contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    save_file(contiguous, path, metadata=dict(metadata or {}))


def load_into(module: torch.nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Load tensors into a module by exact names and shapes, and put it in evaluation mode.

    Raises:
        WeightsCorrupt: with readable lists of what is missing, extra or of another shape.
    """
    expected = module.state_dict()
    missing = sorted(set(expected) - set(tensors))
    extra = sorted(set(tensors) - set(expected))
    wrong = [
        f"{key} is {tuple(tensors[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in sorted(set(expected) & set(tensors))
        if tensors[key].shape != expected[key].shape
    ]
    problems = [*_named("missing", missing), *_named("not expected", extra), *wrong]
    if problems:
        raise WeightsCorrupt(f"{source} does not fit {type(module).__name__}: " + "; ".join(problems))
    module.load_state_dict(dict(tensors))
    module.eval().requires_grad_(False)


def _named(label: str, names: Iterable[str]) -> list[str]:
    names = list(names)
    if not names:
        return []
    shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    return [f"{label}: {shown}"]


def _checked_files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.safetensors"), *folder.glob("*.onnx"), folder / "config.json"])
