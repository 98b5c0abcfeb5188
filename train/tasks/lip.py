"""Stage 1: from sound, first expression and eye feature to the expression of each frame (Eq. 5).

A batch holds short runs of consecutive frames, so that velocities can be compared too:

    mel block   |........................|      one change of voice and level a run
    windows     |--16--|
                   |--16--|                     one a frame
                      |--16--|

Shape suffixes: R runs, K frames a run, N = R K, E expression (64), F eye feature (21), W mel columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from engine.motion.expression import LipConfig, LipNetwork
from engine.motion.landmark_model import LandmarkModel
from train.data.shards import ClipFeatures, resample_motion
from train.data.stretch import MelStretch, stretch_mel
from train.data.windows import SILENCE, lip_windows
from train.distributed import gather_rows
from train.losses.lip import LipLossWeights, correlation_loss, lip_losses, spread_penalty
from train.metrics.mouth import mouth_agreement, mouth_opening
from train.tasks.protocol import Draw, Update
from train.tasks.regions import eye_swap_operator, mouth_closing_operator
from train.tasks.scales import normalise

__all__ = ["LipTask", "LipTaskConfig"]

_CLOSED = 0.02
"""Inner-lip opening, in face units, at which a mouth begins to look shut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LipTaskConfig:
    """Stage 1.

    Attributes:
        runs, run_frames: batch of runs x run_frames mel windows.
        dropout: of the audio embedding, in training only.
        spread, correlation, velocity: weights of terms beside the paper's: the mouth opening's standard deviation
            over the batch, its correlation, and the landmarks' frame-to-frame change. They oppose the shrinking to
            the mean that regression on little data brings.
        closure, closure_focus: weight of a squared error of the opening in which a frame whose lips meet counts
            ``1 + closure_focus`` times: what is open by mistake is seen sooner than what is shut by mistake.
        silence_share: runs of digital silence or faint noise, for which the lips come together.
        eye_swap_share: runs that get the eyes of another frame, so that the mouth does not follow them.
        blink_share: swapped eyes that come from the fortieth of all frames in which the lids are lowest.
        style_share: runs whose e_0 and targets are shifted alike by another face's resting expression.
        freeze_audio: train the map only; the audio encoder, on which stage 2 rests, stays as it is.
        expression0_noise: standard deviation added to e_0.
    """

    network: LipConfig
    lookahead_ms: int = 80
    runs: int = 48
    run_frames: int = 4
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    losses: LipLossWeights = field(default_factory=LipLossWeights)
    spread: float = 0.0
    correlation: float = 0.0
    velocity: float = 0.0
    closure: float = 0.0
    closure_focus: float = 3.0
    silence_share: float = 0.06
    eye_swap_share: float = 0.5
    blink_share: float = 0.3
    style_share: float = 0.5
    expression0_noise: float = 0.1
    freeze_audio: bool = False
    stretch: MelStretch = field(default_factory=MelStretch)


