"""Timing of calls on either device, and what a machine can do at best."""

from __future__ import annotations

import time
from collections.abc import Callable

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
    _finish(device)
    samples: list[float] = []
    began = time.perf_counter()
    while len(samples) < calls and (not samples or time.perf_counter() - began < budget_s):
        if device.type == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
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


def percentiles(samples_ms: list[float]) -> dict[str, float]:
    """p50, p95, p99 in milliseconds."""
    values = np.percentile(samples_ms, (50, 95, 99))
    return {name: round(float(value), 4) for name, value in zip(("p50", "p95", "p99"), values, strict=True)}


def matrix_ceiling_tflops(device: torch.device, dtype: torch.dtype, size: int) -> float:
    """10^12 operations a second of a square product, at its best."""
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    fastest = min(timed_ms(lambda: a @ b, device, calls=20, budget_s=10.0, warm_ups=3))
    return 2 * size**3 / fastest / 1e9


def memory_ceiling_gbs(device: torch.device, size_mib: int) -> float:
    """GB/s read and written by a copy, at its best."""
    source = torch.zeros(size_mib * 2**20, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    fastest = min(timed_ms(lambda: target.copy_(source), device, calls=20, budget_s=5.0, warm_ups=3))
    return 2 * source.numel() / fastest / 1e6


def _finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
