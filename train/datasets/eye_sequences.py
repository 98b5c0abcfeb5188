"""Batches of stage 2: long sequences of motion, each with audio.

The audio of a row is either embedded once by a frozen stage 1, or given as mel windows for the task to embed.

Shape suffixes: B rows, T frames, E expression (64), F mel bands (80), W mel columns, A audio embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.audio import MEL_SILENCE
from engine.motion.networks.prosody import lip_window, mel_windows
from train.data.storage.shards import ClipFeatures, FloatArray, resample_motion
from train.datasets.batch_rng import BatchRng
from train.datasets.speech_variation import SpeechVariation
from train.expression_model import ExpressionModel
from train.metrics.blink import blink_statistics

_ENCODE_FRAMES = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class EyeSequencesConfig(SpeechVariation):
    """What a batch holds and how much it is varied.

    Attributes:
        rows, lengths_frames: a batch has ``rows`` sequences of one of these lengths.
        columns: of stage 1's mel windows; 16 are the release's.
        embed_once: embed all audio before training (memory: four bytes a number, 512 a frame in the paper's layout);
            otherwise each batch's.
        foreign_voice_share: rows that hear somebody else's speech. Blinks have little to do with what is said; with
            few clips the network would rather learn by heart which audio goes with which blink, and then blink at
            every audio that it does not know.
        busy_blinks_per_minute, busy_weight: clips with more blinks than this count less.
    """

    rows: int = 12
    lengths_frames: tuple[int, ...] = (70, 120, 160)
    columns: int = 16
    embed_once: bool = True
    silence_share: float = 0.25
    foreign_voice_share: float = 0.9
    busy_blinks_per_minute: float = 16.0
    busy_weight: float = 0.15

    @classmethod
    def plain(cls, rows: int, frames: int = 300, lookahead_ms: int = 133) -> EyeSequencesConfig:
        """Sequences as they are: the paper's (App. C: 300 frames), with the release's mel window."""
        return cls(
            rows=rows,
            lengths_frames=(frames,),
            variants=False,
            lookahead_ms=lookahead_ms,
            embed_once=False,
            silence_share=0.0,
            style_share=0.0,
            mirror_share=0.0,
            foreign_voice_share=0.0,
            busy_weight=1.0,
        )


@dataclass(frozen=True, slots=True)
class EyeBatch:
    """This share's rows, on the CPU: audio (B,T,A) or mel windows (B,T,80,W), expressions (B,T,64), names of clips."""

    audio_BT: Tensor
    expression_BTE: Tensor
    clips: str


@dataclass(frozen=True, slots=True)
class EyeTrack:
    """A clip's motion (T,64) at one speed, with its mel (80,M) or embedded audio (T,A), or neither."""

    expression: Tensor
    mel_FM: Tensor | None
    embedded_TA: Tensor | None
    name: str
    weight: float

    @property
    def heard(self) -> bool:
        """Whether it has audio."""
        return self.mel_FM is not None


class EyeSequences:
    """All clips, and the draw of batches from those of the training split."""

    def __init__(
        self,
        config: EyeSequencesConfig,
        clips: Sequence[ClipFeatures],
        model: ExpressionModel,
        embed: Callable[[Tensor], Tensor] | None = None,
        styles_SE: Tensor | None = None,
    ) -> None:
        """``embed``: mel windows (N,80,W) to (N,A) of a frozen stage 1; None gives windows in batches.

        Raises:
            ValueError: no training clip is as long as a sequence, or none has audio.
        """
        self.config, self._model, self._embed = config, model, embed
        self._styles_SE = torch.zeros(1, 64) if styles_SE is None else styles_SE
        self.training = [t for clip in clips if clip.split == "train" for t in self._tracks(clip)]
        self.held_out = [t for clip in clips if clip.split == "held_out" for t in self._tracks(clip)[:1]]
        self._voices = [track for track in self.training if track.heard]
        longest = max((len(track.expression) for track in self._voices), default=0)
        if longest < max(config.lengths_frames):
            raise ValueError(
                f"the longest training clip with audio has {longest} frames, fewer than the sequences of "
                f"{max(config.lengths_frames)}: set task.data.lengths_frames lower"
            )

    @torch.no_grad()
    def _tracks(self, clip: ClipFeatures) -> list[EyeTrack]:
        busy = blink_statistics([clip.eye_feature[:, 0]]).per_minute > self.config.busy_blinks_per_minute
        weight = self.config.busy_weight if busy else 1.0
        mute: list[tuple[float, FloatArray | None]] = [(1.0, None), (0.9, None), (1.1, None)]
        audio = mute if not clip.variants else [(v.speed, v.mel) for v in clip.variants]
        audio = audio if self.config.variants else audio[:1]
        tracks = []
        for speed, mel in audio:
            motion = torch.from_numpy(resample_motion(clip.expression, speed))
            mel_FM = None if mel is None else torch.from_numpy(mel)
            embedded_TA = None
            if mel_FM is not None and self._embed is not None:
                embedded_TA = self._embedded(mel_FM, len(motion))
            tracks.append(EyeTrack(motion, mel_FM, embedded_TA, clip.clip, weight / len(audio)))
        return tracks

    def _embedded(self, mel_FM: Tensor, frames: int) -> Tensor:
        assert self._embed is not None
        pieces = range(0, frames, _ENCODE_FRAMES)
        windows = (self.windows(mel_FM, torch.arange(i, min(i + _ENCODE_FRAMES, frames))) for i in pieces)
        return torch.cat([self._embed(window_NFW) for window_NFW in windows])

    def windows(self, mel_FM: Tensor, frames: Tensor) -> Tensor:
        """Mel windows (T,80,W) of frames."""
        first, _ = lip_window(frames, self.config.lookahead_ms, self.config.columns)
        return mel_windows(mel_FM, first, self.config.columns)

    def audio(self, track: EyeTrack, start: int, length: int) -> Tensor:
        """(length, A) or (length, 80, W) of a track with audio."""
        if track.embedded_TA is not None:
            return track.embedded_TA[start : start + length]
        assert track.mel_FM is not None
        return self.windows(track.mel_FM, torch.arange(start, start + length))

    @torch.no_grad()
    def draw(self, rng: BatchRng) -> EyeBatch:
        """This share's rows of the batch of a step."""
        cfg, generator = self.config, rng.generator
        length = cfg.lengths_frames[rng.integer(len(cfg.lengths_frames))]
        fitting = [track for track in self.training if len(track.expression) >= length]
        voices = [track for track in self._voices if len(track.expression) >= length]
        if cfg.foreign_voice_share == 0:
            fitting = voices
        weights = torch.tensor([track.weight * len(track.expression) for track in fitting])
        drawn = torch.multinomial(weights, cfg.rows, True, generator=generator).tolist()
        own = rng.own_rows(cfg.rows)
        expressions, heard = [], []
        for track in (fitting[i] for i in drawn):
            start = rng.integer(len(track.expression) - length + 1)
            expressions.append(track.expression[start : start + length])
            hears_itself = not rng.happens(cfg.foreign_voice_share)
            if not (track.heard and hears_itself):
                track = voices[rng.integer(len(voices))]
                start = rng.integer(len(track.expression) - length + 1)
            heard.append((track, start))
        # Audio is heavy: only the own rows are read.
        audio_BT = torch.stack([self.audio(track, start, length) for track, start in heard[own]])
        expression_BTE = torch.stack(expressions)
        silent = rng.chance(cfg.rows, cfg.silence_share)
        silence = MEL_SILENCE + 0.5 * torch.rand(cfg.rows, 80, cfg.columns, generator=generator)
        if silent[own].any():
            quiet = (silence if self._embed is None else self._embed(silence))[own][:, None]
            where = silent[own].reshape(-1, *[1] * (quiet.ndim - 1))
            audio_BT = torch.where(where, quiet, audio_BT)
        style = torch.randint(len(self._styles_SE), (cfg.rows,), generator=generator)
        amount = torch.rand(cfg.rows, 1, generator=generator)
        amount = amount * rng.chance(cfg.rows, cfg.style_share)[:, None]
        expression_BTE = expression_BTE + (amount * self._styles_SE[style])[:, None]
        mirrored = rng.chance(cfg.rows, cfg.mirror_share)
        if cfg.mirror_share > 0:
            mirror_BTE = self._model.mirror_expression(expression_BTE)
            expression_BTE = torch.where(mirrored[:, None, None], mirror_BTE, expression_BTE)
        names = ", ".join(sorted({fitting[i].name for i in drawn[own]}))
        return EyeBatch(audio_BT, expression_BTE[own], names)
