"""Batch normalisation over all processes, so that each normalises as one with the whole batch would.

torch's own SyncBatchNorm runs on GPUs only; shares of a batch are of equal size here, which keeps this one short.

Shape suffixes: B rows, C channels, then any places.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def share_batch_norms(modules: nn.Module) -> None:
    """Make every BatchNorm of ``modules`` one over all processes, in place; parameters and names stay as they are."""
    for module in modules.modules():
        for plain, shared in _SHARED.items():
            if type(module) is plain:
                module.__class__ = shared


class _OverProcesses(torch.autograd.Function):
    """Mean over the processes; the gradient of the mean of their losses is the mean of gradients likewise."""

    @staticmethod
    def forward(context: Any, value: Tensor) -> Tensor:
        return _mean(value)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        return _mean(gradients[0])


def _mean(value: Tensor) -> Tensor:
    total = value.clone().contiguous()
    dist.all_reduce(total)
    return total / dist.get_world_size()


class _Shared(nn.modules.batchnorm._BatchNorm):
    def forward(self, x_BC: Tensor) -> Tensor:
        """Normalise by the mean and variance of all processes' rows; in evaluation by the running ones."""
        if not self.training:
            return super().forward(x_BC)
        places = [axis for axis in range(x_BC.ndim) if axis != 1]
        values = x_BC.float()
        mean_C = _average(values.mean(places))
        centred_BC = values - _beside(mean_C, values)
        variance_C = _average(centred_BC.square().mean(places))
        self._track(mean_C.detach(), variance_C.detach(), dist.get_world_size() * values.numel() // len(mean_C))
        out_BC = centred_BC * _beside(torch.rsqrt(variance_C + self.eps), values)
        if self.affine:
            out_BC = out_BC * _beside(self.weight, values) + _beside(self.bias, values)
        return out_BC.to(x_BC.dtype)

    @torch.no_grad()
    def _track(self, mean_C: Tensor, variance_C: Tensor, count: int) -> None:
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        pace = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean_C, pace)
        self.running_var.lerp_(variance_C * count / max(count - 1, 1), pace)


def _average(value_C: Tensor) -> Tensor:
    averaged: Tensor = _OverProcesses.apply(value_C)  # type: ignore[no-untyped-call]
    return averaged


def _beside(value_C: Tensor, x_BC: Tensor) -> Tensor:
    return value_C.view(1, -1, *[1] * (x_BC.ndim - 2))


class _Shared1d(_Shared, nn.BatchNorm1d):
    pass


class _Shared2d(_Shared, nn.BatchNorm2d):
    pass


class _Shared3d(_Shared, nn.BatchNorm3d):
    pass


_SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: _Shared1d,
    nn.BatchNorm2d: _Shared2d,
    nn.BatchNorm3d: _Shared3d,
}
