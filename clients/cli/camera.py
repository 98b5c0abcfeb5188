"""``gohd camera``: the avatar as a camera and its voice, delayed to match, as a microphone."""

import logging
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from clients.cli import options
from engine.errors import MissingDependency

if TYPE_CHECKING:
    from engine.engine import Engine
    from engine.session import Session

_log = logging.getLogger(__name__)


def camera(
    portrait: Annotated[Path | None, typer.Option(metavar="IMAGE", help="Image with a face.")] = None,
    mic: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Microphone: number or part of the name; by default the system's."),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(metavar="DEVICE", help="Virtual camera, as /dev/video9; by default the first that is free."),
    ] = None,
    audio_out: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE", help="Where to play the delayed voice, as a virtual cable; by default it is not played."
        ),
    ] = None,
    frame: options.Frame = "crop",
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of the camera's image.")] = "1280x720",
    head: options.Size = None,
    background: Annotated[str, typer.Option(metavar="RRGGBB", help="Colour around the avatar.")] = "000000",
    gaze: options.Gaze = None,
    intensity: options.Intensity = 1.0,
    seed: options.Seed = 0,
    sound: Annotated[
        str, typer.Option("--sound", "--audio", metavar="LIBRARY", help="Audio library: auto, sounddevice or pyaudio.")
    ] = "auto",
    list_devices: Annotated[bool, typer.Option("--list", help="List microphones, outputs and cameras.")] = False,
    tag: options.Tag = 0,
    key_file: options.KeyFile = None,
    compute: options.Device = "auto",
    backend: options.Backend = "auto",
    weights: options.Weights = "default",
) -> None:
    """Be the portrait in a video call: microphone in, virtual camera and delayed voice out."""
    if list_devices:
        _print_devices(sound)
        return
    if portrait is None:
        raise typer.BadParameter("say who speaks: --portrait IMAGE (or --list to see the devices)")
    import cv2
    import torch

    from clients.audio import choose_device, choose_rate, open_backend
    from clients.camera import (
        Compositor,
        LiveCamera,
        open_camera,
        parse_colour,
        parse_size,
        read_commands,
    )
    from clients.cli.keys import watermark_config
    from clients.cli.stopping import stop_request
    from engine import load_engine
    from server.live.block import BLOCK_MS
    from server.live.capacity import cores
    from server.live.clock import MonotonicClock

    width, height = parse_size(size)
    direction, watermark = options.parse_gaze(gaze), watermark_config(tag, key_file)
    with ExitStack() as stack:
        # Devices are opened before the weights are loaded, so that a missing one is reported at once.
        canvas = Compositor(width, height, watermark, parse_colour(background))
        audio = open_backend(sound)
        stack.callback(audio.close)
        devices = audio.devices()
        microphone = choose_device(devices, "input", mic)
        speaker = None if audio_out is None else choose_device(devices, "output", audio_out)
        rate_hz = choose_rate(audio, microphone, speaker)
        shown = open_camera(device, width, height)
        stack.callback(shown.close)
        shown.send(canvas.empty())

        # Networks and images are small: a second thread costs more than it gains.
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        engine = load_engine(weights=weights, device=compute, backend=backend, watermark=watermark, live_cores=cores())
        session = _open_session(
            engine, portrait, head, seed=seed, generate_gaze=gaze == options.GENERATED, intensity=intensity, frame=frame
        )
        stack.callback(session.close)
        if direction is not None:
            session.set_gaze(*direction)

        live = LiveCamera(session, shown, canvas, MonotonicClock(), rate_hz=rate_hz, speaks=speaker is not None)
        block = rate_hz * BLOCK_MS // 1000
        stop = stack.enter_context(stop_request())
        heard = audio.open_microphone(microphone, rate_hz, block, live.hear)
        stack.callback(heard.close)
        live.watch(microphone=heard)
        if speaker is not None:
            spoken = audio.open_speaker(speaker, rate_hz, block, live.speak)
            stack.callback(spoken.close)
            live.watch(speaker=spoken)
        read_commands(stop, live.worker.command)
        voice = "" if speaker is None else f", voice on '{speaker.name}'"
        typer.echo(f"'{microphone.name}' ({rate_hz} Hz) speaks through {shown.name}{voice}. Ctrl-C ends it.")
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


def _open_session(engine: "Engine", portrait: Path, head: int | None, **settings: Any) -> "Session":
    """A session whose head has ``head`` pixels a side, or for None as many as this machine sustains."""
    from server.live.capacity import live_sizes, measure_frames, sustained

    for side in live_sizes(engine.sizes, head):
        avatar = engine.enroll(portrait, size=side)
        open_session = partial(engine.open_session, avatar, **settings)
        frame_ms, _ = measure_frames(open_session)
        if sustained(frame_ms):
            break
    _log.info("a head of %d px takes %.1f ms a frame", avatar.size, frame_ms)
    return open_session()


def _print_devices(library: str) -> None:
    from clients.audio import open_backend
    from clients.camera import list_cameras

    cameras = list_cameras()
    try:
        audio = open_backend(library)
    except MissingDependency as error:
        if not cameras:
            raise
        typer.echo(f"no microphones or outputs can be listed: {error}")
    else:
        try:
            devices = audio.devices()
        finally:
            audio.close()
        for direction, title in (("input", "microphones (--mic)"), ("output", "audio outputs (--audio-out)")):
            typer.echo(f"{title}, as {audio.name} names them:")
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
        linux = sys.platform.startswith("linux")
        typer.echo("  none ('gohd doctor' says how to get one)" if linux else "  that of OBS, if OBS is installed")
