"""One media clock for audio and video (no I/O, no locks: it belongs to the event loop).

The clock cuts time into blocks of 20 ms. Block n of the voice is what the jitter_buffer held at ``start + 20 ms
(n + 1)``, silence included, so the engine hears an unbroken voice and idles when nobody speaks. The same
block leaves again ``delay_blocks`` later, in step with the frames made from it:

    clock       ..n.......n+1.......n+2.......n+3.......n+4.......n+5.......n+6..
    engine hears   block n   block n+1  ...
    frame of n                                     made    |slack|
    goes out                                                     audio and frame of block n

Audio is the master: it never waits for a frame. The delay follows the measured slack of the frames, one block at a
time and in pauses, so that late frames are rare and the way through is short.

While the whole process stands still for more than five seconds (stopped, or its machine paused) that time does not
count: the clock goes on where it stopped, and nothing leaves in a burst.
"""

from collections import deque

import numpy as np

from server.live.block import BLOCK_S, BLOCK_SAMPLES, MEDIA_RATE_HZ, Block
from server.live.engine_session import Samples
from server.live.jitter_buffer import JitterBuffer, is_quiet

# A frame that is ready 4 ms before its departure is in time on a busy machine; 35 ms of slack are more than a block
# and what the event loop may be late by, so that a shorter delay does not become a longer one again at once.
_MIN_SLACK_S = 0.004
_ROOMY_SLACK_S = 0.035
# Two seconds of frames, twice, before the delay shrinks; a late frame makes it grow at once, in speech after 5 s.
_WINDOW_FRAMES = 50
_CALM_WINDOWS = 2
_FORCE_AFTER_BLOCKS = 250
_MAX_DELAY_BLOCKS = 20
_MAX_CATCH_UP_BLOCKS = 250
_REMEMBERED_BLOCKS = 50

_SILENCE: Samples = np.zeros(BLOCK_SAMPLES, np.int16)


