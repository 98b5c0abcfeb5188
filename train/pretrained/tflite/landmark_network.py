"""The 478-landmark network that the package carries, differentiable, and features for losses from its landmarks.

The open recipes use it where the paper uses networks whose files only a user can bring:

    rgb --cut at a place, 256 px--> trunk 128, 64, 32, 16, 8, 4, 2 px --> 478 landmarks --> px of rgb
                                                                           |
                                                                           blendshape network: expression (Eq. 13)
                                                                           irises between eye corners: gaze (Eq. 14)

Weights are MediaPipe's (Apache-2.0), read from ``engine/portrait/assets`` at start, which takes a
few hundredths of a second; nothing is converted or stored. Shape suffixes: B rows, H and W pixels, N landmarks,
F features.
"""

from typing import Final

import torch
from torch import Tensor, nn

from engine.errors import WeightsNotFound
from engine.motion.space.landmark_table import EYE_CORNERS, IRIS_CENTRES, LANDMARK_COUNT
from engine.portrait.face_networks import ASSETS
from train.pretrained.pixels import resized
from train.pretrained.places import cut_places, face_places, from_places
from train.pretrained.tflite.graph import read_graph
from train.pretrained.tflite.network import TfliteNetwork

_SIZE_PX: Final = 256
_PASSES: Final = 2
"""How often a face is looked for: where crops have it, then where it was found."""
_CROP_FACE: Final = (0.5, 0.5 + 0.1 / 1.9, 1.5 / 1.9)
"""Where `engine.portrait.crop_face` puts the face: middle x, y and the side of a 1.5 place, as shares of the crop."""

_BLENDSHAPE_POINTS: Final = (
    0, 1, 4, 5, 6, 7, 8, 10, 13, 14, 17, 21, 33, 37, 39, 40, 46, 52, 53, 54, 55, 58, 61, 63, 65, 66, 67, 70, 78, 80,
    81, 82, 84, 87, 88, 91, 93, 95, 103, 105, 107, 109, 127, 132, 133, 136, 144, 145, 146, 148, 149, 150, 152, 153,
    154, 155, 157, 158, 159, 160, 161, 162, 163, 168, 172, 173, 176, 178, 181, 185, 191, 195, 197, 234, 246, 249,
    251, 263, 267, 269, 270, 276, 282, 283, 284, 285, 288, 291, 293, 295, 296, 297, 300, 308, 310, 311, 312, 314,
    317, 318, 321, 323, 324, 332, 334, 336, 338, 356, 361, 362, 365, 373, 374, 375, 377, 378, 379, 380, 381, 382,
    384, 385, 386, 387, 388, 389, 390, 397, 398, 400, 402, 405, 409, 415, 454, 466, 468, 469, 470, 471, 472, 473,
    474, 475, 476, 477,
)  # fmt: skip
"""Landmarks that the blendshape network reads (MediaPipe's face_blendshapes_graph)."""


def bundled_network(name: str) -> TfliteNetwork:
    """One of the networks in the bundled face model, frozen.

    Args:
        name: ``face_landmarks_detector``, ``face_detector`` or ``face_blendshapes``.

    Raises:
        WeightsNotFound: the package lacks its face model.
        CheckpointRefused: it is damaged.
    """
    path = ASSETS / f"{name}.tflite"
    try:
        data = path.read_bytes()
    except OSError:
        raise WeightsNotFound(f"the face model {path} is missing; install the package again") from None
    return TfliteNetwork(read_graph(data, path.name)).eval()


