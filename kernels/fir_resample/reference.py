"""FIR resampling in plain PyTorch: the definition the other implementations are held to."""

from torch import Tensor
from torch.nn import functional

from kernels.conv_epilogue.reference import conv_epilogue_reference


def fir_resample_reference(
    x_BCHW: Tensor,
    kernel_C144: Tensor,
    up: int,
    down: int,
    padding: int,
    scale_BC: Tensor | None,
    bias_C: Tensor | None,
    activate: bool,
    added_BCHW: Tensor | None,
) -> Tensor:
    """Depthwise convolutions, which every backend knows as one operation, then what follows. See the package."""
    channels = x_BCHW.shape[1]
    if up == 2:
        x_BCHW = functional.conv_transpose2d(x_BCHW, kernel_C144, stride=2, padding=padding, groups=channels)
    else:
        x_BCHW = functional.conv2d(x_BCHW, kernel_C144, stride=down, padding=padding, groups=channels)
    if activate:
        assert bias_C is not None
        x_BCHW = conv_epilogue_reference(x_BCHW, bias_C, scale_BC)
    else:
        if scale_BC is not None:
            x_BCHW = x_BCHW * scale_BC[:, :, None, None]
        if bias_C is not None:
            x_BCHW = x_BCHW + bias_C[:, None, None]
    return x_BCHW if added_BCHW is None else added_BCHW + x_BCHW
