"""The animator that the mesh guides: where it begins, what it takes, what is refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork, GeometricAnimator, NeuralAnimator
from engine.animator.mesh.guide import frame_guide, outside_face
from engine.animator.network.guided_decoder import GuidedDecoder
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder
from engine.motion.space.coefficients import GAZE, POSE, Coefficients
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop, FaceLandmarker, crop_face, load_image
from tests.animator.neural_cases import GUIDED, SMALL, guides, inputs
from tests.random_weights import randomise_weights
from train.tasks.animator_start import start_as_guide

_PORTRAIT = Path(__file__).resolve().parents[2] / "engine" / "assets" / "portrait.jpg"


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


@pytest.fixture(scope="module")
def mesh(model: LandmarkModel) -> GeometricAnimator:
    return GeometricAnimator(model)


@pytest.fixture(scope="module")
def portrait(model: LandmarkModel) -> tuple[FaceCrop, Coefficients]:
    rgb = load_image(_PORTRAIT)
    crop = crop_face(rgb, FaceLandmarker().detect(rgb))
    return crop, model.fit(crop.landmarks_px)


@pytest.fixture(scope="module")
def windows(portrait: tuple[FaceCrop, Coefficients]) -> np.ndarray:
    """(2, 1, 72): turned, smiling or not, looking aside."""
    windows = np.repeat(portrait[1].descriptor[None, None], 2, 0)
    windows[0, 0, :6] += 0.8
    windows[0, 0, POSE][1] += 0.1
    windows[1, 0, GAZE] = (0.1, 0.4)
    return windows


def _network(config: FaceAnimatorConfig, *, as_guide: bool = False) -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(config)
    randomise_weights(network)
    if as_guide:
        start_as_guide(network)
    return network


def test_it_begins_as_the_image_of_the_mesh(
    mesh: GeometricAnimator, portrait: tuple[FaceCrop, Coefficients], windows: np.ndarray
) -> None:
    animator = NeuralAnimator(_network(FaceAnimatorConfig.guided_lite(), as_guide=True), mesh=mesh)
    prepared = animator.prepare(*portrait)
    for window in windows:
        shown = animator.render(prepared, window, intensity=0.7).astype(int)
        expected = mesh.render(mesh.prepare(*portrait), window, intensity=0.7)
        assert np.abs(shown - expected).max() <= 1


def test_rows_are_guided_each_by_its_own_portrait_and_motion(
    mesh: GeometricAnimator, portrait: tuple[FaceCrop, Coefficients], windows: np.ndarray
) -> None:
    animator = NeuralAnimator(_network(FaceAnimatorConfig.guided_lite()), mesh=mesh)
    crop, coefficients = portrait
    darker = FaceCrop(crop.rgb // 2, crop.landmarks_px, crop.matrix)
    prepared = [animator.prepare(crop, coefficients), animator.prepare(darker, coefficients)]
    together = animator.render_batch(prepared, windows, intensity=[1.0, 0.5])
    for row, one in enumerate(prepared):
        alone = animator.render(one, windows[row], intensity=1.0 - 0.5 * row)
        assert np.abs(together[row].astype(int) - alone).max() <= 1
    assert np.abs(together[0].astype(int) - together[1]).mean() > 5


def test_rows_that_pad_a_batch_are_not_drawn_again(
    mesh: GeometricAnimator,
    portrait: tuple[FaceCrop, Coefficients],
    windows: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    animator = NeuralAnimator(_network(FaceAnimatorConfig.guided_lite()), mesh=mesh)
    one, drawn = animator.prepare(*portrait), []
    draw = mesh.render_with_map
    monkeypatch.setattr(mesh, "render_with_map", lambda *args, **how: drawn.append(1) or draw(*args, **how))
    padded = windows[[0, 1, 1, 1]]
    images = animator.render_batch([one] * 4, padded)
    assert len(drawn) == 2
    assert np.array_equal(images[1], images[3])
    animator.render_batch([one] * 2, padded[2:], intensity=[1.0, 0.5])
    assert len(drawn) == 4


def test_a_larger_frame_is_corrected_like_the_networks_own(
    mesh: GeometricAnimator, model: LandmarkModel, portrait: tuple[FaceCrop, Coefficients], windows: np.ndarray
) -> None:
    """The network works at its own size; what it changes is enlarged to frames of 512 px."""
    network, _ = load_network(WeightsFolder.open("default"))
    animator = NeuralAnimator(network, mesh=mesh)
    turned = windows[1].copy()
    turned[0, POSE][:2] += (0.1, 0.3)
    rgb = load_image(_PORTRAIT)
    large = crop_face(rgb, FaceLandmarker().detect(rgb), 512)
    wide = animator.render(animator.prepare(large, model.fit(large.landmarks_px, 512)), turned)
    small = animator.render(animator.prepare(*portrait), turned)
    drawn = mesh.render(mesh.prepare(*portrait), turned)
    assert wide.shape == (512, 512, 3)
    shrunk = cv2.resize(wide, (256, 256), interpolation=cv2.INTER_AREA).astype(int)
    changed = np.abs(drawn.astype(int) - small).max(-1) > 8
    assert changed.sum() > 200
    assert np.abs(shrunk - small)[changed].mean() < 0.5 * np.abs(shrunk - drawn)[changed].mean()


def test_a_map_comes_with_the_image(
    mesh: GeometricAnimator, portrait: tuple[FaceCrop, Coefficients], windows: np.ndarray
) -> None:
    prepared = mesh.prepare(*portrait)
    rgb, places = mesh.render_with_map(prepared, windows[0])
    assert np.array_equal(rgb, mesh.render(prepared, windows[0]))
    size = rgb.shape[0]
    outside = outside_face(portrait[0].landmarks_px, size, size)
    guide = frame_guide(rgb, places, outside)
    assert np.allclose(guide[:3].transpose(1, 2, 0) * 127.5 + 127.5, rgb, atol=1e-3)
    back = np.tanh(guide[3:5]) * (size / 2) + np.mgrid[:size, :size][::-1]
    assert np.allclose(back.transpose(1, 2, 0), places, atol=1e-2)


def test_the_flow_of_the_mesh_is_what_features_are_fetched_by() -> None:
    """A flow of some pixels changes the image even where its colours stay."""
    network = _network(GUIDED).freeze()
    rgb, window = inputs(GUIDED, rows=1)
    (guide,) = guides(GUIDED, rows=1)
    still = guide.clone()
    still[:, 3:5] = 0
    with torch.inference_mode():
        code, features = network.encode(rgb)
        images = [network.animate(code, (*features, given), window) for given in (guide, still)]
    assert (images[0] - images[1]).abs().mean() > 1e-3


def test_every_weight_of_the_guided_animator_learns() -> None:
    network = _network(FaceAnimatorConfig.guided_lite())
    rgb, window = inputs(network.config, rows=1)
    code, features = network.encode(rgb)
    image = network.animate(code, (*features, *guides(network.config, rows=1)), window)
    image.square().mean().backward()
    assert [n for n, p in network.named_parameters() if not p.grad.abs().sum() > 0] == []


def test_the_face_is_left_to_the_mesh(
    mesh: GeometricAnimator, portrait: tuple[FaceCrop, Coefficients], windows: np.ndarray
) -> None:
    """Wherever the motion carries it; around it the network moves what it thinks is out of place."""
    network = _network(FaceAnimatorConfig.guided_lite())
    animator = NeuralAnimator(network, mesh=mesh)
    drawn = mesh.render(mesh.prepare(*portrait), windows[0])
    apart = np.abs(animator.render(animator.prepare(*portrait), windows[0]).astype(int) - drawn).max(-1)
    face = np.zeros(apart.shape, np.uint8)
    points = FaceLandmarker().detect(drawn)[:, :2].astype(np.float32)
    cv2.fillConvexPoly(face, cv2.convexHull(points).round().astype(np.int32), 1)
    assert apart[face == 1].max() <= 1
    assert np.percentile(apart[face == 0], 95) > 5


def test_shrunk_to_nothing_it_shows_the_mesh() -> None:
    network = _network(GUIDED)
    assert isinstance(network.decoder, GuidedDecoder)
    rgb, window = inputs(GUIDED, rows=1)
    (guide,) = guides(GUIDED, rows=1)
    far = []
    with torch.no_grad():
        for share in (1.0, 0.5, 0.0):
            network.decoder.shrink(share)
            code, features = network.encode(rgb)
            shown = network.animate(code, (*features, guide), window)
            far.append(float((shown - guide[:, :3]).abs().mean()))
    assert far[0] > far[1] > 0.003
    assert far[2] < 1e-6


def test_freezing_changes_nothing() -> None:
    network = _network(GUIDED)
    rgb, window = inputs(GUIDED)

    def image() -> torch.Tensor:
        code, features = network.encode(rgb)
        return network.animate(code, (*features, *guides(GUIDED)), window)

    with torch.no_grad():
        before = image()
        network.freeze()
        assert torch.allclose(image(), before, atol=1e-4)


def test_a_guide_is_asked_for_where_it_is_needed(mesh: GeometricAnimator) -> None:
    with pytest.raises(ValueError, match="guided"):
        NeuralAnimator(_network(GUIDED))
    with pytest.raises(ValueError, match="guided"):
        NeuralAnimator(_network(SMALL), mesh=mesh)
