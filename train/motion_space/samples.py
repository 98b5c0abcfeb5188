"""From landmarks to the samples of the two bases: persons, deviations, their weights, and the eyes' calibration."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.motion.space.landmark_fit import LandmarkFitter, straighten_irises
from engine.motion.space.landmark_table import (
    EYE_CORNERS,
    INNER_LIPS,
    IRIS_CENTRES,
    IRIS_LEFT,
    IRIS_RIGHT,
    LANDMARK_COUNT,
    LID_LEFT,
    LID_RIGHT,
    MIRROR,
    OUTER_LIPS,
    RIGID,
)
from engine.motion.space.pose import align_similarity
from train.motion_space.bases import align_to
from train.motion_space.config import MotionSpaceConfig
from train.motion_space.people import FaceData

_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Samples:
    """shapes (n, 478, 3) in face units, with the data set (n,) and the person (n,) that each comes from."""

    shapes: _Array
    groups: NDArray[np.str_]
    people: NDArray[np.str_]

    def select(self, chosen: NDArray[np.bool_]) -> Samples:
        """The samples where ``chosen`` (n,) is true."""
        return Samples(self.shapes[chosen], self.groups[chosen], self.people[chosen])

    def join(self, other: Samples) -> Samples:
        """These samples, then those of ``other``."""
        return Samples(
            np.concatenate([self.shapes, other.shapes]),
            np.concatenate([self.groups, other.groups]),
            np.concatenate([self.people, other.people]),
        )


def vertex_weight(config: MotionSpaceConfig) -> _Array:
    """Weight (478,) of each landmark in the bases and in every fit; the irises have none, gaze moves them."""
    weight = np.ones(LANDMARK_COUNT)
    weight[[*INNER_LIPS, *OUTER_LIPS]] = config.lip_weight
    weight[[*LID_LEFT, *LID_RIGHT]] = config.lid_weight
    weight[[*IRIS_LEFT, *IRIS_RIGHT]] = 0
    return weight


def calibrate_eyes(landmarks: _Array, mean: _Array, config: MotionSpaceConfig) -> tuple[_Array, _Array]:
    """Eyeball centres from images (n, 478, 3) of people who look into the camera.

    Returns the mean face with its irises straight ahead, and the offset (2, 3) from the middle of the corners of each
    eye to the centre of its eyeball, such that the mean gaze of these images is (0, 0).
    """
    scale, rotation, translation = align_similarity(mean[RIGID], landmarks[:, RIGID])
    shapes = align_to(landmarks, mean)
    offsets = []
    for iris, (outer, inner) in zip(IRIS_CENTRES, EYE_CORNERS, strict=True):
        # The eye looks along the optical axis, so centre and iris share a place in the image:
        # iris_xy = (scale R (middle + offset) + translation)_xy, solved for x, y of the offset.
        middle = (shapes[:, outer] + shapes[:, inner]) / 2 + np.array([0, 0, config.eyeball_depth])
        seen = (landmarks[:, iris] - translation)[:, :2] / scale[:, None]
        rest = seen - np.einsum("tij,tj->ti", rotation[:, :2], middle)
        offsets.append(np.linalg.solve(rotation[:, :2, :2].mean(0), rest.mean(0)))
    across = (offsets[0][0] - offsets[1][0]) / 2
    down = (offsets[0][1] + offsets[1][1]) / 2
    centre = np.array([[across, down, config.eyeball_depth], [-across, down, config.eyeball_depth]])

    straight = mean.copy()
    outer, inner = EYE_CORNERS[0]
    ring = np.mean(shapes[:, IRIS_LEFT] - shapes[:, None, IRIS_CENTRES[0]], axis=0)
    ring[:, 2] = 0
    ahead = (mean[outer] + mean[inner]) / 2 + centre[0] - np.array([0, 0, config.eyeball_radius])
    straight[list(IRIS_LEFT)] = ahead + ring
    straight[MIRROR[list(IRIS_LEFT)]] = (ahead + ring) * np.array([-1, 1, 1])
    return straight, centre


def collect_deviations(data: FaceData, mean: _Array, fitter: LandmarkFitter) -> tuple[Samples, dict[str, list[_Array]]]:
    """Displacements from the own neutral face, of every clip frame and every smile; and the clips' neutrals."""
    shapes, groups, people = [], [], []
    neutrals: dict[str, list[_Array]] = {}
    for clip in data.clips:
        neutral, frames, _ = fitter.separate(clip.landmarks.astype(np.float64))
        neutrals.setdefault(clip.person, []).append(neutral)
        shapes.append(straighten_irises(frames, mean) - straighten_irises(neutral, mean))
        groups += [clip.group] * len(frames)
        people += [clip.person] * len(frames)
    own = {still.person: still for still in data.stills if still.kind == "neutral"}
    for still in data.stills:
        if still.kind != "smile" or still.person not in own:
            continue
        neutral = align_to(own[still.person].landmarks[None], mean)[0]
        smile = align_to(still.landmarks[None], neutral)[0]
        shapes.append((straighten_irises(smile, mean) - straighten_irises(neutral, mean))[None])
        groups.append("smile")
        people.append(still.person)
    return Samples(np.concatenate(shapes), np.array(groups), np.array(people)), neutrals


def collect_persons(data: FaceData, mean: _Array, clip_neutrals: dict[str, list[_Array]]) -> Samples:
    """One neutral shape a person (one an image where the expression is unknown)."""
    found: dict[tuple[str, str], list[_Array]] = {}
    for still in data.stills:
        if still.kind != "smile":
            found.setdefault((still.group, still.person), []).append(align_to(still.landmarks[None], mean)[0])
    for person, neutrals in clip_neutrals.items():
        found.setdefault(("clips", person), []).extend(neutrals)
    shapes = np.stack([straighten_irises(np.mean(several, axis=0), mean) for several in found.values()])
    groups, people = zip(*found, strict=True)
    return Samples(shapes, np.array(groups), np.array(people))


def sample_weights(groups: NDArray[np.str_], people: NDArray[np.str_], share: dict[str, float]) -> _Array:
    """Weights (n,) that sum to 1: each group its share, in a group each person alike, of a person each sample alike."""
    present = sorted(set(groups.tolist()))
    default = min(share.values()) if share else 1.0
    shares = {group: share.get(group, default) for group in present}
    members = {group: len(set(people[groups == group].tolist())) for group in present}
    samples = Counter(zip(groups.tolist(), people.tolist(), strict=True))
    weights = np.array(
        [shares[g] / members[g] / samples[g, p] for g, p in zip(groups.tolist(), people.tolist(), strict=True)]
    )
    return np.asarray(weights / weights.sum())
