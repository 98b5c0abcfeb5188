"""What is exported: networks side by side in one folder, in the units of the engine."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import train
from engine.checkpoint import load_into
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork
from engine.motion.space.landmark_model import LandmarkModel
from train.datasets.scales import fold_eye, fold_lip, gain_mouth, normalise, restore
from train.metrics import mouth_opening
from train.recipes.expression import toy_expression_stage1, toy_expression_stage2

_SPACE = Path(__file__).resolve().parents[3] / "engine" / "weights" / "default" / "motion_space.safetensors"


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(_SPACE)


def test_motion_networks_are_exported_into_one_folder(tmp_path: Path) -> None:
    weights = f"weights={tmp_path / 'weights'}"
    stage1 = tmp_path / "toy_expression_stage1" / "checkpoint.safetensors"
    for name, more in (
        ("toy_expression_stage1", []),
        ("toy_expression_stage2", [f"lip_checkpoint={stage1}"]),
        ("toy_pose", []),
    ):
        train.run(name, [f"trainer.out={tmp_path / name}", weights, "trainer.steps=2", *more])
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    sections = {"format_version", "stream", "mixer", "lip", "eye", "pose", "pose_window", "training"}
    assert set(config) >= sections
    tensors = {k: v.float() for k, v in load_file(tmp_path / "weights" / "eye.safetensors").items()}
    load_into(EyeMotionNetwork(toy_expression_stage2().task.network), tensors, "eye")
    assert len((tmp_path / "weights" / "SHA256SUMS").read_text().splitlines()) == 4


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