class MediaTimeline:
    """Hands out the voice by the clock, and again, delayed, for sending.

    ``generation`` counts interrupts, the last of which came at ``interrupted_s``; what carries an older generation must
    not leave the server.
    """

    def __init__(self, start_s: float, jitter_buffer: JitterBuffer, delay_blocks: int) -> None:
        self.start_s = start_s
        self.delay_blocks = delay_blocks
        self.generation = 0
        self.interrupted_s = start_s
        self._min_delay_blocks = 2
        self._jitter_buffer = jitter_buffer
        self._next_index = 0
        self._blocks: deque[Block] = deque(maxlen=_MAX_DELAY_BLOCKS + 50)
        self._leaving: dict[int, Block | None] = {}
        self._next_leaving: int | None = None
        self._forgiven_until = 0
        self._wanted_shift = 0
        self._wanted_for_blocks = 0
        self._worst_slack_s = float("inf")
        self._frames_in_window = 0
        self._roomy_windows = 0
        self._room_s = float("inf")

    def advance(self, now_s: float) -> list[Block]:
        """The blocks that became complete since the last call, for the engine."""
        blocks = []
        due = int((now_s - self.start_s) / BLOCK_S)
        if due - self._next_index > _MAX_CATCH_UP_BLOCKS:
            self.start_s += (due - self._next_index) * BLOCK_S
            due = self._next_index
        while self._next_index < due:
            blocks.append(self._block(self._next_index, self._jitter_buffer.take()))
            self._next_index += 1
        self._blocks.extend(blocks)
        return blocks

    def departure_s(self, place: int) -> float:
        """When the voice's sample ``place`` leaves the server."""
        return self.start_s + place / MEDIA_RATE_HZ + self.delay_blocks * BLOCK_S

    def due_place(self, now_s: float) -> int:
        """The voice's sample that leaves at ``now_s``."""
        return round((now_s - self.departure_s(0)) * MEDIA_RATE_HZ)

    def outgoing_sample(self, place: int) -> int:
        """The sample of the outgoing stream, counted since the start, that carries the voice's sample ``place``."""
        return place + self.delay_blocks * BLOCK_SAMPLES

    def outgoing_index(self, now_s: float) -> int:
        """The first outgoing block that is not due before ``now_s``."""
        return max(0, int(np.ceil((now_s - self.start_s) / BLOCK_S - 1e-9)))

    def outgoing_due_s(self, index: int) -> float:
        return self.start_s + index * BLOCK_S

    def outgoing_audio(self, index: int) -> Block | None:
        """The voice to send as outgoing block ``index``; None is silence.

        Everyone who watches asks for each index and hears the same; it is decided when the first one asks. What was
        decided more than a second ago is forgotten and silent.
        """
        first = index if self._next_leaving is None else self._next_leaving
        for each in range(max(first, index - _MAX_CATCH_UP_BLOCKS), index + 1):
            self._leaving[each] = self._decide(each)
            self._leaving.pop(each - _REMEMBERED_BLOCKS, None)
        self._next_leaving = max(first, index + 1)
        block = self._leaving.get(index)
        if block is None or block.generation != self.generation:
            return None
        return block

    def _decide(self, index: int) -> Block | None:
        block = self._find(index - self.delay_blocks)
        if self._wanted_shift:
            self._wanted_for_blocks += 1
            grows = self._wanted_shift > 0
            overdue = grows and self._wanted_for_blocks > _FORCE_AFTER_BLOCKS
            if block is None or not block.voiced or overdue:
                step = 1 if grows else -1
                self.delay_blocks += step
                self._wanted_shift -= step
                self._measure_anew()
                block = None if grows else self._find(index - self.delay_blocks)
        return block

    def note_frame_ready(self, place: int, now_s: float) -> float:
        """Learn how long before its departure a frame was ready; returns that slack (late: negative)."""
        slack_s = self.departure_s(place) - now_s
        if place < self._forgiven_until:
            return max(0.0, slack_s)
        self._worst_slack_s = min(self._worst_slack_s, slack_s)
        self._frames_in_window += 1
        if self._frames_in_window >= _WINDOW_FRAMES or slack_s < 0:
            self._adapt()
        return slack_s

    def interrupt(self, now_s: float) -> list[Block]:
        """Make everything up to now stale and begin a new generation.

        Returns the silence that takes the place of the audio which was heard but has not left: fed to the
        engine at once, it gives frames for the very next moments, so that the mouth need not wait for the
        delay to pass.
        """
        self.generation += 1
        self.interrupted_s = now_s
        self._jitter_buffer.clear()
        self._blocks.clear()
        first = self.outgoing_index(now_s) - self.delay_blocks
        # These frames are asked for in the last moment: that they come late says nothing about the others.
        self._forgiven_until = (first + self.delay_blocks) * BLOCK_SAMPLES
        return [self._block(index, None) for index in range(max(0, first), self._next_index)]

    def _adapt(self) -> None:
        worst = self._worst_slack_s
        self._worst_slack_s, self._frames_in_window = float("inf"), 0
        if worst < _MIN_SLACK_S:
            self._forget_room()
            self._want(+1 if self.delay_blocks < _MAX_DELAY_BLOCKS else 0)
        elif worst > _ROOMY_SLACK_S:
            self._roomy_windows += 1
            self._room_s = min(self._room_s, worst)
            if self._roomy_windows >= _CALM_WINDOWS:
                spare_blocks = max(1, int((self._room_s - _ROOMY_SLACK_S) / BLOCK_S))
                self._forget_room()
                self._want(-min(spare_blocks, max(0, self.delay_blocks - self._min_delay_blocks)))
        else:
            self._forget_room()
            if self._wanted_shift < 0:
                self._want(0)

    def _measure_anew(self) -> None:
        self._worst_slack_s, self._frames_in_window = float("inf"), 0
        self._forget_room()

    def _forget_room(self) -> None:
        self._roomy_windows, self._room_s = 0, float("inf")

    def _want(self, shift: int) -> None:
        if shift != self._wanted_shift:
            self._wanted_shift = shift
            self._wanted_for_blocks = 0

    def _block(self, index: int, samples: Samples | None) -> Block:
        voiced = samples is not None and not is_quiet(samples)
        heard = _SILENCE if samples is None else samples
        # Silence has the rate of the voice around it, so that the engine's resampler does not begin anew.
        return Block(index * BLOCK_SAMPLES, heard, self.generation, voiced, self._jitter_buffer.every)

    def _find(self, index: int) -> Block | None:
        position = index - (self._next_index - len(self._blocks))
        return self._blocks[position] if 0 <= position < len(self._blocks) else None
