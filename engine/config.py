"""The sections of a weights folder's ``config.json`` that sessions read.

The networks' own sections (``lip``, ``eye``, ``pose``) are the keyword arguments of their config dataclasses and
are read by those. This module holds what the session needs to know beside them.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from engine.errors import WeightsCorrupt
from engine.timebase import MEL_HOP_SAMPLES, MEL_WINDOW_SAMPLES, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

FORMAT_VERSION = 1

_PROSODY_REACH_SAMPLES = 3 * MEL_HOP_SAMPLES + MEL_WINDOW_SAMPLES // 2
_Config = TypeVar("_Config")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StreamConfig:
    """How far each stage may look past the frame that it makes (design of the weights, fixed at training).

    ``future_frames`` are the descriptors after the shown one that are waited for; an animator that sees more of the
    future gets the newest of them repeated.
    """

    lip_lookahead_ms: int = 80
    lip_window_columns: int = 16
    prosody_delay_frames: int = 2
    future_frames: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.lip_lookahead_ms <= 1000:
            raise ValueError(f"lip_lookahead_ms must be within 0..1000, not {self.lip_lookahead_ms}")
        if self.lip_window_columns < 1:
            raise ValueError("lip_window_columns must be at least 1")
        if self.prosody_delay_frames < 0:
            raise ValueError("prosody_delay_frames must not be negative")
        if not 0 <= self.future_frames <= 25:
            raise ValueError(f"future_frames must be within 0..25, not {self.future_frames}")

    def lookahead_samples(self, hop_frames: int) -> int:
        """How far the audio must be ahead of a descriptor, at 16 kHz, when poses are made ``hop_frames`` at once.

        The lips need their window; the first frame of a hop needs the prosody of the last, whose fourth column is
        centred 37.5 ms after its frame and reaches 25 ms further.
        """
        lips = self.lip_lookahead_ms * SAMPLE_RATE_HZ // 1000
        prosody = (hop_frames - 1 - self.prosody_delay_frames) * SAMPLES_PER_FRAME + _PROSODY_REACH_SAMPLES
        return max(lips, prosody)

    def needs(self, frame: int, hop_frames: int) -> tuple[int, int]:
        """How many mel columns and 10 ms voice flags must be final before descriptor ``frame`` can be made."""
        until = frame * SAMPLES_PER_FRAME + self.lookahead_samples(hop_frames)
        columns = (until - MEL_WINDOW_SAMPLES // 2) // MEL_HOP_SAMPLES + 1
        return max(columns, 0), until * 100 // SAMPLE_RATE_HZ


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MixerConfig:
    """Scales, limits and gate times of the mixer (frames are 40 ms; angles in radians).

    Limits are what the animator can show, and every descriptor keeps them, whether its motion was generated, commanded
    or taken from a video. Poses approach theirs softly, measured from the portrait's own: ``rotation_limit_rad`` about
    each axis, ``translation_limit`` in the units of the pose. ``gaze_limit_rad`` is of yaw, ``gaze_pitch_limit_rad`` of
    pitch, both from the camera. ``expression_limit`` is of the length of the expression, in its own units (standard
    deviations in the landmark space); a longer one is shortened, which keeps its kind. What the clips of the bundled
    weights reach of each is in their model card.

    Poses are the mean of the last ``pose_smoothing_frames``, as the release smooths them; here the mean ends at the
    shown frame, so the head follows half a window later. ``lip_newest_weight`` below 1 steadies the lips: each frame
    moves them by that share of the way to the lip network's expression.
    """

    expression_scale: float = 1.0
    pose_scale: float = 1.0
    pose_smoothing_frames: int = 5
    lip_newest_weight: float = 1.0
    # 20 degrees: training clips turn up to 0.38 rad, and beyond it the far cheek of one portrait is guesswork.
    rotation_limit_rad: float = 0.35
    translation_limit: float = 0.12
    gaze_limit_rad: float = 0.3 * 3.141592653589793
    gaze_pitch_limit_rad: float = 0.3 * 3.141592653589793
    expression_limit: float = 100.0
    # 120 ms to close: a pause is seen within 150 ms, and an interrupt in three frames. 80 ms to open, so that the first
    # syllable is not swallowed. With fewer frames the lips snap.
    mouth_close_frames: int = 3
    mouth_open_frames: int = 2

    def __post_init__(self) -> None:
        if not 0 < self.lip_newest_weight <= 1:
            raise ValueError("lip_newest_weight must be within 0..1 and not 0")
        if self.pose_smoothing_frames < 1:
            raise ValueError("pose_smoothing_frames must be at least 1 (no smoothing)")
        if self.mouth_close_frames < 1 or self.mouth_open_frames < 1:
            raise ValueError("mouth_close_frames and mouth_open_frames must be at least 1")
        limits = ("rotation_limit_rad", "translation_limit", "gaze_limit_rad", "gaze_pitch_limit_rad")
        for name in (*limits, "expression_limit"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive")


def from_mapping(cls: type[_Config], mapping: Mapping[str, Any], section: str) -> _Config:
    """Build config dataclass ``cls`` from a section of ``config.json``.

    Raises:
        WeightsCorrupt: a key is unknown or a value is refused by the dataclass.
    """
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls!r} is not a dataclass")
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise WeightsCorrupt(f"config.json section '{section}' has unknown keys {unknown}; known are {sorted(known)}")
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in mapping.items()}
    try:
        return cls(**values)
    except (TypeError, ValueError) as error:
        raise WeightsCorrupt(f"config.json section '{section}': {error}") from error
