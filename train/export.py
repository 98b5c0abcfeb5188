"""From a run's checkpoint to the weights folder that the engine opens."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from engine.checkpoint import save_tensors, write_checksums
from engine.config import FORMAT_VERSION, MixerConfig, StreamConfig
from engine.errors import OutputUnwritable, WeightsCorrupt, WeightsNotFound
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork
from train.datasets.scales import fold_eye, fold_lip


def averaged_tensors(checkpoint: Path, name: str) -> dict[str, Tensor]:
    """Averaged weights of module ``name`` in a training checkpoint.

    Raises:
        WeightsNotFound: there is no such checkpoint, or no such module in it.
        WeightsCorrupt: the file is damaged.
    """
    if not checkpoint.is_file():
        raise WeightsNotFound(f"no checkpoint at {checkpoint}: train that stage first")
    prefix = f"average.{name}."
    try:
        tensors = load_file(checkpoint)
    except (OSError, SafetensorError) as error:
        raise WeightsCorrupt(f"{checkpoint} is not a readable checkpoint ({error})") from error
    found = {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}
    if not found:
        raise WeightsNotFound(f"{checkpoint} holds no averaged module called '{name}'")
    return found


def load_averaged(module: nn.Module, checkpoint: Path, name: str) -> None:
    """Load the averaged weights of ``name`` into ``module``, in the units of training.

    Raises:
        WeightsNotFound, WeightsCorrupt: as `averaged_tensors`, or the networks differ.
    """
    try:
        module.load_state_dict(averaged_tensors(checkpoint, name))
    except RuntimeError as error:
        raise WeightsCorrupt(f"{checkpoint} holds another '{name}' than these settings describe ({error})") from error
    module.eval()


def export_network(
    folder: Path,
    name: str,
    network: nn.Module,
    *,
    sections: Mapping[str, Any],
    training: Mapping[str, Any],
    half: bool = True,
) -> None:
    """Write ``name.safetensors`` and its part of ``config.json``, then the checksums.

    Args:
        folder: weights folder; made if missing, other networks in it are kept.
        network: as trained; units of training are folded into its layers here.
        sections: config entries to set: config dataclasses, mappings or plain values, by key.
        training: what is written under ``training`` / ``name``: data, seconds, held-out figures.
        half: store matrices and kernels in half precision; vectors (biases, norms, the motion prior's
            autocovariance) stay in full precision.

    Raises:
        OutputUnwritable: the folder is forbidden or the disk full.
    """
    if isinstance(network, LipNetwork):
        network = fold_lip(network)
    elif isinstance(network, EyeMotionNetwork):
        network = fold_eye(network)
    tensors = dict(network.state_dict())
    if half:
        tensors = {k: v.half() if v.ndim > 1 and v.dtype == torch.float32 else v for k, v in tensors.items()}
    try:
        _write(folder, name, tensors, sections, training)
    except (OSError, SafetensorError) as error:
        raise OutputUnwritable(
            f"the weights folder {folder} cannot be written: {error}. The run's checkpoint is complete: "
            "make room and give the same command again, which only evaluates and exports"
        ) from error


def _write(
    folder: Path,
    name: str,
    tensors: Mapping[str, Tensor],
    sections: Mapping[str, Any],
    training: Mapping[str, Any],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / f"{name}.safetensors", tensors)
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text(encoding="utf-8")) if config_path.is_file() else _new_config(folder.name)
    for key, value in sections.items():
        config[key] = dataclasses.asdict(value) if dataclasses.is_dataclass(value) else value  # type: ignore[arg-type]
    config.setdefault("training", {})[name] = dict(training)
    config_path.write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
    write_checksums(folder)


def _new_config(name: str) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "name": name,
        "stream": dataclasses.asdict(StreamConfig()),
        "mixer": dataclasses.asdict(MixerConfig()),
        "animator": "geometric",
    }
