"""Batches of stage 1: runs of consecutive frames with their mel windows.

    mel block   |........................|      one change of voice and level a run
    windows     |--16--|
                   |--16--|                     one a frame
                      |--16--|

The paper's sequences are runs of 30 frames without any change (`SpeechRunsConfig.plain`).

Shape suffixes: R runs, K frames a run, E expression (64), F mel bands (80), W mel columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from engine.audio import MEL_SILENCE
from engine.motion.networks.prosody import lip_window
from train.data.speech.augment import MelAugmentation, augment_mel
from train.data.storage.shards import ClipFeatures, resample_motion
from train.datasets.batch_rng import BatchRng
from train.datasets.regions import eye_swap_operator, mouth_closing_operator
from train.datasets.speech_variation import SpeechVariation
from train.expression_model import ExpressionModel


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechRunsConfig(SpeechVariation):
    """What a batch holds and how much it is varied.

    Attributes:
        runs, run_frames: batch of runs x run_frames mel windows.
        expression0_first: e_0 is the run's first frame, as in the paper; otherwise any frame of the clip.
        expression0_noise: standard deviation added to e_0.
        silence_share: runs of digital silence or faint noise, for which the lips come together.
        eye_swap_share: runs that get the eyes of another frame, so that the mouth does not follow them.
        blink_share: swapped eyes that come from the fortieth of all frames in which the lids are lowest.
        augmentation: changes of the mel; None makes none.
    """

    runs: int = 48
    run_frames: int = 4
    expression0_first: bool = False
    expression0_noise: float = 0.1
    silence_share: float = 0.06
    eye_swap_share: float = 0.5
    blink_share: float = 0.3
    augmentation: MelAugmentation | None = field(default_factory=MelAugmentation)

    @classmethod
    def plain(cls, runs: int, run_frames: int = 30, lookahead_ms: int = 133) -> SpeechRunsConfig:
        """Sequences as they are: the paper's (App. C: 30 frames), with the release's mel window."""
        return cls(
            runs=runs,
            run_frames=run_frames,
            variants=False,
            lookahead_ms=lookahead_ms,
            expression0_first=True,
            expression0_noise=0.0,
            silence_share=0.0,
            eye_swap_share=0.0,
            blink_share=0.0,
            style_share=0.0,
            mirror_share=0.0,
            augmentation=None,
        )


@dataclass(frozen=True, slots=True)
class RunBatch:
    """This share's runs: mel windows (R,K,80,W), target and first expressions (R,K,64), names of their clips."""

    mel_RKFW: Tensor
    target_RKE: Tensor
    expression0_RKE: Tensor
    clips: str


