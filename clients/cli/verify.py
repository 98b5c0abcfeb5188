"""``gohd verify``: was this image or video made here, and is it unchanged?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from clients.cli import options

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from engine.postprocess import WatermarkReading
    from engine.postprocess.manifest import ManifestReading

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic"}
_MOST_FRAMES = 3000
"""Two minutes: enough to read the watermark of any video that has one."""


def verify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Video or image.")],
    key_file: options.KeyFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Look for the invisible watermark in FILE and check the manifest beside it; exit code 1 without a watermark."""
    from clients.cli.keys import read_key
    from engine.postprocess.manifest import has_manifest, read_manifest

    watermark = _read_watermark(file, read_key(key_file))
    manifest = read_manifest(file) if has_manifest(file) else None
    if as_json:
        reading = {"watermark": asdict(watermark), "manifest": None if manifest is None else asdict(manifest)}
        typer.echo(json.dumps(reading, indent=1))
    else:
        _print_watermark(file, watermark)
        _print_manifest(manifest)
    if not watermark.found:
        raise typer.Exit(1)


def _read_watermark(file: Path, key: bytes) -> WatermarkReading:
    from engine.errors import VideoUnreadable
    from engine.postprocess import SMALLEST_SIDE_PX, WatermarkDetector

    detector = WatermarkDetector(key)
    for rgb in _frames(file):
        if min(rgb.shape[:2]) < SMALLEST_SIDE_PX:
            raise VideoUnreadable(f"'{file}' is smaller than {SMALLEST_SIDE_PX} pixels: no watermark could be read")
        detector.push(rgb)
    return detector.read()


def _frames(file: Path) -> Iterator[NDArray[np.uint8]]:
    from engine.media import read_video
    from engine.portrait import load_image

    if file.suffix.lower() in _IMAGES:
        yield load_image(file)
    else:
        yield from islice(read_video(file), _MOST_FRAMES)


def _print_watermark(file: Path, reading: WatermarkReading) -> None:
    figures = f"score {reading.score:.1f}, {reading.frames} frames"
    if reading.found:
        tag = "its tag is damaged" if reading.tag is None else f"tag {reading.tag}"
        typer.echo(f"{file}: AI-generated, the watermark is there ({tag}; {figures})")
    else:
        typer.echo(f"{file}: no watermark found with this key ({figures})")


def _print_manifest(manifest: ManifestReading | None) -> None:
    if manifest is None:
        typer.echo("no manifest beside it")
        return
    if not manifest.signed:
        typer.echo("the manifest beside it is NOT what its maker signed")
    elif not manifest.unchanged:
        typer.echo(f"the manifest is signed by {manifest.signer}, but the video was changed since")
    else:
        typer.echo(f"the manifest is signed by {manifest.signer} and the video is unchanged")
    for name, value in manifest.made.items():
        typer.echo(f"  {name}: {value}")
