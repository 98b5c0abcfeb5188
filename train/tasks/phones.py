"""Pre-training of the audio encoder, before stage 1: it names phones in synthetic speech of many voices.

A few minutes of video hold few voices; a synthesiser has many, and knows what it says. An encoder that names the phone
of its frame has learnt what is common to voices, and stage 1 needs little video to turn that into lips.

Shape suffixes: N windows, F mel bands (80), W mel columns, A audio embedding, P phones.
"""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from engine.audio import MEL_SILENCE
from engine.motion.networks.audio_encoder import AudioEncoder, AudioEncoderConfig
from train.data.speech.augment import MelAugmentation, augment_mel
from train.data.speech.speech_synthesis import PHONES
from train.data.speech.synthetic_speech import SyntheticSpeech
from train.datasets.batch_rng import BatchRng
from train.tasks.protocol import Update

_SILENT = PHONES.index("pau")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhonesConfig:
    """How the encoder is trained.

    Attributes:
        rows: windows of a batch.
        lookahead_ms: how far a window reaches past the frame whose phone is asked for.
        dropout: of the embedding, in training only.
        rarity: phones weigh as their frequency to the power of minus this, so that pauses and vowels do not rule.
        held_out: last utterances, kept for evaluation.
    """

    network: AudioEncoderConfig
    rows: int = 192
    lookahead_ms: int = 80
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    dropout: float = 0.3
    rarity: float = 0.4
    held_out: int = 40
    augmentation: MelAugmentation = field(
        default_factory=lambda: MelAugmentation(warp=0.12, level_db=10.0, tilt_db=8.0, noise=0.1)
    )


class PhonesTask:
    """Training and evaluation of the audio encoder on synthetic speech."""

    averaged = ("audio_encoder", "phone")

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
        self.modules = nn.ModuleDict({"audio_encoder": AudioEncoder(net), "phone": nn.Linear(net.size, len(PHONES))})
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

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """One step of AdamW on one batch of windows."""
        cfg, net = self.config, self.config.network
        start_N = torch.randint(len(self._mel_MF) - net.columns, (cfg.rows,), generator=rng.generator)
        own = rng.own_rows(cfg.rows)
        mel_NFW = augment_mel(self._windows(self._mel_MF, start_N), rng.generator, cfg.augmentation)[own]
        kept_NA = (torch.rand((cfg.rows, net.size), generator=rng.generator) >= cfg.dropout)[own]
        phone_N = self._phone_M[start_N + self._asked][own]
        mel_NFW, kept_NA, phone_N, weight_P = (
            tensor.to(rng.device) for tensor in (mel_NFW, kept_NA, phone_N, self._weight_P)
        )
        audio_NA = self.modules["audio_encoder"].train()(mel_NFW) * kept_NA / (1 - cfg.dropout)
        score_NP = self.modules["phone"](audio_NA).float()
        loss = nn.functional.cross_entropy(score_NP, phone_N, weight_P, reduction="none").mean()
        yield Update("phones", loss, batch="synthetic speech")

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Share of held-out columns whose phone is named: of all, and of those with speech."""
        start_N = torch.arange(0, len(self._held_mel_MF) - self.config.network.columns, 5)
        device = next(modules["phone"].parameters()).device
        right, spoken = [], []
        for part_N in torch.split(start_N, 512):
            mel_NFW = self._windows(self._held_mel_MF, part_N).to(device)
            score_NP = modules["phone"](modules["audio_encoder"](mel_NFW))
            phone_N = self._held_phone_M[part_N + self._asked]
            right.append(score_NP.argmax(1).cpu() == phone_N)
            spoken.append(phone_N != _SILENT)
        right_N, spoken_N = torch.cat(right), torch.cat(spoken)
        return {
            "phone_accuracy": float(right_N.float().mean()),
            "phone_accuracy_in_speech": float(right_N[spoken_N].float().mean()),
        }


def _spaced(speech: SyntheticSpeech, bounds: list[int], space: int) -> tuple[Tensor, Tensor]:
    """Mels (M,80) and phones (M,) of the utterances between ``bounds``, ``space`` silent columns around each."""
    mels, phones = [], []
    for start, stop in itertools.pairwise(bounds):
        mels.append(np.pad(speech.mel[start:stop], ((space, space), (0, 0)), constant_values=MEL_SILENCE))
        phones.append(np.pad(speech.phone[start:stop], space, constant_values=_SILENT))
    return torch.from_numpy(np.concatenate(mels)), torch.from_numpy(np.concatenate(phones)).long()
