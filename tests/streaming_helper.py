"""The three obligatory checks of every streaming module, in one place.

    stream = Streamed(init_state=m.init_state, step=m.step, forward=m.forward, time_dim=2)
    check_causal(stream, x)            later input never changes earlier output
    check_chunking(stream, x, sizes)   any chunking gives the same as one pass
    check_row_reset(stream, x, row)    resetting one row leaves the others bit-equal and that row new

`check_streaming` runs all three. `x` always has the batch in dimension 0 and time in `time_dim`.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from engine.streaming import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """A streaming module as three callables.

    `step` takes a chunk with a time dimension; a module whose step takes one frame without that dimension is
    adapted with `frame_step`. `future_frames`: how many later inputs the output of a frame may depend on.
    """

    init_state: Callable[[int], State]
    step: Callable[[Tensor, Any], Tensor]
    forward: Callable[[Tensor], Tensor]
    time_dim: int = 1
    future_frames: int = 0
    atol: float = 1e-5


def frame_step(step: Callable[[Tensor, Any], Tensor], time_dim: int = 1) -> Callable[[Tensor, Any], Tensor]:
    """A step for one frame (no time dimension) -> a step for a chunk of frames."""

    def chunk_step(x: Tensor, state: State) -> Tensor:
        frames = [step(frame, state).clone() for frame in x.unbind(time_dim)]
        return torch.stack(frames, dim=time_dim)

    return chunk_step


def chunk_sizes(total: int) -> st.SearchStrategy[list[int]]:
    """Hypothesis strategy: lists of positive sizes that add up to `total`."""

    def cut(points: list[int]) -> list[int]:
        edges = [0, *sorted(set(points)), total]
        return [b - a for a, b in itertools.pairwise(edges) if b > a]

    return st.lists(st.integers(1, max(1, total - 1)), max_size=12).map(cut)


def run_chunks(stream: Streamed, x: Tensor, sizes: Sequence[int], state: State | None = None) -> Tensor:
    """Feed `x` in chunks of `sizes` and join the answers."""
    state = stream.init_state(x.shape[0]) if state is None else state
    with torch.no_grad():
        chunks = [stream.step(chunk, state).clone() for chunk in torch.split(x, list(sizes), dim=stream.time_dim)]
    return torch.cat(chunks, dim=stream.time_dim)


def check_causal(stream: Streamed, x: Tensor, at: int | None = None) -> None:
    """Noise in the inputs from frame `at` on changes no output before it, in `forward` and in `step`."""
    total = x.shape[stream.time_dim]
    at = total // 2 if at is None else at
    generator = torch.Generator().manual_seed(at)
    later = x.narrow(stream.time_dim, at, total - at)
    changed = torch.cat(
        [x.narrow(stream.time_dim, 0, at), torch.randn(later.shape, generator=generator)], stream.time_dim
    )
    safe = max(0, at - stream.future_frames)
    with torch.no_grad():
        for name, run in (
            ("forward", stream.forward),
            ("step", lambda value: run_chunks(stream, value, [1] * total)),
        ):
            before = run(x).narrow(stream.time_dim, 0, safe)
            after = run(changed).narrow(stream.time_dim, 0, safe)
            assert torch.equal(before, after), f"{name}: input at frame {at} changed an earlier output"


def check_chunking(stream: Streamed, x: Tensor, sizes: Sequence[int]) -> None:
    """Chunks of `sizes` give what `forward` gives in one pass."""
    with torch.no_grad():
        whole = stream.forward(x)
    torch.testing.assert_close(run_chunks(stream, x, sizes), whole, rtol=0.0, atol=stream.atol)


def check_row_reset(stream: Streamed, x: Tensor, row: int = 0) -> None:
    """After half the input, reset `row`: the others go on bit-equal, `row` starts anew, no tensor moved."""
    total, batch = x.shape[stream.time_dim], x.shape[0]
    half = total // 2
    first, second = x.narrow(stream.time_dim, 0, half), x.narrow(stream.time_dim, half, total - half)
    others = [index for index in range(batch) if index != row]

    untouched = stream.init_state(batch)
    run_chunks(stream, first, [half], untouched)
    expected = run_chunks(stream, second, [total - half], untouched)

    state = stream.init_state(batch)
    addresses = [tensor.data_ptr() for tensor in state.tensors()]
    run_chunks(stream, first, [half], state)
    state.reset([row])
    actual = run_chunks(stream, second, [total - half], state)
    fresh = run_chunks(stream, second, [total - half])

    assert torch.equal(actual[others], expected[others]), "a reset row changed its neighbours"
    assert torch.equal(actual[row], fresh[row]), "a reset row still remembers"
    assert addresses == [tensor.data_ptr() for tensor in state.tensors()], "state was reallocated"


def check_streaming(stream: Streamed, x: Tensor, sizes: Sequence[int], row: int = 0) -> None:
    """All three."""
    check_causal(stream, x)
    check_chunking(stream, x, sizes)
    check_row_reset(stream, x, row)
