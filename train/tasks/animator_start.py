"""Where a training of the animator begins: with exported weights, or as a plain warp of the portrait."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.guided_decoder import GuidedDecoder
from engine.checkpoint import WeightsFolder, load_into
from engine.config import from_mapping
from engine.errors import CommandInvalid

Begin = Literal["random", "still", "warp"]

_TOP_MASK = 4.0
_LOWER_MASK = -3.0


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


def begin(network: FaceAnimatorNetwork, how: Begin) -> None:
    """Set an untrained network: as it was drawn, with a flow of zero, or as a plain warp (`start_as_warp`)."""
    if how == "warp":
        start_as_warp(network)
    elif how == "still":
        levels: list[Any] = list(network.decoder.levels)
        for level in levels:
            nn.init.zeros_(level.to_flow.conv.weight)


@torch.no_grad()
def start_as_warp(network: FaceAnimatorNetwork) -> None:
    """Set an untrained network so that its image is the portrait, fetched along its flow, which is zero.

    Three channels of the finest features carry the colours: shifted by one, so that they lie on the linear side of
    the activation, and back in the last head. There the mask is near 1; below it is near 0, and nothing is shown.
    Motion is the shown frame's alone, and the image adds nothing to the identity code if there are measures.
    SFT blocks show their input as it is. A guided network begins as the mesh's image, uncorrected.
    """
    if isinstance(network.decoder, GuidedDecoder):
        _start_as_guide(network.decoder)
        return
    stem = network.encoder.stem
    levels: list[Any] = list(network.decoder.levels)
    stem.conv.weight[:3] = torch.eye(3)[:, :, None, None] / stem.conv.scale
    stem.bias[:3] = 1.0
    if network.measures is not None:
        network.encoder.head.weight.zero_()
    first = network.mapping.first
    if not network.mapping.layers and network.config.future_frames == 0:
        first.weight[:, :, :-1] = 0.0
        nn.init.normal_(first.weight[:, :, -1], std=first.in_channels**-0.5)
        assert first.bias is not None
        first.bias.zero_()
    for level in levels:
        level.to_flow.conv.weight.zero_()
        level.to_flow.bias.zero_()
        for head in (level.to_rgb.conv, *([] if level.paint is None else [level.paint])):
            head.weight.zero_()
        if level.transform is not None:
            for part in (level.transform.scale_2, level.transform.shift_2):
                part.weight.zero_()
                part.bias.zero_()
    levels[0].to_flow.bias[2] = _LOWER_MASK
    top = levels[-1]
    top.to_flow.bias[2] += _TOP_MASK - (_LOWER_MASK if len(levels) > 1 else 0.0)
    # Two activations of gain sqrt(2) lie between the colours and the image.
    share = 0.5 / (1 / (1 + math.exp(-_TOP_MASK)))
    top.to_rgb.conv.weight[:, :3] = torch.eye(3)[:, :, None, None] * share / top.to_rgb.conv.scale
    top.to_rgb.bias.fill_(-1.0)


def _start_as_guide(decoder: GuidedDecoder) -> None:
    heads: list[Any] = [level.to_flow for level in decoder.levels]
    for head in heads:
        head.conv.weight.zero_()
        head.bias.zero_()
    finish: Any = decoder.finish
    finish.conv.weight.zero_()
    finish.bias.zero_()
