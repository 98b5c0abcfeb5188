"""Where the voice waits between a network that delivers when it likes and a clock that takes 20 ms at a time.

    push (any size, any pace) -> [ | | | ] -> take (one block each 20 ms of the clock)

Drop policy: nothing while somebody speaks. A backlog (a burst after a network stall, a sender whose clock is
fast) is played out at the clock's pace and shrinks in the pauses, where quiet blocks are left out; not so with
``keeps_pauses``, for a voice that is sent ahead of its time on purpose. Past ``max_blocks`` the oldest audio
goes. Each kind of drop has its counter.

No clock, no locks: it belongs to the event loop.
"""

from collections import deque

import numpy as np

from server.live.block import BLOCK_MS, BLOCK_SAMPLES
from server.live.engine_session import Samples

# Six blocks are as much delay as a conversation bears; 1500 are half a minute without a gap.
_MAX_TARGET_BLOCKS = 6
_CALM_TAKES = 1500
# A gap of up to 300 ms lies within speech, so it was an underflow; a longer one was a pause of the speaker.
_RESUME_TAKES = 15
# -52 dB of full scale: above the noise of usual microphones, below any speech.
_QUIET_RMS = 80.0


def is_quiet(samples: Samples, floor_rms: float = 0.0) -> bool:
    """Whether a block (int16) holds no speech: under -52 dB of full scale, or near the noise floor."""
    return _rms(samples) <= max(_QUIET_RMS, 1.5 * floor_rms)


class JitterBuffer:
    """Blocks of 20 ms, int16 (960,) at 48 kHz, in order; ``every`` is that of the newest, as in `Block`.

    After running dry it waits for ``target_blocks`` before it gives audio again; the target grows when it
    runs dry in mid-speech and shrinks when it has not for half a minute.
    """

    def __init__(self, max_blocks: int = 500) -> None:
        self.max_blocks = max_blocks
        self.keeps_pauses = False
        self.every = 1
        self._blocks: deque[Samples] = deque()
        self._rest: Samples = np.zeros(0, np.int16)
        self._playing = False
        self._dry_takes = 0
        self._calm_takes = 0
        self._floor_rms = 0.0
        self.target_blocks = 1
        self.dropped_quiet_blocks = 0
        self.dropped_overflow_blocks = 0
        self.underflows = 0

    def __len__(self) -> int:
        return len(self._blocks)

    @property
    def backlog_ms(self) -> int:
        return BLOCK_MS * len(self._blocks)

    def push(self, samples: Samples) -> None:
        """Append audio: int16 (n,), 48 kHz mono."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // BLOCK_SAMPLES
        self._blocks.extend(joined[: whole * BLOCK_SAMPLES].reshape(whole, BLOCK_SAMPLES))
        self._rest = joined[whole * BLOCK_SAMPLES :]
        while len(self._blocks) > self.max_blocks:
            self._blocks.popleft()
            self.dropped_overflow_blocks += 1

    def take(self) -> Samples | None:
        """The next 20 ms, int16 (960,), or None for silence."""
        if not self._playing:
            self._dry_takes += 1
            if len(self._blocks) < self.target_blocks:
                return None
            self._resume()
        if not self._blocks:
            self._playing = False
            self._dry_takes = 0
            return None
        self._count_calm()
        block = self._blocks.popleft()
        self._follow_floor(block)
        waiting = len(self._blocks) > self.target_blocks and not self.keeps_pauses
        if waiting and is_quiet(block, self._floor_rms):
            self.dropped_quiet_blocks += 1
            block = self._blocks.popleft()
        return block

    def clear(self) -> None:
        """Forget everything that waits."""
        self._blocks.clear()
        self._rest = np.zeros(0, np.int16)

    def _resume(self) -> None:
        self._playing = True
        if 0 < self._dry_takes <= _RESUME_TAKES and self._calm_takes:
            self.underflows += 1
            self._calm_takes = 0
            self.target_blocks = min(self.target_blocks + 1, _MAX_TARGET_BLOCKS)

    def _count_calm(self) -> None:
        self._calm_takes += 1
        if self._calm_takes % _CALM_TAKES == 0:
            self.target_blocks = max(1, self.target_blocks - 1)

    def _follow_floor(self, samples: Samples) -> None:
        level = _rms(samples)
        self._floor_rms = level if level < self._floor_rms else min(level, self._floor_rms * 1.005 + 0.5)


def _rms(samples: Samples) -> float:
    wave = samples.astype(np.float32)
    return float(np.sqrt(np.mean(wave * wave)))
