"""Made-up speech: phones lie end to end, loud where vowels are, and missing tools are named."""

import ctypes.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError, MissingDependency
from train.data.speech.augment import WaveAugmentation
from train.data.speech.sentences import SENTENCES, random_sentence
from train.data.speech.speech_synthesis import (
    PHONES,
    EspeakSynthesiser,
    FliteSynthesiser,
    Phone,
    Speech,
    Synthesiser,
    Voice,
)
from train.data.speech.synthetic_speech import SpeechConfig, load_speech, prepare_speech, speak_corpus

_VOWELS = {"aa", "ae", "ah", "ao", "aw", "ay", "eh", "er", "ey", "ih", "iy", "ow", "oy", "uw"}


@pytest.fixture(params=["flite", "espeak-ng"])
def synthesiser(request: pytest.FixtureRequest) -> Synthesiser:
    try:
        return FliteSynthesiser() if request.param == "flite" else EspeakSynthesiser()
    except MissingDependency as error:
        pytest.skip(str(error))


class _Humming:
    """Stands in for a synthesiser: a tone under a phone, silence before and after."""

    voices = ("low", "high")

    def speak(self, text: str, voice: Voice) -> Speech:
        pitch_hz = {"low": 110.0, "high": 220.0}[voice.name] * voice.pitch
        tone = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(8000) / 16000)
        wave = np.concatenate([np.zeros(4000), tone, np.zeros(4000)]).astype(np.float32)
        return Speech(wave, (Phone("pau", 0.0, 0.25), Phone("m", 0.25, 0.75), Phone("pau", 0.75, 1.0)))


def test_phones_lie_end_to_end_and_fill_the_wave(synthesiser: Synthesiser) -> None:
    speech = synthesiser.speak("Bob may buy a boat.", Voice(name=synthesiser.voices[0]))
    assert speech.wave.dtype == np.float32
    assert np.abs(speech.wave).max() <= 1
    starts = [phone.start_s for phone in speech.phones]
    ends = [phone.end_s for phone in speech.phones]
    assert starts[1:] == pytest.approx(ends[:-1])
    assert all(end > start for start, end in zip(starts, ends, strict=True))
    assert ends[-1] == pytest.approx(len(speech.wave) / 16000, abs=0.2)
    assert {phone.name for phone in speech.phones} <= set(PHONES)
    spoken = [phone.name for phone in speech.phones if phone.name != "pau"]
    assert spoken[0] == "b"
    assert spoken.count("b") >= 3
    assert "m" in spoken


def test_vowels_are_louder_than_pauses(synthesiser: Synthesiser) -> None:
    speech = synthesiser.speak("Good morning, we are all here. Please go on.", Voice(name=synthesiser.voices[0]))

    def level(names: set[str]) -> float:
        parts = [
            speech.wave[int(16000 * phone.start_s) : int(16000 * phone.end_s)]
            for phone in speech.phones
            if phone.name in names
        ]
        return float(np.sqrt((np.concatenate(parts) ** 2).mean()))

    assert level(_VOWELS) > 5 * level({"pau"})


def test_pace_shortens_and_pitch_raises(synthesiser: Synthesiser) -> None:
    name = synthesiser.voices[0]
    slow = synthesiser.speak("We were away all year.", Voice(name=name, pace=0.8))
    fast = synthesiser.speak("We were away all year.", Voice(name=name, pace=1.3))
    assert len(fast.wave) < 0.85 * len(slow.wave)
    low = synthesiser.speak("We were away all year.", Voice(name=name, pitch=0.75))
    high = synthesiser.speak("We were away all year.", Voice(name=name, pitch=1.35))
    assert _fundamental_hz(high.wave) > 1.15 * _fundamental_hz(low.wave)


def _fundamental_hz(wave: np.ndarray) -> float:  # type: ignore[type-arg]
    """Median over loud windows of the best autocorrelation lag between 60 and 400 Hz."""
    found = []
    for start in range(0, len(wave) - 1024, 512):
        piece = wave[start : start + 1024].astype(np.float64)
        if np.sqrt((piece**2).mean()) < 0.3 * np.sqrt((wave**2).mean()):
            continue
        correlation = np.correlate(piece, piece, "full")[1023:]
        found.append(16000 / (40 + int(np.argmax(correlation[40:267]))))
    return float(np.median(found))


@pytest.mark.parametrize("name", EspeakSynthesiser.voices[::9])
def test_every_espeak_voice_speaks(name: str) -> None:
    try:
        synthesiser = EspeakSynthesiser()
    except MissingDependency as error:
        pytest.skip(str(error))
    assert len(synthesiser.speak("Hello there.", Voice(name=name)).wave) > 4000


def test_an_unknown_espeak_voice_is_refused() -> None:
    try:
        synthesiser = EspeakSynthesiser()
    except MissingDependency as error:
        pytest.skip(str(error))
    with pytest.raises(ValueError, match="no voice 'nobody'"):
        synthesiser.speak("Hello", Voice(name="nobody"))


def test_missing_tools_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(MissingDependency, match="apt-get install flite"):
        FliteSynthesiser()
    with pytest.raises(MissingDependency, match="apt-get install espeak-ng"):
        EspeakSynthesiser()
    with pytest.raises(MissingDependency, match="flite or espeak-ng"):
        prepare_speech(SpeechConfig(out=tmp_path / "speech"))
    assert not (tmp_path / "speech").exists()


def test_a_corpus_that_was_not_spoken_says_how(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare_speech"):
        load_speech(tmp_path)


def test_phones_of_columns_follow_the_audio() -> None:
    plain = WaveAugmentation(
        noise_probability=0.0, room_probability=0.0, telephone_probability=0.0, level_db=(0.0, 0.0)
    )
    corpus = speak_corpus([_Humming()], SpeechConfig(out=Path("unused"), utterances=20, augmentation=plain))
    assert len(corpus.mel) == len(corpus.phone)
    assert len(corpus.first) == 20
    tone = corpus.mel.astype(np.float32)[:, :5].mean(1)
    humming = corpus.phone == PHONES.index("m")
    assert 0.4 < humming.mean() < 0.6
    assert tone[humming].mean() > tone[~humming].mean() + 1.5


def test_a_corpus_repeats_under_its_seed() -> None:
    config = SpeechConfig(out=Path("unused"), utterances=4, seed=3)
    one, two = (speak_corpus([_Humming()], config) for _ in range(2))
    assert np.array_equal(one.mel, two.mel)
    assert np.array_equal(one.phone, two.phone)


def test_sentences_have_sounds_that_close_the_lips() -> None:
    text = " ".join(SENTENCES).lower()
    assert min(text.count(letter) for letter in "pbm") > 50
    rng = np.random.default_rng(0)
    commands = [random_sentence(rng, command_share=1.0).split() for _ in range(50)]
    assert {len(words) for words in commands} == {6}
    assert random_sentence(rng, command_share=0.0) in SENTENCES
