"""``gohd camera``: the avatar as a camera and, held back to fit, its voice as a microphone."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

from clients.audio import AudioBackend, choose_device, choose_rate, open_backend
from clients.camera import (
    BLOCK_MS,
    Compositor,
    LiveCamera,
    MonotonicClock,
    VirtualCamera,
    list_cameras,
    open_camera,
    read_commands,
)
from clients.cli.stopping import stop_request
from engine.errors import MissingDependency
from engine.postprocess import WatermarkConfig

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraRequest:
    """What to show, and from where to where.

    Attributes:
        microphone, speaker: index, name or part of the name; None is the system's microphone, and no speaker.
        device: "/dev/videoN"; None takes the first virtual camera that is free.
        audio: "auto", "sounddevice" or "pyaudio".
        compute, backend: as ``engine.load_engine`` takes device and backend.
        frame: "crop" (the head) or "full" (the whole portrait), fitted to ``size_px`` (width, height) on ``ground``.
        gaze: (pitch, yaw) in radians; generate_gaze: let it wander as the weights' gaze network says.
    """

    portrait: Path
    microphone: str | None = None
    speaker: str | None = None
    device: str | None = None
    sound: str = "auto"
    compute: str = "auto"
    backend: str = "auto"
    frame: str = "crop"
    size_px: tuple[int, int] = (1280, 720)
    ground: tuple[int, int, int] = (0, 0, 0)
    gaze: tuple[float, float] | None = None
    generate_gaze: bool = False
    intensity: float = 1.0
    seed: int = 0
    marking: WatermarkConfig = field(default_factory=WatermarkConfig)
    weights: str = "default"


def _load_engine(request: CameraRequest) -> Any:
    import cv2
    import torch

    from engine import load_engine
    from server.live.capacity import cores

    # Networks and images are small: a second thread costs more than it brings.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return load_engine(
        weights=request.weights,
        device=request.compute,
        backend=request.backend,
        marking=request.marking,
        live_cores=cores(),
    )


def run_camera(
    request: CameraRequest,
    *,
    open_audio: Callable[[str], AudioBackend] = open_backend,
    open_image: Callable[[str | None, int, int], VirtualCamera] = open_camera,
    load: Callable[[CameraRequest], Any] = _load_engine,
) -> None:
    """Show the avatar until Ctrl-C or SIGTERM. Devices come before the weights, so that their faults tell soon.

    Raises:
        DeviceError, MissingDependency, PortraitError, WeightsError, BackendUnavailable, CommandInvalid: see the
            message.
    """
    width, height = request.size_px
    with ExitStack() as stack:
        canvas = Compositor(width, height, request.marking, request.ground)
        sound = open_audio(request.sound)
        stack.callback(sound.close)
        devices = sound.devices()
        microphone = choose_device(devices, "input", request.microphone)
        speaker = None if request.speaker is None else choose_device(devices, "output", request.speaker)
        rate_hz = choose_rate(sound, microphone, speaker)
        camera = open_image(request.device, width, height)
        stack.callback(camera.close)
        camera.send(canvas.empty())

        engine = load(request)
        avatar = engine.enroll(request.portrait)
        session = engine.open_session(
            avatar,
            seed=request.seed,
            generate_gaze=request.generate_gaze,
            intensity=request.intensity,
            frame=request.frame,
        )
        stack.callback(session.close)
        if request.gaze is not None:
            session.set_gaze(*request.gaze)

        live = LiveCamera(session, camera, canvas, MonotonicClock(), rate_hz=rate_hz, speaks=speaker is not None)
        block = rate_hz * BLOCK_MS // 1000
        stop = stack.enter_context(stop_request())
        heard = sound.open_microphone(microphone, rate_hz, block, live.hear)
        stack.callback(heard.close)
        live.watch(microphone=heard)
        if speaker is not None:
            spoken = sound.open_speaker(speaker, rate_hz, block, live.speak)
            stack.callback(spoken.close)
            live.watch(speaker=spoken)
        read_commands(stop, live.feed.command)
        typer.echo(
            f"'{microphone.name}' ({rate_hz} Hz) speaks through {camera.name}"
            + (f", voice on '{speaker.name}'" if speaker is not None else "")
            + ". Ctrl-C ends it."
        )
        if speaker is None:
            _log.info(
                "no --audio-out: delay the voice yourself, by about %d ms, where you mix it (in OBS: sync offset)",
                round(live.playout.delay_ms),
            )
        try:
            live.run(stop)
        finally:
            stop.set()
            _log.info("%s", live.counters)


def list_devices(backend: str = "auto", root: Path = Path("/")) -> None:
    """Print microphones, audio outputs and cameras.

    Raises:
        MissingDependency: no audio library and no camera either.
    """
    cameras = list_cameras(root)
    try:
        sound = open_backend(backend)
    except MissingDependency as error:
        if not cameras:
            raise
        typer.echo(f"no microphones or outputs can be listed: {error}")
    else:
        try:
            devices = sound.devices()
        finally:
            sound.close()
        for direction, title in (("input", "microphones (--mic)"), ("output", "audio outputs (--audio-out)")):
            typer.echo(f"{title}, as {sound.name} names them:")
            rows = [
                f"  {device.index:3d}  {device.name}  {device.rate_hz} Hz"
                + ("  [default]" if direction in device.default_for else "")
                for device in devices
                if device.has("input" if direction == "input" else "output")
            ]
            typer.echo("\n".join(rows) or "  none")
    typer.echo("cameras (--device):")
    for camera in cameras:
        kind = "virtual" if camera.virtual else "real: images cannot be sent to it"
        typer.echo(f"  {camera.path}  {camera.name}  ({kind}{'' if camera.writable else ', not writable'})")
    if not cameras:
        typer.echo(
            "  none ('gohd doctor' says how to get one)"
            if sys.platform.startswith("linux")
            else "  that of OBS, if OBS is installed"
        )
