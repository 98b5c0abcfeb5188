"""How heads move: range, speed, jitter, and jumps where sampled windows meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_RHYTHM_FRAMES = 9


@dataclass(frozen=True, slots=True)
class PoseStatistics:
    """Means over sequences and channels. A gaze (pitch, yaw) counts as a rotation; its figures of translation are 0.

    Attributes:
        rotation_std_rad, translation_std: standard deviation over time.
        rotation_speed_rad, translation_speed: mean absolute change from frame to frame.
        jitter: mean absolute second difference over mean absolute first difference of the rotations.
        border_jump: mean second difference at frames that begin a hop over that at the others; 1 is seamless.
        largest_rad: largest absolute rotation.
    """

    rotation_std_rad: float
    translation_std: float
    rotation_speed_rad: float
    translation_speed: float
    jitter: float
    border_jump: float
    largest_rad: float


def pose_statistics(residuals: Sequence[Tensor], hop: int) -> PoseStatistics:
    """Statistics of residual poses (T,6) or gazes (T,2), frame 0 beginning a hop."""
    std = torch.stack([r.std(0) for r in residuals]).mean(0)
    speed = torch.stack([r.diff(dim=0).abs().mean(0) for r in residuals]).mean(0)
    bends = torch.cat([_bends(r, hop) for r in residuals])
    border, inside = bends[:, 0].nanmean(), bends[:, 1].nanmean()
    second = torch.stack([r[:, :3].diff(n=2, dim=0).abs().mean() for r in residuals]).mean()
    return PoseStatistics(
        rotation_std_rad=float(std[:3].mean()),
        translation_std=float(std[3:].mean()) if len(std) > 3 else 0.0,
        rotation_speed_rad=float(speed[:3].mean()),
        translation_speed=float(speed[3:].mean()) if len(std) > 3 else 0.0,
        jitter=float(second / speed[:3].mean().clamp(min=1e-9)),
        border_jump=float(border / inside.clamp(min=1e-9)),
        largest_rad=float(max(r[:, :3].abs().max() for r in residuals)),
    )


def motion_statistics(name: str, residuals: Sequence[Tensor], hop: int) -> dict[str, float]:
    """`pose_statistics` as figures called ``name/...``; those of a translation are left out for gazes."""
    statistics = pose_statistics(residuals, hop)
    figures = {
        "rotation_std": statistics.rotation_std_rad,
        "translation_std": statistics.translation_std,
        "rotation_speed": statistics.rotation_speed_rad,
        "translation_speed": statistics.translation_speed,
        "jitter": statistics.jitter,
        "border_jump": statistics.border_jump,
        "largest": statistics.largest_rad,
    }
    still = residuals[0].shape[1] <= 3
    return {f"{name}/{key}": value for key, value in figures.items() if not (still and "translation" in key)}


def rhythm(rotation: Tensor, level: Tensor) -> float:
    """How far heads move with the voice: Pearson correlation of turning speed and loudness.

    Both are averaged over windows of 9 frames (0.36 s) first.

    Args:
        rotation: (T, 3) radians, T at least 12. level: (T,), for example a frame's mean mel.
    """
    speed = rotation.diff(dim=0).abs().sum(1)
    both = torch.stack([speed, level[1:].to(speed)]).unfold(1, _RHYTHM_FRAMES, 1).mean(-1)
    return float(torch.corrcoef(both)[0, 1].nan_to_num(0.0))


def _bends(residual: Tensor, hop: int) -> Tensor:
    """(1, 2): mean second difference of rotations around hop borders, and inside hops."""
    bend = residual[:, :3].diff(n=2, dim=0).abs().mean(1)
    middle = torch.arange(1, len(residual) - 1)
    border = (middle % hop == 0) | (middle % hop == hop - 1)
    return torch.stack([bend[border].mean(), bend[~border].mean()])[None]
