"""Held-out figures of an animator: likeness, landmarks, gaze; and a sheet to look at.

Any animator can be judged: it is a callable from pairs to images.
Shape suffixes: B rows, T frames, D descriptor (72), H and W pixels.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.motion.space.coefficients import GAZE
from engine.motion.space.landmark_table import EYE_CORNERS, IRIS_CENTRES, RIGID
from engine.motion.space.pose import align_similarity, matrix_to_rotation_vector
from train.data.faces.face_clips import FACE_SIZE, FaceClip
from train.datasets.face_pairs import descriptor_window
from train.images import shrink, to_network
from train.metrics import (
    identity_similarity,
    image_similarity,
    landmark_error,
    peak_signal_to_noise_db,
    perceptual_distance,
)
from train.tasks.animator_pretrained import EmbedIdentity, PretrainedNetworks

_GAZE_YAWS_RAD = tuple(math.pi * 0.1 * step for step in range(-3, 4))
_GAZE_FACES = 6
_SHEET_ROWS = 8
_EYE_CORNERS = (EYE_CORNERS[0], EYE_CORNERS[1][::-1])  # the one to the image left first
_BATCH = 8

ImageArray = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EvaluationPair:
    """A source frame and a motion of the same clip, whose image is its frame ``target``.

    Attributes:
        past, future: reach of the window.
        yaw_rad: gaze to the image right that is commanded instead of the frame's own; the window then holds.
    """

    clip: FaceClip
    source: int
    target: int
    past: int
    future: int
    yaw_rad: float | None = None

    @property
    def window_TD(self) -> NDArray[np.float32]:
        """(past + 1 + future, 72)."""
        hold = self.yaw_rad is not None
        window = descriptor_window(self.clip, self.target, self.past, self.future, hold=hold).copy()
        if self.yaw_rad is not None:
            window[:, GAZE] = (0.0, self.yaw_rad)
        return window


Render = Callable[[Sequence[EvaluationPair]], ImageArray]
"""Images uint8 (B, size, size, 3) of pairs."""


def evaluation_pairs(clips: Sequence[FaceClip], targets: int, past: int, future: int) -> list[EvaluationPair]:
    """Each clip's first image as the source, with ``targets`` later ones, evenly spaced to the last."""
    pairs = []
    for clip in clips:
        last = len(clip.image_frames) - 1
        for place in np.linspace(0, last, min(targets, last) + 1)[1:]:
            source, target = clip.image_frames[0], clip.image_frames[round(place)]
            pairs.append(EvaluationPair(clip, int(source), int(target), past, future))
    return pairs


@torch.no_grad()
def animator_figures(
    render: Render, pairs: Sequence[EvaluationPair], size: int, pretrained: PretrainedNetworks
) -> dict[str, float]:
    """Means over pairs.

    Returns:
        psnr_db, ssim, and unmoved_psnr_db, unmoved_ssim: those of the source shown as it is. With networks also
        landmark_error (over the inter-ocular distance, both faces measured alike), perceptual, identity (cosine
        between source and generated image), and the gaze figures of `_gaze_figures`.
    """
    batches = [pairs[start : start + _BATCH] for start in range(0, len(pairs), _BATCH)]
    generated = [image for batch in batches for image in render(batch)]
    target = [shrink(pair.clip.rgb(pair.target), size) for pair in pairs]
    source = [shrink(pair.clip.rgb(pair.source), size) for pair in pairs]
    figures = {
        "psnr_db": _mean(peak_signal_to_noise_db, generated, target),
        "ssim": _mean(image_similarity, generated, target),
        "unmoved_psnr_db": _mean(peak_signal_to_noise_db, source, target),
        "unmoved_ssim": _mean(image_similarity, source, target),
    }
    device = pretrained.device
    if pretrained.perceptual is not None:
        distances = [
            perceptual_distance(
                pretrained.perceptual(_on(device, generated[start : start + _BATCH])),
                pretrained.perceptual(_on(device, target[start : start + _BATCH])),
            )
            for start in range(0, len(pairs), _BATCH)
        ]
        figures["perceptual"] = float(torch.cat(distances).mean())
    if pretrained.landmarks is not None:
        real = np.stack([pair.clip.landmarks_px[pair.target] for pair in pairs]) * (size / FACE_SIZE)
        found = find_landmarks(pretrained, generated, real)
        figures["landmark_error"] = landmark_error(found, find_landmarks(pretrained, target, real))
        if pretrained.identity is not None:
            figures["identity"] = _identity(pretrained.identity, pairs, generated, found, size)
        figures |= _gaze_figures(render, pairs, size, pretrained)
    return figures


