"""Does an animator shake? Consecutive frames of real speech, generated and real, measured alike."""

from collections.abc import Sequence

import numpy as np
import torch

from train.data.faces.face_clips import FACE_SIZE, FaceClip
from train.images import shrink
from train.metrics import image_flicker, landmark_jitter
from train.tasks.animator_figures import EvaluationPair, Render, find_landmarks
from train.tasks.animator_pretrained import PretrainedNetworks

_BATCH = 8


@torch.no_grad()
def steadiness_figures(
    render: Render,
    clips: Sequence[FaceClip],
    frames: int,
    past: int,
    future: int,
    size: int,
    pretrained: PretrainedNetworks,
) -> dict[str, float]:
    """Means over clips whose first ``frames`` frames, from the source on, all have an image.

    Returns:
        jitter, real_jitter: of the landmarks found in the generated and in the real frames (`landmark_jitter`);
        flicker, real_flicker: of the images themselves, in levels of 255 (`image_flicker`);
        still_levels: largest difference between three images of one motion, made one after another.
    """
    assert pretrained.landmarks is not None
    rows = []
    for clip in clips:
        shown = clip.image_frames[:frames]
        if len(shown) < frames or np.any(np.diff(shown) != 1):
            continue
        source = int(shown[0])
        pairs = [EvaluationPair(clip, source, int(frame), past, future) for frame in shown]
        generated = [image for part in _batches(pairs) for image in render(part)]
        real = [shrink(clip.rgb(int(frame)), size) for frame in shown]
        places = clip.landmarks_px[shown] * (size / FACE_SIZE)
        middle = pairs[frames // 2]
        still = render([middle, middle, middle]).astype(np.int16)
        rows.append(
            (
                landmark_jitter(find_landmarks(pretrained, generated, places)),
                landmark_jitter(find_landmarks(pretrained, real, places)),
                image_flicker(generated),
                image_flicker(real),
                float(np.ptp(still, axis=0).max()),
            )
        )
    names = ("jitter", "real_jitter", "flicker", "real_flicker")
    if not rows:
        return {}
    columns = np.array(rows)
    figures = dict(zip(names, map(float, columns[:, :4].mean(0)), strict=True))
    return figures | {"still_levels": float(columns[:, 4].max())}


def _batches(pairs: Sequence[EvaluationPair]) -> list[Sequence[EvaluationPair]]:
    return [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
