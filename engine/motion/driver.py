"""From what a session hears to the motion descriptor of each frame: lips, eyes, pose, gaze, mixer (Eq. 4-8)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch

from engine.audio.listener import Listener
from engine.checkpoint import WeightsFolder, load_into
from engine.config import MixerConfig, StreamConfig, from_mapping
from engine.errors import CommandInvalid, WeightsCorrupt, WeightsIncomplete
from engine.motion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.expression import LipConfig, LipNetwork
from engine.motion.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.mixer import MixerState, mix
from engine.motion.pose_window import PoseWindow, PoseWindowConfig
from engine.motion.prosody import lip_window, prosody_columns

if TYPE_CHECKING:
    from engine.avatar import Avatar
    from engine.drive import Drive

__all__ = ["MotionDriver", "MotionNetworks"]

_F32 = npt.NDArray[np.float32]
_GAZE_STREAM = 0x6A2E
"""Added to a session's seed, so that its gaze is not drawn from the numbers of its pose."""


@dataclass(frozen=True, slots=True)
class MotionNetworks:
    """The trained networks between sound and motion; shared by all sessions and never changed.

    Attributes:
        eye: None where the lip network takes no eye feature (the released one-stage form).
        gaze: None where no gaze was trained; sessions then look where they are told to.
    """

    lip: LipNetwork
    eye: EyeMotionNetwork | None
    pose: PoseWindow
    gaze: PoseWindow | None
    stream: StreamConfig
    mixer: MixerConfig
    device: torch.device

    @classmethod
    def load(cls, folder: WeightsFolder, device: torch.device) -> MotionNetworks:
        """Read and check the networks of a weights folder.

        Raises:
            WeightsIncomplete: no lip or no pose network. WeightsCorrupt: a section, name or shape is wrong.
        """
        for section, option in (("lip", "--expression audio2exp.pth"), ("pose", "--pose audio2pose.pt")):
            if not folder.section(section):
                raise WeightsIncomplete(
                    f"{folder.path} has no {section} network; import one with: gohd weights import {option} ..."
                )
        lip = LipNetwork(from_mapping(LipConfig, folder.section("lip"), "lip"))
        load_into(lip, folder.tensors("lip.safetensors"), "lip.safetensors")
        lip.to(device)
        lip.fold_norms()
        eye = None
        if folder.section("eye"):
            eye = EyeMotionNetwork(from_mapping(EyeConfig, folder.section("eye"), "eye"))
            load_into(eye, folder.tensors("eye.safetensors"), "eye.safetensors")
            eye.to(device)
        if (eye is None) != (lip.config.eye_feature_size == 0):
            raise WeightsCorrupt(f"{folder.path}: the lip network and the eye network do not belong together")
        return cls(
            lip=lip,
            eye=eye,
            pose=_window(folder, "pose", device),
            gaze=_window(folder, "gaze", device) if folder.section("gaze") else None,
            stream=from_mapping(StreamConfig, folder.section("stream"), "stream"),
            mixer=from_mapping(MixerConfig, folder.section("mixer"), "mixer"),
            device=device,
        )

    @property
    def hop_frames(self) -> int:
        """The most descriptors that are made at once."""
        return max(window.config.hop for window in (self.pose, self.gaze) if window is not None)


def _window(folder: WeightsFolder, part: str, device: torch.device) -> PoseWindow:
    denoiser = _denoiser(folder, part, device)
    plain = f"{part}_unconditional"
    unconditional = _denoiser(folder, plain, device) if folder.section(plain) else None
    config = from_mapping(PoseWindowConfig, folder.section(f"{part}_window"), f"{part}_window")
    try:
        return PoseWindow(denoiser, config, unconditional=unconditional)
    except ValueError as error:
        raise WeightsCorrupt(f"config.json section '{part}_window': {error}") from error


def _denoiser(folder: WeightsFolder, part: str, device: torch.device) -> PoseDenoiser:
    denoiser = PoseDenoiser(from_mapping(DenoiserConfig, folder.section(part), part))
    load_into(denoiser, folder.tensors(f"{part}.safetensors"), f"{part}.safetensors")
    return denoiser.to(device)


class _Hops:
    """Residuals of one session from a window sampler, made a hop at a time and given frame by frame."""

    def __init__(self, window: PoseWindow, initial: _F32, seed: int, networks: MotionNetworks) -> None:
        self._window = window
        self._networks = networks
        self._state = window.init_state(torch.from_numpy(initial)[None], [seed])
        self._hop: _F32 = np.zeros((0, len(initial)), dtype=np.float32)
        self._place = window.config.hop

    def next(self, heard_index: int, listener: Listener) -> _F32:
        """Residual (channels,) of the next frame, which is number ``heard_index`` of ``listener``."""
        hop = self._window.config.hop
        if self._place == hop:
            delay = self._networks.stream.prosody_delay_frames
            rows = [
                listener.columns(*prosody_columns(heard_index + ahead, delay)).reshape(-1)
                for ahead in range(hop)
            ]
            prosody = torch.from_numpy(np.stack(rows)[None]).to(self._networks.device)
            self._hop = self._window.step(prosody, self._state)[0].cpu().numpy()
            self._place = 0
        residual: _F32 = self._hop[self._place]
        self._place += 1
        return residual


