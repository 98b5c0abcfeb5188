"""Voice packets leave as they come: what holds them back for order is ``JitterBuffer``, and it adapts.

aiortc's own buffer gives a packet away when the next one has come, 20 ms later. After a lost one it waits for four
more, and from then on it keeps three back for as long as the call lasts, as it gives away only one for each that comes.
"""

from __future__ import annotations

from typing import Any

from aiortc.jitterbuffer import MAX_MISORDER, JitterBuffer, JitterFrame

_HALF = 1 << 15


class VoicePackets(JitterBuffer):
    """In the place of aiortc's buffer of received audio, of which each packet is a whole frame.

    Drop policy: a packet that was overtaken by a later one is left out.
    """

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self._last: int | None = None
        self.overtaken = 0

    def add(self, packet: Any) -> tuple[bool, JitterFrame | None]:
        """The packet's own frame at once, or None; no image is ever asked for."""
        if self._last is not None:
            behind = (self._last - packet.sequence_number) & 0xFFFF
            # Far behind is no late packet but a sender that began anew.
            if behind < _HALF and behind < MAX_MISORDER:
                self.overtaken += 1
                return False, None
        self._last = packet.sequence_number
        return False, JitterFrame(data=packet._data, timestamp=packet.timestamp)
