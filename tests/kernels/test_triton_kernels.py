"""Every Triton kernel: by the interpreter, compiled for cards that are not here, and on a card where there is one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.kernels.kernel_cases import FAST, kernel_cases, worst_difference

_HERE = Path(__file__).resolve().parent
_INTERPRETED = f"""
import sys
sys.path[:0] = [{str(_HERE.parents[1])!r}, {str(_HERE)!r}]
import torch
from kernel_cases import kernel_cases, worst_difference
count = 0
for case in kernel_cases():
    worst = worst_difference(case, "triton")
    assert worst <= case.tolerance, (case.operation, case.name, worst)
    count += 1
print(count)
"""


def test_interpreted_kernels_equal_the_references() -> None:
    """Their arithmetic without a GPU: Triton's interpreter has to be on before Triton is imported."""
    pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
    done = subprocess.run(
        [sys.executable, "-c", _INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) == sum(1 for _ in kernel_cases())


@pytest.mark.gpu
def test_kernels_equal_the_references_on_a_card() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for case in kernel_cases("cuda"):
        for impl in FAST.get(case.operation, ("triton",)):
            if impl == "cupy":
                pytest.importorskip("cupy", reason="CuPy is not installed: pip install cupy-cuda13x")
            worst = worst_difference(case, impl)
            assert worst <= case.tolerance, (case.operation, case.name, impl, worst)


@pytest.mark.gpu
def test_kernels_can_be_captured_and_write_to_pinned_memory() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    from kernels.yuv420 import yuv420
    from tests.kernels.kernel_cases import yuv_inputs

    image, label, pattern = yuv_inputs((1, 6, 12), torch.float16, "cuda")
    out = torch.empty((1, 9, 12), dtype=torch.uint8, pin_memory=True)
    expected = yuv420(image, label=label, pattern_BHW=pattern, impl="reference").cpu()
    for impl in FAST["yuv420"]:
        yuv420(image, label=label, pattern_BHW=pattern, out=out, impl=impl)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            yuv420(image, label=label, pattern_BHW=pattern, out=out, impl=impl)
        out.zero_()
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(out, expected), impl