class MotionDriver:
    """The motion state of one session. Random numbers come from its own generators, drawn frame by frame."""

    def __init__(
        self,
        networks: MotionNetworks,
        avatar: Avatar,
        *,
        seed: int,
        drive: Drive | None,
        generate_gaze: bool,
        probe: Callable[[str], None],
    ) -> None:
        self.gaze_command: _F32 | None = None
        self.pose_moves = True
        self._networks = networks
        self._rest = avatar.rest
        self._own = avatar.coefficients
        self._drive = drive
        self._probe = probe
        self._eye_noise = torch.Generator().manual_seed(seed)
        self._eye_state = None if networks.eye is None else networks.eye.init_state(1, networks.device)
        self._pose = _Hops(networks.pose, avatar.coefficients.pose, seed, networks)
        self._gaze: _Hops | None = None
        if generate_gaze:
            if networks.gaze is None:
                raise CommandInvalid(
                    "these weights generate no gaze; set one with set_gaze, or import --gaze"
                )
            self._gaze = _Hops(networks.gaze, avatar.coefficients.gaze, seed + _GAZE_STREAM, networks)
        self._expression0 = torch.from_numpy(avatar.coefficients.expression)[None].to(networks.device)
        self._feature0 = torch.from_numpy(avatar.eye_feature)[None].to(networks.device)
        self._lips = avatar.rest.expression
        self._mixer = MixerState.start(avatar.coefficients.gaze, networks.mixer)

    @torch.inference_mode()
    def step(self, index: int, heard_index: int, listener: Listener, speaking: bool) -> _F32:
        """Descriptor (72,) float32 of the next frame.

        Args:
            index: number of the frame in the session.
            heard_index: its number since ``listener`` began.
            speaking: whether the voice gate is open.
        """
        expression = self._steadied(self._expression(heard_index, listener))
        residual = self._pose.next(heard_index, listener)
        self._probe("pose")
        own_gaze = self._own.gaze
        if self._gaze is not None:
            own_gaze = own_gaze + self._gaze.next(heard_index, listener)
            self._probe("gaze")
        gaze = self.gaze_command
        if self._drive is not None:
            driven = self._drive.expression_at(index)
            if driven is not None:
                expression, speaking = driven, True
            driven_residual = self._drive.pose_residual_at(index)
            residual = residual if driven_residual is None else driven_residual
            gaze = gaze if gaze is not None else self._drive.gaze_at(index)
        if not self.pose_moves:
            residual = np.zeros_like(residual)
        descriptor = mix(
            self._mixer,
            self._networks.mixer,
            self._rest,
            expression=expression,
            pose_0=self._own.pose,
            pose_residual=residual,
            gaze=own_gaze if gaze is None else gaze,
            speaking=speaking,
        )
        self._probe("mixer")
        return descriptor

    def interrupt(self) -> None:
        """Begin to close the mouth: the frame on show counts as the first of those in which it closes."""
        step = 1.0 / self._networks.mixer.mouth_close_frames
        self._mixer.opening = min(self._mixer.opening, 1.0 - step)

    def _steadied(self, expression: _F32) -> _F32:
        """The expression with its lips on the way from those before; lids and brows as they are."""
        weight = np.float32(self._networks.mixer.lip_newest_weight)
        self._lips = self._lips + weight * (expression - self._lips)
        steadied: _F32 = expression + self._rest.pull @ (self._lips - expression)
        return steadied

    def _expression(self, heard_index: int, listener: Listener) -> _F32:
        networks = self._networks
        window = lip_window(heard_index, networks.stream.lip_lookahead_ms, networks.stream.lip_window_columns)
        mel = torch.from_numpy(listener.columns(*window).T[None].copy()).to(networks.device)
        audio = networks.lip.encode_audio(mel)
        self._probe("lip")
        feature = None
        if networks.eye is not None:
            assert self._eye_state is not None
            size = networks.eye.config.noise_size
            noise = torch.randn(1, size, generator=self._eye_noise).to(networks.device)
            feature = networks.eye.step(audio, self._expression0, self._feature0, noise, self._eye_state)
            self._probe("eye")
        expression: _F32 = networks.lip(audio, self._expression0, feature)[0].cpu().numpy()
        self._probe("lip")
        return expression
