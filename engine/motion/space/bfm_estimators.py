"""The two networks that measure a portrait in the bfm space, both brought by the user.

    crop --5-point alignment--> 224 x 224 --Deep3DFaceRecon--> 257 numbers: expression, rotation, translation
    crop --face box-----------> 448 x 448 --L2CS------------> two angles

Deng et al. 2019, "Accurate 3D Face Reconstruction with Weakly-Supervised Learning"; Abdelrahman et al. 2022,
"L2CS-Net". Shape suffixes: B rows, H and W pixels, F features.
"""

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from engine.motion.space.coefficients import Coefficients
from engine.motion.space.landmark_table import IBUG_68
from engine.motion.space.resnet import ResNet, ResNetConfig
from engine.portrait import FaceCrop

_F32 = npt.NDArray[np.float32]
_U8 = npt.NDArray[np.uint8]

_RECON_PX, _RECON_SCALE = 224, 102.0
_HEADS = (80, 64, 80, 3, 27, 2, 1)
_EXPRESSION, _ROTATION, _TRANSLATION = slice(80, 144), slice(224, 227), slice(254, 257)
# Both eyes, nose tip, both mouth corners of the mean face, in the units of its model, y up.
_MEAN_5 = np.array(
    [
        [-0.31148657, 0.29036078, 0.13377953],
        [0.30979887, 0.28972036, 0.13179526],
        [0.0032535, -0.04617932, 0.55244243],
        [-0.25216928, -0.38133916, 0.22405732],
        [0.2484662, -0.38128236, 0.22235769],
    ]
)
_GAZE_PX, _GAZE_BINS, _BIN_DEG, _FIRST_DEG = 448, 90, 4.0, -180.0
_MEAN_RGB, _STD_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FACE_BOX = 1.2


class FaceReconstruction(nn.Module):
    """Deep3DFaceRecon: a ResNet-50 and seven linear heads."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__()
        self.backbone = ResNet(config)
        size = self.backbone.config.feature_size
        self.final_layers = nn.ModuleList(nn.Conv2d(size, head, 1) for head in _HEADS)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Aligned images (B, 3, 224, 224) in [0, 1] to (B, 257) coefficients."""
        features_BF11 = self.backbone(rgb_B3HW)[:, :, None, None]
        return torch.cat([head(features_BF11) for head in self.final_layers], dim=1).flatten(1)


class GazeEstimator(ResNet):
    """L2CS: a ResNet-50 and two heads of 90 bins of 4 degrees."""

    def __init__(self, config: ResNetConfig | None = None) -> None:
        super().__init__(config)
        self.fc_yaw_gaze = nn.Linear(self.config.feature_size, _GAZE_BINS)
        self.fc_pitch_gaze = nn.Linear(self.config.feature_size, _GAZE_BINS)

    def forward(self, rgb_B3HW: Tensor) -> Tensor:
        """Faces (B, 3, 448, 448), ImageNet-normalised, to (B, 2) radians.

        The order is the release's: it takes the head that is called yaw for its first angle, the pitch.
        """
        features_BF = self.features(rgb_B3HW)
        return torch.stack([_angle(head(features_BF)) for head in (self.fc_yaw_gaze, self.fc_pitch_gaze)], 1)


def _angle(bins: Tensor) -> Tensor:
    index = torch.arange(_GAZE_BINS, dtype=bins.dtype, device=bins.device)
    return torch.deg2rad((bins.softmax(dim=1) * index).sum(dim=1) * _BIN_DEG + _FIRST_DEG)


@torch.inference_mode()
def measure_bfm(crop: FaceCrop, recon: FaceReconstruction, gaze: GazeEstimator) -> Coefficients:
    """Expression, pose (rotation, translation) and gaze of a portrait; identity is kept too."""
    aligned = torch.from_numpy(align_5_points(crop.rgb, crop.landmarks_px)).permute(2, 0, 1)[None] / 255
    numbers: _F32 = recon(aligned)[0].numpy()
    face = torch.from_numpy(_face_box(crop.rgb, crop.landmarks_px)).permute(2, 0, 1)[None] / 255
    mean, std = (torch.tensor(values)[None, :, None, None] for values in (_MEAN_RGB, _STD_RGB))
    angles: _F32 = gaze((face - mean) / std)[0].numpy()
    pose = np.concatenate([numbers[_ROTATION], numbers[_TRANSLATION]])
    return Coefficients.from_descriptor(np.concatenate([numbers[_EXPRESSION], pose, angles]))


def align_5_points(rgb: _U8, landmarks_px: npt.NDArray[np.floating]) -> _U8:
    """Resize and cut an image (H, W, 3) so that its face has the mean face's place and size: (224, 224, 3).

    Scale and shift are those of the scaled-orthographic projection of the mean face's five points that comes
    closest to the image's; the face is not rotated.
    """
    height, width = rgb.shape[:2]
    points = np.asarray(landmarks_px, np.float64)[IBUG_68][:, :2] - 0.5
    eyes = (points[[36, 42]] + points[[39, 45]]) / 2
    five = np.concatenate([eyes, points[[30, 48, 54]]])
    five[:, 1] = height - 1 - five[:, 1]
    solution = np.linalg.lstsq(np.c_[_MEAN_5, np.ones(5)], five, rcond=None)[0]
    scale = _RECON_SCALE / np.linalg.norm(solution[:3], axis=0).mean()
    middle_x, middle_y = solution[3]
    size = int(width * scale), int(height * scale)
    left = int(size[0] / 2 - _RECON_PX / 2 + (middle_x - width / 2) * scale)
    top = int(size[1] / 2 - _RECON_PX / 2 + (height / 2 - middle_y) * scale)
    resized = Image.fromarray(rgb).resize(size, Image.Resampling.BICUBIC)
    return np.array(resized.crop((left, top, left + _RECON_PX, top + _RECON_PX)), np.uint8)


def _face_box(rgb: _U8, landmarks_px: npt.NDArray[np.floating]) -> _U8:
    low, high = landmarks_px[:, :2].min(axis=0), landmarks_px[:, :2].max(axis=0)
    reach = float((high - low).max()) * _FACE_BOX / 2
    x, y = (float(value) for value in (low + high) / 2)
    box = (round(x - reach), round(y - reach), round(x + reach), round(y + reach))
    face = Image.fromarray(rgb).crop(box).resize((_GAZE_PX, _GAZE_PX), Image.Resampling.BILINEAR)
    return np.array(face, np.uint8)
