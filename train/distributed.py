"""Several processes that train one network."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = ["gather_rows"]


def gather_rows(rows: Tensor) -> Tensor:
    """Rows (n, ...) of all processes, (P n, ...) in the batch's order, differentiable; itself with one process.

    For losses that are not means over rows (correlations, standard deviations, sorted matches): computed on gathered
    rows they are those of the whole batch, and so are the averaged gradients. Every process must call it, at the same
    place and with the same shape. Accumulated micro-batches are not gathered: such a loss is then a mean over them.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return gathered


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: Tensor) -> Tensor:
        pieces = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(pieces, rows.contiguous())
        context.own = slice(dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows))
        return torch.cat(pieces)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        # Every process has the same loss of all rows; the sum here over the mean of all-reduce is one loss's gradient.
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[context.own]
