"""Small, odd inputs for every operation with a Triton or CUDA form, and what its results are allowed to differ by.

The same cases run by Triton's interpreter, are compiled for cards that are not here, and run on a card where there is
one, under compute-sanitizer too.
"""

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.animator.network.decoder import Decoder
from engine.animator.network.equalised import freeze
from kernels.backward_warp import backward_warp
from kernels.conv_epilogue import conv_epilogue, demodulation
from kernels.fir_resample import fir_resample
from kernels.warp_blend import warp_blend
from kernels.yuv420 import LabelPatch, yuv420

FAST = {"yuv420": ("triton", "cupy")}
"""Implementations of an operation beside its reference; the others have Triton's alone."""

# Half types round a result once, the reference some more: a few units in the last place of what is added up. float32:
# another order of sums; backward_warp's reference scales places to [-1, 1] and back, on noise as steep as 3 a pixel.
_TOLERANCE = {torch.float32: 2e-4, torch.float16: 2e-2, torch.bfloat16: 1.5e-1, torch.uint8: 1.0}


@dataclass(frozen=True, slots=True)
class KernelCase:
    """``run(impl)`` gives the results; they may differ from the reference's by ``tolerance``, 0 for not at all."""

    operation: str
    name: str
    run: Callable[[str], tuple[Tensor, ...]]
    tolerance: float


def worst_difference(case: KernelCase, impl: str) -> float:
    """Largest difference of any result to the reference's; shapes and types must be the same."""
    worst = 0.0
    for found, expected in zip(case.run(impl), case.run("reference"), strict=True):
        assert found.shape == expected.shape, case.name
        assert found.dtype == expected.dtype, case.name
        worst = max(worst, float((found.double() - expected.double()).abs().max()))
    return worst


def kernel_cases(device: str = "cpu") -> Iterator[KernelCase]:
    """All of them, inputs on ``device``; drawn from fixed seeds."""
    yield from _warp_cases(device)
    yield from _blend_cases(device)
    yield from _fir_cases(device)
    yield from _epilogue_cases(device)
    yield from _yuv_cases(device)
    yield from _decoder_cases(device)


def backward_inputs(
    shape: tuple[int, ...], dtype: torch.dtype, device: str = "cpu", outside: float = 2.5
) -> tuple[Tensor, Tensor]:
    """Image and grid for backward_warp; ``outside``: by how many pixels the grid may leave the image."""
    batch, channels, height, width, rows, columns = shape
    generator = torch.Generator().manual_seed(height * width + rows)
    image = torch.rand((batch, channels, height, width), generator=generator)
    image = (image * 255).to(torch.uint8) if dtype == torch.uint8 else image.to(dtype)
    span = torch.tensor([width - 1 + 2 * outside, height - 1 + 2 * outside])
    grid = torch.rand((batch, rows, columns, 2), generator=generator) * span - outside
    return image.to(device), grid.to(device)


def yuv_inputs(
    shape: tuple[int, int, int], dtype: torch.dtype, device: str = "cpu"
) -> tuple[Tensor, LabelPatch, Tensor]:
    """Image (with channels last in memory), label in its lower corner, mark."""
    batch, height, width = shape
    draw = torch.Generator().manual_seed(height * width)
    picture = torch.rand((batch, height, width, 3), generator=draw).permute(0, 3, 1, 2)
    picture = (picture * 256).to(torch.uint8) if dtype == torch.uint8 else (picture * 2.2 - 1.1).to(dtype)
    keep = torch.rand((2, 5), generator=draw)
    add = torch.rand((3, 2, 5), generator=draw) * 255 * (1 - keep) + 0.5
    label = LabelPatch(keep_HW=keep.to(device), add_3HW=add.to(device), top_px=height - 2, left_px=min(3, width - 5))
    return picture.to(device), label, (torch.randn((batch, height, width), generator=draw) * 3).to(device)


def _warp_cases(device: str) -> Iterator[KernelCase]:
    shapes = ((2, 3, 17, 23, 13, 9), (1, 1, 1, 7, 5, 1))
    for index, (dtype, mode) in enumerate(itertools.product(_TOLERANCE, ("bilinear", "bicubic"))):
        shape = shapes[index // 2 % 2]
        image, grid = backward_inputs(shape, dtype, device)
        strided = ("strided", image[..., ::2], grid[:, :, ::2])
        for layout, picture, places in (("", image, grid), strided)[index % 2 :]:

            def run(impl: str, p: Tensor = picture, g: Tensor = places, m: str = mode) -> tuple[Tensor, ...]:
                return (backward_warp(p, g, impl, mode=m),)

            yield KernelCase("backward_warp", f"{shape} {dtype} {mode} {layout}", run, _TOLERANCE[dtype])


def _formats(x: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield "contiguous", x.contiguous()
    yield "channels last", x.contiguous(memory_format=torch.channels_last)


def _draw(device: str, *shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))).to(device)


