"""The released layout against the reference outputs of the authors' networks, weights drawn by name."""

import importlib.util
import json
import wave
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.audio import mel_spectrogram
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.sampler import ancestral
from engine.motion.diffusion.schedule import DiffusionSchedule
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipConfig, LipNetwork
from engine.release.names import denoiser_layout, eye_layout, lip_layout

BAR = 1e-5
SAMPLER_BAR = 1e-3


def _released_state(reference: Path, name: str) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("reference_fill", reference / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    manifest = json.loads((reference / "release" / f"{name}.manifest.json").read_text())
    kept: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros((), np.int64))
    return {key: torch.from_numpy(value) for key, value in fill.fill_state(manifest, kept, 1).items()}


def _outputs(reference: Path, name: str) -> dict[str, Tensor]:
    with np.load(reference / "release" / f"{name}.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


def _error(actual: Tensor, expected: Tensor) -> float:
    assert actual.shape == expected.shape
    return float((actual - expected).abs().max() / expected.abs().max())


def _denoiser(reference: Path, name: str, channels: int) -> PoseDenoiser:
    network = PoseDenoiser(DenoiserConfig.paper(channels=channels)).eval()
    network.load_state_dict(denoiser_layout(network).state(_released_state(reference, name)))
    return network


@pytest.fixture(scope="module")
def pose_denoiser(reference_dir: Path) -> PoseDenoiser:
    return _denoiser(reference_dir, "pose", 6)


@pytest.mark.parametrize("folded", [False, True])
@torch.no_grad()
def test_expression_network_matches_the_release(reference_dir: Path, folded: bool) -> None:
    network = LipNetwork(LipConfig.paper()).eval()
    network.load_state_dict(lip_layout(network).state(_released_state(reference_dir, "expression")))
    if folded:
        network.fold_norms()
    expected = _outputs(reference_dir, "expression")
    audio = network.encode_audio(expected["audio"][0])
    assert _error(audio, expected["audio_embedding"][0]) <= BAR
    assert _error(network(audio, expected["exp0"].expand(len(audio), -1)), expected["exp"][0]) <= BAR


@torch.no_grad()
def test_two_stage_network_matches_the_release_whole_and_stepped(reference_dir: Path) -> None:
    released = _released_state(reference_dir, "two_stage")
    lip, eye = LipNetwork(LipConfig.paper(eye_feature=True)).eval(), EyeMotionNetwork().eval()
    lip.load_state_dict(
        lip_layout(lip).state({name.removeprefix("simplewarpper."): value for name, value in released.items()})
    )
    eye.load_state_dict(eye_layout(eye).state(released))
    expected = _outputs(reference_dir, "two_stage")
    expression0, feature0 = expected["exp0"], torch.cat([expected["blink0"], expected["brow0"]], dim=1)
    audio = lip.encode_audio(expected["audio"][0])
    noise = torch.cat([torch.full_like(expected["z"][:1], 9.0), expected["z"]])

    whole = eye(audio[None], expression0, feature0, noise[None])
    assert _error(whole, expected["eye_features"]) <= BAR
    state = eye.init_state(1)
    stepped = [
        eye.step(audio[frame, None], expression0, feature0, noise[frame, None], state) for frame in range(len(audio))
    ]
    assert _error(torch.stack(stepped, dim=1), expected["eye_features"]) <= BAR
    expression = lip(audio, expression0.expand(len(audio), -1), whole[0])
    assert _error(expression, expected["exp"][0]) <= BAR


@torch.no_grad()
def test_pose_denoiser_matches_the_release(reference_dir: Path, pose_denoiser: PoseDenoiser) -> None:
    _assert_denoises(pose_denoiser, _outputs(reference_dir, "pose"))


@torch.no_grad()
def test_gaze_denoiser_matches_the_release(reference_dir: Path) -> None:
    _assert_denoises(_denoiser(reference_dir, "gaze", 2), _outputs(reference_dir, "gaze"))


def _assert_denoises(network: PoseDenoiser, expected: dict[str, Tensor]) -> None:
    condition = network.condition(expected["mel"], expected["global_cond"])
    for step, eps in zip(expected["steps"], expected["eps"], strict=True):
        assert _error(network.denoise(expected["x"], step[None], condition), eps) <= BAR


@pytest.mark.slow
@torch.no_grad()
def test_ancestral_sampling_matches_the_release(reference_dir: Path, pose_denoiser: PoseDenoiser) -> None:
    expected = _outputs(reference_dir, "sampler")
    condition = pose_denoiser.condition(expected["mel"][None], expected["pose0"][None])

    def denoise(x_BTC: Tensor, step: float) -> Tensor:
        return pose_denoiser.denoise(x_BTC, torch.tensor([step]), condition)

    residual = ancestral(denoise, expected["x_start"], DiffusionSchedule.linear(), expected["noise"])
    assert _error(residual[0], expected["residual_unclamped"]) <= SAMPLER_BAR


def test_mel_matches_the_release(reference_dir: Path) -> None:
    with wave.open(str(reference_dir / "release" / "speech.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16)
    mel = mel_spectrogram(samples.astype(np.float32) / 32768)
    assert _error(torch.from_numpy(mel), _outputs(reference_dir, "mel")["mel"]) <= BAR
