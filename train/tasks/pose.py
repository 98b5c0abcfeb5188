"""Head pose diffusion: predict the noise of residual poses over a window (section 3.1, Eq. 2).

The stream samples H new frames after W - H that were already shown, which enter clean, with diffusion step 0:

    | known: clean, step 0 ............ | unknown: noised, step n |        loss on the unknown frames only

so training draws the number of unknown frames, most often H. Known frames get a little noise, because a stream
continues its own samples and not real motion.

Shape suffixes: B rows, T frames (the window), C pose channels (6), M prosody (320).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from engine.motion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.pose_prior import fit_lags
from engine.motion.pose_window import PoseWindow, PoseWindowConfig
from engine.motion.schedule import DiffusionSchedule
from train.data.mirror import mirror_pose
from train.data.shards import ClipFeatures, resample_motion
from train.data.windows import SILENCE, prosody_windows
from train.losses.pose import noise_prediction_loss
from train.metrics.pose import PoseStatistics, pose_statistics
from train.tasks.protocol import Draw, Update

__all__ = ["PoseTask", "PoseTaskConfig"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoseTaskConfig:
    """Pose diffusion.

    Attributes:
        sampling: as the stream will sample; mean and std are filled in from the data: of residual poses.
        hop_share: rows with exactly ``hop`` unknown frames; the others have a random number, up to all.
        condition_dropout: rows without the initial pose (the unconditional model of Eq. 3).
        used_step_share: rows whose diffusion step lies near one that the few-step sampler takes.
        known_noise: standard deviation of the noise on known frames, normalised units.
        start_share: rows that begin at the portrait's own pose after silence, as a session does.
        silence_share: rows that hear silence all along.
        smoothing_frames: Gaussian that takes the tracker's jitter out of the poses.
        tame: weight of clips of less than ``long_frames``, in which people hardly move.
        evaluation_frames: length of the streams that are judged, beside the real clips longer than ``long_frames``.
    """

    network: DenoiserConfig
    sampling: PoseWindowConfig = field(default_factory=PoseWindowConfig)
    rows: int = 32
    learning_rate: float = 6e-4
    hop_share: float = 0.85
    used_step_share: float = 0.6
    condition_dropout: float = 0.3
    known_noise: float = 0.01
    start_share: float = 0.12
    silence_share: float = 0.15
    smoothing_frames: float = 1.2
    tame: float = 0.5
    prosody_delay_frames: int = 2
    evaluation_frames: int = 1500
    long_frames: int = 150


@dataclass(frozen=True, slots=True)
class _Track:
    residual: Tensor
    centre: Tensor
    prosody: Tensor | None
    name: str
    weight: float


class PoseTask:
    """Training and evaluation of the pose denoiser."""

    averaged = ("pose",)

    def __init__(self, config: PoseTaskConfig, clips: Sequence[ClipFeatures], seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.config = config
        self.schedule = DiffusionSchedule.linear(config.network.diffusion_steps)
        self._alpha_bar_N = torch.tensor(self.schedule.alpha_bars)
        self.modules = nn.ModuleDict({"pose": PoseDenoiser(config.network)})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "pose": torch.optim.Adam(self.modules.parameters(), config.learning_rate, betas=(0.9, 0.99))
        }
        window = config.sampling.window
        self._tracks = [
            t
            for clip in clips
            if clip.split == "train"
            for t in self._prepared(clip)
            if len(t.residual) > window
        ]
        if not self._tracks:
            raise ValueError(f"no training clip is longer than the window of {window} frames")
        self.held_out = [t for clip in clips if clip.split == "held_out" for t in self._prepared(clip)[:1]]
        self._voices = [track.prosody for track in self._tracks if track.prosody is not None]
        weights = torch.tensor([t.weight * len(t.residual) for t in self._tracks])
        self._weights = weights / weights.sum()
        self.std_C = self._spread()
        self.initial_std_C = torch.tensor([0.15, 0.15, 0.1, 0.3, 0.3, 0.3])
        self._fit_prior()
        self._used_steps = torch.tensor(
            self.schedule.subsample(config.sampling.steps, config.sampling.spacing)
        )
        self._batch = ""

    def _prepared(self, clip: ClipFeatures) -> list[_Track]:
        pose = smooth(clip.pose, self.config.smoothing_frames)
        centre = torch.from_numpy(np.median(pose, 0))
        weight = self.config.tame if clip.frames < self.config.long_frames else 1.0
        tracks = []
        for speed, mel in [(v.speed, v.mel) for v in clip.variants] or [(s, None) for s in (1.0, 0.88, 1.14)]:
            residual = torch.from_numpy(resample_motion(pose, speed)) - centre
            prosody = None
            if mel is not None:
                frames = torch.arange(len(residual))
                prosody = prosody_windows(torch.from_numpy(mel), frames, self.config.prosody_delay_frames)
                weight = weight if speed == 1.0 or clip.frames < self.config.long_frames else 1.0 / 3
            tracks.append(_Track(residual, centre, prosody, clip.clip, weight))
        return tracks

    def _spread(self) -> Tensor:
        squares = torch.stack([track.residual.square().mean(0) for track in self._tracks])
        return (squares * self._weights[:, None]).sum(0).sqrt()

    def _fit_prior(self) -> None:
        """Give the denoiser's closed-form part the data's autocovariance, in normalised units."""
        prior = self.modules["pose"].prior
        if prior is not None:
            residuals = [track.residual / self.std_C for track in self._tracks]
            prior.lags_T.copy_(fit_lags(residuals, len(prior.lags_T), [t.weight for t in self._tracks]))

    def sampling_config(self, **changes: object) -> PoseWindowConfig:
        """The stream's config with the units found in the data."""
        import dataclasses

        return dataclasses.replace(
            self.config.sampling,
            mean=(0.0,) * len(self.std_C),
            std=tuple(round(float(value), 6) for value in self.std_C),
            initial_mean=(0.0,) * len(self.std_C),
            initial_std=tuple(round(float(value), 6) for value in self.initial_std_C),
            **changes,  # type: ignore[arg-type]
        )

    def updates(self, draw: Draw, step: int) -> Iterator[Update]:
        """One Adam step of Eq. 2."""
        cfg, generator = self.config, draw.generator
        residual_BTC, prosody_BTM, initial_BC = self._draw(draw)
        rows, frames, _ = residual_BTC.shape
        hop = cfg.sampling.hop
        unknown = torch.randint(1, 3 * hop, (rows,), generator=generator)
        unknown = torch.where(torch.rand(rows, generator=generator) < cfg.hop_share, hop, unknown)
        unknown_BT = torch.arange(frames) >= (frames - unknown)[:, None]
        noise_BTC = torch.randn(residual_BTC.shape, generator=generator) * self.std_C
        seen_BTC = residual_BTC + cfg.known_noise * noise_BTC * ~unknown_BT[..., None]
        seen_BTC, initial_BC = seen_BTC / self.std_C, initial_BC / self.initial_std_C
        diffusion_step = torch.randint(len(self.schedule), (rows,), generator=generator)
        used = torch.randint(len(self._used_steps), (rows,), generator=generator)
        near = self._used_steps[used].round().long() + torch.randint(-2, 3, (rows,), generator=generator)
        takes_used = torch.rand(rows, generator=generator) < cfg.used_step_share
        diffusion_step = torch.where(takes_used, near.clamp(0, len(self.schedule) - 1), diffusion_step)
        alpha_bar = self._alpha_bar_N[diffusion_step][:, None, None]
        eps_BTC = torch.randn(seen_BTC.shape, generator=generator)
        noised_BTC = alpha_bar.sqrt() * seen_BTC + (1 - alpha_bar).sqrt() * eps_BTC
        x_BTC = torch.where(unknown_BT[..., None], noised_BTC, seen_BTC)
        step_BT = torch.where(unknown_BT, diffusion_step[:, None], 0)
        has_initial_B = torch.rand(rows, generator=generator) >= cfg.condition_dropout
        own = draw.share(rows)
        predicted_BTC = self.modules["pose"](
            x_BTC[own], prosody_BTM[own], initial_BC[own], step_BT[own], has_initial_B[own]
        )
        # Each share's mean is over its own unknown frames; the weight makes the mean over shares the batch's.
        weight = draw.shares * unknown_BT[own].sum() / unknown_BT.sum()
        loss = noise_prediction_loss(eps_BTC[own], predicted_BTC, unknown_BT[own])
        yield Update("pose", weight * loss)

    @torch.no_grad()
    def _draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor]:
        cfg, generator = self.config, draw.generator
        window = cfg.sampling.window

        def pick(count: int) -> int:
            return int(torch.randint(count, (1,), generator=generator))

        def chance(share: float) -> bool:
            return float(torch.rand(1, generator=generator)) < share

        chosen = torch.multinomial(self._weights, cfg.rows, True, generator=generator).tolist()
        own = draw.share(cfg.rows)
        self._batch = ", ".join(sorted({self._tracks[i].name for i in chosen[own]}))
        rows, voices, initials = [], [], []
        for index in chosen:
            track = self._tracks[index]
            start = pick(len(track.residual) - window + 1)
            motion = track.residual[start : start + window]
            if track.prosody is not None:
                voice = track.prosody[start : start + window]
            else:
                other = self._voices[pick(len(self._voices))]
                begin = pick(len(other) - window + 1)
                voice = other[begin : begin + window]
            if chance(cfg.silence_share):
                voice = torch.full_like(voice, SILENCE)
            initial = track.centre.clone()
            initial[3:] = 0.3 * torch.randn(3, generator=generator)
            initial[:3] += 0.07 * torch.randn(3, generator=generator)
            if chance(cfg.start_share):
                motion, voice = self._started(motion, voice, pick(window - cfg.sampling.hop) + 1)
            if chance(0.5):
                motion, initial = mirror_pose(motion), mirror_pose(initial)
            rows.append(motion * (0.85 + 0.3 * torch.rand(1, generator=generator)))
            voices.append(voice)
            initials.append(initial)
        return torch.stack(rows), torch.stack(voices), torch.stack(initials)

    @staticmethod
    def _started(motion: Tensor, voice: Tensor, begin: int) -> tuple[Tensor, Tensor]:
        """The window of a session whose frame 0 is at ``begin``: rest and silence before, then real motion from 0."""
        age = torch.arange(len(motion)) - begin
        offset = motion[begin] * torch.exp(-age.clamp(min=0) / 40.0)[:, None]
        before = (age < 0)[:, None]
        motion = torch.where(before, torch.zeros_like(motion), motion - offset)
        return motion, torch.where(before, torch.full_like(voice, SILENCE), voice)

    def describe_batch(self) -> str:
        """Clips of the last batch."""
        return self._batch

    @torch.no_grad()
    def sample(
        self,
        network: PoseDenoiser,
        prosody_BTM: Tensor,
        initial_C: Tensor,
        seeds: Sequence[int],
        **changes: object,
    ) -> Tensor:
        """Residual poses (B, T, 6) in plain units, by the stream's own sampler; one seed a row."""
        network.eval()
        stream = PoseWindow(network, self.sampling_config(**changes))
        state = stream.init_state(initial_C.expand(len(seeds), -1), seeds)
        hop = self.config.sampling.hop
        pieces = []
        for start in range(0, prosody_BTM.shape[1] - hop + 1, hop):
            pieces.append(stream.step(prosody_BTM[:, start : start + hop], state))
        return torch.cat(pieces, 1)

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Range, speed and jitter of streams on held-out voices and on silence, beside real motion."""
        network = modules["pose"]
        assert isinstance(network, PoseDenoiser)
        voices = torch.cat([t.prosody for t in self.held_out if t.prosody is not None] or self._voices[:1])
        frames = self.config.evaluation_frames
        speech = voices.repeat(frames // len(voices) + 1, 1)[:frames]
        both = torch.stack([speech] * 4 + [torch.full_like(speech, SILENCE)] * 4)
        sampled = self.sample(network, both, torch.zeros(6), range(8))
        figures: dict[str, float] = {}
        for name, rows in (("speech", sampled[:4]), ("silence", sampled[4:])):
            figures |= _named(name, pose_statistics(list(rows), self.config.sampling.hop))
        for name, tracks in (("real_train", self._tracks), ("real_held_out", self.held_out)):
            talks = [t.residual for t in tracks if len(t.residual) > self.config.long_frames]
            if talks:
                figures |= _named(name, pose_statistics(talks, self.config.sampling.hop))
        return figures


def smooth(pose: np.ndarray, sigma_frames: float) -> np.ndarray:  # type: ignore[type-arg]
    """Gaussian over time, edges repeated; (T,6) to (T,6) float32."""
    if sigma_frames <= 0:
        return pose
    reach = math.ceil(3 * sigma_frames)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_frames) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(pose, ((reach, reach), (0, 0)), mode="edge")
    columns = [np.convolve(padded[:, c], kernel, "valid") for c in range(pose.shape[1])]
    return np.stack(columns, 1).astype(np.float32)


def _named(name: str, statistics: PoseStatistics) -> dict[str, float]:
    return {
        f"{name}/rotation_std": statistics.rotation_std_rad,
        f"{name}/translation_std": statistics.translation_std,
        f"{name}/rotation_speed": statistics.rotation_speed_rad,
        f"{name}/translation_speed": statistics.translation_speed,
        f"{name}/jitter": statistics.jitter,
        f"{name}/border_jump": statistics.border_jump,
        f"{name}/largest": statistics.largest_rad,
    }