class LandmarkNetwork(nn.Module):
    """Images to 478 landmarks, as MediaPipe's, with gradients to the image."""

    def __init__(self) -> None:
        super().__init__()
        self.network = bundled_network("face_landmarks_detector")
        shapes = self.network.graph.shapes
        outputs = self.network.graph.outputs
        self._output = next(number for number in outputs if shapes[number][-1] == 3 * LANDMARK_COUNT)
        self.requires_grad_(False)

    def forward(self, rgb_B3HW: Tensor, place_px_B4: Tensor | None = None) -> Tensor:
        """Float32 (B, 3, H, W) in [-1, 1] to landmarks (B, 478, 3) px: x right, y down, z smaller is nearer.

        Args:
            place_px_B4: where the faces are, as `face_places` gives from landmarks; None finds them (`places`), which
                holds for crops of `engine.portrait.crop_face`.
        """
        place = self.places(rgb_B3HW) if place_px_B4 is None else place_px_B4
        return self._landmarks(rgb_B3HW, place)

    @torch.no_grad()
    def places(self, rgb_B3HW: Tensor) -> Tensor:
        """Places (B, 4) of the faces in head crops: looked for where crops have them, then where they were found."""
        height, width = rgb_B3HW.shape[-2:]
        x, y, side = _CROP_FACE
        start = rgb_B3HW.new_tensor([x * width, y * height, side * width, 0.0])
        place = start.expand(len(rgb_B3HW), 4)
        for _ in range(_PASSES):
            place = face_places(self._landmarks(rgb_B3HW, place))
        return place

    def _landmarks(self, rgb_B3HW: Tensor, place_px_B4: Tensor) -> Tensor:
        cut = cut_places(rgb_B3HW, place_px_B4, _SIZE_PX) / 2 + 0.5
        found = self.network(cut.permute(0, 2, 3, 1))[self._output]
        return from_places(found.reshape(-1, LANDMARK_COUNT, 3), place_px_B4, _SIZE_PX)

    def maps(self, rgb_B3HW: Tensor, sizes: tuple[int, ...]) -> list[Tensor]:
        """The trunk's last maps of ``sizes`` px for whole images, (B, C, size, size); see `RegionParser`."""
        taps = [self.network.last_of_size(size) for size in sizes]
        run = self.network((resized(rgb_B3HW, _SIZE_PX) / 2 + 0.5).permute(0, 2, 3, 1), taps)
        return [run[tap].permute(0, 3, 1, 2) for tap in taps]


class BlendshapeFeatures(nn.Module):
    """Expression for Eq. 13 without a file of the user: MediaPipe's blendshape network on the landmarks.

    Its 52 scores name expressions (jawOpen, browDownLeft ...). A loss on them would hardly pull where a score is near
    0 or 1, so the features are the 64 numbers before its last layer.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = bundled_network("face_blendshapes")
        last = [operator for operator in self.network.graph.operators if operator.name == "conv_2d"][-1]
        self._features = last.inputs[0]
        self.requires_grad_(False)

    def forward(self, landmarks_px_BN3: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, 64) and scores (B, 52) in [0, 1] of landmarks (B, 478, 2 or 3) px."""
        points = landmarks_px_BN3[:, list(_BLENDSHAPE_POINTS), :2]
        run = self.network(points, [self._features])
        return run[self._features].flatten(1), run[self.network.graph.outputs[0]]


def iris_offsets(landmarks_px_BN3: Tensor) -> Tensor:
    """Gaze for Eq. 14 without a file of the user: where the irises stand between the corners of the eyes.

    Args:
        landmarks_px_BN3: (B, 478, 2 or 3).

    Returns:
        Offsets from the middle of the corners, (B, 4) = left x, y, right x, y. In widths of the eye, x along its
        corners towards the image right, y downwards across: about -0.25 to 0.25, and the same for any place, size and
        roll of the face.
    """
    points = landmarks_px_BN3[..., :2]
    offsets = []
    for iris, (outer, inner) in zip(IRIS_CENTRES, EYE_CORNERS, strict=True):
        along = points[:, inner] - points[:, outer]
        along = along if iris == IRIS_CENTRES[0] else -along
        from_middle = points[:, iris] - (points[:, inner] + points[:, outer]) / 2
        across = torch.stack([-along[:, 1], along[:, 0]], 1)
        width = along.square().sum(1).clamp(min=1e-6)
        offsets += [(from_middle * along).sum(1) / width, (from_middle * across).sum(1) / width]
    return torch.stack(offsets, 1)
