"""The neural animator from outside: its numbers, its interface, batches, half precision, intensity."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork, NeuralAnimator, NeuralPortrait
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder, save_tensors, write_checksums
from engine.errors import CommandInvalid, WeightsCorrupt
from engine.motion.space.coefficients import Coefficients
from engine.portrait import FaceCrop
from tests.animator.neural_cases import CASES, GUIDED, SMALL, guides, inputs
from tests.random_weights import randomise_weights

_GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "animator.npz"
HALF_TOLERANCE = {torch.bfloat16: 0.6, torch.float16: 0.1}
"""Mean difference from float32, in steps of the picture's 255."""


def _network(config: FaceAnimatorConfig, seed: int = 0) -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(config)
    randomise_weights(network, seed)
    return network


def _portrait(animator: NeuralAnimator, row: int = 0) -> NeuralPortrait:
    rgb = inputs(animator.network.config)[0][row].permute(1, 2, 0)
    crop = FaceCrop(
        rgb=(rgb * 127.5 + 127.5).round().to(torch.uint8).numpy(),
        landmarks_px=np.zeros((478, 3), np.float32),
        matrix=np.eye(2, 3, dtype=np.float32),
    )
    return animator.prepare(crop, _NO_COEFFICIENTS)


_NO_COEFFICIENTS = Coefficients(
    *(np.zeros(shape, np.float32) for shape in (80, 64, 6, 2, (478, 3)))  # type: ignore[arg-type]
)


@pytest.fixture(scope="module")
def small() -> NeuralAnimator:
    return NeuralAnimator(_network(SMALL))


