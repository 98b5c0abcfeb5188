"""Recipes of the expression predictor: stage 1 (audio to lips) and stage 2 (eye motion)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from engine.config import StreamConfig
from engine.motion.expression import LipConfig, LipNetwork
from engine.motion.eye_lstm import EyeConfig
from engine.motion.landmark_model import LandmarkModel
from engine.motion.motion_space import BUNDLED_MOTION_SPACE
from train.data.shards import ClipFeatures
from train.export import export_network, load_averaged
from train.losses.eye import EyeLossWeights
from train.losses.lip import LipLossWeights
from train.recipes.motion_data import (
    PREPARED,
    SYNTHETIC,
    motion_clips,
    resting_expressions,
    training_record,
)
from train.recipes.recipe import Experiment, LossFall, TrainingRecipe, recipe
from train.tasks.eye import EyeTask, EyeTaskConfig
from train.tasks.lip import LipTask, LipTaskConfig
from train.tasks.scales import gain_mouth
from train.trainer import TrainerConfig, TrainingResult

__all__ = [
    "ExpressionStage1Recipe",
    "ExpressionStage2Recipe",
    "open_expression_stage1",
    "open_expression_stage2",
    "toy_expression_stage1",
    "toy_expression_stage2",
]

_TOY_LIP = LipConfig(
    audio_widths=(4, 8),
    audio_mel_strides=(4, 4),
    audio_time_strides=(2, 2),
    audio_residuals=0,
    audio_size=16,
    eye_feature_size=21,
    map_widths=(32,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage1Recipe(TrainingRecipe):
    """Stage 1 on a prepared folder.

    ``mouth_gain`` and ``mouth_pivot`` (face units) widen the mouth's range at export (`train.tasks.scales.gain_mouth`).
    ``start`` is a checkpoint whose averaged weights the run begins with. ``also_hold_out`` names people (comma
    separated) kept out beside the usual ones, for leave-one-person-out.
    """

    task: LipTaskConfig
    prepared: Path = PREPARED
    motion_space: Path = BUNDLED_MOTION_SPACE
    start: Path | None = None
    mouth_gain: float = 1.0
    mouth_pivot: float = 0.07
    also_hold_out: str = ""

    def build(self) -> Experiment:
        """The lip network on clips with sound."""
        model = LandmarkModel.load(self.motion_space)
        clips = motion_clips(self.prepared, model, self.also_hold_out)
        task = LipTask(self.task, clips, model, resting_expressions(self.prepared), self.trainer.seed)
        if self.start is not None:
            load_averaged(task.modules["lip"], self.start, "lip")
        return Experiment(task, partial(self._export, task, clips))

    def _export(
        self, task: LipTask, clips: Sequence[ClipFeatures], result: TrainingResult, folder: Path
    ) -> None:
        network = result.averaged["lip"]
        assert isinstance(network, LipNetwork)
        widened = gain_mouth(network, task.model, self.mouth_gain, self.mouth_pivot)
        shipped = dataclasses.replace(result, figures=task.evaluate({"lip": widened}))
        stream = StreamConfig(
            lip_lookahead_ms=self.task.lookahead_ms, lip_window_columns=self.task.network.audio_columns
        )
        sections = {"lip": self.task.network, "stream": stream}
        export_network(folder, "lip", widened, sections=sections, training=training_record(shipped, clips))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage2Recipe(TrainingRecipe):
    """Stage 2 on a prepared folder, with stage 1 frozen from ``lip_checkpoint``."""

    task: EyeTaskConfig
    lip: LipConfig = field(default_factory=LipConfig.lite)
    lip_checkpoint: Path = Path("runs/open_expression_stage1/checkpoint.safetensors")
    prepared: Path = PREPARED
    motion_space: Path = BUNDLED_MOTION_SPACE

    def build(self) -> Experiment:
        """The eye network beside the frozen lip network."""
        model = LandmarkModel.load(self.motion_space)
        clips = motion_clips(self.prepared, model)
        lip = LipNetwork(self.lip)
        load_averaged(lip, self.lip_checkpoint, "lip")
        task = EyeTask(self.task, clips, model, lip, resting_expressions(self.prepared), self.trainer.seed)
        return Experiment(task, partial(self._export, clips))

    def _export(self, clips: Sequence[ClipFeatures], result: TrainingResult, folder: Path) -> None:
        sections = {"eye": self.task.network}
        record = training_record(result, clips)
        export_network(folder, "eye", result.averaged["eye"], sections=sections, training=record)


@recipe
def open_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1, audio to lips, with terms of our own beside the paper's.

    Beside the paper's terms: spread, correlation and velocity of the mouth (see `LipTaskConfig`);
    no lip reading expert and no distillation teacher, for neither can be shipped. Learning rate 1e-3 for a network a
    twelfth of the paper's size (paper: 1e-4).
    """
    return ExpressionStage1Recipe(
        task=LipTaskConfig(
            network=LipConfig.lite(),
            runs=32,
            losses=LipLossWeights(landmarks=0.05, eye=4.0, shut=1.0, expression=1.0),
            spread=0.5,
            correlation=0.5,
            velocity=0.2,
        ),
        trainer=TrainerConfig(out=Path("runs/open_expression_stage1"), steps=1500, threads=1),
        mouth_gain=1.35,
    )


@recipe
def open_expression_stage2() -> ExpressionStage2Recipe:
    """Stage 2, with a posterior for z and a distribution match beside the paper's terms (see `train.tasks.eye`).

    D_eye (transformer on audio and eye landmarks) is left out; so is D_tf, which here sees the mouth follow a voice
    that is not the clip's own and so learns nothing about eyes.
    """
    return ExpressionStage2Recipe(
        task=EyeTaskConfig(
            network=EyeConfig.lite(),
            losses=EyeLossWeights(
                l1=1.0, ssim=2.0, kl=1.0, temporal_eye=1.0, temporal_expression=0.0, distribution=6.0
            ),
        ),
        trainer=TrainerConfig(out=Path("runs/open_expression_stage2"), steps=2000, ema_decay=0.99, threads=1),
        needs=("open_expression_stage1",),
    )


@recipe
def toy_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1, 40 steps of a network with a few thousand weights, on made-up clips."""
    return ExpressionStage1Recipe(
        task=LipTaskConfig(network=_TOY_LIP, runs=16, learning_rate=5e-3, dropout=0.0),
        trainer=TrainerConfig.toy("toy_expression_stage1", steps=40),
        prepared=SYNTHETIC,
        loss_fall=LossFall(loss="lip/loss", factor=1.25),
    )


@recipe
def toy_expression_stage2() -> ExpressionStage2Recipe:
    """Stage 2, 12 steps, after ``toy_expression_stage1``."""
    return ExpressionStage2Recipe(
        task=EyeTaskConfig(
            network=EyeConfig(audio_size=16, noise_size=4, hidden_size=16, bottleneck=16, layers=1),
            rows=4,
            lengths_frames=(40,),
            evaluation_frames=120,
            losses=EyeLossWeights(l1=1.0, ssim=2.0, kl=1.0, distribution=1.0),
        ),
        trainer=TrainerConfig.toy("toy_expression_stage2", steps=12),
        lip=_TOY_LIP,
        lip_checkpoint=Path("runs/toy_expression_stage1/checkpoint.safetensors"),
        prepared=SYNTHETIC,
        needs=("toy_expression_stage1",),
        loss_fall=LossFall(loss="eye/loss", factor=1.05),
    )
