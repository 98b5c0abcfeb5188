"""backward_warp: every implementation against the reference, and the reference against its definition."""

import pytest
import torch

from kernels.backward_warp import backward_warp
from kernels.errors import ImplementationUnavailable
from tests.kernels.kernel_cases import backward_inputs

_SHAPES = [
    (1, 3, 8, 8, 8, 8),
    (2, 3, 17, 23, 13, 9),
    (1, 1, 1, 7, 5, 1),
    (3, 7, 33, 5, 2, 64),
    (1, 4, 256, 256, 31, 37),
]

# Half types round the result once: half a unit in the last place of values up to 1 (bicubic overshoots to 1.6).
# uint8: the sum may fall either side of a half. float32: the reference scales places to [-1, 1] and back, which costs
# a few 1e-5 px at 256 px, on noise as steep as 3 a pixel in bicubic.
_TOLERANCE = {torch.float32: 2e-4, torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.uint8: 1.0}


def _worst(a: torch.Tensor, b: torch.Tensor) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype
    return float((a.float() - b.float()).abs().max())


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_the_identity_grid_gives_the_image_back(mode: str) -> None:
    image, _ = backward_inputs((2, 3, 11, 6, 1, 1), torch.float32)
    rows, columns = torch.meshgrid(torch.arange(11.0), torch.arange(6.0), indexing="ij")
    grid = torch.stack([columns, rows], dim=-1).expand(2, -1, -1, -1)
    assert _worst(backward_warp(image, grid, "reference", mode=mode), image) < 1e-5


def test_half_way_between_two_pixels_is_their_mean_and_outside_is_the_border() -> None:
    image = torch.tensor([[[[0.0, 1.0, 4.0]]]])
    grid = torch.tensor([[[[0.5, 0.0], [1.5, 0.0], [-9.0, 5.0], [99.0, -5.0]]]])
    assert backward_warp(image, grid, "reference").flatten().tolist() == pytest.approx([0.5, 2.5, 0.0, 4.0])


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("shape", _SHAPES)
def test_opencv_equals_the_reference(shape: tuple[int, ...], dtype: torch.dtype, mode: str) -> None:
    image, grid = backward_inputs(shape, dtype)
    # Some builds of OpenCV round places to 1/32 px and weights to 1/2048: up to 2 grey levels a pixel on noise
    # between 0 and 255 with the steepest slopes there are. Places on that raster leave only the weights.
    grid = (grid * 32).round() / 32
    tolerance = 2.0 if dtype == torch.uint8 else _TOLERANCE[dtype]
    expected = backward_warp(image, grid, "reference", mode=mode)
    assert _worst(backward_warp(image, grid, "opencv", mode=mode), expected) <= tolerance


def test_strided_inputs_give_the_same_as_contiguous_ones() -> None:
    image, grid = backward_inputs((2, 6, 20, 30, 9, 14), torch.float32)
    strided_image, strided_grid = image[:, ::2, ::2, 3:], grid[:, :, ::2]
    assert not strided_image.is_contiguous()
    for impl in ("reference", "opencv"):
        expected = backward_warp(strided_image.contiguous(), strided_grid.contiguous(), impl)
        assert _worst(backward_warp(strided_image, strided_grid, impl), expected) == 0
        last = strided_image.to(memory_format=torch.channels_last)
        assert _worst(backward_warp(last, strided_grid, impl), expected) < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.uint8])
def test_the_reference_computes_every_type_in_float32(dtype: torch.dtype) -> None:
    image, grid = backward_inputs((1, 3, 12, 10, 7, 5), dtype)
    exact = backward_warp(image.float(), grid, "reference")
    assert _worst(backward_warp(image, grid, "reference").float(), exact) <= _TOLERANCE[dtype]


def test_gradients_flow_through_auto() -> None:
    image, grid = backward_inputs((1, 2, 6, 6, 4, 4), torch.float32)
    image.requires_grad_()
    grid.requires_grad_()
    backward_warp(image, grid).sum().backward()
    assert image.grad is not None
    assert grid.grad is not None
    assert torch.isfinite(image.grad).all()


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_equal_finite_differences(mode: str) -> None:
    image, grid = backward_inputs((2, 2, 5, 4, 3, 3), torch.float32, outside=-0.1)
    # Bilinear has kinks at pixel centres: stay clear of them.
    grid = grid.floor() + 0.2 + 0.6 * (grid - grid.floor())
    image, grid = image.double().requires_grad_(), grid.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda i, g: backward_warp(i, g, mode=mode), (image, grid))


def test_empty_grids_give_empty_images() -> None:
    image, _ = backward_inputs((1, 3, 4, 4, 1, 1), torch.float32)
    for impl in ("reference", "opencv"):
        assert backward_warp(image, torch.zeros(1, 0, 5, 2), impl).shape == (1, 3, 0, 5)


def test_what_does_not_fit_is_refused() -> None:
    image, grid = backward_inputs((1, 3, 4, 4, 2, 2), torch.float32)
    with pytest.raises(ValueError, match="batch"):
        backward_warp(image, grid.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match="image must be"):
        backward_warp(image.int(), grid)
    with pytest.raises(ValueError, match="floating"):
        backward_warp(image, grid.long())
    with pytest.raises(ValueError, match="impl"):
        backward_warp(image, grid, "magic")  # type: ignore[arg-type]


def test_an_implementation_that_cannot_run_here_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    image, grid = backward_inputs((1, 3, 4, 4, 2, 2), torch.float32)
    with pytest.raises(ImplementationUnavailable, match=r"pip install triton|CUDA"):
        backward_warp(image, grid, "triton")
    with pytest.raises(ImplementationUnavailable, match="uint8 and float32"):
        backward_warp(image.half(), grid, "opencv")
