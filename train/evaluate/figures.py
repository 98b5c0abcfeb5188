"""From the features of video pairs to figures: one row a pair, one figure a metric over all pairs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import CROP_SIZE
from train.evaluate.features import Arrays, Video
from train.metrics import (
    ROTATION_RANGE_RAD,
    average_variance,
    blink_statistics,
    expression_landmarks,
    eye_brow_sequence,
    feature_statistics,
    frechet_distance,
    identity_similarity,
    landmark_error,
    landmark_jitter,
    lip_sync,
    mouth_agreement,
    mouth_landmark_distance,
    mouth_opening,
    structural_similarity,
)


@dataclass(frozen=True, slots=True)
class PairFigures:
    """One pair: values by metric of the generated video, and of the real video where it has one of its own."""

    name: str
    frames: int
    generated: Mapping[str, float]
    real: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Summary:
    """A metric over all pairs; ``real`` is the ground truth's own value, None where there is none."""

    generated: float
    real: float | None
    videos: int


def motion_figures(
    generated: Video,
    real: Video,
    model: LandmarkModel,
    names: Sequence[str],
    heads: Sequence[Arrays] | None = None,
) -> tuple[dict[str, float], dict[str, float]]:
    """Figures of landmarks and motion over the frames that both videos have.

    Args:
        heads: outputs of the head pose network for the two videos (SSIM_p of its rotations, Var_p of its feature
            vectors); None takes the pose p of the landmark fit for both.

    Returns:
        Values of the generated and of the real video, by metric.
    """
    frames = min(generated.frames, real.frames)
    videos = (generated, real)
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    expressions = [video.motion.expression[:frames] for video in videos]
    points = [expression_landmarks(model, expression)[..., :2] for expression in expressions]
    eyes = [eye_brow_sequence(p) / CROP_SIZE for p in points]
    if heads is None:
        vectors = [video.motion.pose[:frames] for video in videos]
        poses = [pose[:, :3] for pose in vectors]
    else:
        poses = [head["rotation"][:frames] for head in heads]
        vectors = [head["features"][:frames] for head in heads]
    landmarks = [video.landmarks_px[:frames] for video in videos]
    ours["ssim_p"] = structural_similarity(poses[0], poses[1], ROTATION_RANGE_RAD)
    ours["var_p"], theirs["var_p"] = (average_variance(v) for v in vectors)
    ours["ssim_e"] = structural_similarity(eyes[0], eyes[1])
    ours["var_e"], theirs["var_e"] = (average_variance(e) for e in eyes)
    ours["mld"] = mouth_landmark_distance(points[0], points[1])
    ours["landmarks"] = landmark_error(landmarks[0], landmarks[1])
    ours["jitter"], theirs["jitter"] = (landmark_jitter(found) for found in landmarks)
    openings = [mouth_opening(model, torch.from_numpy(e)).numpy() for e in expressions]
    mouths = mouth_agreement(openings[0], openings[1])
    ours["mouth"], ours["mouth_range"], theirs["mouth_range"] = mouths.correlation, mouths.range_ratio, 1.0
    ours["blinks"], theirs["blinks"] = (_blinks(model, e) for e in expressions)
    return ({k: v for k, v in side.items() if k in names} for side in (ours, theirs))  # type: ignore[return-value]


def network_figures(
    identity: Sequence[Arrays] | None, sync: Sequence[Arrays | None]
) -> tuple[dict[str, float], dict[str, float]]:
    """CSIM against the real video's first frame with a face, and LSE of each video with audio (section 4.1, D.2)."""
    ours: dict[str, float] = {}
    theirs: dict[str, float] = {}
    if identity is not None:
        source = identity[1]["features"][0]
        ours["csim"], theirs["csim"] = (identity_similarity(source, side["features"]) for side in identity)
    for figures, found in zip((ours, theirs), sync, strict=False):
        if found is not None:
            scores = lip_sync(found["lips"], found["voice"])
            figures["lse_c"], figures["lse_d"] = scores.confidence, scores.distance
    return ours, theirs


def summarise(
    pairs: Sequence[PairFigures],
    names: Sequence[str],
    inception: Sequence[Sequence[NDArray[np.float32]]] | None = None,
) -> dict[str, Summary]:
    """Each metric averaged over the pairs that have it; FID over all frames of all videos.

    Args:
        inception: features (T, 2048) of the generated and of the real videos.
    """
    summaries = {}
    for name in names:
        ours = [pair.generated[name] for pair in pairs if name in pair.generated]
        theirs = [pair.real[name] for pair in pairs if name in pair.real]
        if name == "fid" and inception is not None:
            statistics = [feature_statistics(np.concatenate(list(side))) for side in inception]
            summaries[name] = Summary(frechet_distance(*statistics), None, len(pairs))
        elif ours:
            summaries[name] = Summary(float(np.mean(ours)), float(np.mean(theirs)) if theirs else None, len(ours))
    return summaries


def _blinks(model: LandmarkModel, expression: NDArray[np.float32]) -> float:
    with torch.no_grad():
        ratio = model.eye_feature(torch.from_numpy(expression))[:, 0].numpy()
    return blink_statistics([ratio]).per_minute
