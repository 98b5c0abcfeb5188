"""`check_weights`: an imported folder against reference outputs of the authors' networks, figure by figure."""

import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from engine.animator.network.decoder import Decoder
from engine.animator.network.neural import load_network
from engine.audio import mel_spectrogram
from engine.checkpoint import WeightsFolder, load_into
from engine.config import from_mapping
from engine.errors import WeightsCorrupt, WeightsIncomplete, WeightsNotFound
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.sampler import ancestral
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.motion.networks.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.networks.lip import LipConfig, LipNetwork

_BAR = 1e-5
_BARS = {"animator.image_64": 1e-4, "animator.image": 1e-3, "sampler.residual_unclamped": 1e-3}
_LEVEL_OF_64, _LAST_LEVEL = 3, -1

Arrays = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class OutputError:
    """How far one output is from its reference.

    Attributes:
        reference: name of the reference file without its ending; output: name of the array in it.
        error: greatest absolute difference over the greatest absolute value of the reference; bar: the most allowed.
    """

    reference: str
    output: str
    error: float
    bar: float

    @property
    def met(self) -> bool:
        """Whether the error is within the bar (NaN never is)."""
        return self.error <= self.bar


@torch.inference_mode()
def check_weights(weights: str | Path, against: Path) -> tuple[list[OutputError], dict[str, str]]:
    """Run a weights folder on every reference file of ``against`` that it has networks for.

    Args:
        weights: name or path of the folder.
        against: folder with any of animator, pose, gaze, expression, two_stage, sampler, mel (.npz), the last with
            speech.wav beside it.

    Returns:
        One figure for each output, and for each file that was left out the reason.

    Raises:
        WeightsNotFound: ``against`` holds no reference file. WeightsIncomplete: the weights fit none of them.
        WeightsCorrupt: the folder does not verify, or a reference file lacks an array.
    """
    folder = WeightsFolder.open(weights)
    there = [name for name in _CHECKS if (against / f"{name}.npz").is_file()]
    if not there:
        raise WeightsNotFound(f"{against} holds no reference file; they are called {', '.join(_CHECKS)} (.npz)")
    figures: list[OutputError] = []
    left_out: dict[str, str] = {}
    for name in there:
        if not _has_networks(name, folder):
            left_out[name] = "the folder has no such network"
            continue
        try:
            arrays = _arrays(against / f"{name}.npz")
            figures += _compared(name, run_reference(name, folder, arrays, against), arrays)
        except (KeyError, ValueError, RuntimeError, OSError, EOFError, BadZipFile) as error:
            raise WeightsCorrupt(f"{against / name}.npz is no reference for these weights: {error}") from error
    if there != ["mel"] and not any(figure.reference != "mel" for figure in figures):
        raise WeightsIncomplete(f"{folder.path} has none of the networks that {against} has references for")
    return figures, left_out


def run_reference(name: str, folder: WeightsFolder, inputs: Arrays, against: Path) -> Arrays:
    """Outputs of the networks that reference file ``name`` is about, by their names in it."""
    return _CHECKS[name][1](folder, inputs, against)


def _has_networks(name: str, folder: WeightsFolder) -> bool:
    section = _CHECKS[name][0]
    if name == "expression":
        return bool(folder.section("lip")) and not folder.section("eye")
    return not section or bool(folder.section(section))


def _compared(name: str, outputs: Arrays, expected: Arrays) -> Iterator[OutputError]:
    for output, actual in outputs.items():
        bar = _BARS.get(f"{name}.{output}", _BAR)
        reference = expected[output]
        if actual.shape != reference.shape:
            yield OutputError(name, output, float("inf"), bar)
            continue
        largest = reference.abs().max().clamp_min(1e-30)
        yield OutputError(name, output, float((actual - reference).abs().max() / largest), bar)


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def _animator(folder: WeightsFolder, inputs: Arrays, _: Path) -> Arrays:
    network = load_network(folder)[0].freeze()
    assert isinstance(network.decoder, Decoder), "the release has no guide"
    window_BTD = inputs["semantics"].transpose(1, 2)
    identity_code, features = network.encode(inputs["source"])
    motion_feature = network.mapping(window_BTD)
    images = network.decoder.pyramid(network.navigate(identity_code, window_BTD), features)
    outputs = {
        "identity_code": identity_code,
        "motion_feature": motion_feature,
        "magnitudes": network.head(identity_code, motion_feature),
        "image": images[_LAST_LEVEL],
    }
    if "image_64" in inputs:
        outputs["image_64"] = images[_LEVEL_OF_64]
    return outputs


