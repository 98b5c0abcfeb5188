"""Recipes that run end to end in seconds on made-up data: for tests, and to see the machinery move."""

from __future__ import annotations

from pathlib import Path

from engine.motion.denoiser import DenoiserConfig
from engine.motion.expression import LipConfig
from engine.motion.eye_lstm import EyeConfig
from engine.motion.pose_window import PoseWindowConfig
from train.losses.eye import EyeLossWeights
from train.recipes.motion import EyeRecipe, LipRecipe, PoseRecipe
from train.tasks.eye import EyeTaskConfig
from train.tasks.lip import LipTaskConfig
from train.tasks.pose import PoseTaskConfig
from train.trainer import TrainerConfig

__all__ = ["toy_eye", "toy_lip", "toy_pose"]

_LIP = LipConfig(
    audio_widths=(4, 8),
    audio_mel_strides=(4, 4),
    audio_time_strides=(2, 2),
    audio_residuals=0,
    audio_size=16,
    eye_feature_size=21,
    map_widths=(32,),
)


def _trainer(name: str, steps: int) -> TrainerConfig:
    return TrainerConfig(
        out=Path("runs") / name,
        steps=steps,
        warmup_steps=5,
        evaluate_every=steps,
        checkpoint_every=steps,
        threads=1,
    )


def toy_lip() -> LipRecipe:
    """Stage 1, 40 steps of a network with a few thousand weights; ``prepared=synthetic`` data."""
    return LipRecipe(
        task=LipTaskConfig(network=_LIP, runs=16, learning_rate=5e-3, dropout=0.0),
        trainer=_trainer("toy_lip", 40),
        prepared=Path("synthetic"),
    )


def toy_eye() -> EyeRecipe:
    """Stage 2, 12 steps, after ``toy_lip``."""
    return EyeRecipe(
        task=EyeTaskConfig(
            network=EyeConfig(audio_size=16, noise_size=4, hidden_size=16, bottleneck=16, layers=1),
            rows=4,
            lengths_frames=(40,),
            evaluation_frames=120,
            losses=EyeLossWeights(l1=1.0, ssim=2.0, kl=1.0, distribution=1.0),
        ),
        trainer=_trainer("toy_eye", 12),
        lip=_LIP,
        lip_checkpoint=Path("runs/toy_lip/checkpoint.safetensors"),
        prepared=Path("synthetic"),
    )


def toy_pose() -> PoseRecipe:
    """Pose diffusion, 30 steps, windows of 20 frames."""
    network = DenoiserConfig(
        initial_flag=True, width=16, blocks=2, attention_layers=1, heads=2, feed_forward_factor=2,
        step_width=16, step_frequencies=8,
    )  # fmt: skip
    return PoseRecipe(
        task=PoseTaskConfig(
            network=network, sampling=PoseWindowConfig(window=20), rows=8, learning_rate=3e-3
        ),
        trainer=_trainer("toy_pose", 30),
        prepared=Path("synthetic"),
    )
