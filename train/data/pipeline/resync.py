"""Videos resynchronised by Wav2Lip, the targets that stage 1 distils from (App. C).

The user brings that model: a checkout of its repository and a checkpoint. Each accepted clip of a prepared folder goes
through its ``inference.py`` as a program of its own:

    prepared video, track, offset -> face.mp4 (25 fps, head crop) + voice.wav (16 kHz, in sync) in an empty folder
      python CHECKOUT/inference.py --checkpoint_path C --face face.mp4 --audio voice.wav --outfile result.mp4
      result.mp4, checked -> OUT/CLIP.mp4, OUT/clips.csv, OUT/resync.jsonl

``prepare data=OUT`` reads the result as a plain folder of clips. The program runs inside that empty folder because it
keeps its intermediate files in ``temp/`` under the current one; arguments are a list and the names are ours, so nothing
in a file name is ever read as a command.
"""

import csv
import hashlib
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, MissingDependency, PretrainedNotFound
from engine.files import file_sha256, replacing
from engine.media import Mp4Writer
from engine.portrait import crop_face
from engine.timebase import FRAME_RATE_HZ, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME
from train.data.pipeline.scan import read_landmarks
from train.data.pipeline.workers import WorkerDied, run_tasks
from train.data.readers.clips import read_audio, read_frames, shift_samples, video_facts
from train.data.storage.files import make_folder, save_text
from train.data.storage.manifest import ClipRecord, read_manifest
from train.data.storage.provenance import Provenance
from train.data.storage.records import read_records, write_records

_log = logging.getLogger(__name__)

RESYNC_LIST = "resync.jsonl"

_SCRIPT = "inference.py"
_SIDE_PX = 512
_MOST_MISSING_FRAMES = 5
_SAID_CHARACTERS = 300
_SOURCE = "https://github.com/Rudrabha/Wav2Lip"


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncConfig:
    """What to resynchronise with what.

    Attributes:
        data: the folder that was prepared, where the videos are.
        prepared: what `prepare` made of it, with tracks and manifest.
        checkout: folder of the Wav2Lip repository; checkpoint: its weights, wav2lip.pth or wav2lip_gan.pth.
        out: folder for the videos.
        python: interpreter that has that repository's requirements.
        timeout_s: longest time for a clip.
        workers: clips at the same time, each a program with its own copy of the model.
        retry_refused: try clips again that failed before.
    """

    data: Path
    prepared: Path
    checkout: Path
    checkpoint: Path
    out: Path
    python: Path = Path(sys.executable)
    timeout_s: float = 1800.0
    workers: int = 1
    retry_refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ResyncRecord:
    """One clip: with which checkpoint (sha256), from what (key), and why there is no video if there is none."""

    clip: str
    provenance: Provenance
    checkpoint_sha256: str
    key: str
    refused: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    config: ResyncConfig
    record: ClipRecord
    video: Path


def resync(config: ResyncConfig) -> list[ResyncRecord]:
    """Resynchronise every accepted clip with audio; videos that are there already are kept.

    Returns:
        One record a clip, refused ones included; they are in ``out/resync.jsonl`` too, written after every clip.

    Raises:
        PretrainedNotFound: no checkout or checkpoint. MissingDependency: no ffmpeg, which that program calls.
        FileNotFoundError: the clips are not prepared. OutputUnwritable: the disk is full or forbidden.
    """
    _check(config)
    sha256 = file_sha256(config.checkpoint)
    make_folder(config.out)
    records = [r for r in read_manifest(config.prepared / "manifest.jsonl") if r.has_audio and not r.refused]
    done = {record.clip: record for record in read_resync_list(config.out)}
    tasks = []
    for record in records:
        before = done.get(record.clip)
        if before is not None and before.key == _key(record, sha256):
            finished = (config.out / f"{record.clip}.mp4").is_file()
            if finished or (before.refused and not config.retry_refused):
                continue
        video = config.data / record.video
        if video.is_file():
            tasks.append(_Task(config=config, record=record, video=video))
        else:
            done[record.clip] = _described(record, sha256, f"{record.video} is not in {config.data}")
    for index, result in run_tasks(_resync_clip, tasks, workers=config.workers, description="resynchronising"):
        reason = f"crashed (exit code {result.exit_code})" if isinstance(result, WorkerDied) else result
        record = tasks[index].record
        if reason:
            _log.warning("clip %s was not resynchronised: %s", record.clip, reason)
        done[record.clip] = _described(record, sha256, reason)
        _write_lists(config.out, list(done.values()))
    _write_lists(config.out, list(done.values()))
    return list(done.values())


def read_resync_list(folder: Path) -> list[ResyncRecord]:
    """Records of a folder; none where nothing was resynchronised.

    Raises:
        InputError: a line is no record.
    """
    path = folder / RESYNC_LIST
    return read_records(path, ResyncRecord) if path.is_file() else []


