"""A corpus of synthetic speech: mels of many voices with the phone of every column, in one file.

utterance | utterance | ...       mel (M,80) and phone (M,) end to end; ``first`` (U,) says where each begins
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import track
from safetensors.numpy import load_file

from engine.audio import mel_spectrogram
from engine.errors import InputError, MissingDependency
from engine.timebase import MEL_HOP_SAMPLES, SAMPLE_RATE_HZ
from train.data.speech.augment import WaveAugmentation, augment_wave
from train.data.speech.sentences import random_sentence
from train.data.speech.speech_synthesis import (
    PHONES,
    EspeakSynthesiser,
    FliteSynthesiser,
    Phone,
    Speech,
    Synthesiser,
    Voice,
)
from train.data.storage.files import make_folder, save_tensors

_log = logging.getLogger(__name__)
_COLUMN_S = MEL_HOP_SAMPLES / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechConfig:
    """How much is spoken, and how it varies.

    Attributes:
        out: folder of ``speech.safetensors``.
        utterances: a thousand are about an hour.
        pace, pitch: ranges, over the voice's usual ones.
        command_share: utterances in the grammar of GRID.
    """

    out: Path
    utterances: int = 1000
    seed: int = 0
    pace: tuple[float, float] = (0.8, 1.3)
    pitch: tuple[float, float] = (0.75, 1.35)
    command_share: float = 0.3
    augmentation: WaveAugmentation = field(default_factory=WaveAugmentation)


@dataclass(frozen=True, slots=True)
class SyntheticSpeech:
    """Mels float16 (M,80), number of the phone in `PHONES` uint8 (M,), first column of each utterance int64 (U,)."""

    mel: NDArray[np.float16]
    phone: NDArray[np.uint8]
    first: NDArray[np.int64]


def prepare_speech(config: SpeechConfig) -> SyntheticSpeech:
    """Speak a corpus with the synthesisers that are installed and write it.

    Raises:
        MissingDependency: neither flite nor espeak-ng is installed.
        OutputUnwritable: the disk is full or forbidden.
    """
    kinds: tuple[Callable[[], Synthesiser], ...] = (FliteSynthesiser, EspeakSynthesiser)
    synthesisers: list[Synthesiser] = []
    for kind in kinds:
        try:
            synthesisers.append(kind())
        except MissingDependency as error:
            _log.warning("%s", error)
    if not synthesisers:
        raise MissingDependency("synthetic speech needs flite or espeak-ng: apt-get install flite espeak-ng")
    make_folder(config.out)
    speech = speak_corpus(synthesisers, config)
    save_tensors(config.out / "speech.safetensors", {"mel": speech.mel, "phone": speech.phone, "first": speech.first})
    return speech


def load_speech(folder: Path) -> SyntheticSpeech:
    """Read what `prepare_speech` wrote.

    Raises:
        InputError: it has not been run.
    """
    path = folder / "speech.safetensors"
    if not path.is_file():
        raise InputError(f"no synthetic speech at {path}: run `gohd train prepare_speech out={folder}` first")
    tensors = load_file(path)
    return SyntheticSpeech(tensors["mel"], tensors["phone"], tensors["first"])


def speak_corpus(synthesisers: Sequence[Synthesiser], config: SpeechConfig) -> SyntheticSpeech:
    """Speak ``config.utterances`` sentences, each by a random synthesiser, voice, pace, pitch and room."""
    rng = np.random.default_rng(config.seed)
    mels, phones, first, position = [], [], [], 0
    for _ in track(range(config.utterances), description="speaking"):
        synthesiser = synthesisers[int(rng.integers(len(synthesisers)))]
        voice = Voice(
            name=synthesiser.voices[rng.integers(len(synthesiser.voices))],
            pace=float(rng.uniform(*config.pace)),
            pitch=float(rng.uniform(*config.pitch)),
        )
        speech = synthesiser.speak(random_sentence(rng, config.command_share), voice)
        mel, phone = _columns(speech, rng, config.augmentation)
        mels.append(mel)
        phones.append(phone)
        first.append(position)
        position += len(mel)
    return SyntheticSpeech(np.concatenate(mels), np.concatenate(phones), np.array(first, np.int64))


def _columns(
    speech: Speech, rng: np.random.Generator, augmentation: WaveAugmentation
) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    wave, speed = augment_wave(speech.wave, rng, augmentation)
    mel = mel_spectrogram(wave).T.astype(np.float16)
    return mel, _phone_columns(speech.phones, len(mel), speed)


def _phone_columns(phones: Sequence[Phone], columns: int, speed: float) -> NDArray[np.uint8]:
    """Phone at the centre of each column; silence after the last."""
    ends_s = np.array([phone.end_s for phone in phones]) / speed
    numbers = np.array([*(PHONES.index(phone.name) for phone in phones), PHONES.index("pau")], np.uint8)
    found: NDArray[np.uint8] = numbers[np.searchsorted(ends_s, np.arange(columns) * _COLUMN_S, side="right")]
    return found