def _identity(
    embed: EmbedIdentity,
    pairs: Sequence[EvaluationPair],
    generated: Sequence[ImageArray],
    landmarks_px: NDArray[np.floating],
    size: int,
) -> float:
    """Mean cosine between the identity of the source and of the generated image."""
    cosines = []
    for pair, image, points in zip(pairs, generated, landmarks_px, strict=True):
        source = shrink(pair.clip.rgb(pair.source), size)
        own = embed(source, pair.clip.landmarks_px[pair.source] * (size / FACE_SIZE))
        cosines.append(identity_similarity(own, embed(image, points)[None]))
    return float(np.mean(cosines))


def _gaze_figures(
    render: Render, pairs: Sequence[EvaluationPair], size: int, pretrained: PretrainedNetworks
) -> dict[str, float]:
    """Response to a gaze turned by up to 0.3 pi either way, all else still, of the first faces.

    Returns:
        gaze_spearman: rank correlation of commanded yaw and iris shift; gaze_range: iris shift between the ends,
        over the eye's width; gaze_head_deg: largest turn of the head away from that at yaw 0. Means over faces.
    """
    first = {pair.clip.clip: pair for pair in reversed(pairs)}
    results = []
    for pair in list(first.values())[-_GAZE_FACES:]:
        commanded = [dataclasses.replace(pair, target=pair.source, yaw_rad=yaw) for yaw in _GAZE_YAWS_RAD]
        place = np.repeat(pair.clip.landmarks_px[pair.source][None], len(commanded), 0) * (size / FACE_SIZE)
        landmarks = find_landmarks(pretrained, list(render(commanded)), place)
        shift = iris_shift(landmarks)
        _, rotation, _ = align_similarity(landmarks[len(commanded) // 2][RIGID], landmarks[:, RIGID])
        turn_rad = np.linalg.norm(matrix_to_rotation_vector(rotation), axis=-1).max()
        results.append((rank_correlation(np.array(_GAZE_YAWS_RAD), shift), shift[-1] - shift[0], np.degrees(turn_rad)))
    names = ("gaze_spearman", "gaze_range", "gaze_head_deg")
    return dict(zip(names, map(float, np.mean(results, 0)), strict=True))


def iris_shift(landmarks_px: NDArray[np.floating]) -> NDArray[np.float64]:
    """Offset (B,) of irises to the image right of the eyes' middles, in eye widths, mean of both; from (B, 478, 3)."""
    shifts = []
    for iris, (left, right) in zip(IRIS_CENTRES, _EYE_CORNERS, strict=True):
        corner_left, corner_right = landmarks_px[:, left, :2], landmarks_px[:, right, :2]
        axis = corner_right - corner_left
        away = landmarks_px[:, iris, :2] - (corner_left + corner_right) / 2
        shifts.append((away * axis).sum(1) / np.square(axis).sum(1))
    return np.asarray(np.mean(shifts, 0), np.float64)


def rank_correlation(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    """Spearman's rho of two sequences, equal values sharing their mean rank; 0 if either never changes."""
    ranks = [(value[:, None] > value[None]).sum(1) + 0.5 * (value[:, None] == value[None]).sum(1) for value in (x, y)]
    deviations = [rank - rank.mean() for rank in ranks]
    norm = math.prod(float(np.linalg.norm(deviation)) for deviation in deviations)
    return float(deviations[0] @ deviations[1] / norm) if norm else 0.0


def contact_sheet(render: Render, pairs: Sequence[EvaluationPair], size: int) -> ImageArray:
    """Rows of source | target | generated, uint8 (rows x size, 3 x size, 3): one pair of each clip, up to eight."""
    shown = list({pair.clip.clip: pair for pair in pairs}.values())[:_SHEET_ROWS]
    rows = [
        np.concatenate([*(shrink(pair.clip.rgb(frame), size) for frame in (pair.source, pair.target)), image], 1)
        for pair, image in zip(shown, render(shown), strict=True)
    ]
    return np.concatenate(rows, 0)


def find_landmarks(
    pretrained: PretrainedNetworks, images: Sequence[ImageArray], place_px: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Landmarks (B, 478, 3) px that the landmark network finds in images, near ``place_px`` (B, 478, 3)."""
    assert pretrained.landmarks is not None
    found = []
    for start in range(0, len(images), _BATCH):
        part = slice(start, start + _BATCH)
        places = torch.from_numpy(place_px[part]).float().to(pretrained.device)
        found.append(pretrained.landmarks(_on(pretrained.device, images[part]), places).cpu().numpy())
    return np.concatenate(found)


def _on(device: torch.device, images: Sequence[ImageArray]) -> Tensor:
    return to_network(torch.from_numpy(np.stack(images)).to(device))


def _mean(figure: Callable[[ImageArray, ImageArray], float], a: Sequence[ImageArray], b: Sequence[ImageArray]) -> float:
    return float(np.mean([figure(x, y) for x, y in zip(a, b, strict=True)]))
