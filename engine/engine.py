"""The engine: one set of weights, any number of avatars and sessions."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from engine.avatar import Avatar
from engine.batch.renderer import BatchRenderer, Probe
from engine.checkpoint import WeightsFolder
from engine.enrolment import find_portrait_face
from engine.errors import BackendUnavailable, CommandInvalid
from engine.motion.driver import MotionNetworks
from engine.motion.driving_motion import DrivingMotion
from engine.motion.space.coefficients import Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.motion_space import load_motion_space
from engine.portrait import (
    CROP_SIZE,
    CROP_SIZES,
    FaceLandmarker,
    crop_face,
    follow_face,
    largest_size,
    load_image,
    shrink_crop,
)
from engine.postprocess import PasteBack, Postprocess, WatermarkConfig
from engine.runtime.animator_loader import load_animator
from engine.runtime.backends import BACKENDS
from engine.runtime.card import is_card, unusable_card
from engine.runtime.cuda_graph import cuda_graphs_enabled
from engine.session import Session

_log = logging.getLogger(__name__)


def load_engine(
    weights: str | Path = "default",
    device: str = "auto",
    backend: str = "auto",
    watermark: WatermarkConfig | None = None,
    live_cores: int | None = None,
    size: int | None = None,
) -> Engine:
    """Load and verify weights.

    Args:
        weights: name of a bundled folder or a path.
        device: "auto", "cpu" or "cuda"; where the networks run. "auto" is the CPU for the small networks beside the
            geometric animator, which runs there, and a GPU, if there is one, beside the neural one.
        backend: what runs the neural animator: "auto", "eager", "compiled", "graph", "onnx" or "tensorrt", or
            "geometric" to do without it, see `engine.runtime.backends`. The motion networks are small and stay eager.
        watermark: tag and key of the invisible watermark in every frame; None is tag 0 with the public key.
        live_cores: cores of this machine, where frames must come in time: with few of them "auto" shows a guided
            animator's mesh without its network. None is for work that may take longer and is the same everywhere.
        size: side of the head's frames in pixels, 256, 384, 512, 768 or 1024, for portraits that have as many. None is
            256. The paper's network draws 256 only.

    Raises:
        CommandInvalid: the watermark's tag does not fit, or the size is none that these weights draw.
        WeightsNotFound, WeightsCorrupt: see the message.
        BackendUnavailable: the device or backend is not on this machine.
    """
    if backend not in BACKENDS:
        raise BackendUnavailable(f"backend '{backend}' is not there; choose one of {', '.join(BACKENDS)}")
    folder = WeightsFolder.open(weights)
    neural = folder.config.get("animator") == "neural" and backend != "geometric"
    return Engine(folder, _device(device, neural), watermark or WatermarkConfig(), backend, live_cores, size)


class Engine:
    """Loaded by ``load_engine``. Weights are never changed, so sessions may run side by side, one thread each."""

    def __init__(
        self,
        folder: WeightsFolder,
        device: torch.device,
        watermark: WatermarkConfig,
        backend: str = "auto",
        live_cores: int | None = None,
        size: int | None = None,
    ) -> None:
        self.weights_path = folder.path
        self.space = load_motion_space(folder)
        self.networks = MotionNetworks.load(folder, device)
        self.animator = load_animator(folder, self.model, device, backend, watermark, live_cores)
        self._watermark = watermark
        self._size = self._checked_size(CROP_SIZE if size is None else size)
        self._postprocess = {self._size: Postprocess(self._size, self._size, watermark)}
        self.landmarker = FaceLandmarker()

    @property
    def model(self) -> LandmarkModel:
        """The landmark model; in the bfm space it measures eye features only."""
        return self.space.model

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the head's frames, in pixels, that can be asked for."""
        fixed = self.animator.fixed_size
        return CROP_SIZES if fixed is None else (fixed,)

    @property
    def runs_on(self) -> str:
        """What makes the frames, and how: "NVIDIA GeForce RTX 3090 (graph)", "the CPU (geometric)"."""
        device = self.networks.device
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type.upper()}"
        return f"{name} ({getattr(self.animator, 'backend', 'geometric')})"

    def postprocess(self, avatar: Avatar, frame: str) -> Postprocess:
        """The last stage for frames of ``avatar``: "crop" is the head alone, "full" the whole portrait.

        Raises:
            CommandInvalid: ``frame`` is neither.
        """
        if frame not in ("crop", "full"):
            raise CommandInvalid(f"frame must be 'crop' or 'full', not {frame!r}")
        if frame == "full":
            return Postprocess(avatar.size, avatar.size, self._watermark, avatar.paste_back)
        if avatar.size not in self._postprocess:
            self._postprocess[avatar.size] = Postprocess(avatar.size, avatar.size, self._watermark)
        return self._postprocess[avatar.size]

    def enroll(
        self,
        image: Path | str | bytes | npt.NDArray[np.uint8],
        coefficients: Coefficients | None = None,
        *,
        size: int | None = None,
    ) -> Avatar:
        """Make an avatar of a portrait: of the largest face, turned upright where the image lies on its side or head.

        What may look wrong (shut eyes, a mask) is logged and kept in `Avatar.warnings`.

        Args:
            image: a path, the bytes of an image file, or uint8 RGB (H, W, 3).
            coefficients: of the image in the motion space of these weights, if they were measured elsewhere.
            size: side of the head's frames in pixels; None is the engine's. A head that has fewer pixels itself gets
                the largest of `sizes` that it fills.

        Raises:
            CommandInvalid: the size is none of `sizes`.
            PortraitError: the image cannot be read, or shows no face that can be used; the message says what to do.
            WeightsIncomplete: these weights cannot measure a portrait; give ``coefficients``.
        """
        face = find_portrait_face(load_image(image), self.landmarker, self.model)
        rgb, landmarks_px = face.rgb, face.landmarks_px
        for warning in face.warnings:
            _log.warning("%s", warning)
        wanted = self._size if size is None else self._checked_size(size)
        size = wanted if wanted == self.animator.fixed_size else min(wanted, largest_size(rgb, landmarks_px))
        if size < wanted:
            _log.warning("the portrait's head has the pixels for frames of %d px, not %d: %d it is", size, wanted, size)
        crop = crop_face(rgb, landmarks_px, size)
        if coefficients is None:
            coefficients = self.space.measure(crop)
        return Avatar(
            crop=crop,
            coefficients=coefficients,
            rest=self.space.rest(coefficients),
            eye_feature=self.space.eye_feature(crop.landmarks_px, coefficients),
            prepared=self.animator.prepare(crop, coefficients),
            paste_back=PasteBack(rgb, crop),
            warnings=face.warnings,
        )

    def shrink(self, avatar: Avatar, size: int) -> Avatar:
        """The same portrait with frames of ``size`` pixels, or itself where it has no more than that.

        Raises:
            CommandInvalid: the size is none of `sizes`.
        """
        if self._checked_size(size) >= avatar.size:
            return avatar
        crop = shrink_crop(avatar.crop, size)
        return dataclasses.replace(
            avatar,
            crop=crop,
            prepared=self.animator.prepare(crop, avatar.coefficients),
            paste_back=avatar.paste_back.shrunk(size / avatar.size),
        )

    def open_session(
        self,
        avatar: Avatar,
        *,
        seed: int = 0,
        drive: DrivingMotion | None = None,
        generate_gaze: bool = False,
        intensity: float = 1.0,
        frame: str = "crop",
        probe: Probe | None = None,
        renderer: BatchRenderer | None = None,
        voice_level_dbfs: float | None = None,
    ) -> Session:
        """Start a voice on an avatar.

        Args:
            seed: same seed and same audio give the same frames.
            drive: motion from elsewhere, in place of the networks'.
            generate_gaze: let the gaze wander, by the weights' gaze network, while none is commanded.
            intensity: lambda of section 4.3: how far to go from the still, frontal, neutral face (0) to the
                whole motion (1).
            frame: "crop" gives the head, of the avatar's size, "full" the whole portrait with the head moving in it.
            probe: called with the name of each stage as it ends (for benchmarks).
            renderer: from `open_renderer`, where sessions are rendered together; None gives this one its own.
            voice_level_dbfs: of a recording, from `engine.audio.speech_level`, so that a quiet voice moves the lips
                from its first word on; None finds it out while listening.

        Raises:
            CommandInvalid: the intensity or ``frame`` is out of range, or these weights generate no gaze.
        """
        return Session(
            avatar,
            renderer or BatchRenderer(self.networks, self.animator, probe=probe),
            self.postprocess(avatar, frame),
            animator_finishes=frame == "crop" and self.animator.finishes,
            seed=seed,
            drive=drive,
            generate_gaze=generate_gaze,
            intensity=intensity,
            probe=probe,
            voice_level_dbfs=voice_level_dbfs,
        )

    @property
    def batches(self) -> bool:
        """Whether sessions are better rendered together, by one renderer on one thread: a GPU runs the animator.

        On a CPU, sessions rendered apart, each on a thread of its own, use the cores better.
        """
        return is_card(self.networks.device) and self.animator.batches

    def open_renderer(self, capacity: int) -> BatchRenderer:
        """A renderer that up to ``capacity`` sessions share; its steps are captured on a GPU."""
        captured = is_card(self.networks.device) and cuda_graphs_enabled()
        return BatchRenderer(self.networks, self.animator, capacity, captured=captured)

    def read_motion(self, frames: Iterable[npt.NDArray[np.uint8]]) -> DrivingMotion:
        """Expression, pose and gaze of one person in every frame of a video, see `engine.portrait.face_follower`.

        Args:
            frames: uint8 RGB (H, W, 3) at 25 fps. Frames without the face take the motion between their neighbours.

        Raises:
            NoFaceFound: no frame shows a face. FaceTooSmall: none shows one of 48 px. VideoUnreadable: the video has no
                frames. WeightsIncomplete: these weights cannot measure motion.
        """
        return self.space.measure_sequence(*follow_face(frames, self.landmarker))

    def _checked_size(self, size: int) -> int:
        if size not in self.sizes:
            raise CommandInvalid(f"the size of a frame must be one of {', '.join(map(str, self.sizes))}, not {size}")
        return size


def _device(name: str, neural: bool) -> torch.device:
    if name not in ("auto", "cpu", "cuda"):
        raise BackendUnavailable(f"device '{name}' is not known; choose auto, cpu or cuda")
    unusable = unusable_card()
    if name == "cuda" and not torch.cuda.is_available():
        raise BackendUnavailable(
            f"no CUDA device can be used here ({unusable or 'there is none'}); choose --device cpu"
        )
    if name == "auto" and neural and unusable is not None:
        _log.warning("the CPU is used: %s", unusable)
    chosen = name == "cuda" or (name == "auto" and neural and torch.cuda.is_available())
    return torch.device("cuda" if chosen else "cpu")
