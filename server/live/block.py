"""The voice, cut into pieces."""

from dataclasses import dataclass

from server.live.engine_session import Samples

MEDIA_RATE_HZ = 48_000
BLOCK_MS = 20
BLOCK_SAMPLES = MEDIA_RATE_HZ * BLOCK_MS // 1000
BLOCK_S = BLOCK_SAMPLES / MEDIA_RATE_HZ


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """A piece of voice; a served session and an agent's have 48 kHz, a camera the rate of its microphone.

    Attributes:
        place: of the first sample, in samples since the voice began.
        samples: int16 (n,).
        generation: number of interrupts before it.
        voiced: whether somebody speaks in it.
        every: 3 where a voice of 16 kHz was brought to 48 kHz: the engine hears every third sample, which is one that
            came, and nothing is resampled twice.
    """

    place: int
    samples: Samples
    generation: int = 0
    voiced: bool = False
    every: int = 1
