"""Typed, preallocated state of a streaming module.

A stateful module keeps nothing of a stream in itself, so that N sessions share its weights:

    state = module.init_state(batch, device)     # allocated once, fixed shapes
    y = module.step(x, state)                    # writes into the same tensors
    state.reset(rows)                            # a session left row 3: only row 3 goes back to the start

A state is a frozen, slotted dataclass. Its fields are tensors with the batch as first dimension, other
states, or tuples of states; anything else (a fill value, a size) is a constant and left alone. Frozen means
that a tensor can never be replaced, only written into: addresses stay valid for a captured CUDA graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import torch
from torch import Tensor

Rows = Tensor | Sequence[int] | None
"""Which rows of a batch: a bool tensor (B,), row numbers, or None for all of them."""


def row_mask(rows: Rows, batch: int, device: torch.device) -> Tensor:
    """Turn `rows` into a bool tensor (batch,) on `device`. Raises IndexError for a row that is not there."""
    if isinstance(rows, Tensor):
        if rows.dtype != torch.bool or rows.shape != (batch,):
            raise IndexError(f"a row mask must be bool of shape ({batch},), got {rows.dtype} {tuple(rows.shape)}")
        return rows.to(device)
    if rows is None:
        return torch.ones(batch, dtype=torch.bool, device=device)
    mask = torch.zeros(batch, dtype=torch.bool)
    for row in rows:
        if not 0 <= row < batch:
            raise IndexError(f"row {row} is outside a batch of {batch}")
        mask[row] = True
    return mask.to(device)


def _along_batch(mask_B: Tensor, like: Tensor) -> Tensor:
    return mask_B.view(-1, *([1] * (like.dim() - 1)))


def advance(target: Tensor, new: Tensor, active: Tensor | None = None) -> None:
    """Write `new` into `target` in place; where `active` (bool (B,)) is False the row keeps its old value.

    `new` must be a tensor of its own: not a view of `target`.
    """
    if active is None:
        target.copy_(new)
    else:
        target.copy_(torch.where(_along_batch(active, target), new, target))


@dataclass(frozen=True, slots=True)
class State:
    """Base of all states. Subclass it with `@dataclass(frozen=True, slots=True)` and list the tensors."""

    def tensors(self) -> Iterator[Tensor]:
        """Every tensor of this state and of the states inside it, in order of declaration."""
        for tensor, _ in self._tensors_and_fills():
            yield tensor

    @property
    def batch(self) -> int:
        """Number of rows."""
        return next(self.tensors()).shape[0]

    def reset(self, rows: Rows = None) -> None:
        """Put `rows` back to the start of a stream, in place. Other rows keep every bit."""
        pairs = list(self._tensors_and_fills())
        if not pairs:
            return
        first = pairs[0][0]
        mask_B = row_mask(rows, first.shape[0], first.device)
        for tensor, fill in pairs:
            tensor.masked_fill_(_along_batch(mask_B, tensor), fill)

    def gather(self, rows_B: Tensor) -> Self:
        """A state of its own with these rows, int64 (B,), copied in that order; constants stay as they are."""
        values = {field.name: _gathered(getattr(self, field.name), rows_B) for field in fields(self)}
        return type(self)(**values)

    def scatter(self, rows_B: Tensor, part: Self) -> None:
        """Write the rows of ``part`` back to where `gather` took them from, in place."""
        for mine, theirs in zip(self.tensors(), part.tensors(), strict=True):
            mine.index_copy_(0, rows_B, theirs)

    def initial_value(self, field_name: str) -> float:
        """Value that `reset` gives to the tensor `field_name`; override it where silence is not zero."""
        return 0.0

    def _tensors_and_fills(self) -> Iterator[tuple[Tensor, float]]:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Tensor):
                yield value, self.initial_value(field.name)
            elif isinstance(value, State):
                yield from value._tensors_and_fills()
            elif isinstance(value, tuple):
                for item in value:
                    if isinstance(item, State):
                        yield from item._tensors_and_fills()


StateT_co = TypeVar("StateT_co", bound=State, covariant=True)


@runtime_checkable
class StreamingModule(Protocol[StateT_co]):
    """What every streaming module offers; its inputs are its own, the state is always the last of `step`'s."""

    def init_state(self, batch: int, device: torch.device | str = "cpu") -> StateT_co:
        """State of ``batch`` streams that have not begun."""

    def step(self, *inputs: Any) -> Tensor:
        """The output for the next input of every stream; the state moves on in place."""

    def forward(self, *inputs: Any) -> Tensor:
        """Whole sequences from a fresh state: the numbers of `step`, in a form that trains quickly."""


_T = TypeVar("_T")


def _gathered(value: _T, rows_B: Tensor) -> _T:
    """A field of a state, with these rows of what it holds."""
    found: Any = value
    if isinstance(value, Tensor):
        found = value.index_select(0, rows_B)
    elif isinstance(value, State):
        found = value.gather(rows_B)
    elif isinstance(value, tuple):
        found = tuple(_gathered(item, rows_B) for item in value)
    result: _T = found
    return result
