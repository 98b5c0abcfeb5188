"""Scale-in / scale-out convolutions against the definition with weights of every sample's own."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from engine.animator.network.equalised import freeze
from engine.animator.network.fir import FirBlur, FirUpsample, fir_kernel
from engine.animator.network.modulated_conv import ModulatedConv2d, StyledConv2d


def _definition(conv: ModulatedConv2d, x_BIHW: Tensor, style_BS: Tensor) -> Tensor:
    channels = conv.weight.shape[1]
    rows = []
    for x_1IHW, modulation_I in zip(x_BIHW.split(1), conv.modulation(style_BS), strict=True):
        own_OIKK = conv.weight / math.sqrt(channels * conv.size**2) * modulation_I[None, :, None, None]
        if conv.demodulate:
            own_OIKK = own_OIKK / (own_OIKK.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if conv.upsample:
            grown = F.pad(F.conv_transpose2d(x_1IHW, own_OIKK.transpose(0, 1), stride=2), (1, 1, 1, 1))
            kernel = fir_kernel(4.0).to(x_1IHW)[None, None]
            rows.append(F.conv2d(grown.transpose(0, 1), kernel).transpose(0, 1))
        else:
            rows.append(F.conv2d(x_1IHW, own_OIKK, padding=conv.size // 2))
    return torch.cat(rows)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3),
    channels=st.integers(1, 9),
    out_channels=st.integers(1, 9),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    form=st.sampled_from([(1, False), (3, False), (3, True)]),
    demodulate=st.booleans(),
    frozen=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_scale_in_scale_out_is_the_per_sample_definition(
    rows: int,
    channels: int,
    out_channels: int,
    height: int,
    width: int,
    form: tuple[int, bool],
    demodulate: bool,
    frozen: bool,
    seed: int,
) -> None:
    torch.manual_seed(seed)
    size, upsample = form
    conv = ModulatedConv2d(channels, out_channels, size, 5, demodulate=demodulate, upsample=upsample).double()
    x_BIHW = torch.randn(rows, channels, height, width, dtype=torch.float64)
    style_BS = torch.randn(rows, 5, dtype=torch.float64)
    with torch.no_grad():
        expected = _definition(conv, x_BIHW, style_BS)
        if frozen:
            freeze(conv)
        actual = conv(x_BIHW, style_BS)
    # Demodulation is worked out in float32.
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6 * float(expected.abs().max()))


def test_styled_conv_activates_after_bias_with_gain() -> None:
    torch.manual_seed(0)
    styled = StyledConv2d(4, 6, 5)
    torch.nn.init.normal_(styled.bias)
    x, style = torch.randn(2, 4, 5, 5), torch.randn(2, 5)
    expected = math.sqrt(2) * F.leaky_relu(styled.conv(x, style) + styled.bias[:, None, None], 0.2)
    torch.testing.assert_close(styled(x, style), expected)


def test_freezing_twice_changes_nothing_and_gradients_flow_before() -> None:
    torch.manual_seed(0)
    conv = ModulatedConv2d(3, 2, 3, 4, upsample=True)
    x, style = torch.randn(1, 3, 4, 4), torch.randn(1, 4)
    before = conv(x, style)
    before.square().sum().backward()
    assert all(parameter.grad is not None for parameter in conv.parameters())
    freeze(conv)
    freeze(conv)
    torch.testing.assert_close(conv(x, style), before)


def test_upsampling_keeps_a_constant_inside_and_puts_samples_in_place() -> None:
    up = FirUpsample(2)(torch.ones(1, 2, 5, 5))
    torch.testing.assert_close(up[:, :, 1:-1, 1:-1], torch.ones(1, 2, 8, 8))
    ramp = torch.arange(6.0).repeat(6, 1)[None, None]
    inside = FirUpsample(1)(ramp)[0, 0, 5, 2:-2]
    torch.testing.assert_close(inside, torch.arange(8) / 2 + 0.75)


@pytest.mark.parametrize(("padding", "stride", "size"), [(2, 1, 9), (1, 1, 7), (1, 2, 4)])
def test_blur_sizes(padding: int, stride: int, size: int) -> None:
    assert FirBlur(3, padding=padding, stride=stride)(torch.zeros(1, 3, 8, 8)).shape == (1, 3, size, size)


def test_upsampling_takes_only_3x3() -> None:
    with pytest.raises(ValueError, match="3x3"):
        ModulatedConv2d(1, 1, 1, 1, upsample=True)
