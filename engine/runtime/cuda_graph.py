"""A step with buffers of its own, captured once and replayed: one launch in place of hundreds.

    inputs --copy--> static inputs --[ captured step, state in place ]--> static outputs
             '- cached inputs are copied only when another tensor comes

``GOHD_CUDA_GRAPHS=0`` runs the step itself at every call, with the same buffers and the same checks; so does a CPU.
"""

import logging
import os
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor

from engine.errors import BackendUnavailable
from engine.runtime.card import Capture, Outputs, is_card, pretended_capture

_log = logging.getLogger(__name__)
Step = Callable[..., Outputs]
_SWITCH = "GOHD_CUDA_GRAPHS"
_WARM_UPS = 3


def cuda_graphs_enabled() -> bool:
    """False when ``GOHD_CUDA_GRAPHS`` is 0, off, no or false."""
    return os.environ.get(_SWITCH, "1").strip().lower() not in ("0", "off", "no", "false")


def cuda_capture(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """A CUDA graph of ``run``, warmed up on a stream of its own; memory from the graph's private pool."""
    if not torch.cuda.is_available():
        raise BackendUnavailable("CUDA graphs need a CUDA device")
    before = torch.cuda.current_stream()
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    try:
        stream.wait_stream(before)
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                run()
        before.wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Other threads may go on using the device meanwhile.
        with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
            outputs = run()
    finally:
        # A capture that fails is ended with an error, too, and leaves its stream the current one.
        torch.cuda.set_stream(before)
    return outputs, graph.replay


def rerun(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """The same bookkeeping without a graph: every replay runs the step and writes into the first run's outputs."""
    outputs = run()

    def replay() -> None:
        for output, fresh in zip(outputs, run(), strict=True):
            output.copy_(fresh)

    return outputs, replay


class CapturedStep:
    """A step of fixed shapes, with the eager signature.

    What it returns are its own buffers: the next call overwrites them. Not for two threads at once.
    """

    def __init__(
        self,
        step: Step,
        example: Sequence[Tensor],
        *,
        cached: Collection[int] = (),
        state: Sequence[Tensor] = (),
        capture: Capture | None = None,
    ) -> None:
        """Capture ``step``.

        Args:
            step: tensors to a tuple of tensors; may change ``state`` in place, nothing else.
            example: inputs to capture with, of the shapes, types and device of all that will come.
            cached: indices of inputs that seldom change, as a portrait's features. They are copied when another tensor
                object comes, and must not be changed in place.
            state: tensors that the step changes in place; capturing leaves them as they were.
            capture: None is a CUDA graph on a card, unless switched off, and `rerun` otherwise. A step that cannot be
                captured runs by `rerun`, too, after a warning.
        """
        if capture is None:
            on_card = bool(example) and all(is_card(tensor.device) for tensor in example)
            capture = (pretended_capture() or cuda_capture) if on_card and cuda_graphs_enabled() else rerun
        self._inputs = tuple(tensor.detach().clone() for tensor in example)
        self._cached: dict[int, Tensor | None] = dict.fromkeys(cached)
        self._state = tuple(state)
        self._outputs, self._replay = self._captured(capture, lambda: step(*self._inputs))
        self._addresses = self._all_addresses()

    def __call__(self, *inputs: Tensor) -> Outputs:
        """Outputs for ``inputs``, in buffers that the next call overwrites.

        Raises:
            ValueError: an input has another shape, type or device than was captured, or a captured buffer moved.
        """
        self._check(inputs)
        for index, (static, given) in enumerate(zip(self._inputs, inputs, strict=True)):
            if index not in self._cached:
                static.copy_(given, non_blocking=True)
            elif self._cached[index] is not given:
                static.copy_(given, non_blocking=True)
                self._cached[index] = given
        self._replay()
        return self._outputs

    def _captured(self, capture: Capture, run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        before = [tensor.clone() for tensor in self._state]
        try:
            return capture(run)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            if capture is rerun:
                raise
            _log.warning("a step cannot be captured and runs operation by operation, which is slower: %s", error)
        finally:
            for tensor, value in zip(self._state, before, strict=True):
                tensor.copy_(value)
        return self._captured(rerun, run)

    def _check(self, inputs: Sequence[Tensor]) -> None:
        if len(inputs) != len(self._inputs):
            raise ValueError(f"captured with {len(self._inputs)} inputs, called with {len(inputs)}")
        for index, (static, given) in enumerate(zip(self._inputs, inputs, strict=True)):
            for what in ("shape", "dtype", "device"):
                captured, found = getattr(static, what), getattr(given, what)
                if captured != found:
                    raise ValueError(f"input {index} was captured with {what} {captured}, not {found}")
        if self._all_addresses() != self._addresses:
            raise ValueError("a buffer of the captured step moved; state must be changed in place")

    def _all_addresses(self) -> tuple[int, ...]:
        return tuple(tensor.data_ptr() for tensor in (*self._inputs, *self._outputs, *self._state))