def _blend_cases(device: str) -> Iterator[KernelCase]:
    kinds = (("blended", True), ("blended", False), ("released", False), ("released", True))
    for index, (rest, exact) in enumerate(kinds):
        shape = ((2, 5, 6, 9), (1, 66, 5, 3))[index % 2]
        raw = _draw(device, shape[0], 3, *shape[2:])
        formats = list(_formats(_draw(device, *shape)))
        first = torch.float64 if index == 2 else torch.float32
        for dtype, (layout, drawn) in zip((first, torch.float16), formats, strict=True):
            feature = drawn.to(dtype)
            given = raw if index % 2 else raw.to(dtype)

            def run(
                impl: str, f: Tensor = feature, raw: Tensor = given, rest: str = rest, exact: bool = exact
            ) -> tuple[Tensor, ...]:
                inputs = [tensor.detach().requires_grad_() for tensor in (f, raw, f.flip(0))]
                results = warp_blend(*inputs, rest=rest, exact_grid=exact, impl=impl)
                weights = [torch.linspace(-1, 1, t.numel(), device=t.device).view(t.shape) for t in results]
                torch.stack([(t * w).sum() for t, w in zip(results, weights, strict=True)]).sum().backward()
                return *(t.detach() for t in results), *(tensor.grad for tensor in inputs)

            # Gradients of flow and mask are sums over the channels.
            tolerance = 1e-10 if dtype == torch.float64 else 4 * _TOLERANCE[dtype]
            yield KernelCase("warp_blend", f"{shape} {dtype} {rest} {exact} {layout}", run, tolerance)


def _fir_cases(device: str) -> Iterator[KernelCase]:
    kernel = torch.outer(torch.tensor([1.0, 3, 3, 1]), torch.tensor([1.0, 3, 3, 1])) / 16
    kernel[0, 1], kernel[3, 1] = 2, -1  # where it is turned or transposed shows
    rates = ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1), (2, 1, 0))
    for index, (up, down, padding) in enumerate(rates):
        channels = (3, 5)[index % 2]
        dtype = (torch.float32, torch.float16)[index // 2 % 2]
        taps = kernel.repeat(channels, 1, 1, 1).to(device, dtype)
        for layout, x in _formats(_draw(device, 2, channels, 7, 9).to(dtype)):

            def run(
                impl: str,
                x: Tensor = x,
                taps: Tensor = taps,
                rate: tuple[int, int, int] = (up, down, padding),
            ) -> tuple[Tensor, ...]:
                device, count = str(x.device), x.shape[1]
                scale = _draw(device, 2, count).to(x)
                bias = _draw(device, count).to(x)
                options = {"up": rate[0], "down": rate[1], "padding": rate[2], "impl": impl}
                plain = fir_resample(x, taps, **options)
                more = {"scale_BC": scale, "bias_C": bias, "activate": True}
                added = _draw(device, *plain.shape).to(x)
                return plain, fir_resample(x, taps, added_BCHW=added, **more, **options)

            name = f"up {up}, down {down}, padding {padding}, {channels} channels, {dtype} {layout}"
            yield KernelCase("fir_resample", name, run, 2 * _TOLERANCE[dtype])


def _epilogue_cases(device: str) -> Iterator[KernelCase]:
    for channels, dtype in itertools.product((3, 70), (torch.float32, torch.bfloat16)):
        for layout, x in (
            *_formats(_draw(device, 2, channels, 7, 9).to(dtype)),
            ("strided", _draw(device, 2, channels, 7, 9).to(dtype)[..., ::2]),
        ):

            def run(impl: str, x: Tensor = x) -> tuple[Tensor, ...]:
                device, count = str(x.device), x.shape[1]
                scale, bias = _draw(device, 2, count).to(x), _draw(device, count).to(x)
                squared = _draw(device, 33, count).square()
                return (
                    conv_epilogue(x, bias, impl=impl),
                    conv_epilogue(x, bias, scale, impl=impl),
                    demodulation(scale, squared, impl=impl),
                )

            yield KernelCase("conv_epilogue", f"{channels} channels, {dtype} {layout}", run, _TOLERANCE[dtype])


def _yuv_cases(device: str) -> Iterator[KernelCase]:
    shapes = ((2, 6, 10), (1, 4, 262))
    for index, dtype in enumerate((torch.uint8, torch.float16, torch.bfloat16, torch.float32)):
        picture, label, pattern = yuv_inputs(shapes[index % 2], dtype, device)
        for layout, matrix, badge, mark in (
            ("i420", "bt601", label, pattern),
            ("nv12", "bt709", label, pattern.transpose(1, 2).contiguous().transpose(1, 2)),
            ("i420", "bt709", None, None),
        ):

            def run(
                impl: str,
                p: Tensor = picture,
                layout: str = layout,
                matrix: str = matrix,
                badge: LabelPatch | None = badge,
                mark: Tensor | None = mark,
            ) -> tuple[Tensor, ...]:
                options = {"layout": layout, "matrix": matrix, "label": badge, "pattern_BHW": mark}
                return (yuv420(p if badge else p.contiguous(), **options, impl=impl),)

            yield KernelCase("yuv420", f"{tuple(picture.shape)} {dtype} {layout} {matrix}", run, 0.0)


def _decoder_cases(device: str) -> Iterator[KernelCase]:
    """The animator's decoder with every kernel at its place, by the switch."""
    for transform in ((), (8, 16)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            decoder = Decoder((6, 5, 4), 8, transform)
        freeze(decoder)
        decoder = decoder.requires_grad_(False).to(device)
        features = _draw(device, 2, 5, 8, 8), _draw(device, 2, 4, 16, 16)

        def run(impl: str, d: Decoder = decoder, f: tuple[Tensor, ...] = features) -> tuple[Tensor, ...]:
            before = os.environ.get("GOHD_KERNELS")
            os.environ["GOHD_KERNELS"] = impl
            try:
                with torch.no_grad():
                    return tuple(d.pyramid(_draw(str(f[0].device), 2, 8), f))
            finally:
                if before is None:
                    del os.environ["GOHD_KERNELS"]
                else:
                    os.environ["GOHD_KERNELS"] = before

        yield KernelCase("decoder", f"transform {transform}", run, 1e-4)
