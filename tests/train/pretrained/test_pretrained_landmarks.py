"""The landmark network in PyTorch: the same numbers as Google's runtime, the same faces as MediaPipe, gradients."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.motion.space.landmark_table import IBUG_68, MIRROR
from engine.portrait import FaceLandmarker, crop_face
from train.pretrained import (
    BlendshapeFeatures,
    FaceCropped,
    LandmarkNetwork,
    cut_places,
    expression_places,
    face_places,
    iris_offsets,
    recognition_places,
)
from train.pretrained.tflite.landmark_network import bundled_network

_GOLDEN = Path(__file__).parent.parent.parent / "golden" / "tflite.npz"


@pytest.fixture(scope="module")
def network() -> LandmarkNetwork:
    return LandmarkNetwork()


@pytest.fixture(scope="module")
def portrait(portrait_path: Path) -> NDArray[np.float32]:
    return np.asarray(Image.open(portrait_path).convert("RGB").resize((512, 512)), np.float32)


@pytest.fixture(scope="module")
def crop(portrait: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
    """The bundled face as a crop (1, 3, 256, 256) and MediaPipe's landmarks in it (1, 478, 3)."""
    landmarker = FaceLandmarker()
    rgb = portrait.astype(np.uint8)
    found = crop_face(rgb, landmarker.detect(rgb))
    points = landmarker.detect(found.rgb)
    pixels = torch.from_numpy(found.rgb.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return pixels, torch.from_numpy(points)[None]


def _golden(name: str) -> NDArray[Any]:
    with np.load(_GOLDEN) as file:
        return np.array(file[name])


def test_landmarks_are_those_of_the_runtime(network: LandmarkNetwork, portrait: NDArray[np.float32]) -> None:
    """Same 256 px input, decoders of JPEG may differ by a level: far below a pixel."""
    rgb = torch.from_numpy(portrait[96:352, 128:384]).permute(2, 0, 1)[None] / 127.5 - 1
    whole = torch.tensor([[128.0, 128.0, 256.0, 0.0]])
    with torch.no_grad():
        found = network(torch.cat([rgb, rgb.flip(3)]), whole.expand(2, 4))[0]
    np.testing.assert_allclose(found.numpy().reshape(-1), _golden("landmarks"), atol=0.02)


def test_the_other_networks_of_the_face_model_run_too(portrait: NDArray[np.float32]) -> None:
    detector, blendshapes = bundled_network("face_detector"), bundled_network("face_blendshapes")
    scores = next(
        value for value in detector(torch.from_numpy(portrait[None, ::4, ::4] / 127.5 - 1)).values()
        if value.numel() == 896
    )  # fmt: skip
    np.testing.assert_allclose(scores.numpy().reshape(-1), _golden("scores"), atol=0.05)
    points = np.random.default_rng(0).uniform(0, 256, (1, 146, 2)).astype(np.float32)
    run = blendshapes(torch.from_numpy(np.concatenate([points, points[:, ::-1].copy()])))
    (shapes,) = run.values()
    assert shapes.shape == (2, 52)
    np.testing.assert_allclose(shapes[0].numpy(), _golden("blendshapes"), atol=1e-4)


def test_faces_are_found_where_mediapipe_finds_them(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    """MediaPipe places its own cut by another network, so the two differ by a fraction of a pixel."""
    rgb, expected = crop
    with torch.no_grad():
        apart = (network(rgb) - expected)[0, :, :2].norm(dim=1)
    assert apart.mean() < 1.0
    assert apart.max() < 4.0


def test_landmarks_move_with_the_image(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    rgb, _ = crop
    with torch.no_grad():
        still, moved = network(rgb), network(rgb.roll((6, -9), (2, 3)))
    offset = (moved - still)[0, :, :2].mean(0)
    torch.testing.assert_close(offset, torch.tensor([-9.0, 6.0]), atol=0.5, rtol=0)


def test_gradients_pull_pixels_to_other_landmarks(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    """Descending the distance to a mouth corner 3 px further out brings the corner out."""
    rgb, points = crop
    place = face_places(points)
    with torch.no_grad():
        start = network(rgb, place)[0, 61, 0]
    image = rgb.clone().requires_grad_()
    optimiser = torch.optim.Adam([image], 0.02)
    for _ in range(3):
        loss = (network(image, place)[0, 61, 0] - (start - 3)).square()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert network(image, place)[0, 61, 0] < start - 0.5


def test_gradient_is_that_of_finite_differences(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    place = face_places(points)
    exact = network.double()
    image = rgb.double().requires_grad_()
    value = exact(image, place.double())[0, 14, 1]
    value.backward()
    assert image.grad is not None
    way = image.grad / image.grad.norm()
    with torch.no_grad():
        ends = [exact(rgb.double() + sign * 1e-4 * way, place.double())[0, 14, 1] for sign in (1, -1)]
    network.float()
    assert float((ends[0] - ends[1]) / 2e-4) == pytest.approx(float(image.grad.norm()), rel=0.02)


def test_expression_tells_an_open_jaw(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    shapes = BlendshapeFeatures()
    assert shapes(network(rgb))[0].shape == (1, 64)
    opened = points.clone()
    reach = 0.15 * (points[..., 1].max() - points[..., 1].min())
    below = points[..., 1] > points[:, 14:15, 1] - 0.5
    opened[..., 1] += reach * below
    closed_scores, open_scores = (shapes(p)[1][0] for p in (points, opened))
    jaw_open = 25
    assert open_scores[jaw_open] > closed_scores[jaw_open] + 0.2


def test_gaze_follows_the_irises(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    straight = iris_offsets(network(rgb))
    assert straight.abs().max() < 0.15
    moved = points.clone()
    moved[:, 468:, 0] += 3
    widths = [float((points[0, a, :2] - points[0, b, :2]).norm()) for a, b in ((33, 133), (263, 362))]
    change = (iris_offsets(moved) - iris_offsets(points))[0]
    np.testing.assert_allclose(change[[0, 2]], [3 / width for width in widths], rtol=0.02)
    # Turning, growing and moving the face changes nothing.
    turn = torch.tensor([[0.8, -0.6], [0.6, 0.8]])
    turned = torch.cat([points[..., :2] @ turn.T * 1.7 + 40, points[..., 2:]], -1)
    torch.testing.assert_close(iris_offsets(turned), iris_offsets(points), atol=1e-4, rtol=1e-3)


def test_cuts_are_upright_and_to_scale() -> None:
    """A rolled square of a linear image, against the plane's own formula."""
    y, x = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(120) + 0.5, indexing="ij")
    image = torch.stack([x, y])[None].requires_grad_()
    place = torch.tensor([[60.0, 50.0, 40.0, 0.3]])
    cut = cut_places(image, place, 16)
    u = (np.arange(16) + 0.5) / 16 * 40 - 20
    across, down = np.meshgrid(u, u)
    np.testing.assert_allclose(cut[0, 0].detach(), 60 + across * np.cos(0.3) - down * np.sin(0.3), atol=1e-3)
    np.testing.assert_allclose(cut[0, 1].detach(), 50 + across * np.sin(0.3) + down * np.cos(0.3), atol=1e-3)


def test_places_turn_with_the_face(crop: tuple[Tensor, Tensor]) -> None:
    _, points = crop
    angle = 0.4
    turn = torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], dtype=torch.float32)
    turned = torch.cat([points[..., :2] @ turn.T, points[..., 2:]], -1)
    for place in (face_places, recognition_places):
        still, moved = place(points), place(turned)
        torch.testing.assert_close(moved[:, :2], still[:, :2] @ turn.T, atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(moved[:, 2], still[:, 2], atol=1e-2, rtol=1e-4)
        torch.testing.assert_close(moved[:, 3], still[:, 3] + angle, atol=1e-4, rtol=0)
    assert face_places(turned, upright=True)[0, 3] == 0


def test_expression_cuts_follow_decas_rule(crop: tuple[Tensor, Tensor]) -> None:
    _, points = crop
    box = points[0, IBUG_68.tolist(), :2].numpy()
    left, top, right, bottom = *box.min(0), *box.max(0)
    expected = [(left + right) / 2, (top + bottom) / 2, (right - left + bottom - top) / 2 * 1.1 * 1.25, 0]
    np.testing.assert_allclose(expression_places(points)[0], expected, rtol=1e-5)


def test_recognition_cuts_have_arcfaces_template(crop: tuple[Tensor, Tensor]) -> None:
    """Against a least-squares similarity solved by NumPy."""
    _, points = crop
    five = points[0, [468, 473, 4, 61, 291], :2].double().numpy()
    template = np.array(
        [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
    )
    rows = [[x, -y, 1, 0] for x, y in template] + [[y, x, 0, 1] for x, y in template]
    a, b, tx, ty = np.linalg.lstsq(np.array(rows), np.concatenate([five[:, 0], five[:, 1]]), rcond=None)[0]
    x, y, side, roll = recognition_places(points)[0].tolist()
    assert side == pytest.approx(112 * np.hypot(a, b), rel=1e-4)
    assert roll == pytest.approx(np.arctan2(b, a), abs=1e-4)
    assert (x, y) == pytest.approx((56 * a - 56 * b + tx, 56 * b + 56 * a + ty), abs=1e-2)


def test_face_networks_see_the_face(crop: tuple[Tensor, Tensor]) -> None:
    rgb, points = crop
    wrapped = FaceCropped(torch.nn.Identity(), expression_places)
    torch.testing.assert_close(wrapped(rgb, points), cut_places(rgb, expression_places(points), 224))


def test_the_mirrored_face_has_mirrored_landmarks(network: LandmarkNetwork, crop: tuple[Tensor, Tensor]) -> None:
    rgb, _ = crop
    with torch.no_grad():
        still, mirrored = network(rgb)[0], network(rgb.flip(3))[0, MIRROR]
    mirrored[:, 0] = 256 - mirrored[:, 0]
    assert (mirrored - still)[:, :2].norm(dim=1).mean() < 1.5
