"""The engine: one set of weights, any number of avatars and sessions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from engine.animator import GeometricAnimator
from engine.avatar import Avatar
from engine.checkpoint import WeightsFolder
from engine.drive import Drive
from engine.errors import BackendUnavailable, NoFaceFound, VideoUnreadable, WeightsCorrupt
from engine.finish import VisibleLabel
from engine.motion.driver import MotionNetworks
from engine.motion.landmark_model import LandmarkModel
from engine.motion.landmark_table import IBUG_68
from engine.motion.mixer import mouth_rest
from engine.portrait import CROP_SIZE, FaceLandmarker, crop_face, load_image
from engine.session import Session

if TYPE_CHECKING:
    from engine.session import Probe

__all__ = ["Engine", "load_engine"]

_BACKENDS = ("eager",)


def load_engine(weights: str | Path = "default", device: str = "auto", backend: str = "auto") -> Engine:
    """Load and verify weights.

    Args:
        weights: name of a bundled folder or a path.
        device: "auto", "cpu" or "cuda"; where the motion networks run. The geometric animator runs on the CPU, so
            "auto" is the CPU.
        backend: "auto" or "eager".

    Raises:
        WeightsNotFound, WeightsCorrupt: see the message.
        BackendUnavailable: the device or backend is not on this machine.
    """
    if backend not in ("auto", *_BACKENDS):
        raise BackendUnavailable(f"backend '{backend}' is not there; choose auto or {', '.join(_BACKENDS)}")
    folder = WeightsFolder.open(weights)
    return Engine(folder, _device(device))


class Engine:
    """Made by ``load_engine``. Weights are never changed, so sessions may run side by side, one thread each."""

    def __init__(self, folder: WeightsFolder, device: torch.device) -> None:
        animator = folder.config.get("animator")
        if animator != "geometric":
            raise WeightsCorrupt(f"{folder.path} asks for animator '{animator}'; this program has: geometric")
        self.weights_path = folder.path
        self.model = LandmarkModel.load(folder.file("motion_space.safetensors"))
        self.networks = MotionNetworks.load(folder, self.model, device)
        self.animator = GeometricAnimator(self.model)
        self.label = VisibleLabel(CROP_SIZE, CROP_SIZE)
        self.landmarker = FaceLandmarker()

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        return CROP_SIZE, CROP_SIZE

    def enroll(self, image: Path | str | bytes | npt.NDArray[np.uint8]) -> Avatar:
        """Make a portrait ready to be animated.

        Args:
            image: a path, the bytes of an image file, or uint8 RGB (H, W, 3).

        Raises:
            ImageUnreadable, ImageTooLarge, NoFaceFound, FaceTooSmall: the message says what to do.
        """
        rgb = load_image(image)
        crop = crop_face(rgb, self.landmarker.detect(rgb))
        coefficients = self.model.fit(crop.landmarks_px)
        with torch.inference_mode():
            own = self.model.shape(
                torch.from_numpy(coefficients.identity),
                torch.from_numpy(coefficients.expression),
                torch.from_numpy(coefficients.residual),
            )[torch.from_numpy(IBUG_68)]
        basis_68 = self.model.expression_basis_68.numpy()
        rest = mouth_rest(basis_68, own.numpy(), coefficients.expression)
        return Avatar(crop, coefficients, rest, self.animator.prepare(crop, coefficients))

    def open_session(
        self, avatar: Avatar, *, seed: int = 0, drive: Drive | None = None, probe: Probe | None = None
    ) -> Session:
        """Start a voice on an avatar.

        Args:
            seed: same seed and same sound give the same frames.
            drive: motion that replaces what the networks would say.
            probe: called with the name of each stage as it ends (for benchmarks).
        """
        return Session(self, avatar, seed=seed, drive=drive, probe=probe)

    def read_motion(self, frames: Iterable[npt.NDArray[np.uint8]]) -> Drive:
        """Motion of the one face in a film: expression, pose and gaze of every frame.

        Args:
            frames: uint8 RGB (H, W, 3) at 25 fps. Frames without a face take the motion between their neighbours.

        Raises:
            NoFaceFound: no frame shows a face. VideoUnreadable: the film has no frames.
        """
        found, size = [], 0
        for rgb in frames:
            size = max(rgb.shape[:2])
            try:
                found.append(self.landmarker.detect(rgb))
            except NoFaceFound:
                found.append(np.full((478, 3), np.nan, dtype=np.float32))
        if not found:
            raise VideoUnreadable("the film has no frames")
        landmarks = np.stack(found)
        if np.isnan(landmarks).all():
            raise NoFaceFound(
                "no frame of the film shows a face; choose a film with one clearly visible face"
            )
        motion = self.model.fit_sequence(landmarks, crop_size=size)
        return Drive(expression=motion.expression, pose=motion.pose, gaze=motion.gaze)


def _device(name: str) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise BackendUnavailable(f"device '{name}' is not known; choose auto, cpu or cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable(
            "no CUDA device can be used here; choose --device cpu, or install a CUDA build of torch"
        )
    return torch.device("cuda" if name == "cuda" else "cpu")
