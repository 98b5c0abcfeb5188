"""Where a training of the animator begins: with exported weights, or as the image of the mesh."""

from pathlib import Path
from typing import Any

import torch

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.guided_decoder import GuidedDecoder
from engine.checkpoint import WeightsFolder, load_into
from engine.errors import CommandInvalid


def load_start(folder: Path, config: FaceAnimatorConfig) -> FaceAnimatorNetwork:
    """The animator of a weights folder, which takes plain descriptors.

    Raises:
        CommandInvalid: it is laid out otherwise than ``config``. WeightsError: the folder cannot be used.
    """
    weights = WeightsFolder.open(folder)
    found = FaceAnimatorConfig.from_section(weights.section("neural_animator"), "neural_animator")
    if found != config:
        raise CommandInvalid(f"start={folder}: its animator is laid out as {found}, the recipe's as {config}")
    network = FaceAnimatorNetwork(config)
    load_into(network, weights.tensors("animator.safetensors"), "animator.safetensors")
    return network


@torch.no_grad()
def start_as_guide(network: FaceAnimatorNetwork) -> None:
    """Set an untrained guided network so that its image is the mesh's, uncorrected."""
    decoder = network.decoder
    assert isinstance(decoder, GuidedDecoder)
    heads: list[Any] = [level.to_flow for level in decoder.levels]
    for part in (*heads, decoder.finish):
        part.conv.weight.zero_()
        part.bias.zero_()
