"""``gohd verify``: was this image or video made here, and is it as it was made?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import typer
from numpy.typing import NDArray

from engine.errors import VideoUnreadable
from engine.media import read_video
from engine.portrait import load_image
from engine.postprocess import PUBLIC_KEY, SMALLEST_SIDE_PX, WatermarkDetector, WatermarkReading
from engine.postprocess.manifest import ManifestReading, manifest_path, read_manifest

_IMAGES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".heic"}
_MOST_FRAMES = 3000


@dataclass(frozen=True, slots=True)
class Verdict:
    """The mark in a file, and the manifest beside it if there is one."""

    watermark: WatermarkReading
    manifest: ManifestReading | None


def verify_file(path: Path, key: bytes = PUBLIC_KEY) -> Verdict:
    """Read the mark in an image, or in the first two minutes of a video, and the manifest beside it.

    Raises:
        VideoUnreadable, ImageUnreadable, ManifestUnreadable: see the message.
    """
    detector = WatermarkDetector(key)
    for rgb in _images(path):
        if min(rgb.shape[:2]) < SMALLEST_SIDE_PX:
            raise VideoUnreadable(f"'{path}' is smaller than {SMALLEST_SIDE_PX} pixels: no mark could be read")
        detector.push(rgb)
    manifest = read_manifest(path) if manifest_path(path).is_file() else None
    return Verdict(detector.read(), manifest)


def _images(path: Path) -> Iterator[NDArray[np.uint8]]:
    if path.suffix.lower() in _IMAGES:
        yield load_image(path)
    else:
        yield from islice(read_video(path), _MOST_FRAMES)


def report(path: Path, verdict: Verdict, as_json: bool) -> None:
    """Print a verdict."""
    if as_json:
        typer.echo(json.dumps(asdict(verdict), indent=1))
        return
    mark = verdict.watermark
    if mark.found:
        tag = "its tag is damaged" if mark.tag is None else f"tag {mark.tag}"
        typer.echo(
            f"{path}: AI-generated, the watermark is there ({tag}; score {mark.score:.1f}, {mark.frames} frames)"
        )
    else:
        typer.echo(f"{path}: no watermark found with this key (score {mark.score:.1f}, {mark.frames} frames)")
    if verdict.manifest is None:
        typer.echo("no manifest beside it")
        return
    manifest = verdict.manifest
    if not manifest.signed:
        typer.echo("the manifest beside it is NOT what its maker signed")
    elif not manifest.unchanged:
        typer.echo(f"the manifest is signed by {manifest.signer}, but the video was changed since")
    else:
        typer.echo(f"the manifest is signed by {manifest.signer} and the video is unchanged")
    for name, value in manifest.made.items():
        typer.echo(f"  {name}: {value}")
