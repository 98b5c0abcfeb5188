"""The animator that a weights folder names, run by a backend."""

import logging

import torch

from engine.animator.interface import Animator
from engine.animator.mesh.geometric import GeometricAnimator
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder, list_weights
from engine.errors import BackendUnavailable, WeightsCorrupt, WeightsIncomplete
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import CROP_SIZE
from engine.postprocess import WatermarkConfig
from engine.runtime.backends import neural_animator
from engine.runtime.compilation import bundled_name

LIVE_CORES = 4
"""Cores of a CPU from which on a live session takes a guided animator's network by itself. Two carry three sessions of
the mesh at 512 px, and one with the network (35 frames a second, with the encoder).
"""

_log = logging.getLogger(__name__)


def load_animator(
    folder: WeightsFolder,
    model: LandmarkModel,
    device: torch.device,
    backend: str = "auto",
    watermark: WatermarkConfig | None = None,
    live_cores: int | None = None,
) -> Animator:
    """The animator that ``config.json`` names, run by ``backend`` if it is a network ("geometric": without it).

    Args:
        watermark: for an animator that finishes its own images.
        live_cores: as `engine.load_engine` takes it.

    Raises:
        BackendUnavailable: the backend is not on this machine, or nothing that these weights have.
        WeightsIncomplete: it names none. WeightsCorrupt: it is unknown here or does not fit the motion space.
    """
    name = folder.config.get("animator")
    if name is None:
        raise WeightsIncomplete(
            f"{folder.path} has no animator; import one with: gohd weights import --animator FaceAnimator_GoHD.pt ..."
        )
    landmark_space = folder.config.get("motion_space", "landmark") == "landmark"
    if backend == "geometric" and not landmark_space:
        raise BackendUnavailable(
            f"backend 'geometric' draws in the landmark motion space, not in that of {folder.path}"
        )
    if landmark_space and "geometric" in (name, backend):
        if backend not in ("auto", "eager", "geometric"):
            raise BackendUnavailable(
                f"backend '{backend}' runs a neural animator, and that of {folder.path} is geometric; "
                "choose auto or geometric"
            )
        return GeometricAnimator(model)
    if name != "neural":
        raise WeightsCorrupt(
            f"{folder.path} asks for animator '{name}'; this program has: neural, and geometric in the landmark space"
        )
    network, checksum = load_network(folder)
    size = network.config.image_size
    if size != CROP_SIZE:
        raise WeightsCorrupt(f"{folder.path} makes images of {size} pixels; sessions need {CROP_SIZE}")
    if network.config.guided and not landmark_space:
        raise WeightsCorrupt(f"{folder.path} has a guided animator, which needs the landmark motion space")
    few = live_cores is not None and live_cores < LIVE_CORES
    if network.config.guided and few and backend == "auto" and device.type == "cpu":
        _log.info("%d cores: the mesh is shown without its network (--backend onnx: with it)", live_cores)
        return GeometricAnimator(model)
    bundled = folder.path / bundled_name(checksum)
    return neural_animator(
        network,
        checksum,
        backend=backend,
        device=device,
        watermark=watermark,
        build=folder.path in list_weights(),  # what is bundled is known to be small
        mesh=GeometricAnimator(model) if network.config.guided else None,
        exported=bundled.read_bytes() if bundled.is_file() else None,
    )
