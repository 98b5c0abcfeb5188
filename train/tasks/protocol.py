"""What a task is to the trainer: modules, optimisers, and losses of a batch that several shares work on together.

One step minimises losses over a batch of n rows. With P processes and A accumulation steps it is cut in P x A shares
of equal size, and each share runs ``Task.updates`` on its own:

    rows of the batch     | 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11 |
    micro-batch, process  |  0,0  |  0,1  |  1,0  |   1,1   |      index = micro-batch x P + process

Every share has a generator in the same state, so a task draws indices and noise for all n rows and keeps its own
(``rng.own_rows(n)``); then two processes see exactly what one with the whole batch sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import CommandInvalid


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step that a task asks for: minimise ``loss`` over ``optimiser``'s parameters.

    ``loss`` is a mean over the share's rows, so that the mean over shares is the loss of the batch. ``log`` holds
    scalars to be averaged and written.
    """

    optimiser: str
    loss: Tensor
    log: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(slots=True)
class BatchRng:
    """Randomness of one step, and which rows of its batch are this share's.

    Attributes:
        generator: on the CPU, in the same state for every share of a step; made from (seed, step), so that
            a run that goes on needs no saved state.
        index, shares: this share's number, and how many the batch is cut into.
        device: where the networks are; move the rows there after the draw.
        rows: of the whole batch, as last given to `own_rows`.
    """

    generator: torch.Generator
    index: int = 0
    shares: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rows: int = field(default=0, init=False)

    @classmethod
    def for_step(
        cls, seed: int, step: int, index: int = 0, shares: int = 1, device: torch.device | str = "cpu"
    ) -> BatchRng:
        """The randomness of a step; by default the whole batch is one share."""
        generator = torch.Generator().manual_seed(seed_of(seed, step))
        return cls(generator, index, shares, torch.device(device))

    def own_rows(self, rows: int) -> slice:
        """This share's rows of a batch of ``rows``.

        Raises:
            CommandInvalid: the batch cannot be cut into equal shares.
        """
        if rows % self.shares:
            raise CommandInvalid(
                f"a batch of {rows} rows cannot be cut into {self.shares} equal shares "
                "(processes x trainer.accumulation): change the task's rows, the accumulation or the processes"
            )
        self.rows = rows
        size = rows // self.shares
        return slice(self.index * size, (self.index + 1) * size)

    def chance(self, count: int, probability: float) -> Tensor:
        """Bool (count,), each true with ``probability``."""
        return torch.rand(count, generator=self.generator) < probability

    def happens(self, probability: float) -> bool:
        """True with ``probability``."""
        return bool(self.chance(1, probability))

    def integer(self, count: int) -> int:
        """One of 0 .. count - 1."""
        return int(torch.randint(count, (1,), generator=self.generator))


class Task(Protocol):
    """What can be trained.

    ``modules`` are moved to the trainer's device and saved; those named in ``averaged`` also have an exponential moving
    average, which is what is evaluated and exported. Frozen networks and constants stay out of ``modules``; a task
    that has any moves them in ``to`` (see `Movable`).
    """

    @property
    def modules(self) -> nn.ModuleDict: ...

    @property
    def averaged(self) -> tuple[str, ...]: ...

    @property
    def optimisers(self) -> Mapping[str, torch.optim.Optimizer]: ...

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """Losses of one share of one step, in the order in which their optimisers step.

        The shares' iterators run in lockstep: an optimiser has stepped when the iterator is asked for the next update.
        Each loss is differentiated with respect to its optimiser's parameters only.
        """
        ...

    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Held-out figures of averaged ``modules``; runs in one process, without the trainer's randomness."""
        ...

    def describe_batch(self) -> str:
        """Names the rows of the last share drawn, for the report of a non-finite loss."""
        ...


@runtime_checkable
class Movable(Protocol):
    """A task with frozen networks or constants outside ``modules``."""

    def to(self, device: torch.device) -> None:
        """Move them, once, before the first step."""
        ...


@runtime_checkable
class HasImages(Protocol):
    """A task that can show what it does."""

    def images(self, modules: Mapping[str, nn.Module]) -> dict[str, NDArray[np.uint8]]:
        """Named images (H,W,3) uint8 of averaged ``modules``, for TensorBoard."""
        ...


def seed_of(*numbers: int) -> int:
    """A seed that mixes all of ``numbers``, the same on every machine."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
