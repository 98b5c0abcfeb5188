"""First pass over a clip: face track and audio, kept in one file so that an interrupted run goes on from there.

tracks/CLIP.safetensors   landmarks float32 (T,478,3) px of the video | opening float32 (T,) | mel float16 (80,M)
                          header: key of what went in, what the video's header said, why the clip is refused
"""

import dataclasses
import functools
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from engine.audio import mel_spectrogram
from engine.errors import InputError
from engine.files import file_sha256
from engine.motion.space.coefficients import SequenceCoefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import REFERENCE_SCALE, similarity_from_pose
from engine.portrait import FaceLandmarker
from train.data.pipeline.align import AlignmentClip
from train.data.pipeline.tracking import TrackingConfig, track_face
from train.data.readers.clips import VideoFacts, read_audio, read_frames, video_facts
from train.data.readers.source_clip import SourceClip
from train.data.storage.files import save_tensors
from train.metrics.mouth import mouth_opening

FloatArray = NDArray[np.float32]

_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanTask:
    """What one first pass needs; ``need_audio`` refuses silent videos."""

    clip: SourceClip
    out: Path
    tracking: TrackingConfig
    motion_space: Path
    need_audio: bool

    @property
    def path(self) -> Path:
        """The file that the pass makes."""
        return self.out / "tracks" / f"{self.clip.clip}.safetensors"

    def key(self) -> str:
        """Changes when the video, the part of it, or a setting does. Raises InputError if the video is gone."""
        try:
            video = self.clip.path.stat()
        except OSError as error:
            raise InputError(f"{self.clip.path} cannot be read: {error.strerror or error}") from error
        clip = self.clip
        part = (clip.clip, clip.path.name, clip.start_s, clip.end_s, clip.window, clip.face_boxes)
        parts = (_VERSION, part, video.st_size, video.st_mtime_ns, self.tracking, self.need_audio)
        return hashlib.sha256(repr((*parts, _file_key(self.motion_space))).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Result of a first pass, without its arrays.

    Attributes:
        frames: at 25 a second; refused: empty, or why the clip is left out.
        rate_hz, variable: of the video, before it was resampled to 25.
    """

    key: str
    refused: str = ""
    frames: int = 0
    has_audio: bool = False
    rate_hz: float = 0.0
    variable: bool = False


def scan_clip(task: ScanTask) -> Scan:
    """Track the face, measure the mouth, read the audio; write the file.

    Whatever is wrong with the video becomes the reason of a refusal.

    Raises:
        OutputUnwritable: the disk is full or forbidden.
    """
    clip = task.clip
    facts = VideoFacts(rate_hz=0.0, variable=False, duration_s=0.0, has_audio=False)
    try:
        facts = video_facts(clip.path)
        if task.need_audio and not facts.has_audio:
            raise InputError("no sound")
        audio = read_audio(clip.path, clip.start_s, clip.end_s)
        if task.need_audio and audio is None:
            raise InputError("no audio that can be decoded")
        landmarks = track_face(
            read_frames(clip.path, clip.start_s, clip.end_s),
            _landmarker(),
            task.tracking,
            clip.window,
            clip.face_boxes,
        )
    except InputError as error:
        return refuse(task, str(error), facts)
    model = load_model(task.motion_space)
    motion = centred_motion(model, landmarks)
    tensors: dict[str, NDArray[np.generic]] = {
        "landmarks": landmarks,
        "opening": mouth_opening(model, torch.from_numpy(motion.expression)).numpy().astype(np.float32),
    }
    if audio is not None:
        tensors["mel"] = mel_spectrogram(audio).astype(np.float16)
    scan = Scan(
        key=task.key(),
        frames=len(landmarks),
        has_audio=audio is not None,
        rate_hz=facts.rate_hz,
        variable=facts.variable,
    )
    save_tensors(task.path, tensors, {"scan": json.dumps(dataclasses.asdict(scan))})
    return scan


def refuse(task: ScanTask, reason: str, facts: VideoFacts | None = None) -> Scan:
    """Write down that a clip is left out, so that another run need not look again. Raises OutputUnwritable."""
    scan = Scan(
        key=task.key() if task.clip.path.exists() else "",
        refused=reason,
        has_audio=bool(facts and facts.has_audio),
        rate_hz=facts.rate_hz if facts else 0.0,
        variable=bool(facts and facts.variable),
    )
    save_tensors(task.path, {}, {"scan": json.dumps(dataclasses.asdict(scan))})
    return scan


def read_scan(path: Path) -> Scan | None:
    """What a file says, or None if it is missing, damaged or of another version."""
    try:
        with safe_open(path, "numpy") as file:
            return Scan(**json.loads((file.metadata() or {})["scan"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError):
        return None


def read_landmarks(path: Path) -> FloatArray:
    """The track (T,478,3), px of the video."""
    with safe_open(path, "numpy") as file:
        landmarks: FloatArray = file.get_tensor("landmarks")
        return landmarks


def read_alignment(path: Path, clip: SourceClip) -> AlignmentClip:
    """What the offset is estimated from."""
    with safe_open(path, "numpy") as file:
        return AlignmentClip(
            person=clip.provenance.person,
            mel=file.get_tensor("mel").astype(np.float32),
            opening=file.get_tensor("opening"),
            prior_frames=clip.offset_prior_frames,
        )


def centred_motion(model: LandmarkModel, landmarks_px: FloatArray) -> SequenceCoefficients:
    """Coefficients in one fixed crop a clip, set so that the median face stands in its middle at tz = 0."""
    in_video = model.fit_sequence(landmarks_px, crop_size=1)
    scale, _, translation = similarity_from_pose(torch.from_numpy(in_video.pose), 1)
    crop_size = float(scale.median()) / REFERENCE_SCALE
    shift = crop_size / 2 - translation.median(0).values.numpy()
    shift[2] = 0
    return model.fit_sequence(landmarks_px + shift, crop_size=crop_size)


@functools.cache
def load_model(motion_space: Path) -> LandmarkModel:
    """The landmark model of a file, once a process."""
    return LandmarkModel.load(motion_space)


@functools.cache
def _landmarker() -> FaceLandmarker:
    return FaceLandmarker()


@functools.cache
def _file_key(path: Path) -> str:
    return file_sha256(path)[:16]