def _check(config: ResyncConfig) -> None:
    if not (config.checkout / _SCRIPT).is_file():
        raise PretrainedNotFound(
            f"no {_SCRIPT} in '{config.checkout}': give the folder of your copy of Wav2Lip ({_SOURCE}) with checkout="
        )
    if not config.checkpoint.is_file():
        raise PretrainedNotFound(
            f"no checkpoint at '{config.checkpoint}': the README of {_SOURCE} says where to get wav2lip.pth"
        )
    if shutil.which("ffmpeg") is None:
        raise MissingDependency("Wav2Lip calls the program ffmpeg: install it, for example with apt install ffmpeg")


def _resync_clip(task: _Task) -> str:
    """One clip; the reason why it has no video, or nothing."""
    config, record = task.config, task.record
    try:
        with tempfile.TemporaryDirectory(prefix="resync-") as name:
            folder = Path(name)
            (folder / "temp").mkdir()
            frames = _write_input(folder, task)
            _run(config, folder)
            _check_result(folder / "result.mp4", frames)
            target = config.out / f"{record.clip}.mp4"
            with replacing(target) as partial:
                shutil.copyfile(folder / "result.mp4", partial)
    except InputError as error:
        return str(error)
    return ""


def _write_input(folder: Path, task: _Task) -> int:
    """The clip's head crop at 25 fps and its audio, offset corrected; how many frames."""
    record = task.record
    landmarks = read_landmarks(task.config.prepared / "tracks" / f"{record.clip}.safetensors")
    median = np.median(landmarks, axis=0).astype(np.float32)
    end_s = record.start_s + record.frames / FRAME_RATE_HZ
    audio = read_audio(task.video, record.start_s, end_s)
    if audio is None:
        raise InputError("no sound")
    frames = 0
    with Mp4Writer(folder / "face.mp4", (_SIDE_PX, _SIDE_PX), audio_rate_hz=None, crf=12) as writer:
        for rgb in read_frames(task.video, record.start_s, end_s):
            writer.write(crop_face(rgb, median, _SIDE_PX).rgb, frames * SAMPLES_PER_FRAME)
            frames += 1
    aligned = shift_samples(audio, -record.offset_frames * SAMPLES_PER_FRAME)[: frames * SAMPLES_PER_FRAME]
    aligned = np.pad(aligned, (0, frames * SAMPLES_PER_FRAME - len(aligned)))
    (folder / "voice.wav").write_bytes(_wav(aligned))
    return frames


def _run(config: ResyncConfig, folder: Path) -> None:
    command: Sequence[str] = (
        str(config.python.absolute()),
        str((config.checkout / _SCRIPT).resolve()),
        *("--checkpoint_path", str(config.checkpoint.resolve())),
        *("--face", "face.mp4", "--audio", "voice.wav", "--outfile", "result.mp4"),
    )
    try:
        # A session of its own, so that what it starts (ffmpeg) can be ended with it.
        program = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        raise InputError(f"'{config.python}' cannot be run: {error.strerror or error}") from error
    with program:
        try:
            _, complaint = program.communicate(timeout=config.timeout_s)
        except BaseException as error:
            os.killpg(program.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise InputError(f"Wav2Lip did not finish within {config.timeout_s:g} s") from None
            raise
    if program.returncode != 0:
        said = complaint.decode(errors="replace").strip()[-_SAID_CHARACTERS:]
        raise InputError(f"Wav2Lip ended with code {program.returncode}: {said}")


def _check_result(path: Path, frames: int) -> None:
    if not path.is_file():
        raise InputError("Wav2Lip left no video")
    if not video_facts(path).has_audio:
        raise InputError("Wav2Lip left a video without sound")
    made = sum(1 for _ in read_frames(path))
    if made < frames - _MOST_MISSING_FRAMES:
        raise InputError(f"Wav2Lip left {made} frames of {frames}")


def _described(record: ClipRecord, sha256: str, reason: str) -> ResyncRecord:
    return ResyncRecord(
        clip=record.clip,
        provenance=record.provenance,
        checkpoint_sha256=sha256,
        key=_key(record, sha256),
        refused=reason,
    )


def _key(record: ClipRecord, sha256: str) -> str:
    parts = (sha256, record.video, record.start_s, record.frames, record.offset_frames)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _write_lists(out: Path, records: Sequence[ResyncRecord]) -> None:
    """The records, and those with a video as ``clips.csv``, which `train.data.readers.folder` reads."""
    write_records(out / RESYNC_LIST, records)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(("clip", "person", "split", "licence", "credit", "resynced_by"))
    for r in records:
        if not r.refused:
            source = r.provenance
            writer.writerow((r.clip, source.person, source.split, source.licence, source.credit, r.checkpoint_sha256))
    save_text(out / "clips.csv", table.getvalue())


def _wav(samples: NDArray[np.float32]) -> bytes:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(np.rint(samples * 32767).astype("<i2").tobytes())
    return data.getvalue()
