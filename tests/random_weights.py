"""Weights drawn from the names of a module's tensors, so that goldens need none stored."""

import zlib

import numpy as np
import torch
from torch import nn


def randomise_weights(module: nn.Module, seed: int = 0) -> None:
    """Fill every parameter: vectors near 0 (modulation biases near 1), all else with variance 1/fan-in, or 1 in
    equalised layers, which scale themselves.

    Flow heads get a tenth: a flow of white noise makes every level amplify rounding errors tenfold.
    """
    equalised = {f"{name}.weight" for name, child in module.named_modules() if hasattr(child, "scale")}
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            shape = tuple(parameter.shape)
            draw = np.random.RandomState((zlib.crc32(name.encode()) + 7919 * seed) % 2**32).randn(*shape)
            if name.endswith("modulation.bias"):
                draw = 1 + 0.1 * draw
            elif len(shape) == 1:
                draw = 0.1 * draw
            elif name not in equalised:
                draw = draw / np.sqrt(np.prod(shape[1:]))
            if "to_flow" in name:
                draw = 0.1 * draw
            parameter.copy_(torch.from_numpy(draw))
