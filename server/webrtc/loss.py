"""Telling a link that gets too many bits from a line that loses packets whatever is sent (no I/O).

Receivers report often and about few packets: Chromium sends a report with every retransmission it asks for, so that two
lost packets of four look like half of everything. Losses are therefore counted over a second and many packets.

A line that loses packets whatever is sent must not be starved for it. So the answer to loss is a trial: send less than
what came through. If the loss goes, there were too many bits; if it stays, it is the line's own, the bits come back and
so much loss counts as none from then on.
"""

from dataclasses import dataclass

# One lost packet of twenty is 5 %: not yet much.
_WINDOW_S, _WINDOW_PACKETS = 0.8, 20
_MUCH, _LITTLE = 0.06, 0.02
# A trial sends at least three tenths less, for a smaller cut would not show among chance losses; and never less than
# two fifths, so that the image stays one.
_LEAST_CUT, _MOST_CUT = 0.7, 0.4
_JUDGED_WINDOWS = 2
# A line that becomes better is believed within ten windows or so.
_FORGET = 0.1


class LossCounter:
    """Makes shares of lost packets from the running totals in receiver reports (RFC 3550, section 6.4.1)."""

    def __init__(self) -> None:
        self._begin: tuple[float, int, int] | None = None

    def add(self, now_s: float, highest_sequence: int, lost_total: int) -> float | None:
        """The share that was lost, 0 to 1, each time that a window is full; None until then."""
        if self._begin is None:
            self._begin = now_s, highest_sequence, lost_total
            return None
        begin_s, begin_sequence, begin_lost = self._begin
        expected = (highest_sequence - begin_sequence) & 0xFFFFFFFF
        if expected >= 1 << 31:  # an old report that was overtaken, or a new stream
            self._begin = now_s, highest_sequence, lost_total
            return None
        if now_s - begin_s < _WINDOW_S or expected < _WINDOW_PACKETS:
            return None
        self._begin = now_s, highest_sequence, lost_total
        return min(1.0, max(0.0, (lost_total - begin_lost) / expected))


@dataclass(frozen=True, slots=True)
class _Cut:
    lost: float
    share: float
    from_bps: float

    @property
    def cured_below(self) -> float:
        """Half-way between the loss before and what a line would lose that lets only so many bits through."""
        return (self.lost + max(0.0, 1 - (1 - self.lost) / self.share)) / 2


class LossTrial:
    """``judge`` each window; ``calm`` says whether loss is no reason to hold back."""

    def __init__(self) -> None:
        self._quiet = True
        self._own = 0.0
        self._cut: _Cut | None = None
        self._after_cut: list[float] = []

    @property
    def own(self) -> float:
        """The share of packets that the line loses whatever is sent, as far as trials have shown."""
        return self._own

    @property
    def seen(self) -> float:
        """``own``, or the loss that is on trial."""
        return self._own if self._cut is None else max(self._own, self._cut.lost)

    @property
    def calm(self) -> bool:
        return self._quiet and self._cut is None

    def give_up(self) -> None:
        """Something else changed the bit rate: what comes now proves nothing."""
        self._cut = None

    def judge(self, lost: float, target_bps: float) -> float:
        """The bit rate that a window with so much loss leads to; ``target_bps`` is the one it was sent with."""
        self._quiet = lost <= self._own + _LITTLE
        if self._cut is not None:
            return self._judge_cut(self._cut, lost, target_bps)
        if lost > self._own + _MUCH:
            share = min(_LEAST_CUT, max(_MOST_CUT, 0.95 * (1 - lost)))
            self._cut, self._after_cut = _Cut(lost, share, target_bps), []
            return target_bps * share
        if lost < self._own:
            self._own += _FORGET * (lost - self._own)
        return target_bps

    def _judge_cut(self, cut: _Cut, lost: float, target_bps: float) -> float:
        self._after_cut.append(lost)
        # Part of the first window was sent before the cut.
        judged = self._after_cut[1:]
        if len(judged) < _JUDGED_WINDOWS:
            return target_bps
        self._cut = None
        stayed = sum(judged) / len(judged)
        if stayed <= cut.cured_below:
            return target_bps
        self._own = min(stayed + _LITTLE, 0.5)
        return max(target_bps, cut.from_bps)
