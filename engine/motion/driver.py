"""From the audio of a session to the motion descriptor of each frame: lips, eyes, pose, gaze, mixer (Eq. 4-8).

MotionInput (mel, prosody, commands) --> networks, many sessions at once --> MotionDriver, one session --> q_t
                                         (`engine.batch.motion_batch`)       (hops made ahead, lips, mixer)
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from engine.audio.frontend import AudioFrontend
from engine.checkpoint import WeightsFolder, load_into
from engine.config import MixerConfig, StreamConfig, from_mapping
from engine.errors import WeightsCorrupt, WeightsIncomplete
from engine.motion.diffusion.denoiser import DenoiserConfig, PoseDenoiser
from engine.motion.diffusion.openvino_window import OpenVinoWindow, bundled_window
from engine.motion.diffusion.window import PoseWindow, PoseWindowConfig
from engine.motion.driving_motion import DrivingMotion
from engine.motion.mixer import MixerState, mix
from engine.motion.networks.eye_lstm import EyeConfig, EyeMotionNetwork
from engine.motion.networks.lip import LipConfig, LipNetwork
from engine.motion.networks.prosody import lip_window, prosody_columns
from engine.motion.space.coefficients import Coefficients
from engine.motion.space.mouth_rest import MouthRest

_F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MotionNetworks:
    """The trained networks between audio and motion; shared by all sessions and never changed.

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
    exported = bundled_window(folder, part)
    sampler = OpenVinoWindow(exported) if device.type == "cpu" and exported.is_file() else None
    try:
        return PoseWindow(denoiser, config, unconditional=unconditional, sampler=sampler)
    except ValueError as error:
        raise WeightsCorrupt(f"config.json section '{part}_window': {error}") from error


def _denoiser(folder: WeightsFolder, part: str, device: torch.device) -> PoseDenoiser:
    denoiser = PoseDenoiser(from_mapping(DenoiserConfig, folder.section(part), part))
    load_into(denoiser, folder.tensors(f"{part}.safetensors"), f"{part}.safetensors")
    return denoiser.to(device)


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionInput:
    """All that one descriptor is made from, beside the session's own state.

    Attributes:
        index: number of the frame in the session.
        mel_FW: (80, columns) float32, the lip window.
        prosody_HM: (hop, 320) float32, of this frame and those after it in a hop of the longest kind.
        speaking: whether the voice gate is open.
        gaze_command: where to look, (2,) float32, or None; pose_moves: whether the head moves.
    """

    index: int
    mel_FW: _F32
    prosody_HM: _F32
    speaking: bool
    gaze_command: _F32 | None
    pose_moves: bool

    @classmethod
    def heard(
        cls,
        networks: MotionNetworks,
        audio: AudioFrontend,
        heard_index: int,
        *,
        index: int,
        speaking: bool,
        gaze_command: _F32 | None,
        pose_moves: bool,
    ) -> MotionInput:
        """Read from ``audio`` what frame ``heard_index`` of it needs."""
        stream = networks.stream
        window = lip_window(heard_index, stream.lip_lookahead_ms, stream.lip_window_columns)
        prosody = [
            audio.columns(*prosody_columns(heard_index + ahead, stream.prosody_delay_frames)).reshape(-1)
            for ahead in range(networks.hop_frames)
        ]
        return cls(
            index=index,
            mel_FW=audio.columns(*window).T,
            prosody_HM=np.stack(prosody),
            speaking=speaking,
            gaze_command=gaze_command,
            pose_moves=pose_moves,
        )


class MotionDriver:
    """The motion state of one session: hops made ahead, lips, mixer."""

    def __init__(
        self,
        config: MixerConfig,
        rest: MouthRest,
        own: Coefficients,
        *,
        drive: DrivingMotion | None,
        generate_gaze: bool,
    ) -> None:
        """
        Args:
            rest, own: the portrait's closed mouth, and its coefficients.
            drive: motion from elsewhere, in place of the networks'.
        """
        self.hops: dict[str, deque[_F32]] = {
            part: deque() for part in (("pose", "gaze") if generate_gaze else ("pose",))
        }
        """Residuals (channels,) of the frames to come; to be refilled, by part, when a frame needs one."""
        self._mixer_config = config
        self._rest = rest
        self._own = own
        self._drive = drive
        self._lips = rest.expression
        self._mixer = MixerState.start(own.gaze, config)

    def needs_hop(self, part: str) -> bool:
        """Whether the next frame needs a new hop of ``part``, "pose" or "gaze"."""
        return part in self.hops and not self.hops[part]

    def mixed(self, given: MotionInput, expression: _F32) -> _F32:
        """Descriptor (72,) float32 of the next frame, for the lip network's ``expression`` (64,)."""
        expression, speaking = self._steadied(expression), given.speaking
        residual = self.hops["pose"].popleft()
        gaze = given.gaze_command
        own_gaze = self._own.gaze
        if "gaze" in self.hops:
            own_gaze = own_gaze + self.hops["gaze"].popleft()
        if self._drive is not None:
            driven = self._drive.expression_at(given.index)
            if driven is not None:
                expression, speaking = driven, True
            driven_residual = self._drive.pose_residual_at(given.index)
            residual = residual if driven_residual is None else driven_residual
            gaze = gaze if gaze is not None else self._drive.gaze_at(given.index)
        if not given.pose_moves:
            residual = np.zeros_like(residual)
        return mix(
            self._mixer,
            self._mixer_config,
            self._rest,
            expression=expression,
            pose_0=self._own.pose,
            pose_residual=residual,
            gaze=own_gaze if gaze is None else gaze,
            speaking=speaking,
        )

    def interrupt(self) -> None:
        """Begin to close the mouth; the frame now shown counts as the first of the closing ones."""
        step = 1.0 / self._mixer_config.mouth_close_frames
        self._mixer.opening = min(self._mixer.opening, 1.0 - step)

    def _steadied(self, expression: _F32) -> _F32:
        """The expression with its lips smoothed over time; lids and brows as they are."""
        weight = np.float32(self._mixer_config.lip_newest_weight)
        self._lips = self._lips + weight * (expression - self._lips)
        steadied: _F32 = expression + self._rest.pull @ (self._lips - expression)
        return steadied
