"""Losses and gradients that are not finite, found without a wait for the device in every step.

Values stay on the device until somebody looks, which the trainer does before it logs or saves. So a run may go on for
some steps with weights that are spoilt, but what it writes is sound, and the error names the step where it began.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from train.distributed import Processes


@dataclass(frozen=True, slots=True)
class NotFinite:
    """The first value that was not finite.

    Attributes:
        step: of the training.
        reasons: one message a rank; empty for ranks whose own value is finite.
    """

    step: int
    reasons: list[str]


@dataclass(slots=True)
class FiniteWatch:
    """Values since the last look; in every process the same ones in the same order."""

    _seen: list[_Watched] = field(default_factory=list)

    def add(self, step: int, name: str, value: Tensor, batch: str, parts: Mapping[str, Tensor] | None = None) -> None:
        """Watch a scalar. ``batch`` and ``parts`` (what the value is made of) are for the message."""
        kept = {key: part.detach() for key, part in (parts or {}).items()}
        self._seen.append(_Watched(step, name, value.detach(), batch, kept))

    def look(self, processes: Processes) -> NotFinite | None:
        """The first value that is not finite in any process, None if there is none; forget all. Waits for the device.

        Every process must call this alike.
        """
        seen, self._seen = self._seen, []
        if not seen:
            return None
        values = torch.stack([watched.value.double().reshape(()) for watched in seen]).tolist()
        own = next((place for place, value in enumerate(values) if not math.isfinite(value)), len(seen))
        first = -int(processes.largest([-own])[0])
        if first == len(seen):
            return None
        return NotFinite(seen[first].step, processes.texts(seen[first].text(values[first]) if own == first else ""))


@dataclass(frozen=True, slots=True)
class _Watched:
    step: int
    name: str
    value: Tensor
    batch: str
    parts: Mapping[str, Tensor]

    def text(self, value: float) -> str:
        parts = {key: float(part) for key, part in self.parts.items()}
        return f"{self.name} is {value}{f' ({parts})' if parts else ''} on the batch {self.batch}; "
