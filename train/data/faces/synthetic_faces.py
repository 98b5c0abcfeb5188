"""A few frames of moving faces from the bundled portrait alone. For tests and the toy recipes."""

from __future__ import annotations

from pathlib import Path

from engine.portrait import FaceLandmarker, crop_face, load_image
from train.data.faces.face_clips import FaceClip
from train.data.faces.random_motion import RandomMotion
from train.data.faces.rendered_clips import render_clips
from train.data.faces.still_clips import StillClip, StillConfig, StillPortrait

_PORTRAIT = Path(__file__).resolve().parents[3] / "engine" / "assets" / "portrait.jpg"


def synthetic_face_clips(*, clips: int = 2, frames: int = 6, seed: int = 0) -> list[FaceClip]:
    """Clips of the bundled portrait in other light and motion, rendered at once and kept in memory.

    Each counts as a person of its own and the last is held out. About 0.02 s a frame and half a second to start.

    Raises:
        MissingDependency: MediaPipe is not installed.
    """
    landmarker = FaceLandmarker()
    image = load_image(_PORTRAIT)
    crop = crop_face(image, landmarker.detect(image))
    landmarker.close()
    config = StillConfig(motion=RandomMotion(frames=frames, blink_every_s=1.0))
    stills = []
    for number in range(clips):
        split = "held_out" if number == clips - 1 else "train"
        portrait = StillPortrait("portrait", f"face-{number}", split, crop.rgb, crop.landmarks_px)
        stills.append(StillClip(clip=f"synthetic-{number}", portrait=portrait, config=config, seed=seed))
    return list(render_clips(stills, workers=0))
