"""Motion spaces: what the 72 numbers of a descriptor mean, and how they are measured on a portrait.

landmark   our own: everything is measured on the 478 landmarks
bfm        of the released weights: Deep3DFaceRecon coefficients and L2CS gaze
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from engine.checkpoint import WeightsFolder, load_into
from engine.config import from_mapping
from engine.errors import WeightsCorrupt, WeightsIncomplete
from engine.motion.driving_motion import DrivingMotion
from engine.motion.space.bfm_estimators import FaceReconstruction, GazeEstimator, measure_bfm
from engine.motion.space.coefficients import EXPRESSION_SIZE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import IBUG_68
from engine.motion.space.mouth_rest import MouthRest, mouth_rest
from engine.motion.space.resnet import ResNetConfig
from engine.portrait import FaceCrop

_F32 = npt.NDArray[np.float32]
_Estimator = TypeVar("_Estimator", bound=nn.Module)
_FILE = "motion_space.safetensors"


class MotionSpace(Protocol):
    """What the engine asks of a motion space."""

    model: LandmarkModel

    def measure(self, crop: FaceCrop) -> Coefficients:
        """Coefficients of a portrait."""

    def measure_sequence(self, landmarks_px: npt.NDArray[np.floating], size_px: int) -> DrivingMotion:
        """Motion of a video from its landmarks (T, 478, 3) px, NaN where no face was found."""

    def rest(self, coefficients: Coefficients) -> MouthRest:
        """The portrait's closed mouth."""

    def eye_feature(self, landmarks_px: npt.NDArray[np.floating], coefficients: Coefficients) -> _F32:
        """Blink ratio and brow displacements (21,) of the portrait (Fig. 4)."""


class LandmarkSpace:
    """The space of `LandmarkModel`."""

    def __init__(self, model: LandmarkModel) -> None:
        self.model = model

    def measure(self, crop: FaceCrop) -> Coefficients:
        return self.model.fit(crop.landmarks_px, crop.rgb.shape[0])

    def measure_sequence(self, landmarks_px: npt.NDArray[np.floating], size_px: int) -> DrivingMotion:
        motion = self.model.fit_sequence(landmarks_px, crop_size=size_px)
        return DrivingMotion(expression=motion.expression, pose=motion.pose, gaze=motion.gaze)

    @torch.inference_mode()
    def rest(self, coefficients: Coefficients) -> MouthRest:
        own = self.model.shape(
            torch.from_numpy(coefficients.identity),
            torch.from_numpy(coefficients.expression),
            torch.from_numpy(coefficients.residual),
        )[torch.from_numpy(IBUG_68)]
        basis_68 = self.model.expression_basis_68.numpy()
        return mouth_rest(basis_68, own.numpy(), coefficients.expression)

    def eye_feature(self, landmarks_px: npt.NDArray[np.floating], coefficients: Coefficients) -> _F32:
        return _eye_feature(self.model, coefficients)


class BfmSpace:
    """The space of the released weights.

    Expression 0 is the neutral face with its mouth shut, so that is where it rests, and a scaled expression is
    scaled from there, as the release does. Eye features are measured on the landmarks.
    """

    def __init__(self, model: LandmarkModel, recon: FaceReconstruction | None, gaze: GazeEstimator | None) -> None:
        self.model = model
        self._recon, self._gaze = recon, gaze

    def measure(self, crop: FaceCrop) -> Coefficients:
        if self._recon is None or self._gaze is None:
            raise WeightsIncomplete(
                "these weights describe a portrait by Deep3DFaceRecon and L2CS numbers, and lack a network that "
                "measures them: import again with --recon epoch_20.pth --l2cs L2CSNet_gaze360.pkl, or measure "
                "elsewhere and call engine.enroll(image, coefficients=...)"
            )
        return measure_bfm(crop, self._recon, self._gaze)

    def measure_sequence(self, landmarks_px: npt.NDArray[np.floating], size_px: int) -> DrivingMotion:
        raise WeightsIncomplete(
            "motion cannot be taken from a video with imported weights yet; use the default weights"
        )

    def rest(self, coefficients: Coefficients) -> MouthRest:
        return MouthRest(np.zeros(EXPRESSION_SIZE, dtype=np.float32), np.eye(EXPRESSION_SIZE, dtype=np.float32))

    def eye_feature(self, landmarks_px: npt.NDArray[np.floating], coefficients: Coefficients) -> _F32:
        return _eye_feature(self.model, self.model.fit(landmarks_px))


def load_motion_space(folder: WeightsFolder) -> MotionSpace:
    """The motion space that a weights folder was made for; ``landmark`` where its config is silent.

    Raises:
        WeightsCorrupt: the config names another one.
    """
    name = folder.config.get("motion_space", "landmark")
    if name == "landmark":
        return LandmarkSpace(LandmarkModel.load(folder.file(_FILE)))
    if name == "bfm":
        return BfmSpace(
            LandmarkModel.load(WeightsFolder.open("default").file(_FILE)),
            _estimator(folder, "recon", FaceReconstruction),
            _estimator(folder, "l2cs", GazeEstimator),
        )
    raise WeightsCorrupt(f"{folder.path} asks for motion space '{name}'; this program has: landmark, bfm")


@torch.inference_mode()
def _eye_feature(model: LandmarkModel, coefficients: Coefficients) -> _F32:
    feature: _F32 = model.eye_feature(torch.from_numpy(coefficients.expression)).numpy()
    return feature


def _estimator(folder: WeightsFolder, part: str, build: Callable[[ResNetConfig], _Estimator]) -> _Estimator | None:
    if not folder.section(part):
        return None
    network = build(from_mapping(ResNetConfig, folder.section(part), part))
    load_into(network, folder.tensors(f"{part}.safetensors"), f"{part}.safetensors")
    return network
