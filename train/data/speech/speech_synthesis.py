"""Synthetic speech: sentences spoken by flite and espeak-ng, with the time of every phone.

Both are optional tools of the machine. flite (BSD-like) is run as a command; espeak-ng (GPL-3.0) is opened as a
shared library, because its command tells no times.

    text -> synthesiser -> wave (16 kHz) and phones   pau|b|ih|n|b|l|uw|...|pau
                                                      0 .21 .25 .32     seconds, end of each
"""

import ctypes
import ctypes.util
import re
import shutil
import subprocess
import tempfile
import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import MissingDependency
from engine.timebase import SAMPLE_RATE_HZ
from train.data.resample import resample

FloatArray = NDArray[np.float32]

PHONES = (
    "pau", "aa", "ae", "ah", "ao", "aw", "ax", "ay", "b", "ch", "d", "dh", "eh", "er", "ey", "f", "g", "hh", "ih",
    "iy", "jh", "k", "l", "m", "n", "ng", "ow", "oy", "p", "r", "s", "sh", "t", "th", "uh", "uw", "v", "w", "y", "z",
    "zh",
)  # fmt: skip
"""ARPAbet, as flite names it; ``pau`` is silence."""


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone of `PHONES` from ``start_s`` to ``end_s``, seconds from the first sample."""

    name: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Speech:
    """A spoken sentence: wave float32 (n,) at 16 kHz in [-1,1], and its phones, end to end."""

    wave: FloatArray
    phones: tuple[Phone, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Voice:
    """How to speak: a voice of the synthesiser, its pace and its pitch over the usual ones."""

    name: str
    pace: float = 1.0
    pitch: float = 1.0


class Synthesiser(Protocol):
    """What speaks a sentence."""

    @property
    def voices(self) -> tuple[str, ...]: ...

    def speak(self, text: str, voice: Voice) -> Speech: ...


class FliteSynthesiser:
    """The command ``flite``: voices cut or modelled from recordings of four people."""

    voices = ("slt", "rms", "awb", "kal16")
    _PITCH_HZ = {"slt": 170.0, "rms": 105.0, "awb": 130.0, "kal16": 105.0}  # noqa: RUF012

    def __init__(self) -> None:
        """Find the command.

        Raises:
            MissingDependency: flite is not installed.
        """
        command = shutil.which("flite")
        if command is None:
            raise MissingDependency("flite is missing: apt-get install flite")
        self._command = command

    def speak(self, text: str, voice: Voice) -> Speech:
        """Speak one sentence."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "speech.wav"
            told = subprocess.run(
                [
                    self._command, "-voice", voice.name,
                    "--setf", f"duration_stretch={1 / voice.pace:.3f}",
                    "--setf", f"int_f0_target_mean={self._PITCH_HZ[voice.name] * voice.pitch:.1f}",
                    "-psdur", "-t", text, "-o", str(out),
                ],
                check=True, capture_output=True, text=True,
            ).stdout  # fmt: skip
            with wave.open(str(out)) as file:
                rate_hz = file.getframerate()
                pcm = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        phones, start = [], 0.0
        for item in told.split():
            name, _, end = item.partition(":")
            phones.append(Phone(name if name in PHONES else "ax", start, float(end)))
            start = float(end)
        return Speech(_at_16_khz(pcm, rate_hz), tuple(phones))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int), ("unique_identifier", ctypes.c_uint), ("text_position", ctypes.c_int),
        ("length", ctypes.c_int), ("audio_position", ctypes.c_int), ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p), ("name", ctypes.c_char * 8),
    )  # fmt: skip


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))
_SYNCHRONOUS, _PHONEME_EVENTS, _PHONEME_EVENT, _UTF8 = 2, 1, 7, 1
_RATE, _PITCH = 1, 3
_WORDS_PER_MINUTE, _USUAL_PITCH = 165, 50

