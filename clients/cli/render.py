"""``gohd render``: a portrait and an audio file become a video."""

import hashlib
import logging
from pathlib import Path
from typing import Annotated

import typer

from clients.cli import options

# Twice the size that the networks were trained at, where the portrait has it; a film may take its time.
_FILM_SIZE = 512
_DRIVABLE = ("pose", "expression", "gaze")
_log = logging.getLogger(__name__)


def render(
    portrait: options.Portrait,
    audio: Annotated[Path, typer.Argument(metavar="AUDIO", help="The voice: any file with audio.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="VIDEO", help="Video to write (.mp4).")],
    seed: options.Seed = 0,
    gaze: options.Gaze = None,
    drive_video: Annotated[
        Path | None, typer.Option(metavar="VIDEO", help="Take motion from the face in this video.")
    ] = None,
    drive: Annotated[
        str, typer.Option(metavar="PARTS", help="What to take from it, any of pose,expression,gaze.")
    ] = ",".join(_DRIVABLE),
    intensity: options.Intensity = 1.0,
    frame: options.Frame = "crop",
    size: options.Size = None,
    tag: options.Tag = 0,
    key_file: options.KeyFile = None,
    device: options.Device = "auto",
    backend: options.Backend = "auto",
    weights: options.Weights = "default",
) -> None:
    """Make a video of PORTRAIT speaking AUDIO, with a signed manifest beside it."""
    import cv2
    import torch

    from clients.cli.keys import watermark_config
    from clients.cli.video import Voice, refuse_inputs, sign_video, write_video
    from engine import load_engine
    from engine.audio import speech_level
    from engine.checkpoint import CHECKSUMS
    from engine.errors import AudioUnreadable
    from engine.files import file_sha256
    from engine.media import MediaFile, read_audio, read_video
    from engine.portrait import read_image_file

    refuse_inputs(output, portrait=portrait, voice=audio, driving_video=drive_video, key_file=key_file)

    direction, parts, watermark = options.parse_gaze(gaze), _parse_drive(drive), watermark_config(tag, key_file)
    # Networks and images are small: a second thread costs more than it gains.
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    image, voice_file = read_image_file(portrait), MediaFile(audio, AudioUnreadable)
    voice = Voice(voice_file)
    engine = load_engine(weights=weights, device=device, backend=backend, watermark=watermark)
    level = speech_level(read_audio(voice_file))
    if level is None:
        _log.warning("no speech was found in %s: the mouth will hardly move", voice_file.name)
    weights_sha256 = file_sha256(engine.weights_path / CHECKSUMS)
    avatar = engine.enroll(image, size=size or min(_FILM_SIZE, max(engine.sizes)))
    motion = None
    if drive_video is not None:
        _log.info("reading the motion of %s", drive_video)
        motion = engine.read_motion(read_video(drive_video)).only(*parts)
    session = engine.open_session(
        avatar,
        seed=seed,
        drive=motion,
        generate_gaze=gaze == options.GENERATED,
        intensity=intensity,
        frame=frame,
        voice_level_dbfs=level,
    )
    if direction is not None:
        session.set_gaze(*direction)
    finished = write_video(session, voice, output)
    sign_video(
        output,
        portrait_sha256=hashlib.sha256(image).hexdigest(),
        voice_sha256=voice_file.sha256(),
        weights_sha256=weights_sha256,
        tag=tag,
    )
    _log.info("%s %s", "wrote" if finished else "stopped early; what was made by then is in", output)
    if not finished:
        raise KeyboardInterrupt


def _parse_drive(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names or not set(names) <= set(_DRIVABLE):
        raise typer.BadParameter(f"name any of {', '.join(_DRIVABLE)}, not {text!r}")
    return names
