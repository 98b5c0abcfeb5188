"""Several processes that train one network: started by torchrun, gloo on CPUs, NCCL on GPUs.

    torchrun --nproc-per-node 4 -m train RECIPE ...

Every process holds the whole task. What differs is the share of each batch (`train.datasets.batch_rng`); gradients are
averaged before each optimiser step, so that all processes stay equal. Process 0, the leader, alone writes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from engine.errors import BackendUnavailable

DeviceChoice = Literal["auto", "cpu", "cuda"]

_BUCKET_BYTES = 25 * 2**20
_SHUTDOWN_DELAY_S = 0.5
_TIMEOUT = timedelta(hours=2)
"""How long the other processes wait while the leader evaluates or writes."""


def is_leader() -> bool:
    """Whether this process writes files; torchrun's ``RANK`` says so before any group is opened."""
    return int(os.environ.get("RANK", "0")) == 0


def process_count() -> int:
    """How many processes torchrun says there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


@contextmanager
def open_processes(device: DeviceChoice = "auto") -> Iterator[Processes]:
    """Join the group that torchrun's environment describes, for the length of a ``with``; alone without torchrun.

    Raises:
        BackendUnavailable: CUDA is asked for and not there, or there are more processes than GPUs.
    """
    size = process_count()
    place = _place(device, int(os.environ.get("LOCAL_RANK", "0")))
    if size == 1:
        yield Processes(device=place)
        return
    opened = not dist.is_initialized()
    if opened:
        dist.init_process_group("nccl" if place.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield Processes(rank=dist.get_rank(), size=dist.get_world_size(), device=place)
    finally:
        if opened:
            dist.destroy_process_group()
            # torch's optimisers keep the group, and so gloo's threads, alive; one that still frees the last tensor when
            # the interpreter ends aborts the process. It needs the interpreter for an instant: asleep, we let it.
            time.sleep(_SHUTDOWN_DELAY_S)


def _place(device: DeviceChoice, local_rank: int) -> torch.device:
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise BackendUnavailable("trainer.device=cuda, but torch sees no GPU: use trainer.device=cpu")
    if local_rank >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise BackendUnavailable(
            f"process {local_rank} has no GPU of its own: there are {count}, "
            f"start torchrun with --nproc-per-node {count} or use trainer.device=cpu"
        )
    place = torch.device("cuda", local_rank)
    torch.cuda.set_device(place)
    return place


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of a run. Every method but the properties must be called by all of them alike."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_leader(self) -> bool:
        """Whether this process writes and evaluates."""
        return self.rank == 0

    def largest(self, values: Sequence[float]) -> list[float]:
        """The largest of each number over the processes; with flags, whether any process has it set."""
        if self.size == 1:
            return list(values)
        numbers = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(numbers, dist.ReduceOp.MAX)
        return numbers.tolist()

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes."""
        if self.size > 1:
            values = values.clone()
            dist.all_reduce(values)
            values /= self.size
        return values

    def texts(self, text: str) -> list[str]:
        """Every process's text, in the order of ranks."""
        if self.size == 1:
            return [text]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, text)
        return found

    def wait(self) -> None:
        """Wait for all processes."""
        self.largest([0.0])

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Mean of the gradients over the processes, in buckets of 25 MiB; all must have the same ones."""
        if self.size == 1:
            return
        pending = []
        for gradients in _buckets(p.grad for p in parameters if p.grad is not None):
            flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
            pending.append((gradients, flat, dist.all_reduce(flat, async_op=True)))
        for gradients, flat, work in pending:
            assert work is not None
            work.wait()
            flat /= self.size
            _unpack(flat, gradients)

    def copy_from_leader(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite the tensors by the leader's."""
        if self.size == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
            dist.broadcast(flat, 0)
            _unpack(flat, bucket)


def _buckets(tensors: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Tensors of one type, in order, at most ``_BUCKET_BYTES`` together unless one alone is larger."""
    open_buckets: dict[torch.dtype, list[Tensor]] = {}
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors:
        kind, size = tensor.dtype, tensor.numel() * tensor.element_size()
        if open_buckets.get(kind) and sizes[kind] + size > _BUCKET_BYTES:
            yield open_buckets.pop(kind)
        if kind not in open_buckets:
            open_buckets[kind], sizes[kind] = [], 0
        open_buckets[kind].append(tensor)
        sizes[kind] += size
    yield from open_buckets.values()


@torch.no_grad()
def _unpack(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    for tensor, piece in zip(tensors, pieces, strict=True):
        tensor.copy_(piece.view_as(tensor))


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
        # Every process has the same loss of all rows: the sum here, under the mean over processes, is its gradient.
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[context.own]
