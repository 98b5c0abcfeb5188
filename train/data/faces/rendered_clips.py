"""Moved still portraits rendered ahead of a training, by several processes, and kept in memory.

A frame takes a processor some 25 to 60 ms, which a GPU would wait for; rendered once, it costs its 192 KiB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from train.data.faces.face_clips import FaceClip
from train.data.pipeline.workers import WorkerDied, run_tasks

FloatArray = NDArray[np.float32]
ImageArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RenderedClip:
    """A `FaceClip` in memory; images uint8 (T,256,256,3)."""

    clip: str
    person: str
    split: str
    descriptors: FloatArray
    landmarks_px: FloatArray
    images: ImageArray

    @property
    def frames(self) -> int:
        """T."""
        return len(self.images)

    @property
    def pictured(self) -> NDArray[np.int64]:
        """All frames."""
        return np.arange(self.frames)

    def rgb(self, frame: int) -> ImageArray:
        """Crop of a frame, uint8 (256,256,3). Raises IndexError."""
        if not 0 <= frame < self.frames:
            raise IndexError(f"clip {self.clip} has {self.frames} frames, no frame {frame}")
        return np.asarray(self.images[frame], np.uint8)


def render_clips(clips: Sequence[FaceClip], workers: int) -> list[RenderedClip]:
    """All frames of ``clips``, in their order.

    Args:
        workers: processes; 0 works in this one.

    Raises:
        InputError: a process died, most often for want of memory.
    """
    rendered: dict[int, RenderedClip] = {}
    for index, result in run_tasks(_rendered, clips, workers=workers, description="moving stills"):
        if isinstance(result, WorkerDied):
            raise InputError(
                f"rendering of {clips[index].clip} ended with exit code {result.exit_code}: is the memory full?"
            )
        rendered[index] = result
    return [rendered[index] for index in range(len(clips))]


def _rendered(clip: FaceClip) -> RenderedClip:
    return RenderedClip(
        clip=clip.clip,
        person=clip.person,
        split=clip.split,
        descriptors=clip.descriptors,
        landmarks_px=clip.landmarks_px,
        images=np.stack([clip.rgb(frame) for frame in range(clip.frames)]),
    )