@pytest.fixture
def windows() -> np.ndarray[Any, np.dtype[np.float32]]:
    return inputs(SMALL)[1].numpy()


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("frozen", [False, True])
@torch.no_grad()
def test_networks_compute_the_definition(name: str, frozen: bool) -> None:
    config = CASES[name]
    network = _network(config).eval()
    if frozen:
        network.freeze()
    rgb, window = inputs(config)
    code, features = network.encode(rgb)
    latent = network.navigate(code, window)
    image = network.decoder(latent, features)
    step = config.image_size // 32
    image = image[:, :, step // 2 :: step, step // 2 :: step]
    with np.load(_GOLDEN) as golden:
        for key, actual in {"identity_code": code, "latent": latent, "picture": image}.items():
            expected = golden[f"{name}.{key}"]
            error = np.abs(actual.numpy() - expected).max() / np.abs(expected).max()
            print(name, key, error)
            assert error <= 1e-5


def test_images_are_bytes_of_the_right_size_and_repeatable(small: NeuralAnimator, windows: np.ndarray) -> None:
    portrait = _portrait(small)
    image = small.render(portrait, windows[0])
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert image.std() > 5
    np.testing.assert_array_equal(small.render(portrait, windows[0]), image)


def test_a_batch_gives_what_single_images_give(small: NeuralAnimator, windows: np.ndarray) -> None:
    portraits = [_portrait(small, row) for row in (0, 1)]
    batch = small.render_batch(portraits, windows, intensity=[1.0, 0.5])
    assert [image.shape for image in batch] == [(64, 64, 3)] * 2
    for row, intensity in enumerate((1.0, 0.5)):
        single = small.render(portraits[row], windows[row], intensity=intensity)
        assert np.abs(single.astype(int) - batch[row]).max() <= 1


def test_intensity_leads_from_the_canonical_face_to_the_whole_motion(
    small: NeuralAnimator, windows: np.ndarray
) -> None:
    portrait = _portrait(small)
    canonical = small.render(portrait, windows[0], intensity=0.0)
    np.testing.assert_array_equal(small.render(portrait, windows[1], intensity=0.0), canonical)
    assert (small.render(portrait, windows[0]) != small.render(portrait, windows[1])).any()
    with torch.inference_mode():
        decoded = small.network.decoder(portrait.identity_code, portrait.features)[0].permute(1, 2, 0)
    expected = (decoded * 127.5 + 127.5).round().clamp(0, 255).byte().numpy()
    assert np.abs(canonical.astype(int) - expected).max() <= 1
    steps = [small.render(portrait, windows[0], intensity=value / 4).astype(float) for value in range(5)]
    distances = [np.abs(step - canonical).mean() for step in steps]
    assert distances == sorted(distances)
    np.testing.assert_array_equal(steps[4], small.render(portrait, windows[0]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_stays_near_float32(small: NeuralAnimator, windows: np.ndarray, dtype: torch.dtype) -> None:
    half = NeuralAnimator(_network(SMALL), dtype=dtype)
    difference = half.render(_portrait(half), windows[0]).astype(float) - small.render(_portrait(small), windows[0])
    print(dtype, np.abs(difference).mean(), np.abs(difference).max())
    assert np.abs(difference).mean() <= HALF_TOLERANCE[dtype]


def test_bad_windows_intensities_and_images_are_refused(small: NeuralAnimator, windows: np.ndarray) -> None:
    portrait = _portrait(small)
    with pytest.raises(ValueError, match="windows of"):
        small.render(portrait, windows[0, 1:])
    broken = windows[0].copy()
    broken[0, 0] = np.nan
    with pytest.raises(ValueError, match="finite"):
        small.render(portrait, broken)
    for intensity in (-0.1, 1.1, float("nan")):
        with pytest.raises(CommandInvalid, match="intensity"):
            small.render(portrait, windows[0], intensity=intensity)
    crop = FaceCrop(np.zeros((32, 32, 3), np.uint8), np.zeros((478, 3), np.float32), np.eye(2, 3, dtype=np.float32))
    with pytest.raises(ValueError, match=r"\(64, 64, 3\)"):
        small.prepare(crop, _NO_COEFFICIENTS)


def test_a_weights_folder_holds_layout_and_weights(small: NeuralAnimator, windows: np.ndarray, tmp_path: Path) -> None:
    layout = dataclasses.asdict(SMALL)
    config = {"format_version": 1, "animator": "neural", "neural_animator": layout}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_tensors(tmp_path / "animator.safetensors", _network(SMALL).state_dict())
    write_checksums(tmp_path)
    loaded = NeuralAnimator(load_network(WeightsFolder.open(tmp_path))[0])
    assert (loaded.past_frames, loaded.future_frames) == (4, 2)
    expected = small.render(_portrait(small), windows[0])
    np.testing.assert_array_equal(loaded.render(_portrait(loaded), windows[0]), expected)

    config["neural_animator"] = {**layout, "unheard_of": 1}
    (tmp_path / "config.json").write_text(json.dumps(config))
    write_checksums(tmp_path)
    with pytest.raises(WeightsCorrupt, match="unheard_of"):
        NeuralAnimator(load_network(WeightsFolder.open(tmp_path))[0])


@pytest.mark.parametrize("config", [SMALL, GUIDED], ids=["unguided", "guided"])
def test_folders_of_earlier_versions_are_read_where_their_layout_is_still_there(config: FaceAnimatorConfig) -> None:
    section = json.loads(json.dumps(dataclasses.asdict(config)))
    earlier = {"paint_sizes": [], "measured": False}
    earlier |= {"mask_mode": "paper", "exact_grid": True} if config.guided else {"mask_mode": "released"}
    assert FaceAnimatorConfig.from_section(section | earlier, "neural_animator") == config
    for key, value in (("measured", True), ("paint_sizes", [64]), ("exact_grid", not config.guided)):
        with pytest.raises(WeightsCorrupt, match=key):
            FaceAnimatorConfig.from_section(section | earlier | {key: value}, "neural_animator")


@pytest.mark.parametrize("config", [SMALL, GUIDED], ids=["unguided", "guided"])
def test_every_weight_learns(config: FaceAnimatorConfig) -> None:
    network = _network(config)
    rgb, window = inputs(config, rows=1)
    code, features = network.encode(rgb)
    network.animate(code, (*features, *guides(config, rows=1)), window).square().mean().backward()
    idle = [name for name, parameter in network.named_parameters() if not parameter.grad.abs().sum() > 0]
    assert idle == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"past_frames": 0}, "window of 7"),
        ({"past_frames": -1}, "negative"),
        ({"transform_sizes": (48,)}, r"transform_sizes \[48\]"),
        ({"directions": 33}, "directions"),
        ({"widths": (8, 0)}, "positive"),
    ],
)
def test_impossible_layouts_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **change)
