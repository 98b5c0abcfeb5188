"""The per-frame step captured once for every number of rows, with pinned memory for images on their way out."""

from collections.abc import Callable
from queue import SimpleQueue

from torch import Tensor

from engine.animator.network.step import FrameInputs
from engine.runtime.card import Capture, host_buffer, to_host
from engine.runtime.cuda_graph import CapturedStep

FlatStep = Callable[..., tuple[Tensor, ...]]
"""Inputs of `step_graph`, or of `finished_graph`, to (rgb_BHW3,)."""


class CapturedFrameStep:
    """A `FrameStep` for any thread: there is one set of buffers, and whoever makes a frame borrows it.

    A portrait's code and features are copied to the device's static buffers when another portrait comes; the graph
    reads them there. So sessions may join and leave, and nothing is captured anew.
    """

    def __init__(
        self,
        step_of: Callable[[int], FlatStep],
        pattern_SP: Tensor | None = None,
        *,
        capture: Capture | None = None,
    ) -> None:
        """Capture nothing yet.

        Args:
            step_of: the step for a number of rows.
            pattern_SP: what a step that finishes images marks them with; None for one that does not.
            capture: as `CapturedStep` takes it.
        """
        self._step_of = step_of
        self._pattern_SP = pattern_SP
        self._capture = capture
        self._steps: dict[int, FlatStep] = {}
        self._free: SimpleQueue[dict[int, tuple[CapturedStep, Tensor]]] = SimpleQueue()
        self._free.put({})

    def prepare(self, rows: int) -> None:
        """Make the step for batches of ``rows``, which may take seconds, before the first frame asks for it."""
        self._steps[rows] = self._step_of(rows)

    def __call__(self, inputs: FrameInputs) -> Tensor:
        """As `FrameStep`."""
        flat = inputs.flat(self._pattern_SP)
        rows = len(inputs.window_BTD)
        buffers = self._free.get()
        try:
            if rows not in buffers:
                buffers[rows] = self._new(rows, flat)
            captured, image_BHW3 = buffers[rows]
            (rgb_BHW3,) = captured(*flat)
            return to_host(rgb_BHW3, image_BHW3).clone()
        finally:
            self._free.put(buffers)

    def _new(self, rows: int, inputs: tuple[Tensor, ...]) -> tuple[CapturedStep, Tensor]:
        if rows not in self._steps:
            self.prepare(rows)
        cached = {0, *range(3 if self._pattern_SP is None else 4, len(inputs))}
        captured = CapturedStep(self._steps[rows], inputs, cached=cached, capture=self._capture)
        (rgb_BHW3,) = captured(*inputs)
        return captured, host_buffer(rgb_BHW3)
