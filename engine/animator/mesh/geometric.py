"""The geometric animator: a portrait warped by the landmarks of the motion descriptor. It needs no training.

descriptor --> vertices and layers in motion --> frame
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from engine.animator.mesh.build_rig import build_rig
from engine.animator.mesh.cpu_renderer import CpuRig, draw, draw_with_map
from engine.animator.mesh.vertices import MovedRig, move
from engine.errors import CommandInvalid
from engine.motion.space.coefficients import DESCRIPTOR_SIZE, POSE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop

Float32Array = npt.NDArray[np.float32]
UInt8Array = npt.NDArray[np.uint8]


class GeometricAnimator:
    """Animates portraits of any size on the CPU; same prepared portrait and descriptor give the same bytes.

    Attributes:
        past_frames, future_frames: descriptors needed before and after the shown one; none.
        fixed_size, batches, finishes: as `engine.animator.interface.Animator` says: any, and neither.
    """

    past_frames = 0
    future_frames = 0
    fixed_size: int | None = None
    batches = False
    finishes = False

    def __init__(self, model: LandmarkModel) -> None:
        self._model = model

    def prepare(self, crop: FaceCrop, coefficients: Coefficients) -> CpuRig:
        """Make a portrait's rig, once; never changed, so any number of sessions share it.

        Args:
            crop: square image (S, S, 3) uint8 and its landmarks (478, 3) px.
            coefficients: the image in the motion space, from ``LandmarkModel.fit`` on the same landmarks.
        """
        return CpuRig.of(build_rig(crop, coefficients, self._model))

    def render(
        self,
        prepared: CpuRig,
        window_TD: npt.NDArray[np.floating],
        *,
        intensity: float = 1.0,
    ) -> UInt8Array:
        """Frame (S, S, 3) uint8 RGB of the portrait in a motion.

        Args:
            window_TD: (1, 72) motion descriptors around the shown frame: expression, pose, gaze.
            intensity: lambda of section 4.3 in [0, 1], here on the way from the person's neutral (expression 0,
                frontal, in the portrait's place, eyes ahead) to the descriptor.

        Raises:
            ValueError: another shape, or values that are not finite.
            CommandInvalid: the intensity is out of range.
        """
        return draw(prepared, self._moved(prepared, window_TD, intensity))

    def render_batch(
        self,
        prepared: Sequence[CpuRig],
        window_BTD: npt.NDArray[np.floating],
        *,
        intensity: Sequence[float] | None = None,
        finished: Sequence[bool] | None = None,
    ) -> list[UInt8Array]:
        """Frames (S, S, 3) of several rows, one after the other; arguments as `render`, one for each row."""
        if finished is not None and any(finished):
            raise ValueError("the geometric animator cannot finish images")
        lambdas = [1.0] * len(prepared) if intensity is None else intensity
        rows = zip(prepared, window_BTD, lambdas, strict=True)
        return [self.render(portrait, window, intensity=value) for portrait, window, value in rows]

    def render_with_map(
        self,
        prepared: CpuRig,
        window_TD: npt.NDArray[np.floating],
        *,
        intensity: float = 1.0,
    ) -> tuple[UInt8Array, Float32Array]:
        """`render`'s frame, and its map as `draw_with_map` gives it; arguments and errors as `render`."""
        return draw_with_map(prepared, self._moved(prepared, window_TD, intensity))

    @torch.inference_mode()
    def _moved(self, prepared: CpuRig, window_TD: npt.NDArray[np.floating], intensity: float) -> MovedRig:
        if not 0.0 <= intensity <= 1.0:
            raise CommandInvalid(f"intensity must be within 0..1, not {intensity}")
        if window_TD.shape != (self.past_frames + 1 + self.future_frames, DESCRIPTOR_SIZE):
            raise ValueError(f"the geometric animator takes a window of (1, {DESCRIPTOR_SIZE}), not {window_TD.shape}")
        if not np.isfinite(window_TD).all():
            raise ValueError("the motion descriptor holds values that are not finite")
        descriptor = np.asarray(window_TD[self.past_frames], np.float32)
        if intensity < 1.0:
            neutral = _neutral(prepared.rig.rest_descriptor)
            descriptor = neutral + np.float32(intensity) * (descriptor - neutral)
        return move(prepared.tables, torch.from_numpy(descriptor[None]))


def _neutral(rest_descriptor: Float32Array) -> Float32Array:
    """The portrait's own place and size, and nothing else."""
    neutral = np.zeros_like(rest_descriptor)
    neutral[POSE][3:] = rest_descriptor[POSE][3:]
    return neutral
