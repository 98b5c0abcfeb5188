"""Timing of calls on either device, and the best that a machine can do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch


def timed_ms(
    call: Callable[[], object], device: torch.device, *, calls: int, budget_s: float, warm_ups: int = 5
) -> list[float]:
    """Milliseconds of each call, after a warm-up: by device events on CUDA, else by the clock.

    Stops after ``calls``, or when ``budget_s`` is spent.
    """
    for _ in range(warm_ups):
        call()
    if device.type == "cuda":
        torch.cuda.synchronize()
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < calls and (not samples or time.perf_counter() - began < budget_s):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
            start.record()
            call()
            end.record()
            end.synchronize()
            samples.append(start.elapsed_time(end))
        else:
            begin = time.perf_counter()
            call()
            samples.append((time.perf_counter() - begin) * 1000)
    return samples


def percentiles(samples_ms: Sequence[float]) -> dict[str, float]:
    """p50, p95 and p99 of milliseconds."""
    values = np.percentile(samples_ms, (50, 95, 99))
    return {name: round(float(value), 4) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """The best that a device can do, measured in the same run.

    Attributes:
        matrix_tflops: 10^12 operations a second of a square matrix product; ``matrix`` names its size and type.
        copy_gbs: GB/s that a copy reads and writes.
    """

    matrix_tflops: float
    copy_gbs: float
    matrix: str = ""

    @classmethod
    def measured(cls, device: torch.device, *, quick: bool) -> Ceilings:
        """Of half precision on CUDA, of float32 on a CPU; ``quick`` takes small operands."""
        on_cuda = device.type == "cuda"
        dtype = torch.float16 if on_cuda else torch.float32
        size, size_mib = (256, 16) if quick else (8192, 1024) if on_cuda else (1024, 64)
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        product_ms = min(timed_ms(lambda: a @ b, device, calls=20, budget_s=10.0, warm_ups=3))
        source = torch.zeros(size_mib * 2**20, dtype=torch.uint8, device=device)
        target = torch.empty_like(source)
        copy_ms = min(timed_ms(lambda: target.copy_(source), device, calls=20, budget_s=5.0, warm_ups=3))
        return cls(
            matrix_tflops=round(2 * size**3 / product_ms / 1e9, 4),
            copy_gbs=round(2 * source.numel() / copy_ms / 1e6, 2),
            matrix=f"{size} x {size} {str(dtype).removeprefix('torch.')}",
        )

    def floor_ms(self, flop: float, bytes_moved: float) -> float:
        """The least time: all operations at one rate or all bytes at the other, whichever takes longer."""
        return max(flop / max(self.matrix_tflops, 1e-9) / 1e9, bytes_moved / self.copy_gbs / 1e6)
