"""Recipes of the pose diffusion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from engine.motion.denoiser import DenoiserConfig
from engine.motion.pose_window import PoseWindowConfig
from train.data.shards import ClipFeatures
from train.export import export_network
from train.recipes.motion_data import PREPARED, SYNTHETIC, motion_clips, training_record
from train.recipes.recipe import Experiment, LossFall, TrainingRecipe, recipe
from train.tasks.pose import PoseTask, PoseTaskConfig
from train.trainer import TrainerConfig, TrainingResult

__all__ = ["PoseRecipe", "open_pose", "toy_pose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseRecipe(TrainingRecipe):
    """Pose diffusion on a prepared folder."""

    task: PoseTaskConfig
    prepared: Path = PREPARED

    def build(self) -> Experiment:
        """The denoiser on all clips longer than its window."""
        clips = motion_clips(self.prepared)
        task = PoseTask(self.task, clips, self.trainer.seed)
        return Experiment(task, partial(self._export, task, clips))

    def _export(
        self, task: PoseTask, clips: Sequence[ClipFeatures], result: TrainingResult, folder: Path
    ) -> None:
        sections = {"pose": self.task.network, "pose_window": task.sampling_config()}
        record = training_record(result, clips)
        export_network(folder, "pose", result.averaged["pose"], sections=sections, training=record)


@recipe
def open_pose() -> PoseRecipe:
    """Pose diffusion; known frames of the window enter clean, as the stream gives them.

    The window is 32 frames (paper: sequences of 150 and more): on two CPU cores the past beyond 1.3 s costs more than
    it gives, and the network starts from the closed-form motion prior.
    """
    return PoseRecipe(
        task=PoseTaskConfig(
            network=DenoiserConfig.lite(prior_window=32),
            sampling=PoseWindowConfig(window=32),
            learning_rate=3e-3,
            hop_share=0.7,
        ),
        trainer=TrainerConfig(
            out=Path("runs/open_pose"), steps=1500, clip_norm=5.0, ema_decay=0.995, threads=1
        ),
    )


@recipe
def toy_pose() -> PoseRecipe:
    """Pose diffusion, 30 steps, windows of 20 frames, on made-up clips."""
    network = DenoiserConfig(
        initial_flag=True, width=16, blocks=2, attention_layers=1, heads=2, feed_forward_factor=2,
        step_width=16, step_frequencies=8,
    )  # fmt: skip
    return PoseRecipe(
        task=PoseTaskConfig(
            network=network, sampling=PoseWindowConfig(window=20), rows=8, learning_rate=3e-3
        ),
        trainer=TrainerConfig.toy("toy_pose", steps=30),
        prepared=SYNTHETIC,
        loss_fall=LossFall(loss="pose/loss", factor=1.1),
    )
