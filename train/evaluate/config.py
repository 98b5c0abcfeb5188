"""What is evaluated: folders, metrics, pretrained networks, and what each metric needs."""

from dataclasses import dataclass
from pathlib import Path

from engine.errors import CommandInvalid
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure.

    Attributes:
        label: as the paper or the field writes it; better: "higher", "lower", or "real" (nearer to the real videos').
        network: the pretrained network that it needs; empty for none.
        scale: what the table multiplies it by, as the paper's does.
    """

    name: str
    label: str
    better: str
    network: str = ""
    scale: float = 1.0
    digits: int = 3


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("lse_c", "LSE-C", "higher", "syncnet", digits=2),
        Metric("lse_d", "LSE-D", "lower", "syncnet", digits=2),
        Metric("fid", "FID", "lower", "inception", digits=2),
        Metric("var_p", "Var_p x10^3", "real", scale=1e3),
        Metric("ssim_p", "SSIM_p", "higher"),
        Metric("var_e", "Var_e x10^5", "real", scale=1e5),
        Metric("ssim_e", "SSIM_e", "higher"),
        Metric("mld", "MLD (px)", "lower"),
        Metric("csim", "CSIM", "higher", "arcface"),
        Metric("mouth", "mouth correlation", "higher"),
        Metric("mouth_range", "mouth range / real", "real", digits=2),
        Metric("blinks", "blinks a minute", "real", digits=1),
        Metric("jitter", "jitter x10^3", "real", scale=1e3, digits=2),
        Metric("landmarks", "landmark error", "lower"),
        Metric("psnr", "PSNR (dB)", "higher", digits=2),
        Metric("ssim", "SSIM", "higher"),
        Metric("perceptual", "perceptual distance", "lower", "perceptual"),
    )
}
"""Name on the command line to metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateConfig:
    """An evaluation.

    Attributes:
        generated, real: folders of videos, matched by name without suffix.
        metrics: names in `METRICS`.
        pretrained: folder of the frozen networks' files; None where there is none.
        out: where tables, plots and the cache of features go.
        min_face_share: a video with a face in fewer of its frames is refused.
        batch: images that a network sees at once.
    """

    generated: Path
    real: Path
    metrics: tuple[str, ...] = tuple(METRICS)
    pretrained: Path | None = None
    out: Path = Path("runs/evaluation")
    motion_space: Path = BUNDLED_MOTION_SPACE
    min_face_share: float = 0.8
    batch: int = 16

    def __post_init__(self) -> None:
        unknown = [name for name in self.metrics if name not in METRICS]
        if unknown or not self.metrics:
            raise CommandInvalid(f"no metric {', '.join(unknown) or 'named'}; there are {', '.join(METRICS)}")
        if self.batch < 1 or not 0 < self.min_face_share <= 1:
            raise CommandInvalid("batch must be at least 1, min_face_share within 0..1 and not 0")


def parse_metrics(text: str) -> tuple[str, ...]:
    """Comma-separated names; ``all`` and an empty text are all of them."""
    names = tuple(dict.fromkeys(part.strip().lower() for part in text.split(",") if part.strip()))
    return tuple(METRICS) if not names or names == ("all",) else names
