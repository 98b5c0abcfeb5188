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
from typing import Self

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

    def copy_from(self, other: Self) -> None:
        """Take over the values of a state of the same shape, in place."""
        for mine, theirs in zip(self.tensors(), other.tensors(), strict=True):
            mine.copy_(theirs)

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
