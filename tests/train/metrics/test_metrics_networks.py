"""What reaches the frozen networks of an evaluation, seen through small stand-ins with their interfaces."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine.media import Mp4Writer
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker, load_image
from train.evaluate import embeddings
from train.evaluate.features import FeatureCache, Video, open_video
from train.evaluate.networks import find_networks

_FRAMES = 12


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory, portrait_path: Path) -> Video:
    """The demo portrait, square, moving right by 2 px a frame, with half a second of a tone."""
    folder = tmp_path_factory.mktemp("film")
    image = load_image(portrait_path)
    side = min(image.shape[:2])
    small = np.asarray(torch.nn.functional.interpolate(
        torch.from_numpy(image[:side, :side]).permute(2, 0, 1)[None].float(), (256, 256), mode="area"
    )[0].permute(1, 2, 0).round().byte())  # fmt: skip
    with Mp4Writer(folder / "film.mp4", (256, 256), 16000, 1) as writer:
        writer.write_audio(np.sin(np.arange(_FRAMES * 640) / 5).astype(np.float32) / 3)
        for index in range(_FRAMES):
            writer.write(np.ascontiguousarray(np.roll(small, 2 * index, axis=1)), index * 640)
    landmarker = FaceLandmarker()
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    cache = FeatureCache(folder / "cache")
    return open_video("film", folder / "film.mp4", cache, landmarker, model)


class _Sync(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, ...]] = []
        self.largest = 0.0

    def speech(self, mfcc: Tensor) -> Tensor:
        self.seen.append(tuple(mfcc.shape))
        return mfcc.flatten(1)[:, :8]

    def lips(self, bgr: Tensor) -> Tensor:
        self.seen.append(tuple(bgr.shape))
        self.largest = max(self.largest, float(bgr.max()))
        return bgr.mean((2, 3, 4)).repeat(1, 3)[:, :8]


def test_syncnet_sees_five_frames_of_a_cut_face_and_twenty_columns(video: Video) -> None:
    network = _Sync()
    found = embeddings.sync_features(video, network, batch=3)
    assert found["lips"].shape == found["voice"].shape == (_FRAMES - 4, 8)
    assert network.seen[0] == (3, 1, 13, 20)
    assert (3, 3, 5, 224, 224) in network.seen
    assert 50 < network.largest <= 255
    red_above_blue = found["lips"][:, 2] > found["lips"][:, 0]
    assert red_above_blue.all(), "skin is redder than blue: channels must be in the order blue, green, red"


def test_identity_is_seen_in_aligned_faces(video: Video) -> None:
    shapes = []

    class Identity(nn.Module):
        def forward(self, rgb: Tensor) -> Tensor:
            shapes.append(tuple(rgb.shape))
            return rgb.flatten(1)

    found = embeddings.identity_features(video, Identity(), batch=5)["features"]
    assert shapes == [(5, 3, 112, 112), (5, 3, 112, 112), (2, 3, 112, 112)]
    centred = found - found.mean(1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    # The face moves by 22 px over the video; aligned, its first and last images are nearly one.
    assert (unit[0] * unit[-1]).sum() > 0.9


def test_head_pose_gives_rotation_vectors_and_features(video: Video) -> None:
    class Pose(nn.Module):
        def forward(self, rgb: Tensor) -> Tensor:
            quarter = torch.tensor([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
            return quarter.expand(len(rgb), 3, 3)

        def features(self, rgb: Tensor) -> Tensor:
            return rgb.mean((2, 3))

    found = embeddings.head_pose_features(video, Pose(), batch=7)
    assert found["rotation"].shape == (_FRAMES, 3)
    assert np.allclose(found["rotation"], [0, 0, np.pi / 2], atol=1e-5)
    assert found["features"].shape == (_FRAMES, 3)


def test_inception_sees_every_frame_once(video: Video) -> None:
    found = embeddings.inception_features(video, lambda rgb: rgb.mean((2, 3)), batch=5)["features"]
    assert found.shape == (_FRAMES, 3)
    assert np.abs(found).max() <= 1


def test_images_of_a_video_against_itself(video: Video) -> None:
    figures = embeddings.image_figures(video, video, lambda rgb: (rgb, rgb[:, :, ::2, ::2]), batch=5)
    assert figures["psnr"].tolist() == [100.0] * _FRAMES
    assert np.allclose(figures["ssim"], 1)
    assert np.allclose(figures["perceptual"], 0)


def test_missing_networks_come_with_a_reason(tmp_path: Path) -> None:
    networks = find_networks(["inception", "syncnet", "head_pose"], None)
    assert not networks.found
    assert all("--pretrained" in reason for reason in networks.missing.values())
    assert "landmark fit" in networks.notes["head_pose"]
    networks = find_networks(["inception"], tmp_path)
    assert str(tmp_path) in networks.missing["inception"]
