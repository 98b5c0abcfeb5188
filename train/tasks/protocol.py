"""The interface between a task and the trainer: modules, optimisers, and the losses of a batch.

Each share of a batch (`train.datasets.batch_rng`) runs ``Task.updates`` on its own.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.datasets.batch_rng import BatchRng


@dataclass(frozen=True, slots=True)
class Update:
    """One optimiser step that a task asks for: minimise ``loss`` over ``optimiser``'s parameters.

    ``loss`` is a mean over the share's rows, so that the mean over shares is the loss of the batch. ``log`` holds
    scalars to be averaged and written; ``batch`` names the rows, for the report of a non-finite loss.
    """

    optimiser: str
    loss: Tensor
    log: Mapping[str, Tensor] = field(default_factory=dict)
    batch: str = ""


class Task(Protocol):
    """Networks, their optimisers, and the losses that train them.

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
