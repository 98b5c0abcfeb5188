"""Of the frames that wait for their moment the newest that is due is shown, and few wait."""

import numpy as np

from server.live.frame import LiveFrame
from server.live.frame_queue import FrameQueue


def _queue(*places: int, max_frames: int = 6) -> FrameQueue:
    queue = FrameQueue(max_frames)
    for place in places:
        queue.put(LiveFrame(np.zeros((2, 2, 3), np.uint8), place, 0))
    return queue


def test_nothing_is_taken_before_its_moment() -> None:
    queue = _queue(1920, 3840)
    assert queue.take(1919) is None
    first = queue.first(1919)
    assert first is not None
    assert first.place == 1920
    assert queue.overtaken == 0


def test_the_newest_that_is_due_overtakes_the_others() -> None:
    queue = _queue(0, 1920, 3840, 5760)
    taken = queue.take(4000)
    assert taken is not None
    assert taken.place == 3840
    assert queue.overtaken == 2
    assert queue.take(4000) is None
    queue.clear()
    assert queue.first() is None


def test_past_what_may_wait_the_oldest_goes() -> None:
    queue = _queue(*range(0, 8 * 1920, 1920))
    first = queue.first()
    assert first is not None
    assert (first.place, queue.overtaken) == (2 * 1920, 2)


def test_what_was_shown_is_removed_once() -> None:
    queue = _queue(0, 1920)
    first = queue.first(0)
    assert first is not None
    queue.remove(first)
    queue.remove(first)
    second = queue.first()
    assert second is not None
    assert second.place == 1920