def _load_denoiser(part: str, folder: WeightsFolder) -> PoseDenoiser:
    network = PoseDenoiser(from_mapping(DenoiserConfig, folder.section(part), part))
    load_into(network, folder.tensors(f"{part}.safetensors"), f"{part}.safetensors")
    return network


def _denoiser(part: str, folder: WeightsFolder, inputs: Arrays, _: Path) -> Arrays:
    network = _load_denoiser(part, folder)
    condition = network.condition(inputs["mel"], inputs["global_cond"])
    rows = len(inputs["x"])
    eps = [network.denoise(inputs["x"], step.expand(rows), condition) for step in inputs["steps"]]
    return {"eps": torch.stack(eps)}


def _sampler(folder: WeightsFolder, inputs: Arrays, _: Path) -> Arrays:
    network = _load_denoiser("pose", folder)
    condition = network.condition(inputs["mel"][None], inputs["pose0"][None])

    def denoise(x_BTC: Tensor, step: float) -> Tensor:
        return network.denoise(x_BTC, torch.tensor([step]), condition)

    schedule = DiffusionSchedule.linear(network.config.diffusion_steps)
    return {"residual_unclamped": ancestral(denoise, inputs["x_start"], schedule, inputs["noise"])[0]}


def _load_lip(folder: WeightsFolder) -> LipNetwork:
    network = LipNetwork(from_mapping(LipConfig, folder.section("lip"), "lip"))
    load_into(network, folder.tensors("lip.safetensors"), "lip.safetensors")
    return network


def _expression(folder: WeightsFolder, inputs: Arrays, _: Path) -> Arrays:
    network = _load_lip(folder)
    rows, frames = inputs["audio"].shape[:2]
    embedding = network.encode_audio(inputs["audio"].flatten(0, 1)).view(rows, frames, -1)
    expression_0 = inputs["exp0"][:, None].expand(rows, frames, -1)
    return {"audio_embedding": embedding, "exp": network(embedding, expression_0)}


def _two_stage(folder: WeightsFolder, inputs: Arrays, _: Path) -> Arrays:
    lip = _load_lip(folder)
    eye = EyeMotionNetwork(from_mapping(EyeConfig, folder.section("eye"), "eye"))
    load_into(eye, folder.tensors("eye.safetensors"), "eye.safetensors")
    rows, frames = inputs["audio"].shape[:2]
    embedding = lip.encode_audio(inputs["audio"].flatten(0, 1)).view(rows, frames, -1)
    feature_0 = torch.cat([inputs["blink0"], inputs["brow0"]], dim=1)
    # Frame 0 repeats the portrait's features and draws nothing.
    noise = torch.nn.functional.pad(inputs["z"], (0, 0, 1, 0)).expand(rows, -1, -1)
    features = eye(embedding, inputs["exp0"], feature_0, noise)
    expression_0 = inputs["exp0"][:, None].expand(rows, frames, -1)
    return {"eye_features": features, "exp": lip(embedding, expression_0, features)}


def _mel(_: WeightsFolder, __: Arrays, against: Path) -> Arrays:
    with wave.open(str(against / "speech.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    audio = samples.astype(np.float32) / np.float32(32768)
    return {"mel": torch.from_numpy(mel_spectrogram(audio))}


_CHECKS: dict[str, tuple[str, Callable[[WeightsFolder, Arrays, Path], Arrays]]] = {
    "animator": ("neural_animator", _animator),
    "pose": ("pose", partial(_denoiser, "pose")),
    "gaze": ("gaze", partial(_denoiser, "gaze")),
    "expression": ("lip", _expression),
    "two_stage": ("eye", _two_stage),
    "sampler": ("pose", _sampler),
    "mel": ("", _mel),
}
"""For each reference file the config section that its networks need, and how to run them."""
