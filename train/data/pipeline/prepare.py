"""From videos to shards: scan, align, describe. Resumable, parallel; bad clips are refused by name.

    videos -> scan (face track, audio) -> align (offset of all clips together) -> features -> shards, faces, manifest
              tracks/CLIP                                                         in either motion space

Interrupt it anywhere and run it again: finished files carry a key of what went into them and are kept.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from engine.checkpoint import WeightsFolder
from engine.errors import CommandInvalid, InputError, WeightsIncomplete
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.timebase import FRAME_RATE_HZ
from train.data.pipeline.align import AlignmentClip, AlignmentConfig, Offset, estimate_offsets
from train.data.pipeline.features import FeatureTask, write_features
from train.data.pipeline.scan import Scan, ScanTask, load_model, read_alignment, read_scan, refuse, scan_clip
from train.data.pipeline.tracking import TrackingConfig
from train.data.pipeline.workers import WorkerDied, default_workers, run_tasks
from train.data.readers.folder import ClipFolder
from train.data.readers.hdtf import Hdtf
from train.data.readers.portraits import prepare_portraits
from train.data.readers.source_clip import Source, SourceClip
from train.data.readers.voxceleb import VoxCeleb
from train.data.speech.augment import WaveAugmentation
from train.data.storage.files import make_folder
from train.data.storage.manifest import ClipRecord, read_manifest, write_manifest
from train.data.storage.shards import ClipFeatures, load_clip

_log = logging.getLogger(__name__)

SOURCES = ("folder", "voxceleb", "hdtf")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareConfig:
    """Where clips are read from, what is made of them, and where it goes.

    Attributes:
        data: folder of the data set; source: how it is laid out: "folder", "voxceleb" or "hdtf" (see these modules).
        portraits: folder of still portraits whose expressions are added to e_0 in training; None for none.
        out: folder for tracks, shards, faces and the manifest.
        motion_space: ``motion_space.safetensors`` that defines the landmark numbers.
        space: motion space of the shards, "landmark", or "bfm" with ``weights``, an imported release folder with the
            recon and l2cs networks.
        images: also write the head crops that the animator learns from.
        need_audio: refuse clips without audio.
        variants: augmented copies of each wave beside the true one.
        held_out_share: of the people of a set that has no split of its own.
        workers: processes; 0 works in this one.
    """

    data: Path
    out: Path
    source: str = "folder"
    portraits: Path | None = None
    motion_space: Path = BUNDLED_MOTION_SPACE
    space: str = "landmark"
    weights: Path | None = None
    images: bool = False
    need_audio: bool = False
    variants: int = 8
    seed: int = 0
    held_out_share: float = 0.0
    workers: int = field(default_factory=default_workers)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    alignment: AlignmentConfig = field(default_factory=AlignmentConfig)
    augmentation: WaveAugmentation = field(default_factory=WaveAugmentation)

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise CommandInvalid(f"source must be one of {', '.join(SOURCES)}, not '{self.source}'")
        if self.space not in ("landmark", "bfm"):
            raise CommandInvalid(f"space must be landmark or bfm, not '{self.space}'")
        if self.space == "bfm" and self.weights is None:
            raise CommandInvalid(
                "space=bfm needs weights=FOLDER, imported with: gohd weights import --recon epoch_20.pth "
                "--l2cs L2CSNet_gaze360.pkl ..."
            )
        if self.workers < 0 or self.variants < 0 or not 0 <= self.held_out_share <= 1:
            raise CommandInvalid("workers and variants must be 0 or more, held_out_share within 0..1")


def prepare(config: PrepareConfig) -> list[ClipRecord]:
    """Prepare every clip of a data set; what is finished is kept between runs.

    Returns:
        One record a clip, refused ones included; the same records are in ``out/manifest.jsonl``.

    Raises:
        InputError: the data set is not there or not laid out as expected; the message shows how.
        OutputUnwritable: the disk is full or forbidden; finished files are intact.
        WeightsError: ``weights`` cannot measure the bfm space.
    """
    clips = _source(config).clips()
    _check_weights(config)
    for folder in ("tracks", "shards", *(("faces",) if config.images else ())):
        make_folder(config.out / folder)
        for left in (config.out / folder).glob(".*.partial"):
            left.unlink(missing_ok=True)
    if config.portraits is not None:
        prepare_portraits(config.portraits, config.out, load_model(config.motion_space))
    tasks = [
        ScanTask(
            clip=clip,
            out=config.out,
            tracking=config.tracking,
            motion_space=config.motion_space,
            need_audio=config.need_audio,
        )
        for clip in clips
    ]
    scans = _scanned(tasks, config.workers)
    _report_rates(scans)
    heard = {t.clip.clip: t for t in tasks if scans[t.clip.clip].has_audio and not scans[t.clip.clip].refused}
    offsets = estimate_offsets(_AlignmentClips(heard), config.alignment)
    records = _described(tasks, scans, offsets, config)
    write_manifest(config.out / "manifest.jsonl", records)
    return records


def load_prepared(out: Path) -> list[ClipFeatures]:
    """All accepted clips of a prepared folder, in manifest order.

    Raises:
        FileNotFoundError: the folder is not prepared. InputError: a shard is damaged or missing.
    """
    records = read_manifest(out / "manifest.jsonl")
    return [
        load_clip(out / "shards" / f"{record.clip}.safetensors", record.provenance.person, record.provenance.split)
        for record in records
        if not record.refused
    ]


def _source(config: PrepareConfig) -> Source:
    if not config.data.is_dir():
        raise InputError(f"'{config.data}' is no folder; give the data set's with data=FOLDER")
    if config.source == "voxceleb":
        return VoxCeleb(config.data)
    if config.source == "hdtf":
        return Hdtf(config.data, config.held_out_share)
    return ClipFolder(config.data, config.held_out_share)


def _check_weights(config: PrepareConfig) -> None:
    """Fail before hours of tracking."""
    if config.space != "bfm" or config.weights is None:
        return
    folder = WeightsFolder.open(config.weights)
    if folder.config.get("motion_space") != "bfm" or not (folder.section("recon") and folder.section("l2cs")):
        raise WeightsIncomplete(
            f"{config.weights} cannot measure the bfm motion space: import it again with --recon and --l2cs"
        )


def _scanned(tasks: Sequence[ScanTask], workers: int) -> dict[str, Scan]:
    scans: dict[str, Scan] = {}
    missing = []
    for task in tasks:
        kept = read_scan(task.path)
        if kept is not None and kept.key == task.key():
            scans[task.clip.clip] = kept
        else:
            missing.append(task)
    for index, result in run_tasks(scan_clip, missing, workers=workers, description="tracking"):
        if isinstance(result, WorkerDied):
            result = refuse(missing[index], f"the decoder crashed (exit code {result.exit_code})")
        scans[missing[index].clip.clip] = result
        if result.refused:
            _log.warning("clip %s refused: %s", missing[index].clip.clip, result.refused)
    return scans


def _described(
    tasks: Sequence[ScanTask],
    scans: Mapping[str, Scan],
    offsets: Mapping[str, Offset],
    config: PrepareConfig,
) -> list[ClipRecord]:
    reasons = {name: scan.refused for name, scan in scans.items()}
    reasons |= {name: offset.refused for name, offset in offsets.items() if offset.refused}
    without: dict[str, str] = {}
    missing = []
    for task in tasks:
        name = task.clip.clip
        described = FeatureTask(
            scan=task,
            offset_frames=offsets[name].frames if name in offsets else 0,
            variants=config.variants,
            augmentation=config.augmentation,
            seed=config.seed,
            images=config.images,
            weights=config.weights if config.space == "bfm" else None,
        )
        if reasons[name]:
            described.shard.unlink(missing_ok=True)
            described.faces.unlink(missing_ok=True)
        elif (kept := described.finished(scans[name].key)) is not None:
            without[name] = kept
        else:
            missing.append(described)
    for index, result in run_tasks(write_features, missing, workers=config.workers, description="features"):
        name = missing[index].scan.clip.clip
        if isinstance(result, WorkerDied):
            result = f"the decoder crashed (exit code {result.exit_code})", ""
        reasons[name], without[name] = result
        if reasons[name]:
            _log.warning("clip %s refused: %s", name, reasons[name])
    return [
        _record(
            task.clip,
            scans[task.clip.clip],
            offsets.get(task.clip.clip, Offset(0, 0.0)),
            reasons[task.clip.clip],
            without.get(task.clip.clip, ""),
            config,
        )
        for task in tasks
    ]


def _record(
    clip: SourceClip, scan: Scan, offset: Offset, reason: str, without_images: str, config: PrepareConfig
) -> ClipRecord:
    return ClipRecord(
        clip=clip.clip,
        provenance=clip.provenance,
        frames=scan.frames,
        has_audio=scan.has_audio,
        offset_frames=offset.frames,
        offset_score=round(offset.score, 3),
        refused=reason,
        video=clip.path.relative_to(config.data).as_posix(),
        start_s=clip.start_s,
        rate_hz=scan.rate_hz,
        variable=scan.variable,
        space=config.space,
        resynced_by=clip.resynced_by,
        without_images=without_images,
    )


def _report_rates(scans: Mapping[str, Scan]) -> None:
    """Say which rates there were beside 25."""
    accepted = [scan for scan in scans.values() if not scan.refused]
    rates = Counter(
        "a changing rate" if scan.variable else f"{scan.rate_hz:g} fps"
        for scan in accepted
        if scan.variable or scan.rate_hz != FRAME_RATE_HZ
    )
    if rates:
        listed = ", ".join(f"{count} at {rate}" for rate, count in sorted(rates.items()))
        _log.info("%d of %d clips were resampled to 25 fps: %s", rates.total(), len(accepted), listed)


class _AlignmentClips(Mapping[str, AlignmentClip]):
    """Clips read when they are asked for, so that memory does not grow with the data."""

    def __init__(self, tasks: Mapping[str, ScanTask]) -> None:
        self._tasks = tasks

    def __getitem__(self, name: str) -> AlignmentClip:
        return read_alignment(self._tasks[name].path, self._tasks[name].clip)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tasks)

    def __len__(self) -> int:
        return len(self._tasks)
