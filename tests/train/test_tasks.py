"""Every task from end to end on made-up data: it learns, resumes bit for bit, stops with advice, exports."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from engine.checkpoint import load_into
from engine.errors import NonFiniteLoss
from engine.motion.expression import LipNetwork
from engine.motion.eye_lstm import EyeMotionNetwork
from engine.motion.landmark_model import LandmarkModel
from train.data.synthetic import synthetic_clips
from train.metrics import mouth_opening
from train.recipes.expression import toy_expression_stage1, toy_expression_stage2
from train.recipes.pose import toy_pose
from train.tasks.expression_stage1 import ExpressionStage1Task
from train.tasks.scales import fold_eye, fold_lip, gain_mouth, normalise, restore
from train.trainer import TrainerConfig
from train.trainer import train as run_trainer

_SPACE = Path(__file__).resolve().parents[2] / "engine" / "weights" / "default" / "motion_space.safetensors"


@pytest.fixture(autouse=True)
def _one_thread() -> object:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(_SPACE)


def _arguments(tmp_path: Path, name: str, *more: str) -> list[str]:
    return [f"trainer.out={tmp_path / name}", *more]


def _losses(path: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (path / "log.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def test_toy_recipes_run_in_turn_and_export_weights_that_load(tmp_path: Path) -> None:
    space = f"motion_space={_SPACE}"
    weights = f"weights={tmp_path / 'weights'}"
    lip = train.run("toy_expression_stage1", _arguments(tmp_path, "lip", space, weights))
    losses = _losses(tmp_path / "lip", "lip/loss")
    assert losses[-1] < 0.8 * losses[0]
    assert lip["mouth_correlation"] > 0.5
    checkpoint = f"lip_checkpoint={tmp_path / 'lip' / 'checkpoint.safetensors'}"
    eye = train.run("toy_expression_stage2", _arguments(tmp_path, "eye", space, weights, checkpoint))
    assert eye["steps"] == 12
    pose = train.run("toy_pose", _arguments(tmp_path, "pose", weights))
    assert _losses(tmp_path / "pose", "pose/loss")[-1] < _losses(tmp_path / "pose", "pose/loss")[0]
    assert pose["speech/largest"] < 3
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert set(config) >= {
        "format_version",
        "stream",
        "mixer",
        "lip",
        "eye",
        "pose",
        "pose_window",
        "training",
    }
    tensors = {k: v.float() for k, v in load_file(tmp_path / "weights" / "eye.safetensors").items()}
    load_into(EyeMotionNetwork(toy_expression_stage2().task.network), tensors, "eye")
    assert len((tmp_path / "weights" / "SHA256SUMS").read_text().splitlines()) == 4


def _lip_task(model: LandmarkModel) -> ExpressionStage1Task:
    recipe = toy_expression_stage1()
    clips, reader = synthetic_clips(model, frames=80), recipe.lip_reading.reader(model)
    return ExpressionStage1Task(recipe.task, clips, model, reader=reader)


def test_same_seed_gives_the_same_loss_and_a_resumed_run_goes_on_bit_for_bit(
    tmp_path: Path, model: LandmarkModel
) -> None:
    def config(out: str, steps: int) -> TrainerConfig:
        # The cosine's length is the run's: both runs plan 12 steps, one of them is interrupted after 6.
        return TrainerConfig(
            out=tmp_path / out, steps=steps, warmup_steps=100, evaluate_every=100, log_every=1
        )

    whole = run_trainer(_lip_task(model), config("whole", 12))
    run_trainer(_lip_task(model), config("parts", 6))
    parts = run_trainer(_lip_task(model), config("parts", 12))
    assert _losses(tmp_path / "whole", "lip/loss") == _losses(tmp_path / "parts", "lip/loss")
    for key, value in whole.averaged["lip"].state_dict().items():
        assert torch.equal(value, parts.averaged["lip"].state_dict()[key])


def test_non_finite_loss_stops_the_run_and_names_the_batch(tmp_path: Path, model: LandmarkModel) -> None:
    task = _lip_task(model)
    with torch.no_grad():
        next(task.modules["lip"].parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match=r"batch synthetic-0"):
        run_trainer(task, TrainerConfig(out=tmp_path, steps=3))


def test_folded_networks_take_plain_features(model: LandmarkModel) -> None:
    torch.manual_seed(0)
    lip = LipNetwork(toy_expression_stage1().task.network).eval()
    audio, expression0 = torch.rand(3, 16), torch.randn(3, 64)
    feature = restore(torch.randn(3, 21))
    expected = lip(audio, expression0, normalise(feature))
    assert torch.allclose(fold_lip(lip)(audio, expression0, feature), expected, atol=1e-4)
    eye = EyeMotionNetwork(toy_expression_stage2().task.network).eval()
    noise = torch.randn(3, 5, 4)
    voice = torch.rand(3, 5, 16)
    expected = restore(eye(voice, expression0, normalise(feature), noise))
    assert torch.allclose(fold_eye(eye)(voice, expression0, feature, noise), expected, atol=1e-4)


def test_mouth_gain_widens_the_opening_about_its_pivot_and_leaves_the_eyes(model: LandmarkModel) -> None:
    torch.manual_seed(0)
    lip = LipNetwork(toy_expression_stage1().task.network).eval()
    audio, expression0, feature = torch.rand(6, 16), torch.randn(6, 64), torch.randn(6, 21)
    plain = lip(audio, expression0, feature)
    wide = gain_mouth(lip, model, 1.5, 0.05)(audio, expression0, feature)
    neutral = mouth_opening(model, torch.zeros(64))
    expected = mouth_opening(model, plain) + 0.5 * (mouth_opening(model, plain) - neutral - 0.05)
    assert torch.allclose(mouth_opening(model, wide), expected, atol=1e-4)
    blink_change = model.eye_feature(wide)[:, 0] - model.eye_feature(plain)[:, 0]
    assert blink_change.abs().max() < 0.1


def test_pose_recipe_needs_clips_longer_than_its_window(model: LandmarkModel) -> None:
    from train.tasks.pose import PoseTask

    with pytest.raises(ValueError, match="longer than the window"):
        PoseTask(toy_pose().task, synthetic_clips(model, frames=15))


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="open_pose"):
        train.run("open_poses")
