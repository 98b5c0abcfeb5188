"""How much video a link can carry, from what its receiver reports (no I/O).

aiortc does what a receiver's own estimate says, and nothing where there is none. Here a controller also reads the
receiver reports (RFC 3550, section 6.4): losses, and the round trip, whose growth over its least is time spent in a
queue. It gives up first bits, then frames, then pixels:

    from 110 kbit/s    25 frames a second, whole size
    110 .. 70          every second frame
     70 .. 60          every second frame, half the size

    queue over 200 ms in two reports       three tenths less
    queue over 500 ms                      half, and no frames until the queue should be empty
    half the bits gone, the trip as long   no queue then, but a longer way: the bits come back
    loss over 6 %                          a trial: see ``loss.py``; what stays is met with copies of each packet
    loss over 2 %                          stay
    else                                   a quarter more each second up to the last trouble, then a twentieth

A machine that is too busy to answer looks like a queue, too; the bounds leave room for that. Frames and pixels go so
late because bits are well spent on them. The demo face at 25 frames a second, PSNR against all of them (bits used):

               H.264                                      VP8
    side   kbit/s  whole   half rate  half size too     whole             half rate
     512     60    28.1    30.2       31.1              33.5 (107)        31.3
     512    110    33.3    32.9       31.6              33.5              32.6
    1024    200    30.9    32.1       33.1              35.4 (380)        32.3 (223)
    1024    400    36.4    34.3       33.7              35.9              33.7

At 256 px whole frames are the best of all down to 50 kbit/s. Above 512 px the borders grow with the number of pixels,
for VP8, which does not go below some bits a pixel, would fill a narrower link.
"""

from collections import deque
from dataclasses import dataclass

from server.webrtc.loss import LossTrial

START_BPS, MIN_BPS, MAX_BPS = 300_000, 60_000, 900_000
"""For frames of 256 px. Start and most grow with the side of the frames, whose edges take most of the bits."""
MOST_SHARE = 5.0
"""Of `MAX_BPS`, for the largest frames that are sent."""

