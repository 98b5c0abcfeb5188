"""Time of every implementation of ``kernels.backward_warp`` that can run here.

    python benchmarks/ops/backward_warp.py [--device cpu|cuda] [--json OUT]

Prints p50, p95 and p99 for each shape and the bytes moved per second at p50, beside the speed of a plain copy.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from kernels.backward_warp import available_implementations, backward_warp

# name, (batch, channels, side), type, mode: the animator's own frame first, then a network's feature maps.
_CASES = [
    ("portrait 256 uint8", (1, 3, 256), torch.uint8, "bicubic"),
    ("portrait 256 float32", (1, 3, 256), torch.float32, "bilinear"),
    ("features 64 float32", (1, 256, 64), torch.float32, "bilinear"),
    ("features 64 float16", (16, 256, 64), torch.float16, "bilinear"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu"
    )
    parser.add_argument("--repeats", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    torch.set_num_threads(1)
    report = {
        "hardware": torch.cuda.get_device_name() if device.type == "cuda" else f"{_processor()}, 1 thread",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "results": [row for case in _CASES for row in _measure(case, device, arguments.repeats)],
    }
    print(f"{report['hardware']}, torch {report['torch']}")
    for row in report["results"]:
        print(
            f"{row['case']:22} {row['impl']:10} p50 {row['p50_ms']:8.3f}  p95 {row['p95_ms']:8.3f}  "
            f"p99 {row['p99_ms']:8.3f} ms   {row['gb_per_s']:7.2f} GB/s (copy {row['copy_gb_per_s']:.2f})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2) + "\n")


def _measure(
    case: tuple[str, tuple[int, int, int], torch.dtype, str], device: torch.device, repeats: int
) -> list[dict[str, object]]:
    name, (batch, channels, side), dtype, mode = case
    image = (torch.rand(batch, channels, side, side, device=device) * 255).to(dtype)
    if device.type == "cpu":
        image = image.to(memory_format=torch.channels_last)
    axis = torch.arange(side, dtype=torch.float32, device=device)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    grid = torch.stack([columns + 3 * torch.sin(rows / 9), rows + 2 * torch.cos(columns / 7)], -1)
    grid = grid.expand(batch, -1, -1, -1).contiguous()
    moved = 2 * image.numel() * image.element_size() + grid.numel() * grid.element_size()
    copy_ms = np.percentile(_times_ms(image.clone, device, repeats), 50)
    results = []
    for impl in available_implementations(device):
        if impl == "opencv" and dtype not in (torch.uint8, torch.float32):
            continue
        times = _times_ms(lambda chosen=impl: backward_warp(image, grid, chosen, mode=mode), device, repeats)
        p50, p95, p99 = np.percentile(times, [50, 95, 99])
        results.append(
            {
                "case": name,
                "impl": impl,
                "p50_ms": round(float(p50), 4),
                "p95_ms": round(float(p95), 4),
                "p99_ms": round(float(p99), 4),
                "gb_per_s": round(moved / float(p50) / 1e6, 3),
                "copy_gb_per_s": round(2 * image.numel() * image.element_size() / float(copy_ms) / 1e6, 3),
            }
        )
    return results


def _times_ms(run: Callable[[], torch.Tensor], device: torch.device, repeats: int) -> list[float]:
    for _ in range(max(repeats // 10, 3)):
        run()
    times = []
    for _ in range(repeats):
        if device.type == "cuda":
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            run()
            stop.record()
            stop.synchronize()
            times.append(start.elapsed_time(stop))
        else:
            begin = time.perf_counter()
            run()
            times.append(1e3 * (time.perf_counter() - begin))
    return times


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
