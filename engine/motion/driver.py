"""From what a session hears to the motion descriptor of each frame: lips, eyes, pose, mixer (Eq. 4-8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.audio.listener import Listener
from engine.checkpoint import WeightsFolder, load_into
from engine.config import MixerConfig, StreamConfig, from_mapping
from engine.motion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.expression import LipConfig, LipNetwork
from engine.motion.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.landmark_model import LandmarkModel
from engine.motion.mixer import MixerState, mix
from engine.motion.pose_window import PoseWindow, PoseWindowConfig
from engine.motion.prosody import lip_window, prosody_columns

if TYPE_CHECKING:
    from engine.avatar import Avatar
    from engine.drive import Drive

__all__ = ["MotionDriver", "MotionNetworks"]

_F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MotionNetworks:
    """The trained networks between sound and motion; shared by all sessions and never changed."""

    lip: LipNetwork
    eye: EyeMotionNetwork
    pose: PoseWindow
    model: LandmarkModel
    stream: StreamConfig
    mixer: MixerConfig
    device: torch.device

    @classmethod
    def load(cls, folder: WeightsFolder, model: LandmarkModel, device: torch.device) -> MotionNetworks:
        """Read and check the three networks of a weights folder.

        Raises:
            WeightsCorrupt: a section, name or shape is wrong.
        """
        lip = LipNetwork(from_mapping(LipConfig, folder.section("lip"), "lip"))
        eye = EyeMotionNetwork(from_mapping(EyeConfig, folder.section("eye"), "eye"))
        denoiser = PoseDenoiser(from_mapping(DenoiserConfig, folder.section("pose"), "pose"))
        for module, name in (
            (lip, "lip.safetensors"),
            (eye, "eye.safetensors"),
            (denoiser, "pose.safetensors"),
        ):
            load_into(module, folder.tensors(name), name)
            module.to(device)
        lip.fold_norms()
        window = from_mapping(PoseWindowConfig, folder.section("pose_window"), "pose_window")
        return cls(
            lip=lip,
            eye=eye,
            pose=PoseWindow(denoiser, window),
            model=model,
            stream=from_mapping(StreamConfig, folder.section("stream"), "stream"),
            mixer=from_mapping(MixerConfig, folder.section("mixer"), "mixer"),
            device=device,
        )


class MotionDriver:
    """The motion state of one session. Random numbers come from its own generators, drawn frame by frame."""

    def __init__(
        self,
        networks: MotionNetworks,
        avatar: Avatar,
        *,
        seed: int,
        drive: Drive | None,
        probe: Callable[[str], None],
    ) -> None:
        self.gaze_command: _F32 | None = None
        self._networks = networks
        self._rest = avatar.rest
        self._own = avatar.coefficients
        self._drive = drive
        self._probe = probe
        self._eye_noise = torch.Generator().manual_seed(seed)
        self._eye_state = networks.eye.init_state(1, networks.device)
        self._pose_state = networks.pose.init_state(torch.from_numpy(avatar.coefficients.pose)[None], [seed])
        self._expression0 = torch.from_numpy(avatar.coefficients.expression)[None].to(networks.device)
        with torch.inference_mode():
            self._feature0 = networks.model.eye_feature(self._expression0.cpu()).to(networks.device)
        self._hop: _F32 = np.zeros((0, 6), dtype=np.float32)
        self._mixer = MixerState.start(avatar.coefficients.gaze, networks.mixer)

    @torch.inference_mode()
    def step(self, index: int, heard_index: int, listener: Listener, speaking: bool) -> _F32:
        """Descriptor (72,) float32 of the next frame.

        Args:
            index: number of the frame in the session.
            heard_index: its number since ``listener`` began.
            speaking: whether the voice gate is open.
        """
        expression = self._expression(heard_index, listener)
        residual = self._pose_residual(index, heard_index, listener)
        gaze = self.gaze_command
        if self._drive is not None:
            driven = self._drive.expression_at(index)
            if driven is not None:
                expression, speaking = driven, True
            driven_residual = self._drive.pose_residual_at(index)
            residual = residual if driven_residual is None else driven_residual
            gaze = gaze if gaze is not None else self._drive.gaze_at(index)
        descriptor = mix(
            self._mixer,
            self._networks.mixer,
            self._rest,
            expression=expression,
            pose_0=self._own.pose,
            pose_residual=residual,
            gaze=self._own.gaze if gaze is None else gaze,
            speaking=speaking,
        )
        self._probe("mixer")
        return descriptor

    def _expression(self, heard_index: int, listener: Listener) -> _F32:
        networks = self._networks
        window = lip_window(heard_index, networks.stream.lip_lookahead_ms, networks.stream.lip_window_columns)
        mel = torch.from_numpy(listener.columns(*window).T[None].copy()).to(networks.device)
        audio = networks.lip.encode_audio(mel)
        self._probe("lip")
        noise = torch.randn(1, networks.eye.config.noise_size, generator=self._eye_noise).to(networks.device)
        feature = networks.eye.step(audio, self._expression0, self._feature0, noise, self._eye_state)
        self._probe("eye")
        expression: Tensor = networks.lip(audio, self._expression0, feature)
        self._probe("lip")
        return expression[0].cpu().numpy()

    def _pose_residual(self, index: int, heard_index: int, listener: Listener) -> _F32:
        place = index % self._networks.pose.config.hop
        if place == 0:
            delay = self._networks.stream.prosody_delay_frames
            rows = [
                listener.columns(*prosody_columns(heard_index + ahead, delay)).reshape(-1)
                for ahead in range(self._networks.pose.config.hop)
            ]
            prosody = torch.from_numpy(np.stack(rows)[None]).to(self._networks.device)
            self._hop = self._networks.pose.step(prosody, self._pose_state)[0].cpu().numpy()
        self._probe("pose")
        residual: _F32 = self._hop[place]
        return residual