class SpeechRuns:
    """All training clips with audio, laid end to end, and the draw of batches from them."""

    def __init__(
        self,
        config: SpeechRunsConfig,
        clips: Sequence[ClipFeatures],
        model: ExpressionModel,
        columns: int,
        styles_SE: Tensor | None = None,
    ) -> None:
        """``clips`` of the training split; ``columns`` of a mel window; ``styles_SE`` (S,64), resting expressions.

        Raises:
            ValueError: no clip has audio.
        """
        self.config, self._model, self._columns = config, model, columns
        self._block = columns + 4 * config.run_frames
        self._close = mouth_closing_operator(model)
        self._swap = eye_swap_operator(model)
        spoken = [clip for clip in clips if clip.variants]
        if not spoken:
            raise ValueError("no training clip with audio")
        self._pack(spoken)
        closed = torch.zeros(1, 64) if styles_SE is None else styles_SE
        self._styles_SE = closed - closed @ self._close

    def _pack(self, clips: Sequence[ClipFeatures]) -> None:
        """Lay all mels end to end with silence between, and all motions end to end beside them."""
        reach, length = self._block, self.config.run_frames
        mels, motions, starts = [], [], []
        position = row = 0
        for number, clip in enumerate(clips):
            for variant in clip.variants if self.config.variants else clip.variants[:1]:
                motion = resample_motion(clip.expression, variant.speed)
                heard = resample_motion(clip.heard.astype(np.float32), variant.speed) > 0.99
                whole = np.convolve(heard, np.ones(length), "valid") > length - 0.5
                first = np.flatnonzero(whole) if len(heard) >= length else np.zeros(0, np.int64)
                start = {
                    "column": position + reach + self._first_column(torch.from_numpy(first)).numpy(),
                    "row": row + first,
                    "clip_row": np.full_like(first, row),
                    "clip_frames": np.full_like(first, len(motion)),
                    "frame": first,
                    "clip": np.full_like(first, number),
                }
                starts.append(np.stack(list(start.values()), 1))
                padded = np.pad(variant.mel.T, ((reach, reach), (0, 0)), constant_values=MEL_SILENCE)
                mels.append(padded)
                motions.append(motion)
                position += len(padded)
                row += len(motion)
        self._mel_MF = torch.from_numpy(np.concatenate(mels)).half()
        self._expression_TE = torch.from_numpy(np.concatenate(motions))
        ratio = self._model.eye_feature(self._expression_TE)[:, 0]
        self._blinks = torch.argsort(ratio)[: max(1, len(ratio) // 40)]
        self._runs = torch.from_numpy(np.concatenate(starts))
        self._names = [clip.clip for clip in clips]
        if not len(self._runs):
            raise ValueError(f"no training clip has {length} frames with audio: set task.data.run_frames lower")

    @torch.no_grad()
    def draw(self, rng: BatchRng) -> RunBatch:
        """This share's rows of the batch of a step, on the CPU."""
        cfg, generator = self.config, rng.generator
        count = cfg.runs
        chosen = torch.randint(len(self._runs), (count,), generator=generator)
        column, row, clip_row, clip_frames, frame, number = self._runs[chosen].unbind(1)
        own = rng.own_rows(count)
        silent = rng.chance(count, cfg.silence_share)
        mel_RKFW = self._windows(column, frame, silent, generator)

        step = torch.arange(cfg.run_frames)
        target_RKE = self._expression_TE[row[:, None] + step]
        other = (torch.rand(count, generator=generator) * clip_frames).long()
        expression0_RE = self._expression_TE[row if cfg.expression0_first else clip_row + other]
        wobble_RE = torch.randn(expression0_RE.shape, generator=generator)
        expression0_RE = expression0_RE + cfg.expression0_noise * wobble_RE
        rest_RE = expression0_RE - expression0_RE @ self._close
        target_RKE = torch.where(silent[:, None, None], rest_RE[:, None], target_RKE)
        donor = torch.randint(len(self._expression_TE), (count,), generator=generator)
        blinking = torch.randint(len(self._blinks), (count,), generator=generator)
        donor = torch.where(rng.chance(count, cfg.blink_share), self._blinks[blinking], donor)
        swapped = target_RKE + (self._expression_TE[donor][:, None] - target_RKE) @ self._swap
        target_RKE = torch.where(rng.chance(count, cfg.eye_swap_share)[:, None, None], swapped, target_RKE)
        style = torch.randint(len(self._styles_SE), (count,), generator=generator)
        amount = torch.rand(count, 1, generator=generator) * rng.chance(count, cfg.style_share)[:, None]
        shift_RE = amount * self._styles_SE[style]
        target_RKE = target_RKE + shift_RE[:, None]
        expression0_RE = expression0_RE + shift_RE
        mirrored = rng.chance(count, cfg.mirror_share)[:, None]
        if cfg.mirror_share > 0:
            mirror = self._model.mirror_expression
            target_RKE = torch.where(mirrored[..., None], mirror(target_RKE), target_RKE)
            expression0_RE = torch.where(mirrored, mirror(expression0_RE), expression0_RE)
        expression0_RKE = expression0_RE[:, None].expand(-1, cfg.run_frames, -1)
        names = ", ".join(sorted({self._names[i] for i in number[own].tolist()}))
        return RunBatch(mel_RKFW[own], target_RKE[own], expression0_RKE[own], names)

    def _windows(self, column: Tensor, frame: Tensor, silent: Tensor, generator: torch.Generator) -> Tensor:
        """Mel windows (R,K,80,W) of the runs, changed block by block."""
        cfg, count = self.config, len(column)
        block_RFW = self._mel_MF[column[:, None] + torch.arange(self._block)].float().transpose(1, 2)
        faint = torch.rand(count, 1, 1, generator=generator) * torch.rand(block_RFW.shape, generator=generator)
        block_RFW = torch.where(silent[:, None, None], MEL_SILENCE + 0.6 * faint, block_RFW)
        if cfg.augmentation is not None:
            block_RFW = augment_mel(block_RFW, generator, cfg.augmentation)
        first_RK = self._first_column(frame[:, None] + torch.arange(cfg.run_frames))
        offset_RK = first_RK - first_RK[:, :1]
        window = (offset_RK[:, :, None] + torch.arange(self._columns))[:, :, None, :].expand(-1, -1, 80, -1)
        return block_RFW[:, None].expand(-1, cfg.run_frames, -1, -1).gather(3, window)

    def _first_column(self, frames: Tensor) -> Tensor:
        """First mel column of the windows of frames."""
        return lip_window(frames, self.config.lookahead_ms, self._columns)[0]
