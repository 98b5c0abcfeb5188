"""Makes animator.npz: images of networks with random weights, in float64 straight from the definitions.

Every sample has modulated weights of its own, upsampling inserts zeros and convolves, sampling is a loop over
four corners: no module of the engine computes anything here, they only name the tensors.
Run from the root of the repository: python -m tests.golden.make_animator
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from tests.animator.neural_cases import CASES, inputs
from tests.random_weights import randomise_weights

_FIR = torch.outer(*2 * (torch.tensor([1.0, 3, 3, 1], dtype=torch.float64),)) / 64


def _fir(x: Tensor, gain: float, before: int, after: int) -> Tensor:
    rows, channels, height, _ = x.shape
    x = F.pad(x, (before, after, before, after)).reshape(rows * channels, 1, *2 * (height + before + after,))
    y = F.conv2d(x, (_FIR * gain)[None, None])
    return y.reshape(rows, channels, *y.shape[2:])


def _zeros_between(x: Tensor) -> Tensor:
    y = x.new_zeros(*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3])
    y[:, :, ::2, ::2] = x
    return y


def _activate(x: Tensor, bias: Tensor) -> Tensor:
    x = x + bias[:, None, None]
    return torch.where(x > 0, x, 0.2 * x) * 2**0.5


class Definition:
    """The animator, written down as layers of a state dict."""

    def __init__(self, config: FaceAnimatorConfig, state: dict[str, Tensor]) -> None:
        self.config, self.state = config, {name: tensor.double() for name, tensor in state.items()}

    def __call__(self, rgb: Tensor, window: Tensor) -> dict[str, Tensor]:
        code, features = self.encode(rgb)
        latent = code + self.navigation(code, window)
        return {"identity_code": code, "latent": latent, "picture": self.decode(latent, features)}

    def encode(self, rgb: Tensor) -> tuple[Tensor, list[Tensor]]:
        x, features = _activate(self.equalised(rgb, "encoder.stem.conv"), self.state["encoder.stem.bias"]), []
        for index in range(len(self.config.widths) - 1):
            block = f"encoder.blocks.{index}"
            features.append(x)
            y = _activate(self.equalised(x, f"{block}.conv_1.conv", padding=1), self.state[f"{block}.conv_1.bias"])
            y = self.equalised(_fir(y, 1, 2, 2), f"{block}.conv_2.conv", stride=2)
            y = _activate(y, self.state[f"{block}.conv_2.bias"])
            x = (y + self.equalised(_fir(x, 1, 1, 1), f"{block}.skip_conv", stride=2)) / 2**0.5
        return self.equalised(x, "encoder.head").flatten(1), features[::-1]

    def navigation(self, code: Tensor, window: Tensor) -> Tensor:
        x = self.plain(window.transpose(1, 2), "mapping.first", F.conv1d)
        for index, dilation in enumerate(self.config.mapping_dilations):
            name = f"mapping.layers.{index}"
            y = F.conv1d(
                F.leaky_relu(x, 0.1),
                self.state[f"{name}.weight"],
                self.state[f"{name}.bias"],
                dilation=dilation,
            )
            x = y + x[:, :, dilation:-dilation]
        y = torch.cat([code, x.mean(2)], 1)
        for index in range(self.config.head_layers):
            y = self.linear(y, f"head.layers.{index}")
        return y @ torch.linalg.qr(self.state["basis.weight_SM"] + 1e-8).Q.T

    def decode(self, latent: Tensor, features: list[Tensor]) -> Tensor:
        x = self.state["decoder.constant_CHW"].expand(len(latent), -1, -1, -1)
        x = self.styled(x, latent, "decoder.first")
        raw = rgb = None
        for index, feature in enumerate(features):
            level = f"decoder.levels.{index}"
            x = self.styled(x, latent, f"{level}.up", upsample=True)
            x = self.styled(x, latent, f"{level}.conv")
            flow = self.modulated(x, latent, f"{level}.to_flow.conv", demodulate=False)
            flow = flow + self.state[f"{level}.to_flow.bias"][:, None, None]
            raw = flow if raw is None else flow + _fir(_zeros_between(raw), 4, 2, 1)
            mask = 1 / (1 + torch.exp(-raw[:, 2:]))
            warped = _sample(feature, raw[:, :2].tanh()) * mask
            blended = warped + x * (1 - mask)
            shown = warped
            if feature.shape[-1] in self.config.transform_sizes:
                shown = self.transform(warped, latent, f"{level}.transform")
                blended = shown + x * (1 - blended)  # a slip of the release that its weights are trained with
            x = blended
            colour = _activate(
                self.equalised(shown, f"{level}.to_rgb.conv"), self.state[f"{level}.to_rgb.activation_bias"]
            )
            colour = colour + self.state[f"{level}.to_rgb.bias"][:, None, None]
            rgb = colour if rgb is None else colour + _fir(_zeros_between(rgb), 4, 2, 1)
        assert rgb is not None
        return rgb

    def transform(self, x: Tensor, latent: Tensor, name: str) -> Tensor:
        scale, shift = (
            self.plain(F.leaky_relu(self.styled(x, latent, f"{name}.{part}_1"), 0.2), f"{name}.{part}_2")
            for part in ("scale", "shift")
        )
        return x + x * scale + shift

    def plain(self, x: Tensor, name: str, conv=F.conv2d) -> Tensor:
        padding = 1 if conv is F.conv2d else 0
        return conv(x, self.state[f"{name}.weight"], self.state[f"{name}.bias"], padding=padding)

    def equalised(self, x: Tensor, name: str, **options: int) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return F.conv2d(x, weight / weight[0].numel() ** 0.5, **options)

    def linear(self, x: Tensor, name: str) -> Tensor:
        weight = self.state[f"{name}.weight"]
        return x @ weight.T / weight.shape[1] ** 0.5 + self.state[f"{name}.bias"]

    def styled(self, x: Tensor, latent: Tensor, name: str, *, upsample: bool = False) -> Tensor:
        return _activate(self.modulated(x, latent, f"{name}.conv", upsample=upsample), self.state[f"{name}.bias"])

    def modulated(
        self, x: Tensor, latent: Tensor, name: str, *, demodulate: bool = True, upsample: bool = False
    ) -> Tensor:
        weight = self.state[f"{name}.weight"]
        style = self.linear(latent, f"{name}.modulation")
        rows = []
        for row in range(len(x)):
            own = weight / weight[0].numel() ** 0.5 * style[row, None, :, None, None]
            if demodulate:
                own = own / (own.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
            if upsample:
                y = _fir(F.conv_transpose2d(x[row, None], own.transpose(0, 1), stride=2), 4, 1, 1)
            else:
                y = F.conv2d(x[row, None], own, padding=own.shape[-1] // 2)
            rows.append(y)
        return torch.cat(rows)


def _sample(feature: Tensor, flow: Tensor) -> Tensor:
    """Bilinear samples at the grid plus flow; the grid spans the image's edges."""
    rows, _, height, width = feature.shape
    across, down = (torch.linspace(-1, 1, size, dtype=torch.float64) for size in (width, height))
    x = ((flow[:, 0] + across + 1) * width - 1) / 2
    y = ((flow[:, 1] + down[:, None] + 1) * height - 1) / 2
    total = torch.zeros_like(feature)
    for corner_y in (y.floor(), y.floor() + 1):
        for corner_x in (x.floor(), x.floor() + 1):
            weight = (1 - (x - corner_x).abs()) * (1 - (y - corner_y).abs())
            inside = (corner_x >= 0) & (corner_x < width) & (corner_y >= 0) & (corner_y < height)
            at_y, at_x = corner_y.clamp(0, height - 1).long(), corner_x.clamp(0, width - 1).long()
            picked = torch.stack([feature[row][:, at_y[row], at_x[row]] for row in range(rows)])
            total += picked * (weight * inside)[:, None]
    return total


def main() -> None:
    """Write the golden file beside this one."""
    golden: dict[str, np.ndarray] = {}
    for name, config in CASES.items():
        network = FaceAnimatorNetwork(config)
        randomise_weights(network)
        rgb, window = inputs(config)
        outputs = Definition(config, network.state_dict())(rgb.double(), window.double())
        step = config.image_size // 32
        outputs["picture"] = outputs["picture"][:, :, step // 2 :: step, step // 2 :: step]
        golden |= {f"{name}.{key}": value.numpy().astype(np.float32) for key, value in outputs.items()}
    np.savez_compressed(Path(__file__).with_name("animator.npz"), **golden)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
