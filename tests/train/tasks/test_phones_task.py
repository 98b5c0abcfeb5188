"""The step before stage 1: an encoder that learns phones from synthetic speech."""

from pathlib import Path

import numpy as np
import pytest

from engine.motion.networks.audio_encoder import AudioEncoderConfig
from train.data.speech.speech_synthesis import PHONES
from train.data.speech.synthetic_speech import SyntheticSpeech
from train.datasets.batch_rng import BatchRng
from train.tasks.phones import PhonesConfig, PhonesTask
from train.trainer import train
from train.trainer_config import TrainerConfig

_TINY = AudioEncoderConfig(widths=(4, 8), mel_strides=(4, 4), time_strides=(2, 2), residuals=0, size=16, columns=16)


def _speech(utterances: int = 12) -> SyntheticSpeech:
    """Phones that light up bands of their own for 16 columns each."""
    rng = np.random.default_rng(0)
    names = ("pau", "m", "aa", "s")
    phone = np.repeat(rng.integers(0, len(names), (utterances, 10)), 16)
    mel = np.full((len(phone), 80), -4.0)
    for number in range(1, len(names)):
        mel[phone == number, 20 * number : 20 * number + 15] = 1.0
    numbers = np.array([PHONES.index(name) for name in names], np.uint8)[phone]
    first = np.arange(utterances, dtype=np.int64) * 160
    return SyntheticSpeech(mel.astype(np.float16), numbers, first)


def test_phones_are_learnt_and_named_at_their_frame(tmp_path: Path) -> None:
    config = PhonesConfig(network=_TINY, rows=48, learning_rate=2e-2, dropout=0.0, held_out=3)
    task = PhonesTask(config, _speech())
    before = task.evaluate(task.modules)
    result = train(task, TrainerConfig(out=tmp_path, steps=60, warmup_steps=5, evaluate_every=0, threads=1))
    assert result.figures["phone_accuracy_in_speech"] > 0.8
    assert result.figures["phone_accuracy"] > before["phone_accuracy"] + 0.3


def test_the_column_asked_for_is_the_frames() -> None:
    """Frame t's window ends at the last column with 12.5 j + 25 <= 40 t + 80; its own column is j = 3.2 t."""
    task = PhonesTask(PhonesConfig(network=_TINY, held_out=3), _speech())
    frame = 50
    last = int((40 * frame + 80 - 25) / 12.5)
    assert abs(last - 15 + task._asked - 3.2 * frame) <= 1


def test_a_step_repeats_from_its_draw() -> None:
    config = PhonesConfig(network=_TINY, rows=8, held_out=3)
    task = PhonesTask(config, _speech())
    one, two, other = (
        float(next(iter(task.updates(BatchRng.for_step(0, step), step))).loss.detach()) for step in (5, 5, 6)
    )
    assert one == two
    assert one != other


def test_too_little_speech_is_refused() -> None:
    with pytest.raises(ValueError, match="held out"):
        PhonesTask(PhonesConfig(network=_TINY, held_out=12), _speech())
