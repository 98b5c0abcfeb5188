"""Beginning a training with weights that were exported before."""

from __future__ import annotations

from pathlib import Path

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.checkpoint import WeightsFolder, load_into
from engine.config import from_mapping
from engine.errors import CommandInvalid

__all__ = ["load_start"]


def load_start(folder: Path, config: FaceAnimatorConfig) -> FaceAnimatorNetwork:
    """The animator of a weights folder, which takes plain descriptors.

    Raises:
        CommandInvalid: it is laid out otherwise than ``config``. WeightsError: the folder cannot be used.
    """
    weights = WeightsFolder.open(folder)
    found = from_mapping(FaceAnimatorConfig, weights.section("neural_animator"), "neural_animator")
    if found != config:
        raise CommandInvalid(f"start={folder}: its animator is laid out as {found}, the recipe's as {config}")
    network = FaceAnimatorNetwork(config)
    load_into(network, weights.tensors("animator.safetensors"), "animator.safetensors")
    return network
