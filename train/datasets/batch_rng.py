"""Randomness of one training step, and which rows of its batch a share works on.

One step minimises losses over a batch of n rows. With P processes and A accumulation steps it is cut in P x A shares
of equal size:

    rows of the batch     | 0 1 2 | 3 4 5 | 6 7 8 | 9 10 11 |
    micro-batch, process  |  0,0  |  0,1  |  1,0  |   1,1   |      index = micro-batch x P + process

Every share has a generator in the same state, so a task draws indices and noise for all n rows and keeps its own
(``rng.own_rows(n)``); then two processes see exactly what one with the whole batch sees.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import torch
from torch import Tensor

from engine.errors import CommandInvalid


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


def seed_of(*numbers: int) -> int:
    """A seed that mixes all of ``numbers``, the same on every machine."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
