"""The geometric animator: a portrait warped by the landmarks of the motion descriptor. It needs no training.

descriptor --> landmarks, head motion, eye-in-head gaze --> layers of the portrait --> image
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from engine.animator.mesh.head_motion import HeadMotion, HeadPlace
from engine.animator.mesh.layered import LayeredPortrait, build_layers, draw, draw_with_map
from engine.errors import CommandInvalid
from engine.motion.space.coefficients import DESCRIPTOR_SIZE, EXPRESSION, GAZE, POSE, Coefficients
from engine.motion.space.gaze import camera_gaze_to_eye_in_head
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, slots=True)
class PreparedPortrait:
    """What the animator keeps of one portrait; never changed, so any number of sessions share it.

    Attributes:
        neutral_shape: (478, 3) float64, the person at expression 0, face units.
        rest_descriptor: (72,) float32, the motion descriptor of the portrait itself.
        rest_place: where its head is.
        layers: the portrait cut into layers.
    """

    neutral_shape: Float64Array
    rest_descriptor: Float32Array
    rest_place: HeadPlace
    layers: LayeredPortrait


class GeometricAnimator:
    """Animates portraits on the CPU; same prepared portrait and descriptor give the same bytes.

    Attributes:
        past_frames, future_frames: descriptors needed before and after the shown one; none.
        batches, finishes: as `engine.animator.interface.Animator` says; neither.
    """

    past_frames = 0
    future_frames = 0
    batches = False
    finishes = False

    def __init__(self, model: LandmarkModel) -> None:
        self._mean = model.mean.numpy().astype(np.float64)
        self._identity_basis = model.identity_basis.numpy().astype(np.float64).reshape(-1, self._mean.size)
        self._expression_basis = model.expression_basis.numpy().astype(np.float64).reshape(-1, self._mean.size)
        self._eyeball_radius = model.eyeball_radius

    def prepare(self, crop: FaceCrop, coefficients: Coefficients) -> PreparedPortrait:
        """Cut a portrait into layers, once.

        Args:
            crop: square image (S, S, 3) uint8 and its landmarks (478, 3) px.
            coefficients: the image in the motion space, from ``LandmarkModel.fit`` on the same landmarks.
        """
        size = crop.rgb.shape[0]
        identity = coefficients.identity.astype(np.float64) @ self._identity_basis
        neutral = self._mean + identity.reshape(-1, 3) + coefficients.residual
        rest = coefficients.descriptor
        place = HeadPlace.of(rest[POSE], size)
        layers = build_layers(
            np.ascontiguousarray(crop.rgb),
            self._landmarks(neutral, rest, place),
            rotation=place.rotation,
            eyeball_radius_px=self._eyeball_radius * place.scale,
            eye_in_head=_eye_in_head(rest),
        )
        return PreparedPortrait(neutral_shape=neutral, rest_descriptor=rest, rest_place=place, layers=layers)

    def render(
        self,
        prepared: PreparedPortrait,
        window_TD: npt.NDArray[np.floating],
        *,
        intensity: float = 1.0,
    ) -> npt.NDArray[np.uint8]:
        """Image (S, S, 3) uint8 RGB of the portrait in a motion.

        Args:
            window_TD: (1, 72) motion descriptors around the shown frame: expression, pose, gaze.
            intensity: lambda of section 4.3 in [0, 1], here on the way from the person's neutral (expression 0,
                frontal, in the portrait's place, eyes ahead) to the descriptor.

        Raises:
            ValueError: another shape, or values that are not finite.
            CommandInvalid: the intensity is out of range.
        """
        return draw(prepared.layers, *self._moved(prepared, self._shown(prepared, window_TD, intensity)))

    def render_batch(
        self,
        prepared: Sequence[PreparedPortrait],
        window_BTD: npt.NDArray[np.floating],
        *,
        intensity: Sequence[float] | None = None,
        finished: Sequence[bool] | None = None,
    ) -> npt.NDArray[np.uint8]:
        """Images (B, S, S, 3) of several rows, one after the other; arguments as `render`, one for each row."""
        if finished is not None and any(finished):
            raise ValueError("the geometric animator cannot finish images")
        lambdas = [1.0] * len(prepared) if intensity is None else intensity
        rows = zip(prepared, window_BTD, lambdas, strict=True)
        return np.stack([self.render(portrait, window, intensity=value) for portrait, window, value in rows])

    def render_with_map(
        self,
        prepared: PreparedPortrait,
        window_TD: npt.NDArray[np.floating],
        *,
        intensity: float = 1.0,
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
        """`render`'s image, and its map as `draw_with_map` gives it; arguments and errors as `render`."""
        shown = self._shown(prepared, window_TD, intensity)
        return draw_with_map(prepared.layers, *self._moved(prepared, shown))

    def landmarks(self, prepared: PreparedPortrait, descriptor: npt.NDArray[np.floating]) -> Float64Array:
        """Landmarks (478, 3), px with pixel centres at integers, that the portrait is moved to; descriptor (72,)."""
        return self._moved(prepared, descriptor)[0]

    def _shown(
        self, prepared: PreparedPortrait, window_TD: npt.NDArray[np.floating], intensity: float
    ) -> npt.NDArray[np.floating]:
        """The descriptor (72,) that is drawn."""
        if not 0.0 <= intensity <= 1.0:
            raise CommandInvalid(f"intensity must be within 0..1, not {intensity}")
        if window_TD.shape != (self.past_frames + 1 + self.future_frames, DESCRIPTOR_SIZE):
            raise ValueError(f"the geometric animator takes a window of (1, {DESCRIPTOR_SIZE}), not {window_TD.shape}")
        if not np.isfinite(window_TD).all():
            raise ValueError("the motion descriptor holds values that are not finite")
        descriptor = window_TD[self.past_frames]
        if intensity < 1.0:
            neutral = _neutral(prepared.rest_descriptor)
            return np.asarray(neutral + np.float32(intensity) * (descriptor - neutral))
        return np.asarray(descriptor)

    def _moved(
        self, prepared: PreparedPortrait, descriptor: npt.NDArray[np.floating]
    ) -> tuple[Float64Array, HeadMotion, tuple[float, float]]:
        """Landmarks, head motion and eye-in-head gaze of a descriptor (72,), as the layers take them."""
        place = HeadPlace.of(descriptor[POSE], prepared.layers.skin.shape[0])
        return (
            self._landmarks(prepared.neutral_shape, descriptor, place),
            HeadMotion.between(prepared.rest_place, place),
            _eye_in_head(descriptor),
        )

    def _landmarks(self, neutral: Float64Array, descriptor: npt.NDArray[np.floating], place: HeadPlace) -> Float64Array:
        """Landmarks (478, 3) px of a motion; irises as at expression 0, the eye layer places them."""
        expression = descriptor[EXPRESSION].astype(np.float64) @ self._expression_basis
        return place.apply(neutral + expression.reshape(-1, 3))


def _neutral(rest_descriptor: Float32Array) -> Float32Array:
    """The portrait's own place and size, and nothing else."""
    neutral = np.zeros_like(rest_descriptor)
    neutral[POSE][3:] = rest_descriptor[POSE][3:]
    return neutral


def _eye_in_head(descriptor: npt.NDArray[np.floating]) -> tuple[float, float]:
    """Pitch and yaw of the eyes within the head, radians, for the descriptor's gaze in the camera frame."""
    motion = torch.from_numpy(descriptor.astype(np.float64))
    pitch, yaw = camera_gaze_to_eye_in_head(motion[GAZE], motion[POSE]).tolist()
    return pitch, yaw
