"""What the networks cost: parameters, and floating point operations (two for a multiply-add).

Counted by running each network on tensors without data, so that the largest takes no memory and no time. Elementwise
work and sampling are not counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from engine.animator.network.face_animator import PRESETS, FaceAnimatorNetwork
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.networks.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.networks.lip import LipConfig, LipNetwork
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.timebase import MEL_BANDS

_POSE_WINDOW = 50


@dataclass(frozen=True, slots=True)
class NetworkCost:
    """Cost of one network, or of a part that runs by itself.

    Attributes:
        name: of the network.
        parameters: numbers that are trained.
        flop: operations of one run.
        run: how often that is.
    """

    name: str
    parameters: int
    flop: int
    run: str


def network_costs(preset: str) -> tuple[NetworkCost, ...]:
    """Costs of every network of a preset, for one session; motion networks are the paper's or the bundled ones.

    Raises:
        ValueError: there is no such preset.
    """
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, not {preset!r}")
    with torch.device("meta"), torch.no_grad():
        paper = preset == "paper"
        animator = FaceAnimatorNetwork(PRESETS[preset])
        lip = LipNetwork(LipConfig.paper(eye_feature=True) if paper else LipConfig.lite())
        eye = EyeMotionNetwork(EyeConfig.paper() if paper else EyeConfig.lite())
        pose = PoseDenoiser(DenoiserConfig.paper() if paper else DenoiserConfig.lite())
        gaze = (PoseDenoiser(DenoiserConfig.paper(channels=2)),) if paper else ()
        return (
            *_animator_costs(animator),
            *_lip_costs(lip),
            _eye_cost(eye),
            *(
                _denoiser_cost(f"{name} denoiser", network)
                for name, network in zip(("pose", "gaze"), (pose, *gaze), strict=False)
            ),
        )


def _animator_costs(network: FaceAnimatorNetwork) -> tuple[NetworkCost, ...]:
    config = network.config
    network.eval()
    rgb = torch.zeros(1, 3, config.image_size, config.image_size)
    window = torch.zeros(1, config.window_frames, DESCRIPTOR_SIZE)
    code, features = network.encode(rgb)
    features = (*features, *network.blank_guide())
    motion = nn.ModuleList([network.mapping, network.head, network.basis])
    return (
        _cost("animator encoder", network.encoder, "portrait", lambda: network.encode(rgb)),
        _cost("animator motion", motion, "frame", lambda: network.navigate(code, window)),
        _cost("animator decoder", network.decoder, "frame", lambda: network.decoder(code, features)),
    )


def _lip_costs(network: LipNetwork) -> tuple[NetworkCost, ...]:
    config = network.eval().config
    mel = torch.zeros(1, MEL_BANDS, config.audio_columns)
    audio, expression = torch.zeros(1, config.audio_size), torch.zeros(1, config.expression_size)
    feature = torch.zeros(1, config.eye_feature_size)
    return (
        _cost("lip audio encoder", network.audio_encoder, "frame", lambda: network.encode_audio(mel)),
        _cost("lip map", network.map, "frame", lambda: network(audio, expression, feature)),
    )


def _eye_cost(network: EyeMotionNetwork) -> NetworkCost:
    config = network.eval().config
    sizes = (config.audio_size, config.expression_size, config.eye_feature_size, config.noise_size)
    audio, expression, feature, noise = (torch.zeros(1, size) for size in sizes)
    state = network.init_state(1, "meta")
    return _cost("eye LSTM", network, "frame", lambda: network.step(audio, expression, feature, noise, state))


def _denoiser_cost(name: str, network: PoseDenoiser) -> NetworkCost:
    config = network.eval().config
    prosody = torch.zeros(1, _POSE_WINDOW, config.prosody_size)
    condition = network.condition(prosody, torch.zeros(1, config.channels))
    x, step = torch.zeros(1, _POSE_WINDOW, config.channels), torch.zeros(1)
    run = f"step of {_POSE_WINDOW} frames"
    return _cost(name, network, run, lambda: network.learned_noise(x, step, condition))


def _cost(name: str, network: nn.Module, run: str, call: Callable[[], Tensor | tuple[object, ...]]) -> NetworkCost:
    network.requires_grad_(False)  # the counter hooks into what learns, and there is nothing to hook
    counter = FlopCounterMode(display=False)
    with counter:
        call()
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return NetworkCost(name=name, parameters=parameters, flop=counter.get_total_flops(), run=run)
