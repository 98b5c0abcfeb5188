"""The face of a portrait: found, turned upright, and checked to be a face that the animator can use.

    image --landmarks--> candidates, largest first --checks--> the first good one
      |                                                |
      `------ turned by 90, 180, 270 degrees <---------' none, or it lies on its side

Landmarks alone are no proof: the networks find some in cats, clocks and upside-down faces. Constants below were chosen
on 413 portraits of 480 px and more and 814 of 100 px, 1 100 pictures made of 30 of them (dark, blurred, drawn, masked,
cut off), and on some 2 900 pictures without people, in about 110 of which landmarks are found.
"""

import logging
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from engine.enrolment.visible_features import hidden_features
from engine.errors import FaceCutOff, FaceTooSmall, FaceTurnedAway, NoFaceFound, PortraitError
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.landmark_table import EYE_CORNERS, MIRROR, OUTER_LIPS
from engine.motion.space.pose import rotation_vector_to_matrix
from engine.portrait import MIN_FACE_PX, FaceCrop, FaceLandmarker, SecondLook, crop_face

_log = logging.getLogger(__name__)

# Of a second look: portraits disagree by 0.013 at most, drawings and masked faces mostly by 0.02, pictures without
# people by 0.032 and more but for one, a drawn robot (0.019). Portraits have a presence of 0.99999 and more, the robot
# 0.9988.
_MOST_DISAGREEMENT = 0.025
_LEAST_PRESENCE = 0.999
# A face in a turned image must be this much steadier than what was found in the image as it is: in 4 of 120 masked
# faces another one was found upside-down.
_TURNED_SHARE = 0.5
# Above this the user is told that the face is hard to make out.
_DOUBTFUL_DISAGREEMENT = 0.015
# Profiles, tiny faces and faces that the image cuts disagree by up to 0.064; below this they are named so.
_FACE_LIKE_DISAGREEMENT = 0.07
# Degrees, chosen by eye on rendered films: further turned, the far half of the face is a smear. A profile measures 52,
# for the model draws it to the front; the portraits, 24 and 16 at most.
_MOST_YAW, _MOST_PITCH = 40.0, 35.0
_TELL_YAW, _TELL_PITCH = 28.0, 28.0
# Heads may lie a little more on the shoulder than half a right angle before the image counts as lying on its side.
_MOST_ROLL = 50.0
# By so much of the face's size a feature may lie outside of the image.
_OUTSIDE_SHARE = 0.02
_FEATURES = (*(point for corners in EYE_CORNERS for point in corners), 1, *OUTER_LIPS)
# Each candidate costs some 50 ms.
_MOST_CANDIDATES = 4
_ADVICE = "use a picture that shows the whole face from the front, uncovered and well lit"

