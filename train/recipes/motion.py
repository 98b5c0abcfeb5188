"""Recipes of the shipped motion networks, trained on the open clips of ``train/README.md``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.motion.denoiser import DenoiserConfig
from engine.motion.expression import LipConfig
from engine.motion.eye_lstm import EyeConfig
from engine.motion.motion_space import BUNDLED_MOTION_SPACE
from engine.motion.pose_window import PoseWindowConfig
from train.losses.eye import EyeLossWeights
from train.losses.lip import LipLossWeights
from train.tasks.eye import EyeTaskConfig
from train.tasks.lip import LipTaskConfig
from train.tasks.pose import PoseTaskConfig
from train.trainer import TrainerConfig

__all__ = ["EyeRecipe", "LipRecipe", "PoseRecipe", "open_eye", "open_lip", "open_pose"]

_PREPARED = Path("runs/prepared")


@dataclass(frozen=True, slots=True, kw_only=True)
class LipRecipe:
    """Stage 1 on a prepared folder. ``weights`` names the folder to export to; None exports nothing.

    ``mouth_gain`` and ``mouth_pivot`` (face units) widen the mouth's range at export (`train.tasks.scales.gain_mouth`).
    ``start`` is a checkpoint whose averaged weights the run begins with. ``also_hold_out`` names people (comma
    separated) kept out beside the usual ones, for leave-one-person-out.
    """

    task: LipTaskConfig
    trainer: TrainerConfig
    prepared: Path = _PREPARED
    motion_space: Path = BUNDLED_MOTION_SPACE
    weights: Path | None = None
    start: Path | None = None
    mouth_gain: float = 1.0
    mouth_pivot: float = 0.07
    also_hold_out: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeRecipe:
    """Stage 2 on a prepared folder, with stage 1 frozen from ``lip_checkpoint``."""

    task: EyeTaskConfig
    trainer: TrainerConfig
    lip: LipConfig = field(default_factory=LipConfig.lite)
    lip_checkpoint: Path = Path("runs/open_lip/checkpoint.safetensors")
    prepared: Path = _PREPARED
    motion_space: Path = BUNDLED_MOTION_SPACE
    weights: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseRecipe:
    """Pose diffusion on a prepared folder."""

    task: PoseTaskConfig
    trainer: TrainerConfig
    prepared: Path = _PREPARED
    weights: Path | None = None


def open_lip() -> LipRecipe:
    """Stage 1, audio to lips, with terms of our own beside the paper's.

    Beside the paper's terms: spread, correlation and velocity of the mouth (see `LipTaskConfig`);
    no lip reading expert and no distillation teacher, for neither can be shipped. Learning rate 1e-3 for a network a
    twelfth of the paper's size (paper: 1e-4).
    """
    return LipRecipe(
        task=LipTaskConfig(
            network=LipConfig.lite(),
            runs=32,
            losses=LipLossWeights(landmarks=0.05, eye=4.0, shut=1.0, expression=1.0),
            spread=0.5,
            correlation=0.5,
            velocity=0.2,
        ),
        trainer=TrainerConfig(out=Path("runs/open_lip"), steps=1500, threads=1),
        mouth_gain=1.35,
    )


def open_eye() -> EyeRecipe:
    """Stage 2, with a posterior for z and a distribution match beside the paper's terms (see `train.tasks.eye`).

    D_eye (transformer on audio and eye landmarks) is left out; so is D_tf, which here sees the mouth follow a voice
    that is not the clip's own and so learns nothing about eyes.
    """
    return EyeRecipe(
        task=EyeTaskConfig(
            network=EyeConfig.lite(),
            losses=EyeLossWeights(
                l1=1.0, ssim=2.0, kl=1.0, temporal_eye=1.0, temporal_expression=0.0, distribution=6.0
            ),
        ),
        trainer=TrainerConfig(out=Path("runs/open_eye"), steps=2000, ema_decay=0.99, threads=1),
    )


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
