"""`import_release`: released checkpoint files become a weights folder of ours, or nothing is written."""

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.checkpoint import save_tensors, write_checksums
from engine.config import FORMAT_VERSION, MixerConfig, StreamConfig
from engine.errors import CommandInvalid, GohdError, OutputUnwritable, WeightsNotFound
from engine.files import file_sha256
from engine.release.convert import ConvertedPart, convert
from engine.release.files import RELEASE_FILES, PartName, ReleaseConfig
from engine.release.read import read_checkpoint

_KEYS = {file.part: file.key for file in RELEASE_FILES}
_NO_LIMIT = 100.0


@dataclasses.dataclass(frozen=True, slots=True)
class ImportedPart:
    """One file that was imported.

    Attributes:
        part: animator, pose, gaze, expression, recon or l2cs; form: what was recognised in it.
        source: the file; sha256: its digest; tensors: how many it held.
    """

    part: PartName
    form: str
    source: Path
    sha256: str
    tensors: int


def import_release(
    sources: Mapping[PartName, Path], out: Path, config: ReleaseConfig | None = None
) -> list[ImportedPart]:
    """Read the authors' files and write them as a weights folder.

    Args:
        sources: any subset of the parts, at least one.
        out: the folder to make; it may exist if it is empty.
        config: layouts to expect; those of the release by default.

    Raises:
        CommandInvalid: no file is named.
        WeightsNotFound, CheckpointRefused: a file is missing, damaged, unsafe or of another model.
        OutputUnwritable: ``out`` is in use or cannot be made. Nothing is written then, as in every failure.
    """
    if not sources:
        raise CommandInvalid("name at least one file: --animator, --pose, --gaze, --expression, --recon or --l2cs")
    for path in sources.values():
        if not path.is_file():
            raise WeightsNotFound(f"there is no file {path}")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputUnwritable(f"{out} is already there and not empty; name a new folder")
    config = config or ReleaseConfig()
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise OutputUnwritable(f"cannot write beside {out}: {error.strerror or error}") from error
    try:
        imported = _write(sources, draft, out.name, config)
        for path in draft.iterdir():
            path.chmod(0o644)
        draft.chmod(0o755)
        draft.replace(out)
    except OSError as error:
        if isinstance(error, GohdError):
            raise
        raise OutputUnwritable(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return imported


def _write(sources: Mapping[PartName, Path], folder: Path, name: str, config: ReleaseConfig) -> list[ImportedPart]:
    imported = []
    sections: dict[str, Any] = {}
    for part, path in sources.items():
        tensors = read_checkpoint(path, _KEYS[part])
        converted: ConvertedPart = convert(part, path, tensors, config)
        for file_name, state in converted.files.items():
            save_tensors(folder / file_name, state, {"source": path.name})
        sections |= converted.sections
        imported.append(ImportedPart(part, converted.form, path, file_sha256(path), len(tensors)))
    (folder / "config.json").write_text(
        json.dumps(_config(name, sections, imported), indent=1) + "\n", encoding="utf-8"
    )
    (folder / "README.md").write_text(_model_card(imported), encoding="utf-8")
    write_checksums(folder)
    return imported


def _config(name: str, sections: dict[str, Any], imported: list[ImportedPart]) -> dict[str, Any]:
    """The release's own streaming rules, scales and smoothing; its residuals are clamped by the sampler alone."""
    mixer = MixerConfig(
        expression_scale=1.5,
        pose_scale=1.2,
        pose_smoothing_frames=5,
        rotation_limit_rad=_NO_LIMIT,
        translation_limit=_NO_LIMIT,
    )
    stream = StreamConfig(lip_lookahead_ms=133, prosody_delay_frames=0, future_frames=2)
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "motion_space": "bfm",
        "stream": dataclasses.asdict(stream),
        "mixer": dataclasses.asdict(mixer),
        **sections,
        "source": {
            entry.part: {"file": entry.source.name, "sha256": entry.sha256, "form": entry.form} for entry in imported
        },
    }


def _model_card(imported: list[ImportedPart]) -> str:
    rows = "\n".join(f"| {entry.form} | {entry.source.name} | {entry.tensors} | {entry.sha256} |" for entry in imported)
    return (
        "# Imported GoHD weights\n\n"
        "Converted from checkpoint files of the GoHD release (AAAI 2025; the authors' repository is "
        "github.com/Jia1018/GoHD).\nThe weights are the authors' work: their terms apply, gohd-live neither "
        "ships nor licenses them.\nMotion space: bfm (Deep3DFaceRecon coefficients and L2CS gaze).\n\n"
        "| part | file | tensors | SHA-256 of the file |\n|---|---|---|---|\n"
        f"{rows}\n\nTo make sure of the import: `gohd weights check FOLDER --against REFERENCE`.\n"
    )
