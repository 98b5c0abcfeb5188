"""Flow before images: the path from measures and motion to the decoder's flow, learnt from
`train.data.faces.mesh_flows`.

    measures --whitened, linear--> z_R --+
    window --> magnitudes --> Q xi ------+--> decoder up to 64 px, nothing warped --> flow <--> flow of the mesh

No image is read and none is made, so a row costs a small part of what it costs in `train.tasks.animator`, and there
are as many rows as one likes. Shape suffixes as in `engine.animator`; K principal components.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.errors import InputError
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import LANDMARK_COUNT
from train.datasets.descriptor_scale import descriptor_scale, fold_descriptor_scale, unfold_descriptor_scale
from train.pretrained import lip_eye_mask
from train.tasks.animator_start import start_as_warp
from train.tasks.flow_start import start_linear
from train.tasks.protocol import BatchRng, Update

_log = logging.getLogger(__name__)

_REGRESSION_ROWS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTaskConfig:
    """Training of the flow.

    Attributes:
        rows: batch size. components: of the neutral shapes that the identity code takes.
        linear_size, linear_steps: level at which `start_linear` writes a linear flow, and how long its maps are
            fitted; 0 steps begin with no flow.
        linear_rate: learning rate of the layers that hold the regression, relative: Adam's first steps are as long
            as its rate, and there a step of all weights moves the whole face.
        face, detail: how much more a place counts near a landmark, and within the boxes of mouth and eyes.
    """

    network: FaceAnimatorConfig
    rows: int = 32
    learning_rate: float = 2e-3
    components: int = 128
    linear_size: int = 32
    linear_steps: int = 0
    linear_rate: float = 0.05
    face: float = 3.0
    detail: float = 4.0


@dataclass(frozen=True, slots=True)
class FlowData:
    """What `train.data.faces.mesh_flows` wrote: see there."""

    measures_PG: Tensor
    portrait_N: Tensor
    window_NTD: Tensor
    flow_N2HW: Tensor
    landmarks_NL2: Tensor


def load_flows(*paths: Path) -> FlowData:
    """Samples of several files as one set.

    Raises:
        InputError: a file is missing or damaged.
    """
    parts: list[dict[str, Tensor]] = []
    portraits = 0
    for path in paths:
        try:
            part = load_file(path)
            part["portrait"] = part["portrait"] + portraits
            portraits += len(part["measures"])
        except (OSError, SafetensorError, KeyError) as error:
            raise InputError(f"{path} holds no flows ({error}): run `python -m train prepare_flows`") from error
        parts.append(part)
    names = ("measures", "portrait", "window", "flow", "landmarks")
    return FlowData(*(torch.cat([part[name] for part in parts]) for name in names))


class FlowNetwork(nn.Module):
    """The animator without its encoder, as it is trained here.

    Attributes:
        network: everything else; its ``measures`` are made from ``code`` at export.
        code: whitened measures to the identity code.
    """

    mean_G: Tensor
    whitening_KG: Tensor
    scale_D: Tensor

    def __init__(self, config: FaceAnimatorConfig, measures_PG: Tensor, components: int) -> None:
        super().__init__()
        self.network = FaceAnimatorNetwork(config)
        start_as_warp(self.network)
        whitening_KG = _whitening(measures_PG, components)
        self.register_buffer("mean_G", measures_PG.mean(0))
        self.register_buffer("whitening_KG", whitening_KG)
        self.register_buffer("scale_D", descriptor_scale(), persistent=False)
        self.code = nn.Linear(len(whitening_KG), config.style_size)
        nn.init.normal_(self.code.weight, std=len(whitening_KG) ** -0.5)

    def whitened(self, measures_BG: Tensor) -> Tensor:
        """Measures with unit variance, (B, 72 + K)."""
        return (measures_BG - self.mean_G) @ self.whitening_KG.T

    def forward(self, measures_BG: Tensor, window_BTD: Tensor, levels: int) -> list[Tensor]:
        """Flows (B, 2, 8, 8), (B, 2, 16, 16), ... of ``levels`` levels."""
        code_BS = self.code(self.whitened(measures_BG))
        latent_BS = self.network.navigate(code_BS, window_BTD / self.scale_D)
        decoder: Any = self.network.decoder
        x_BCHW = decoder.first(decoder.constant_CHW.expand(len(latent_BS), -1, -1, -1), latent_BS)
        raw: Tensor | None = None
        flows = []
        for level in decoder.levels[:levels]:
            x_BCHW, raw = level.unwarped(x_BCHW, latent_BS, raw)
            flows.append(torch.tanh(raw[:, :2]))
        return flows

    @torch.no_grad()
    def start_from(self, network: FaceAnimatorNetwork) -> None:
        """Go on from an exported network. Of what its code takes of shapes, the part in the components is kept."""
        assert network.measures is not None
        self.network.load_state_dict(unfold_descriptor_scale(network, self.scale_D.cpu()).state_dict())
        weight_SG = network.measures.weight
        plain_SG = torch.cat([weight_SG[:, :DESCRIPTOR_SIZE], weight_SG[:, -3 * LANDMARK_COUNT :]], 1)
        self.code.weight.copy_(plain_SG @ torch.linalg.pinv(self.whitening_KG.cpu()))
        self.code.bias.copy_(network.measures.bias + plain_SG @ self.mean_G.cpu())

    def exported(self, model: LandmarkModel) -> FaceAnimatorNetwork:
        """The network as the engine loads it, on the CPU, its encoder untrained but for what `start_as_warp` set."""
        network = fold_descriptor_scale(self.network, self.scale_D).cpu()
        assert network.measures is not None
        with torch.no_grad():
            weight_SG = (self.code.weight @ self.whitening_KG).cpu()
            shape_SN = weight_SG[:, DESCRIPTOR_SIZE:]
            identity_SI = shape_SN @ model.identity_basis.flatten(1).T
            network.measures.weight.copy_(torch.cat([weight_SG[:, :DESCRIPTOR_SIZE], identity_SI, shape_SN], 1))
            network.measures.bias.copy_(self.code.bias.cpu() - weight_SG @ self.mean_G.cpu())
        return network


class FlowTask:
    """Flow of videos and stills that move, at 8 to 64 px."""

    averaged = ("flow",)

    def __init__(
        self,
        config: FlowTaskConfig,
        train: FlowData,
        held_out: FlowData,
        *,
        start: FaceAnimatorNetwork | None = None,
        seed: int = 0,
    ) -> None:
        """``start``: an exported network to go on from, in place of the linear start."""
        torch.manual_seed(seed)
        self.config, self._train, self._held_out = config, train, held_out
        self._levels = int(train.flow_N2HW.shape[-1]).bit_length() - 3
        network = FlowNetwork(config.network, train.measures_PG, config.components)
        idle = [network.network.encoder, *network.network.decoder.levels[self._levels :]]
        for part in idle:
            part.requires_grad_(False)
        self.modules = nn.ModuleDict({"flow": network})
        if start is not None:
            network.start_from(start)
        elif config.linear_steps:
            self._start_linear(network)
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "flow": torch.optim.Adam(self._groups(network), betas=(0.9, 0.99))
        }
        self._device = torch.device("cpu")
        self.modules.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _groups(self, network: FlowNetwork) -> list[dict[str, Any]]:
        """Parameters that learn, with their rates."""
        config, inner = self.config, network.network
        levels: list[Any] = list(inner.decoder.levels)
        regression: list[nn.Parameter] = []
        if config.linear_steps:
            below = levels[: config.linear_size.bit_length() - 3]
            for part in (
                network.code,
                inner.mapping,
                inner.head,
                inner.basis,
                *(level.to_flow for level in below),
            ):
                regression += part.parameters()
            maps = [inner.decoder.first, *(part for level in below for part in (level.up, level.conv))]
            regression += [inner.decoder.constant_CHW]
            regression += [parameter for part in maps for parameter in (part.conv.weight, part.bias)]
        slow = {id(parameter) for parameter in regression}
        fast = [p for p in network.parameters() if p.requires_grad and id(p) not in slow]
        groups: list[dict[str, Any]] = [{"params": fast, "lr": config.learning_rate}]
        if regression:
            groups.append({"params": regression, "lr": config.linear_rate * config.learning_rate})
        return groups

    def _start_linear(self, network: FlowNetwork) -> None:
        data = self._train
        some = slice(None, None, max(1, len(data.portrait_N) // _REGRESSION_ROWS))
        flow_N2HW = F.adaptive_avg_pool2d(data.flow_N2HW[some].float(), self.config.linear_size)
        missed = start_linear(
            network.network,
            network.code,
            network.whitened(data.measures_PG)[data.portrait_N[some]],
            data.window_NTD[some, -1] / network.scale_D,
            flow_N2HW,
            steps=self.config.linear_steps,
        )
        _log.info("the linear start's maps are drawn but for %.2g of their variance", missed)

    def to(self, device: torch.device) -> None:
        """Batches go there."""
        self._device = device

    def updates(self, draw: BatchRng, step: int) -> Iterator[Update]:
        """Weighted L1 of the flow at every level, the finest counting most."""
        rows_N = torch.randint(len(self._train.portrait_N), (self.config.rows,), generator=draw.generator)
        own = rows_N[draw.share(self.config.rows)]
        loss, finest = self._loss(self._flow(self.modules), self._train, own)
        yield Update("flow", loss, {"flow": loss.detach(), "error_px": finest.detach()})

    def _loss(self, network: FlowNetwork, data: FlowData, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The loss, and the mean error in px of the 256 crop near the face."""
        window_BTD = data.window_NTD[rows].to(self._device)
        measures_BG = data.measures_PG[data.portrait_N[rows]].to(self._device)
        truth_B2HW = data.flow_N2HW[rows].to(self._device).float()
        flows = network(measures_BG, window_BTD, self._levels)
        weight_B1HW = self._weight(data.landmarks_NL2[rows].to(self._device).float(), truth_B2HW.shape[-1])
        total = truth_B2HW.new_zeros(())
        for distance, flow_B2HW in enumerate(reversed(flows)):
            size = flow_B2HW.shape[-1]
            truth, weight = (F.adaptive_avg_pool2d(part, size) for part in (truth_B2HW, weight_B1HW))
            error_B1HW = (flow_B2HW.float() - truth).abs().sum(1, keepdim=True) * 128
            total = total + (error_B1HW * weight).mean() / weight.mean() * 0.3**distance
        finest = (flows[-1].float() - truth_B2HW).norm(dim=1, keepdim=True) * 128
        near_B1HW = (weight_B1HW > 1).float()
        return total, (finest * near_B1HW).sum() / near_B1HW.sum()

    def _weight(self, landmarks_BN2: Tensor, size: int) -> Tensor:
        """1, more near landmarks, most where mouth and eyes are, (B, 1, size, size)."""
        rows = len(landmarks_BN2)
        cell_BN2 = ((landmarks_BN2 + 1) * (size / 4)).long().clamp(0, size // 2 - 1)
        face = torch.zeros(rows, size // 2 * size // 2, device=landmarks_BN2.device)
        face.scatter_(1, cell_BN2[..., 1] * (size // 2) + cell_BN2[..., 0], 1.0)
        face_B1HW = F.max_pool2d(face.view(rows, 1, size // 2, size // 2), 3, stride=1, padding=1)
        face_B1HW = F.interpolate(face_B1HW, scale_factor=2.0)
        detail = lip_eye_mask((landmarks_BN2 + 1) * (size / 2), size).to(landmarks_BN2)
        return 1 + self.config.face * face_B1HW + self.config.detail * detail

    def describe_batch(self) -> str:
        """Rows are numbers only."""
        return "flows"

    @torch.no_grad()
    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """error_px near the face and still_px (that of no flow) on people in no training."""
        network = self._flow(modules)
        count, rows = len(self._held_out.portrait_N), self.config.rows
        parts = [torch.arange(start, min(start + rows, count)) for start in range(0, count, rows)]
        errors = [self._loss(network, self._held_out, part)[1] for part in parts]
        landmarks = self._held_out.landmarks_NL2.float()
        near = self._weight(landmarks, self._held_out.flow_N2HW.shape[-1]) > 1
        still = self._held_out.flow_N2HW.float().norm(dim=1, keepdim=True)[near].mean() * 128
        return {"error_px": float(torch.stack(errors).mean()), "still_px": float(still)}

    def exported(self, modules: Mapping[str, Any], model: LandmarkModel) -> FaceAnimatorNetwork:
        """The network to go on from."""
        return self._flow(modules).exported(model)

    def _flow(self, modules: Mapping[str, Any] | nn.ModuleDict) -> FlowNetwork:
        network = modules["flow"]
        assert isinstance(network, FlowNetwork)
        return network


def _whitening(measures_PG: Tensor, components: int) -> Tensor:
    """(72 + K, G): descriptors over their scale, and unit-variance principal components of the neutral shapes."""
    descriptor = torch.diag(1 / descriptor_scale())
    shapes = (measures_PG - measures_PG.mean(0))[:, DESCRIPTOR_SIZE:].double()
    rows: NDArray[np.float64] = shapes.numpy()
    count = min(components, len(rows))
    _, singular, directions = np.linalg.svd(rows[:: max(1, len(rows) // 4000)], full_matrices=False)
    used = len(rows[:: max(1, len(rows) // 4000)])
    floor = 0.02 * singular[0]
    scaled = directions[:count] / np.maximum(singular[:count], floor)[:, None] * used**0.5
    whitening = torch.zeros(DESCRIPTOR_SIZE + len(scaled), measures_PG.shape[1])
    whitening[:DESCRIPTOR_SIZE, :DESCRIPTOR_SIZE] = descriptor
    whitening[DESCRIPTOR_SIZE:, DESCRIPTOR_SIZE:] = torch.from_numpy(scaled).float()
    return whitening
