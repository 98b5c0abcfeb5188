"""Pose and gaze diffusion: what batches hold, Eq. 2 by hand, the two models of Eq. 3, shares, export to the engine."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from engine import load_engine
from engine.media import read_audio
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.speech.synthetic import synthetic_clips
from train.data.storage.shards import ClipFeatures
from train.datasets.batch_rng import BatchRng
from train.datasets.pose_batches import draw_sequences
from train.losses.pose import noise_prediction_loss
from train.recipes import RECIPES
from train.recipes.pose import (
    PoseRecipe,
    open_pose,
    paper_gaze,
    paper_pose,
    toy_gaze,
    toy_pose,
)
from train.tasks.pose import PoseTask
from train.trainer import TrainingResult


@pytest.fixture(scope="module")
def clips() -> list[ClipFeatures]:
    """Made-up clips whose gaze wanders."""
    made = synthetic_clips(LandmarkModel.load(BUNDLED_MOTION_SPACE), frames=80)
    rng = np.random.default_rng(0)
    return [
        dataclasses.replace(clip, gaze=rng.normal(0, 0.1, (clip.frames, 2)).cumsum(0).astype(np.float32) / 10)
        for clip in made
    ]


class _Seen(nn.Module):
    """Stands for a denoiser: keeps what it is given, answers with a constant."""

    def __init__(self, answer: float) -> None:
        super().__init__()
        self.answer = answer
        self.calls: list[tuple[Tensor, ...]] = []

    def forward(self, x: Tensor, prosody: Tensor, initial: Tensor, step: Tensor, flag: Tensor | None = None) -> Tensor:
        self.calls.append((x, prosody, initial, step) if flag is None else (x, prosody, initial, step, flag))
        return torch.full_like(x, self.answer)


def _watched(task: PoseTask, answer: float = 0.0) -> dict[str, _Seen]:
    seen = {name: _Seen(answer) for name in task.averaged}
    for name, module in seen.items():
        task.modules[name] = module
    return seen


def test_a_sequence_starts_at_its_own_pose(clips: list[ClipFeatures]) -> None:
    task = PoseTask(toy_gaze().task, clips)
    rows = draw_sequences(BatchRng.for_step(0, 0), task.tracks, torch.ones(len(task.tracks)), "gaze", 6, 20)
    assert rows.residual_BTC.shape == (6, 20, 2)
    assert rows.prosody_BTM.shape == (6, 20, 320)
    assert torch.all(rows.residual_BTC[:, 0] == 0)
    motions = [track.motion for track in task.tracks]
    for residual, initial in zip(rows.residual_BTC, rows.initial_BC, strict=True):
        sequence = initial + residual
        mirrored = sequence * torch.tensor([1.0, -1.0])
        found = [
            torch.allclose(motion[start : start + 20], side, atol=1e-6)
            for motion in motions
            for start in range(len(motion) - 19)
            for side in (sequence, mirrored)
        ]
        assert any(found)


def test_sequence_layout_is_equation_2(clips: list[ClipFeatures]) -> None:
    """x_n = sqrt(alpha_bar) x_0 + sqrt(1 - alpha_bar) eps in every frame, one step a row; loss |eps - answer|^2."""
    task = PoseTask(toy_gaze().task, clips)
    seen = _watched(task, answer=0.25)
    updates = list(task.updates(BatchRng.for_step(3, 1), 1))
    assert [update.optimiser for update in updates] == ["gaze", "gaze_unconditional"]
    x, _, initial, step = seen["gaze"].calls[0]
    assert torch.all(step == step[:, :1])
    rows = draw_sequences(
        BatchRng.for_step(3, 1),
        task.tracks,
        torch.tensor([t.weight * len(t.motion) for t in task.tracks]),
        "gaze",
        8,
        20,
    )
    assert torch.equal(rows.initial_BC, initial)
    alpha_bar = torch.tensor(DiffusionSchedule.linear(150).alpha_bars)[step][..., None]
    eps = (x - alpha_bar.sqrt() * rows.residual_BTC) / (1 - alpha_bar).sqrt()
    assert eps.std().item() == pytest.approx(1, abs=0.15)
    expected = ((eps - 0.25) ** 2).mean().item()
    for update in updates:
        assert update.loss.item() == pytest.approx(expected, rel=1e-4)


def test_the_unconditional_network_never_sees_the_initial_pose(clips: list[ClipFeatures]) -> None:
    task = PoseTask(toy_gaze().task, clips)
    seen = _watched(task)
    list(task.updates(BatchRng.for_step(0, 0), 0))
    assert seen["gaze"].calls[0][2].abs().max() > 0
    assert torch.all(seen["gaze_unconditional"].calls[0][2] == 0)
    assert torch.equal(seen["gaze"].calls[0][0], seen["gaze_unconditional"].calls[0][0])


def test_stream_layout_keeps_known_frames_clean_at_step_zero(clips: list[ClipFeatures]) -> None:
    task = PoseTask(dataclasses.replace(toy_pose().task, hop_share=1.0, silence_share=0.0), clips)
    seen = _watched(task)
    list(task.updates(BatchRng.for_step(0, 2), 2))
    x, _, _, step, flag = seen["pose"].calls[0]
    assert torch.all(step[:, :-3] == 0)
    motions = x * task.std_C
    # Known frames are a stretch of real sway: no frame jumps further than the synthetic sway can.
    assert motions[:, :-3].diff(dim=1).abs().max() < 0.03
    assert 0.5 < flag.float().mean() < 0.95


def test_loss_counts_unknown_frames_alone() -> None:
    eps, predicted = torch.zeros(2, 4, 3), torch.ones(2, 4, 3)
    predicted[0, 0], predicted[1, 3] = 100.0, 2.0
    unknown = torch.tensor([[False, True, False, False], [False, False, False, True]])
    assert noise_prediction_loss(eps, predicted, unknown).item() == pytest.approx((1 + 4) / 2)


@pytest.mark.parametrize("make", [toy_pose, toy_gaze])
def test_two_shares_add_up_to_the_whole_batch(make: Any, clips: list[ClipFeatures]) -> None:
    task = PoseTask(make().task, clips)
    whole = [update.loss.item() for update in task.updates(BatchRng.for_step(1, 5), 5)]
    halves = [
        [update.loss.item() for update in task.updates(BatchRng.for_step(1, 5, index, 2), 5)] for index in range(2)
    ]
    assert np.mean(halves, axis=0) == pytest.approx(whole, rel=1e-4)


def test_recipes_are_the_papers(clips: list[ClipFeatures]) -> None:
    without = RECIPES["table7_without_attention"]()
    assert isinstance(without, PoseRecipe)
    for recipe in (paper_pose(), paper_gaze(), without):
        task = recipe.task
        assert (task.learning_rate, task.sampling.guidance, task.frames) == (6e-4, 0.4, 150)
        assert (task.models, task.layout, task.normalise) == ("network", "sequence", False)
        assert task.network.prosody_size + task.network.channels == task.network.condition_size
    assert paper_gaze().task.network.channels == 2
    assert dataclasses.replace(without.task, network=paper_pose().task.network) == paper_pose().task
    assert not without.task.network.attention
    assert open_pose().task.layout == "stream"


def test_a_clip_shorter_than_a_row_and_a_network_that_does_not_fit_are_refused(
    clips: list[ClipFeatures],
) -> None:
    short = [dataclasses.replace(clip, pose=clip.pose[:15], gaze=clip.gaze[:15]) for clip in clips]
    with pytest.raises(ValueError, match="longer than the window of 20"):
        PoseTask(toy_gaze().task, short)
    with pytest.raises(ValueError, match="6 channels"):
        dataclasses.replace(toy_gaze().task, part="pose")
    with pytest.raises(ValueError, match="initial_flag"):
        dataclasses.replace(toy_gaze().task, models="dropout")


def test_an_exported_gaze_is_opened_and_generated_by_the_engine(
    clips: list[ClipFeatures], tmp_path: Path, portrait_path: Path, voice_path: Path
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(Path(BUNDLED_MOTION_SPACE).parent, folder)
    recipe: PoseRecipe = toy_gaze()
    experiment = recipe.build()
    task = experiment.task
    averaged = {name: task.modules[name].eval() for name in task.averaged}
    figures = {"ssim_g": 0.5}
    experiment.export(TrainingResult(3, 1.0, {}, figures, averaged, False), folder)
    engine = load_engine(weights=str(folder))
    session = engine.open_session(engine.enroll(portrait_path), seed=1, generate_gaze=True)
    gazes = []
    for chunk, rate in read_audio(voice_path):
        gazes += [frame.descriptor[70:] for frame in session.push_pcm(chunk, rate)]
        if len(gazes) > 12:
            break
    spread = np.stack(gazes).std(0)
    assert (spread > 1e-4).all()
    assert np.isfinite(spread).all()