_ARPABET = {
    "aI": "ay", "aU": "aw", "eI": "ey", "oI": "oy", "OI": "oy", "oU": "ow", "tS": "ch", "dZ": "jh", "i:": "iy",
    "u:": "uw", "O:": "ao", "A:": "aa", "3:": "er", "aI@": "ay", "aI3": "ay", "aU@": "aw", "i@": "ih", "e@": "eh",
    "U@": "uh", "o@": "ao", "O@": "ao", "A@": "aa", "i@3": "ih", "I2": "ih", "I#": "ih", "@L": "l", "@2": "ax",
    "@5": "ax", "a#": "ax", "0#": "aa", "E2": "eh", "E#": "eh", "aa": "ae", "ee": "eh", "n-": "n", "t#": "t",
    "t2": "t", "d#": "d", "r-": "r", "l#": "l", "tr": "t", "dr": "d", "VR": "er", "IR": "er", "@-": "ax",
    "a": "ae", "I": "ih", "i": "iy", "E": "eh", "e": "eh", "V": "ah", "@": "ax", "3": "er", "0": "aa", "O": "ao",
    "o": "ow", "U": "uh", "u": "uw", "A": "aa", "T": "th", "D": "dh", "S": "sh", "Z": "zh", "N": "ng", "j": "y",
    "h": "hh", "p": "p", "b": "b", "t": "t", "d": "d", "k": "k", "g": "g", "f": "f", "v": "v", "s": "s", "z": "z",
    "m": "m", "n": "n", "l": "l", "r": "r", "w": "w", "x": "k", "?": "t",
}  # fmt: skip
"""espeak-ng's names of English phonemes in ARPAbet; longer ones first."""


class EspeakSynthesiser:
    """The library ``libespeak-ng``: one formant model with many voices."""

    voices = tuple(
        f"{accent}+{variant}"
        for accent in ("en-us", "en-gb-x-rp", "en-gb-scotland")
        for variant in (
            "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5", "klatt", "klatt2", "klatt4",
            "Andy", "Annie", "Gene", "Linda", "Mike", "Steph", "steph3", "belinda", "edward", "grandma",
        )
    )  # fmt: skip

    def __init__(self) -> None:
        """Open the library.

        Raises:
            MissingDependency: espeak-ng is not installed.
        """
        found = ctypes.util.find_library("espeak-ng")
        if found is None:
            raise MissingDependency("espeak-ng is missing: apt-get install espeak-ng")
        self._library = ctypes.CDLL(found)
        self._rate_hz = self._library.espeak_Initialize(_SYNCHRONOUS, 0, None, _PHONEME_EVENTS)
        if self._rate_hz <= 0:
            raise MissingDependency("espeak-ng finds no voices: apt-get install espeak-ng-data")
        self._pieces: list[NDArray[np.int16]] = []
        self._marks: list[tuple[int, str]] = []
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)

    def _take(self, samples: object, count: int, events: object) -> int:
        if samples and count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while events[index].type != 0:  # type: ignore[index]
            event = events[index]  # type: ignore[index]
            if event.type == _PHONEME_EVENT:
                self._marks.append((event.audio_position, event.name.decode("utf-8", "ignore")))
            index += 1
        return 0

    def speak(self, text: str, voice: Voice) -> Speech:
        """Speak one sentence.

        Raises:
            ValueError: no such voice.
        """
        if self._library.espeak_SetVoiceByName(voice.name.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice.name}'")
        self._library.espeak_SetParameter(_RATE, round(_WORDS_PER_MINUTE * voice.pace), 0)
        self._library.espeak_SetParameter(_PITCH, round(_USUAL_PITCH * voice.pitch), 0)
        self._pieces, self._marks = [], []
        encoded = text.encode()
        self._library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, _UTF8, None, None)
        pcm = np.concatenate(self._pieces)
        length_s = len(pcm) / self._rate_hz
        starts = [(milliseconds / 1000, _arpabet(name)) for milliseconds, name in self._marks]
        ends = [start for start, _ in starts[1:]] + [length_s]
        phones = [Phone(name, start, end) for (start, name), end in zip(starts, ends, strict=True) if end > start]
        return Speech(_at_16_khz(pcm, self._rate_hz), tuple(phones))


def _arpabet(name: str) -> str:
    plain = re.sub(r"[',%=;|*~^_!\"]+", "", name)
    if not plain.strip("_:"):
        return "pau"
    for size in range(len(plain), 0, -1):
        if plain[:size] in _ARPABET:
            return _ARPABET[plain[:size]]
    return "ax"


def _at_16_khz(pcm: NDArray[np.int16], rate_hz: int) -> FloatArray:
    heard: FloatArray = np.clip(resample(pcm.astype(np.float32) / np.float32(32768), rate_hz, SAMPLE_RATE_HZ), -1, 1)
    return heard
