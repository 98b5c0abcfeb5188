"""Synthetic pairs: every still portrait rendered in random motion, as clips that `load_face_clips` opens.

For machines that train faster than they render; the same clips can be rendered as they are drawn (`StillClip`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from safetensors import SafetensorError, safe_open

from engine.errors import CommandInvalid
from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE
from train.data.faces.face_clips import encode_jpeg, save_face_clip
from train.data.faces.face_pack import load_still_portraits
from train.data.faces.still_clips import StillClip, StillConfig, still_clips
from train.data.pipeline.files import make_folder
from train.data.pipeline.manifest import ClipRecord, write_manifest
from train.data.pipeline.workers import WorkerDied, default_workers, run_tasks
from train.data.readers.sources import describe_portrait


@dataclass(frozen=True, slots=True, kw_only=True)
class StillPairsConfig:
    """Which stills, how varied, and how many clips of each.

    Attributes:
        pack: folder with ``stills.safetensors``, from the recipe ``prepare_faces``.
        out: folder for faces and manifest.
        still: the variation and the motion, its length included.
        workers: processes; 0 works in this one.
    """

    pack: Path
    out: Path
    still: StillConfig = field(default_factory=StillConfig)
    clips_per_portrait: int = 2
    motion_space: Path = BUNDLED_MOTION_SPACE
    seed: int = 0
    workers: int = field(default_factory=default_workers)

    def __post_init__(self) -> None:
        if self.clips_per_portrait < 1 or self.workers < 0:
            raise CommandInvalid("clips_per_portrait must be at least 1 and workers 0 or more")


def render_still_pairs(config: StillPairsConfig) -> list[ClipRecord]:
    """Render every clip that is not there yet; interrupt it anywhere and run it again.

    Returns:
        One record a clip, which are in ``out/manifest.jsonl`` too.

    Raises:
        InputError: no stills in the pack. OutputUnwritable: the disk is full or forbidden.
    """
    portraits = load_still_portraits(config.pack)
    make_folder(config.out / "faces")
    clips = still_clips(portraits, config.still, clips_per_portrait=config.clips_per_portrait, seed=config.seed)
    clips = [dataclasses.replace(clip, motion_space=config.motion_space) for clip in clips]
    tasks = [_Task(clip, config.out / "faces" / f"{clip.clip}.safetensors") for clip in clips]
    missing = [task for task in tasks if not task.finished()]
    crashed = {}
    for index, result in run_tasks(_render, missing, workers=config.workers, description="rendering stills"):
        if isinstance(result, WorkerDied):
            crashed[missing[index].clip.clip] = f"the animator crashed (exit code {result.exit_code})"
    records = [_record(clip, crashed.get(clip.clip, "")) for clip in clips]
    write_manifest(config.out / "manifest.jsonl", records)
    return records


@dataclass(frozen=True, slots=True)
class _Task:
    clip: StillClip
    path: Path

    def key(self) -> str:
        clip = self.clip
        image = hashlib.sha256(clip.portrait.rgb.tobytes() + clip.portrait.landmarks_px.tobytes()).hexdigest()
        parts = (clip.clip, clip.config, clip.seed, str(clip.motion_space), image)
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]

    def finished(self) -> bool:
        try:
            with safe_open(self.path, "numpy") as file:
                return bool((file.metadata() or {}).get("key") == self.key())
        except (OSError, SafetensorError):
            return False


def _render(task: _Task) -> None:
    clip = task.clip
    images = [encode_jpeg(clip.rgb(frame)) for frame in range(clip.frames)]
    save_face_clip(task.path, images, clip.landmarks_px, clip.descriptors, metadata={"key": task.key()})


def _record(clip: StillClip, reason: str) -> ClipRecord:
    licence, credit = describe_portrait(clip.portrait.name)
    return ClipRecord(
        clip=clip.clip,
        person=clip.person,
        split=clip.split,
        licence=licence,
        credit=f"{credit}; moved by the geometric animator",
        frames=clip.frames,
        has_audio=False,
        refused=reason,
        video=clip.portrait.name,
    )
