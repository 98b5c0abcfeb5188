"""One person's landmarks through a video.

    frame 0   the largest face near the middle
    frame t   a look where the face was    -- surely a face --> there it is
                  | no
              the face in the frame that is nearest to where it was and of its size; else it is gone
                  | for a second
              whoever is largest is followed from here on

A frame without the face costs one plain look; the laborious search for small faces runs once a second at most.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.errors import FaceTooSmall, NoFaceFound, VideoUnreadable
from engine.portrait.landmarker import MIN_FACE_PX, FaceLandmarker, face_size
from engine.timebase import FRAME_RATE_HZ

_log = logging.getLogger(__name__)

_GONE_FRAMES: Final = FRAME_RATE_HZ
# Between looks a head moves by less than its own size and grows by less than this factor; another's face is further
# away, as a rule.
_MOST_STEP, _MOST_GROWTH = 0.8, 1.6
_MOST_TOLD = 4

_Landmarks = NDArray[np.float32]
_Rgb = NDArray[np.uint8]


def follow_face(frames: Iterable[_Rgb], landmarker: FaceLandmarker) -> tuple[_Landmarks, int]:
    """Landmarks (T, 478, 3) px of one person, NaN while the face is gone or too small, and the frames' longer side.

    Args:
        frames: uint8 RGB (H, W, 3) at 25 fps.

    Raises:
        VideoUnreadable: there are no frames. NoFaceFound: none shows a face. FaceTooSmall: none shows a large one.
    """
    follower, found, size_px = _Follower(landmarker), [], 0
    for rgb in frames:
        size_px = max(rgb.shape[:2])
        found.append(follower.find(rgb))
    if not found:
        raise VideoUnreadable("the video has no frames")
    if all(face is None for face in found):
        if follower.largest_px:
            raise FaceTooSmall(
                f"the largest face in the video is {follower.largest_px:.0f} px; at least {MIN_FACE_PX} px are needed, "
                "use a closer or larger video"
            )
        raise NoFaceFound("no frame of the video shows a face; choose a video with one clearly visible face")
    _tell(found, follower.others)
    missing = np.full((478, 3), np.nan, np.float32)
    return np.stack([missing if face is None else face for face in found]), size_px


class _Follower:
    """Attributes:
    largest_px: of all faces that were seen, also those too small to follow.
    others: frames from which on somebody else is followed.
    """

    def __init__(self, landmarker: FaceLandmarker) -> None:
        self._landmarker = landmarker
        self._last: _Landmarks | None = None
        self._gone = 0
        self._frame = -1
        self.largest_px = 0.0
        self.others: list[int] = []

    def find(self, rgb: _Rgb) -> _Landmarks | None:
        self._frame += 1
        face = None
        if self._last is not None and self._gone == 0:
            face = self._landmarker.track(rgb, self._last)
            # A track may slide off to something else as it fades.
            face = face if face is not None and self._is_same(face) else None
        if face is None:
            face = self._choose(rgb)
        if face is None:
            self._gone += 1
            return None
        self._last, self._gone = face, 0
        return face

    def _choose(self, rgb: _Rgb) -> _Landmarks | None:
        thorough = self._gone % FRAME_RATE_HZ == 0
        faces = self._landmarker.detect_all(rgb, thorough=thorough)
        self.largest_px = max([self.largest_px, *map(face_size, faces)])
        large = [face for face in faces if round(face_size(face)) >= MIN_FACE_PX]
        if not large:
            return None
        if self._last is None:
            return max(large, key=lambda face: _prominence(face, rgb))
        same = [face for face in large if self._is_same(face)]
        if same:
            last = self._last
            return min(same, key=lambda face: float(np.linalg.norm(_middle(face) - _middle(last))))
        if self._gone < _GONE_FRAMES:
            return None
        self.others.append(self._frame)
        return max(large, key=lambda face: _prominence(face, rgb))

    def _is_same(self, face: _Landmarks) -> bool:
        assert self._last is not None
        before, now = face_size(self._last), face_size(face)
        # The longer nobody looked, the further the head may have gone.
        reach = _MOST_STEP * before * (1 + self._gone / FRAME_RATE_HZ)
        near = float(np.linalg.norm(_middle(face) - _middle(self._last))) <= reach
        return near and 1 / _MOST_GROWTH <= now / before <= _MOST_GROWTH


def _middle(face: _Landmarks) -> NDArray[np.floating]:
    return np.asarray((face[:, :2].max(0) + face[:, :2].min(0)) / 2)


def _prominence(face: _Landmarks, rgb: _Rgb) -> float:
    """Size, less what lies off the middle: the person whom the video is about."""
    half = np.array(rgb.shape[1::-1]) / 2
    away = float(np.abs((_middle(face) - half) / half).max())
    return face_size(face) * (1 - 0.5 * min(away, 1.0))


def _tell(found: list[_Landmarks | None], others: list[int]) -> None:
    """One line for all frames without the face, and one for changes of person."""
    gaps = list(_gaps(found))
    if gaps:
        times = ", ".join(
            f"{start / FRAME_RATE_HZ:.1f} to {stop / FRAME_RATE_HZ:.1f} s" for start, stop in gaps[:_MOST_TOLD]
        )
        more = f" and {len(gaps) - _MOST_TOLD} times more" if len(gaps) > _MOST_TOLD else ""
        _log.warning("the driving video shows no face from %s%s: the motion is eased over that", times, more)
    if others:
        times = ", ".join(f"{frame / FRAME_RATE_HZ:.1f} s" for frame in others[:_MOST_TOLD])
        _log.warning("the driving video shows somebody else from %s on, who is followed from there", times)


def _gaps(found: list[_Landmarks | None]) -> Iterator[tuple[int, int]]:
    start = None
    for frame, face in enumerate([*found, np.zeros(0, np.float32)]):
        if face is None and start is None:
            start = frame
        elif face is not None and start is not None:
            yield start, frame
            start = None