_Rgb = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PortraitFace:
    """A face that can be animated.

    Attributes:
        rgb: uint8 (H, W, 3), the image, upright.
        landmarks_px: float32 (478, 3) in it.
        warnings: sentences for the user; what may look wrong, and what to do about it.
    """

    rgb: _Rgb
    landmarks_px: NDArray[np.float32]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A face in the image turned by ``quarters`` right angles anticlockwise; angles in degrees."""

    rgb: _Rgb
    quarters: int
    landmarks_px: NDArray[np.float32]
    crop: FaceCrop
    look: SecondLook
    roll: float
    yaw: float
    pitch: float

    @property
    def lies(self) -> bool:
        return abs(self.roll) > _MOST_ROLL


def find_portrait_face(rgb: _Rgb, landmarker: FaceLandmarker, model: LandmarkModel) -> PortraitFace:
    """The largest face of an image, uint8 (H, W, 3), that stands every check.

    Raises:
        NoFaceFound: there is none. FaceTooSmall, FaceTurnedAway, FaceCutOff: there is one that cannot be used.
    """
    faces = _examined_all(rgb, 0, landmarker, model)
    best = _first_good(faces)
    if best is None or best.lies:
        # One that lies says itself how to turn the image.
        turns = (1, 2, 3) if best is None else (round(best.roll / 90) % 4,)
        bound = min((face.look.disagreement for face in faces), default=np.inf) if best is None else np.inf
        turned = [_examined_all(rgb, quarters, landmarker, model) for quarters in turns]
        good = [
            face
            for face in map(_first_good, turned)
            if face is not None and not face.lies and face.look.disagreement < _TURNED_SHARE * bound
        ]
        best = min(good, key=lambda face: face.look.disagreement, default=None)
        faces += [face for group in turned for face in group]
    if best is None:
        problems = [problem for face in faces if (problem := _problem(face)) is not None]
        named = (problem for problem in problems if not isinstance(problem, NoFaceFound))
        raise next(named, NoFaceFound(f"no face was found; {_ADVICE}"))
    return PortraitFace(best.rgb, best.landmarks_px, _warnings(best))


def _examined_all(rgb: _Rgb, quarters: int, landmarker: FaceLandmarker, model: LandmarkModel) -> list[_Candidate]:
    """Faces of the image turned by so many right angles anticlockwise, largest first."""
    turned = np.ascontiguousarray(np.rot90(rgb, quarters))
    found = landmarker.detect_all(turned)[:_MOST_CANDIDATES]
    return [_examined(turned, quarters, landmarks_px, landmarker, model) for landmarks_px in found]


def _first_good(faces: list[_Candidate]) -> _Candidate | None:
    best = next((face for face in faces if _problem(face) is None), None)
    if best is not None and len(faces) > 1:
        _log.info("%d faces in the image; the largest, %.0f px, is used", len(faces), _size(best.landmarks_px))
    return best


def _examined(
    rgb: _Rgb, quarters: int, landmarks_px: NDArray[np.float32], landmarker: FaceLandmarker, model: LandmarkModel
) -> _Candidate:
    crop = crop_face(rgb, landmarks_px)
    pose = torch.from_numpy(model.fit(crop.landmarks_px).pose[:3])
    rotation = rotation_vector_to_matrix(pose).numpy().astype(np.float64)
    roll = float(np.arctan2(-rotation[0, 1], rotation[1, 1]))
    # Where the nose points once the roll is undone.
    x, y, z = -rotation[:, 2]
    side, down = np.cos(roll) * x + np.sin(roll) * y, np.cos(roll) * y - np.sin(roll) * x
    yaw, pitch = np.arctan2(side, -z), np.arcsin(np.clip(down, -1, 1))
    look = landmarker.look_again(crop, MIRROR)
    angles = (float(np.degrees(angle)) for angle in (roll, yaw, pitch))
    return _Candidate(rgb, quarters, landmarks_px, crop, look, *angles)


def _problem(face: _Candidate) -> PortraitError | None:
    if face.look.disagreement > _FACE_LIKE_DISAGREEMENT:
        return NoFaceFound(f"no face was found; {_ADVICE}")
    size = _size(face.landmarks_px)
    if round(size) < MIN_FACE_PX:
        return FaceTooSmall(
            f"the face is {size:.0f} px large; at least {MIN_FACE_PX} px are needed, use a closer or larger image"
        )
    if abs(face.yaw) > _MOST_YAW or abs(face.pitch) > _MOST_PITCH:
        way = "to the side" if abs(face.yaw) > _MOST_YAW else "down" if face.pitch > 0 else "up"
        return FaceTurnedAway(f"the face is turned too far {way}; {_ADVICE}")
    if not _inside(face):
        return FaceCutOff("the image ends within the face; use a picture that shows all of it")
    if face.look.disagreement > _MOST_DISAGREEMENT or face.look.presence < _LEAST_PRESENCE:
        return NoFaceFound(f"no face was found; {_ADVICE}")
    return None


def _inside(face: _Candidate) -> bool:
    margin = _OUTSIDE_SHARE * _size(face.landmarks_px)
    points = face.landmarks_px[list(_FEATURES), :2]
    height, width = face.rgb.shape[:2]
    return bool((points > -margin).all() and (points < np.array([width, height]) + margin).all())


def _warnings(face: _Candidate) -> tuple[str, ...]:
    found = []
    if face.quarters:
        turn = {1: "a quarter turn to the left", 2: "half a turn", 3: "a quarter turn to the right"}[face.quarters]
        found.append(f"the image lay on its side or its head; it was given {turn}")
    if abs(face.yaw) > _TELL_YAW or abs(face.pitch) > _TELL_PITCH:
        found.append(
            "the face is turned far from the front, and its far side is guessed; a frontal picture looks better"
        )
    hidden = hidden_features(face.crop)
    if face.look.disagreement > _DOUBTFUL_DISAGREEMENT and not hidden:
        found.append(
            "the face is hard to make out (covered, blurred, drawn?) and may move oddly; "
            "use a sharp photograph that shows all of it"
        )
    return (*found, *hidden)


def _size(landmarks_px: NDArray[np.float32]) -> float:
    return float((landmarks_px[:, :2].max(0) - landmarks_px[:, :2].min(0)).max())
