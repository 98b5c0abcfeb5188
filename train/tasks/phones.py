"""Before stage 1: the audio encoder learns to hear phones, from made-up speech of many voices.

A few minutes of film hold few voices; a synthesiser has many, and knows what it says. An encoder that names the phone
of its frame has learnt what is common to voices, and stage 1 needs little film to turn that into lips. So that loudness
and timbre are not forgotten, the embedding must also tell a coarse mel of its window.

Shape suffixes: N windows, F mel bands (80), W mel columns, A audio embedding, P phones, C coarse mel cells.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from engine.motion.audio_encoder import AudioEncoder, AudioEncoderConfig
from train.data.speech_synthesis import PHONES
from train.data.stretch import MelStretch, stretch_mel
from train.data.synthetic_speech import SyntheticSpeech
from train.data.windows import SILENCE
from train.tasks.protocol import Draw, Update

__all__ = ["PhoneHeads", "PhonesConfig", "PhonesTask"]

_COARSE = 4
_SILENT = PHONES.index("pau")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhonesConfig:
    """How the encoder is trained.

    Attributes:
        rows: windows of a batch.
        lookahead_ms: how far a window reaches past the frame whose phone is asked for.
        dropout: of the embedding, in training only.
        mel: weight of the coarse mel's squared error.
        rarity: phones weigh as their frequency to the power of minus this, so that pauses and vowels do not rule.
        held_out: last utterances, kept for evaluation.
    """

    network: AudioEncoderConfig
    rows: int = 160
    lookahead_ms: int = 80
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.2
    mel: float = 0.5
    rarity: float = 0.4
    held_out: int = 40
    stretch: MelStretch = field(
        default_factory=lambda: MelStretch(warp=0.12, level_db=10.0, tilt_db=8.0, noise=0.1)
    )


class PhoneHeads(nn.Module):
    """Linear readings of the embedding: scores of phones, and the mel in cells of 4 bands x 4 columns."""

    def __init__(self, size: int, columns: int) -> None:
        super().__init__()
        self.phone = nn.Linear(size, len(PHONES))
        self.mel = nn.Linear(size, (80 // _COARSE) * (columns // _COARSE))

    def forward(self, audio_NA: Tensor) -> tuple[Tensor, Tensor]:
        """(N,P) and (N,C)."""
        return self.phone(audio_NA), self.mel(audio_NA)


class PhonesTask:
    """Training and evaluation of the audio encoder on made-up speech."""

    averaged = ("audio_encoder", "heads")

    def __init__(self, config: PhonesConfig, speech: SyntheticSpeech, seed: int = 0) -> None:
        """Lay the utterances end to end with silence between.

        Raises:
            ValueError: not more utterances than are held out.
        """
        if len(speech.first) <= config.held_out:
            raise ValueError(f"{len(speech.first)} utterances, of which {config.held_out} would be held out")
        torch.manual_seed(seed)
        self.config = config
        net = config.network
        encoder, heads = AudioEncoder(net), PhoneHeads(net.size, net.columns)
        self.modules = nn.ModuleDict({"audio_encoder": encoder, "heads": heads})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "phones": torch.optim.AdamW(
                self.modules.parameters(), config.learning_rate, weight_decay=config.weight_decay
            )
        }
        bounds = [*speech.first.tolist(), len(speech.mel)]
        self._columns = np.arange(net.columns)
        self._asked = net.columns - 1 - round((config.lookahead_ms - 25) / 12.5)
        split = len(speech.first) - config.held_out
        self._mel_MF, self._phone_M = _spaced(speech, bounds[: split + 1], net.columns)
        self._held_mel_MF, self._held_phone_M = _spaced(speech, bounds[split:], net.columns)
        count_P = torch.bincount(self._phone_M, minlength=len(PHONES)).clamp(min=100).float()
        weight_P = (count_P / count_P.sum()).pow(-config.rarity)
        self._weight_P = weight_P / weight_P.mean()

    def _windows(self, mel_MF: Tensor, start_N: Tensor) -> Tensor:
        index_NW = start_N[:, None] + torch.from_numpy(self._columns)
        return mel_MF[index_NW].float().transpose(1, 2)

    def updates(self, draw: Draw, step: int) -> Iterator[Update]:
        """One step of AdamW on one batch of windows."""
        cfg, net = self.config, self.config.network
        start_N = torch.randint(len(self._mel_MF) - net.columns, (cfg.rows,), generator=draw.generator)
        own = draw.share(cfg.rows)
        mel_NFW = stretch_mel(self._windows(self._mel_MF, start_N), draw.generator, cfg.stretch)[own]
        kept_NA = (torch.rand((cfg.rows, net.size), generator=draw.generator) >= cfg.dropout)[own]
        phone_N = self._phone_M[start_N + self._asked][own]
        mel_NFW, kept_NA, phone_N, weight_P = (
            tensor.to(draw.device) for tensor in (mel_NFW, kept_NA, phone_N, self._weight_P)
        )
        audio_NA = self.modules["audio_encoder"].train()(mel_NFW) * kept_NA / (1 - cfg.dropout)
        score_NP, coarse_NC = self.modules["heads"](audio_NA)
        phone = nn.functional.cross_entropy(score_NP.float(), phone_N, weight_P, reduction="none").mean()
        mel = (coarse_NC.float() - _coarse(mel_NFW)).square().mean()
        yield Update("phones", phone + cfg.mel * mel, {"phone": phone.detach(), "mel": mel.detach()})

    def describe_batch(self) -> str:
        """Where the rows come from."""
        return "made-up speech"

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Share of held-out columns whose phone is named: of all, and of those with speech; the coarse mel's error."""
        start_N = torch.arange(0, len(self._held_mel_MF) - self.config.network.columns, 5)
        device = next(modules["heads"].parameters()).device
        right, spoken, errors = [], [], []
        for part_N in torch.split(start_N, 512):
            mel_NFW = self._windows(self._held_mel_MF, part_N).to(device)
            score_NP, coarse_NC = modules["heads"](modules["audio_encoder"](mel_NFW))
            phone_N = self._held_phone_M[part_N + self._asked]
            right.append(score_NP.argmax(1).cpu() == phone_N)
            spoken.append(phone_N != _SILENT)
            errors.append((coarse_NC - _coarse(mel_NFW)).square().mean(1).cpu())
        right_N, spoken_N = torch.cat(right), torch.cat(spoken)
        return {
            "phone_accuracy": float(right_N.float().mean()),
            "phone_accuracy_in_speech": float(right_N[spoken_N].float().mean()),
            "coarse_mel_error": float(torch.cat(errors).mean()),
        }


def _coarse(mel_NFW: Tensor) -> Tensor:
    return nn.functional.avg_pool2d(mel_NFW[:, None], _COARSE).flatten(1)


def _spaced(speech: SyntheticSpeech, bounds: list[int], space: int) -> tuple[Tensor, Tensor]:
    """Mels (M,80) and phones (M,) of the utterances between ``bounds``, ``space`` silent columns around each."""
    mels, phones = [], []
    for start, stop in itertools.pairwise(bounds):
        mels.append(np.pad(speech.mel[start:stop], ((space, space), (0, 0)), constant_values=SILENCE))
        phones.append(np.pad(speech.phone[start:stop], space, constant_values=_SILENT))
    return torch.from_numpy(np.concatenate(mels)), torch.from_numpy(np.concatenate(phones)).long()