# Below these borders the next thing is given up, for frames of up to 512 px. It comes back at a quarter more, so that a
# link at the border does not go back and forth.
_HALF_RATE_BPS, _HALF_SIZE_BPS, _BORDERS_SIDE_PX = 110_000, 70_000, 512
_RISE = 1.25
# Less than 200 ms may be jitter or a busy machine. With more than 500 ms nobody can converse: sending stops until the
# queue is empty, but not for long, for the report may be wrong.
_QUEUE_S, _DEEP_QUEUE_S = 0.2, 0.5
_MAX_HOLD_S = 0.8
# From the start to the most takes five seconds; near the last trouble a rise is slow, so that it rarely makes a queue.
_FAST_PER_S, _SLOW_PER_S = 0.25, 0.05
# An encoder begins anew, with a whole image, for another bitrate: a smaller rise is not worth that.
_APPLY_STEP = 0.12
_IDLE_SHARE = 1.2
# Enough for every frame, with room to the border above.
_EVERY_FRAME_BPS = 200_000.0
# Share of lost packets, and copies of each: of 18 % two copies leave 0.6 %, of 6 % one leaves 0.4 %.
_COPIES = ((0.18, 2), (0.06, 1))
_LEAST_WINDOW = 30
# Until there are enough reports to know the way's own length, a longer one is taken for a queue.
_SURE_REPORTS, _USUAL_TRIP_S = 10, 0.2
_SAME_LEAST, _SAME_MOST, _SAME_REPORTS = 0.7, 1.4, 2
# Reports come about once a second: four that are missing are no accident.
_SILENCE_S = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """What a receiver report adds: the share ``lost`` of many packets, a round trip; None where that is not new."""

    now_s: float
    lost: float | None
    round_trip_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What to send: bits, one frame of ``frame_step``, sides divided by ``shrink``, nothing before ``hold_until_s``.

    ``bitrate_bps`` is what images may take, ``copies`` of each packet included; ``audio_copies`` come on top.
    """

    bitrate_bps: int
    copies: int
    audio_copies: int
    frame_step: int
    shrink: int
    hold_until_s: float


@dataclass(slots=True)
class _Trouble:
    """A queue as it was first met: the round trip and the bits then, and how many trips since were as long."""

    round_trip_s: float
    from_bps: float
    stayed: int = 0


class CongestionController:
    """``report`` takes what comes in, ``quality`` is what follows from it.

    ``side_px`` is that of the frames.
    """

    def __init__(self, now_s: float, side_px: float = 256) -> None:
        share = min(max(1.0, side_px / 256), MOST_SHARE)
        self._most_bps = MAX_BPS * share
        self._pixels = max(1.0, (side_px / _BORDERS_SIDE_PX) ** 2)
        self._applied_bps = round(START_BPS * share)
        self._target_bps = float(self._applied_bps)
        self._ceiling_bps = self._most_bps
        self._limit_bps = self._most_bps
        self._round_trips: deque[float] = deque(maxlen=_LEAST_WINDOW)
        self._last_s = now_s
        self._frame_step, self._shrink = 1, 1
        self._hold_until_s = 0.0
        self._heard = False
        self._queue_s = 0.0
        self._losses = LossTrial()
        self._cut_s = float("-inf")
        self._trouble: _Trouble | None = None
        self._way_is_known = False

    @property
    def quality(self) -> Quality:
        return Quality(
            bitrate_bps=self._applied_bps,
            copies=_copies(self._losses.seen),
            audio_copies=_copies(self._losses.own),
            frame_step=self._frame_step,
            shrink=self._shrink,
            hold_until_s=self._hold_until_s,
        )

    def limit(self, bitrate_bps: float, sent_bps: float | None = None) -> None:
        """The receiver's own estimate of what it can take (REMB); ``sent_bps`` is what it has been getting.

        It takes bits at once, and frames only where something else speaks for it. Estimates follow what is sent, and
        a still image takes few bits; and they take jitter for a full link (Chromium's fell to 45 kbit/s on a link
        of any width whose delay wavers by 30 ms). So one that is well over what is sent, or that no queue bears out,
        leaves enough for every frame.
        """
        least_bps = float(MIN_BPS)
        if self._trouble is None or (sent_bps is not None and bitrate_bps > _IDLE_SHARE * sent_bps):
            least_bps = _EVERY_FRAME_BPS * self._pixels
        self._limit_bps = max(least_bps, bitrate_bps)
        if self._limit_bps < self._target_bps:
            self._cut_s = self._last_s  # the same trouble shall not be answered twice
        self._settle()

    def report(self, report: LinkReport) -> None:
        elapsed_s = min(2.0, max(0.0, report.now_s - self._last_s))
        self._last_s, self._heard = report.now_s, True
        if report.round_trip_s is not None and self._yields_to_queue(report.round_trip_s, report.now_s):
            self._losses.give_up()
        else:
            if report.lost is not None:
                self._weigh_loss(report.lost)
            if self._queue_s < _QUEUE_S and self._losses.calm:
                self._rise(elapsed_s)
        self._settle()

    def silence(self, now_s: float) -> None:
        """Call now and then: reports that stop coming are bad news, too."""
        if self._heard and now_s - self._last_s > _SILENCE_S:
            self._last_s = now_s
            self._reduce(0.5)
            self._settle()

    def _yields_to_queue(self, round_trip_s: float, now_s: float) -> bool:
        self._round_trips.append(round_trip_s)
        least_s = min(self._round_trips)
        if len(self._round_trips) < _SURE_REPORTS and not self._way_is_known:
            least_s = min(least_s, _USUAL_TRIP_S)
        before_s, self._queue_s = self._queue_s, round_trip_s - least_s
        if self._queue_s < _QUEUE_S / 2:
            self._trouble = None
        if now_s - min(round_trip_s, _MAX_HOLD_S) < self._cut_s:  # what was measured left before the last cut
            return self._queue_s > _QUEUE_S
        if self._is_the_way_itself(round_trip_s):
            return False
        if self._queue_s > _DEEP_QUEUE_S:
            self._cut_for_queue(0.5, round_trip_s, now_s)
            self._hold_until_s = now_s + min(self._queue_s, _MAX_HOLD_S)
            return True
        if min(self._queue_s, before_s) > _QUEUE_S:
            self._cut_for_queue(0.7, round_trip_s, now_s)
            return True
        return False

    def _cut_for_queue(self, factor: float, round_trip_s: float, now_s: float) -> None:
        if self._trouble is None:
            self._trouble = _Trouble(round_trip_s, self._target_bps)
        self._reduce(factor)
        self._cut_s = now_s

    def _is_the_way_itself(self, round_trip_s: float) -> bool:
        """A queue drains when half of the bits are gone; trips that stay as long as they were are no queue."""
        trouble = self._trouble
        if trouble is None or self._target_bps > 0.5 * trouble.from_bps:
            return False
        stays = _SAME_LEAST * trouble.round_trip_s <= round_trip_s <= _SAME_MOST * trouble.round_trip_s
        trouble.stayed = trouble.stayed + 1 if stays else 0
        if trouble.stayed < _SAME_REPORTS:
            return False
        self._round_trips.clear()
        self._round_trips.append(round_trip_s)
        self._way_is_known = True
        self._queue_s, self._trouble = 0.0, None
        self._target_bps = self._ceiling_bps = max(self._target_bps, trouble.from_bps)
        return True

    def _weigh_loss(self, lost: float) -> None:
        target_bps = self._losses.judge(lost, self._target_bps)
        if target_bps < self._target_bps:
            self._ceiling_bps = self._target_bps
        self._target_bps = target_bps

    def _rise(self, elapsed_s: float) -> None:
        share = _FAST_PER_S if self._target_bps < 0.9 * self._ceiling_bps else _SLOW_PER_S
        self._target_bps *= 1 + share * elapsed_s
        self._ceiling_bps = max(self._ceiling_bps, self._target_bps)

    def _reduce(self, factor: float) -> None:
        self._ceiling_bps = self._target_bps
        self._target_bps *= factor

    def _settle(self) -> None:
        self._target_bps = min(max(self._target_bps, MIN_BPS), self._most_bps, self._limit_bps)
        target = int(self._target_bps)
        # Encoders begin anew, with a whole image, for another bitrate: small steps are not worth that.
        if target < self._applied_bps or target > (1 + _APPLY_STEP) * self._applied_bps or target == self._most_bps:
            self._applied_bps = target
        self._frame_step = self._level(self._frame_step, _HALF_RATE_BPS)
        self._shrink = self._level(self._shrink, _HALF_SIZE_BPS)

    def _level(self, level: int, border_bps: int) -> int:
        bits = self._applied_bps / self._pixels
        if bits < border_bps:
            return 2
        return 1 if bits >= _RISE * border_bps else level


def _copies(lost: float) -> int:
    return next((copies for least, copies in _COPIES if lost >= least), 0)
