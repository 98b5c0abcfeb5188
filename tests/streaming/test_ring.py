import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.streaming import Ring


@settings(deadline=None)
@given(st.integers(1, 9), st.lists(st.integers(0, 25), max_size=8), st.data())
def test_reads_what_was_pushed(capacity: int, sizes: list[int], data: st.DataObject) -> None:
    ring = Ring(capacity)
    total = sum(sizes)
    stream = np.arange(total, dtype=np.float32)
    for chunk in np.split(stream, np.cumsum(sizes)[:-1] if sizes else []):
        ring.push(chunk)
    assert (ring.start, ring.end) == (max(0, total - capacity), total)
    start = data.draw(st.integers(ring.start, total))
    stop = data.draw(st.integers(start, total))
    np.testing.assert_array_equal(ring.read(start, stop), stream[start:stop])


def test_dropped_and_future_items_raise() -> None:
    ring = Ring(4)
    ring.push(np.arange(10, dtype=np.float32))
    with pytest.raises(IndexError, match="dropped"):
        ring.read(5, 8)
    with pytest.raises(IndexError, match="not here yet"):
        ring.read(8, 11)


def test_before_the_stream_is_silence_when_asked() -> None:
    ring = Ring(4, (2,), before=-4.0)
    ring.push(np.ones((2, 2), dtype=np.float32))
    np.testing.assert_array_equal(ring.read(-2, 1)[:, 0], [-4.0, -4.0, 1.0])
    np.testing.assert_array_equal(ring.read(-5, -3)[:, 0], [-4.0, -4.0])
    with pytest.raises(IndexError, match="dropped"):
        Ring(4).read(-1, 0)


def test_read_is_a_copy_and_reset_starts_anew() -> None:
    ring = Ring(4)
    ring.push(np.ones(3, dtype=np.float32))
    ring.read(0, 3)[:] = 7.0
    np.testing.assert_array_equal(ring.read(0, 3), 1.0)
    ring.reset()
    assert (ring.start, ring.end) == (0, 0)


def test_wrong_item_shape_raises() -> None:
    with pytest.raises(ValueError, match="shape"):
        Ring(4, (80,)).push(np.zeros((3, 79), dtype=np.float32))