class LipTask:
    """Training and evaluation of the lip network."""

    averaged = ("lip",)

    def __init__(
        self,
        config: LipTaskConfig,
        clips: Sequence[ClipFeatures],
        model: LandmarkModel,
        styles_SE: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """``clips`` of both splits; ``styles_SE`` (S,64) are expressions of still portraits (train split)."""
        torch.manual_seed(seed)
        self.config = config
        self.model = model
        network = LipNetwork(config.network)
        self.modules = nn.ModuleDict({"lip": network})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "lip": torch.optim.AdamW(
                network.parameters(),
                config.learning_rate,
                betas=(0.9, 0.99),
                weight_decay=config.weight_decay,
            )
        }
        spoken = [clip for clip in clips if clip.variants]
        self.held_out = [clip for clip in spoken if clip.split == "held_out"]
        self._close = mouth_closing_operator(model)
        self._swap = eye_swap_operator(model)
        self._pack([clip for clip in spoken if clip.split == "train"])
        closed = torch.zeros(1, 64) if styles_SE is None else styles_SE
        self._styles_SE = closed - closed @ self._close
        self._batch = ""

    def _pack(self, clips: Sequence[ClipFeatures]) -> None:
        """Lay all mels end to end with silence between, and all motions end to end beside them."""
        if not clips:
            raise ValueError("no training clip with sound")
        columns, reach = self.config.network.audio_columns, self._block_columns()
        mels, motions, starts, frames = [], [], [], []
        position = row = 0
        for number, clip in enumerate(clips):
            for variant in clip.variants:
                motion = resample_motion(clip.expression, variant.speed)
                heard = resample_motion(clip.heard.astype(np.float32), variant.speed) > 0.99
                usable = (
                    np.convolve(heard, np.ones(self.config.run_frames), "valid")
                    > self.config.run_frames - 0.5
                )
                first = np.flatnonzero(usable)
                last_column = np.floor((40.0 * first + self.config.lookahead_ms - 25) / 12.5 + 1e-6).astype(
                    np.int64
                )
                starts.append(
                    np.stack(
                        [
                            position + reach + last_column - columns + 1,
                            row + first,
                            np.full_like(first, row),
                            np.full_like(first, len(motion)),
                            first,
                            np.full_like(first, number),
                        ],
                        1,
                    )
                )
                padded = np.pad(variant.mel.T, ((reach, reach), (0, 0)), constant_values=SILENCE)
                mels.append(padded)
                motions.append(motion)
                frames.append(len(motion))
                position += len(padded)
                row += len(motion)
        self._mel_MF = torch.from_numpy(np.concatenate(mels)).half()
        self._expression_TE = torch.from_numpy(np.concatenate(motions))
        ratio = self.model.eye_feature(self._expression_TE)[:, 0]
        self._blinks = torch.argsort(ratio)[: max(1, len(ratio) // 40)]
        self._runs = torch.from_numpy(np.concatenate(starts))
        self._names = [clip.clip for clip in clips]

    def _block_columns(self) -> int:
        return self.config.network.audio_columns + 4 * self.config.run_frames

    def updates(self, draw: Draw, step: int) -> Iterator[Update]:
        """One step of AdamW on one batch; what the mouth's statistics say is said over all processes' rows."""
        cfg = self.config
        network = self.modules["lip"].train()
        network.audio_encoder.train(not cfg.freeze_audio).requires_grad_(not cfg.freeze_audio)
        mel_NFW, target_NE, expression0_NE, kept_NA = self._draw(draw)
        with torch.no_grad():
            eye_NF = self.model.eye_feature(target_NE)
        audio_NA = network.encode_audio(mel_NFW) * kept_NA / (1 - cfg.dropout)
        predicted_NE = network(audio_NA, expression0_NE, normalise(eye_NF))
        terms = lip_losses(self.model, predicted_NE, target_NE, eye_NF, cfg.losses)
        opening, real = mouth_opening(self.model, predicted_NE), mouth_opening(self.model, target_NE)
        all_opening, all_real = gather_rows(opening), gather_rows(real)
        unit = all_real.std().clamp(min=1e-3)
        spread = spread_penalty(all_opening / unit, all_real / unit)
        agreement = correlation_loss(all_opening, all_real)
        speed_p = self.model.landmarks_68(predicted_NE).unflatten(0, (-1, cfg.run_frames)).diff(dim=1)
        speed_t = self.model.landmarks_68(target_NE).unflatten(0, (-1, cfg.run_frames)).diff(dim=1)
        velocity = (speed_p - speed_t)[..., 48:68, :].square().sum(-1).mean() / unit.square()
        shut_N = 1 + cfg.closure_focus * torch.exp(-real.clamp(min=0) / _CLOSED)
        closure = (shut_N * (opening - real).square()).mean() / unit.square()
        total = (
            terms.total
            + cfg.closure * closure
            + cfg.spread * spread
            + cfg.correlation * agreement
            + cfg.velocity * velocity
        )
        log = {
            "landmarks": terms.landmarks,
            "eye": terms.eye,
            "shut": terms.shut,
            "expression": terms.expression,
            "correlation": agreement,
            "velocity": velocity,
            "closure": closure,
        }
        yield Update("lip", total, log)

    def _draw(self, draw: Draw) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cfg, generator = self.config, draw.generator
        count, frames, columns = cfg.runs, cfg.run_frames, cfg.network.audio_columns

        def chance(share: float) -> Tensor:
            return torch.rand(count, generator=generator) < share

        chosen = torch.randint(len(self._runs), (count,), generator=generator)
        column, row, clip_row, clip_frames, frame, number = self._runs[chosen].unbind(1)
        own = draw.share(count)
        self._batch = ", ".join(sorted({self._names[i] for i in number[own].tolist()}))
        block_index = column[:, None] + torch.arange(self._block_columns())
        block_RFW = self._mel_MF[block_index].float().transpose(1, 2)
        silent = chance(cfg.silence_share)
        hush = SILENCE + 0.6 * torch.rand(count, 1, 1, generator=generator) * torch.rand(
            block_RFW.shape, generator=generator
        )
        block_RFW = torch.where(silent[:, None, None], hush, block_RFW)
        block_RFW = stretch_mel(block_RFW, generator, cfg.stretch)
        step = torch.arange(frames)
        advance = torch.floor((40.0 * (frame[:, None] + step) + cfg.lookahead_ms - 25) / 12.5 + 1e-6)
        offset_RK = (advance - advance[:, :1]).long()
        window = (offset_RK[:, :, None] + torch.arange(columns))[:, :, None, :].expand(-1, -1, 80, -1)
        mel_RKFW = block_RFW[:, None].expand(-1, frames, -1, -1).gather(3, window)

        target_RKE = self._expression_TE[row[:, None] + step]
        other = (torch.rand(count, generator=generator) * clip_frames).long()
        expression0_RE = self._expression_TE[clip_row + other]
        expression0_RE = expression0_RE + cfg.expression0_noise * torch.randn(
            expression0_RE.shape, generator=generator
        )
        rest_RE = expression0_RE - expression0_RE @ self._close
        target_RKE = torch.where(silent[:, None, None], rest_RE[:, None], target_RKE)
        donor = torch.randint(len(self._expression_TE), (count,), generator=generator)
        blinking = torch.randint(len(self._blinks), (count,), generator=generator)
        donor = torch.where(chance(cfg.blink_share), self._blinks[blinking], donor)
        swapped = target_RKE + (self._expression_TE[donor][:, None] - target_RKE) @ self._swap
        target_RKE = torch.where(chance(cfg.eye_swap_share)[:, None, None], swapped, target_RKE)
        style = torch.randint(len(self._styles_SE), (count,), generator=generator)
        amount = torch.rand(count, 1, generator=generator) * chance(cfg.style_share)[:, None]
        shift_RE = amount * self._styles_SE[style]
        target_RKE = target_RKE + shift_RE[:, None]
        expression0_RE = expression0_RE + shift_RE
        mirrored = chance(0.5)
        target_RKE = torch.where(
            mirrored[:, None, None], self.model.mirror_expression(target_RKE), target_RKE
        )
        expression0_RE = torch.where(
            mirrored[:, None], self.model.mirror_expression(expression0_RE), expression0_RE
        )
        expression0_RKE = expression0_RE[:, None].expand(-1, frames, -1)
        kept_RKA = torch.rand(count, frames, cfg.network.audio_size, generator=generator) >= cfg.dropout
        mel_NFW, target_NE, expression0_NE, kept_NA = (
            rows[own].flatten(0, 1) for rows in (mel_RKFW, target_RKE, expression0_RKE, kept_RKA)
        )
        return mel_NFW, target_NE, expression0_NE, kept_NA

    def describe_batch(self) -> str:
        """Clips of the last batch."""
        return self._batch

    @torch.no_grad()
    def predict(
        self, network: LipNetwork, clip: ClipFeatures, eye_feature_TF: Tensor | None = None
    ) -> Tensor:
        """Expressions (T,64) of a clip from its unchanged sound, e_0 its first frame, f held at f_0 unless given."""
        frames = torch.arange(clip.frames)
        mel_NFW = lip_windows(
            torch.from_numpy(clip.variants[0].mel),
            frames,
            self.config.lookahead_ms,
            self.config.network.audio_columns,
        )
        expression0 = torch.from_numpy(clip.expression[0]).expand(clip.frames, -1)
        eye = self.model.eye_feature(expression0) if eye_feature_TF is None else eye_feature_TF
        predicted: Tensor = network(network.encode_audio(mel_NFW), expression0, normalise(eye))
        return predicted

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Held-out figures by clip: correlation and range of the mouth opening, jitter, blink transfer, silence."""
        network = modules["lip"]
        assert isinstance(network, LipNetwork)
        figures: dict[str, float] = {}
        scores, ranges = [], []
        for clip in self.held_out:
            real = mouth_opening(self.model, torch.from_numpy(clip.expression)).numpy()[clip.heard]
            predicted = mouth_opening(self.model, self.predict(network, clip)).numpy()[clip.heard]
            agreement = mouth_agreement(predicted, real)
            figures[f"mouth_correlation/{clip.clip}"] = agreement.correlation
            figures[f"mouth_range/{clip.clip}"] = agreement.range_ratio
            figures[f"mouth_jitter/{clip.clip}"] = float(
                np.abs(np.diff(predicted, 2)).mean() / max(np.abs(np.diff(real, 2)).mean(), 1e-9)
            )
            figures[f"mouth_p10/{clip.clip}"] = float(np.quantile(predicted, 0.1) - np.quantile(real, 0.1))
            figures[f"mouth_p90/{clip.clip}"] = float(np.quantile(predicted, 0.9) - np.quantile(real, 0.9))
            scores.append(agreement.correlation)
            ranges.append(agreement.range_ratio)
        if scores:
            figures["mouth_correlation"] = float(np.mean(scores))
            figures["mouth_range"] = float(np.mean(ranges))
            figures |= self._blink_and_silence(network)
        return figures

    def _blink_and_silence(self, network: LipNetwork) -> dict[str, float]:
        given, shown, silent, spoken = [], [], [], []
        for clip in self.held_out:
            feature = self.model.eye_feature(torch.from_numpy(clip.expression))
            feature[:, 0] = torch.linspace(0.1, 1.1, clip.frames)
            given.append(feature[:, 0])
            shown.append(self.model.eye_feature(self.predict(network, clip, feature))[:, 0])
            expression0 = torch.from_numpy(clip.expression[:1])
            hush = torch.full((1, 80, self.config.network.audio_columns), SILENCE)
            rest = network(
                network.encode_audio(hush), expression0, normalise(self.model.eye_feature(expression0))
            )
            silent.append(mouth_opening(self.model, rest))
            spoken.append(mouth_opening(self.model, self.predict(network, clip)))
        x, y = torch.cat(given), torch.cat(shown)
        slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum()
        return {
            "blink_slope": float(slope),
            "blink_error": float((x - y).abs().mean()),
            "silence_opening": float(torch.cat(silent).mean()),
            "speech_opening": float(torch.cat(spoken).mean()),
            "speech_opening_p95": float(torch.cat(spoken).quantile(0.95)),
        }
