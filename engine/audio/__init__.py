"""Audio on its way in: samples of any kind to 16 kHz mono, mel columns and voice flags."""

from engine.audio.frontend import speech_level
from engine.audio.mel import MEL_SILENCE, StreamingMel, mel_spectrogram
from engine.audio.pcm import to_mono_float
from engine.audio.resample import MAX_RATE_HZ, MIN_RATE_HZ, StreamingResampler
from engine.audio.vad import VAD_FRAME_SAMPLES, VoiceActivity

__all__ = [
    "MAX_RATE_HZ",
    "MEL_SILENCE",
    "MIN_RATE_HZ",
    "VAD_FRAME_SAMPLES",
    "StreamingMel",
    "StreamingResampler",
    "VoiceActivity",
    "mel_spectrogram",
    "speech_level",
    "to_mono_float",
]
