"""VoxCeleb 1 and 2 (Nagrani, Chung, Zisserman 2017, 2018): the official annotations and videos that the user has.

    DATA/txt/id10001/1zcIwhmdeo4/00001.txt      annotation of one utterance, as published (any folders above id...)
    DATA/videos/1zcIwhmdeo4.mp4                 video by its YouTube name, any video suffix, folders below are searched

or, for VoxCeleb 2, the published face clips, which need no annotation:

    DATA/mp4/id00012/21Uxsk56VDQ/00001.mp4

An annotation is lines of ``key : value`` (Identity, Reference, Offset, FV Conf, ASD Conf), then a table with the
heading ``FRAME X Y W H`` and one row for each frame. Frames count at 25 a second from the start of the video, whatever
its own rate. In VoxCeleb 1 the box is in pixels of the video at 360 lines, in VoxCeleb 2 in shares of width and height;
a file in which nothing exceeds 2 is taken for shares. This reading follows the published description and what public
tools do with it; the sign of ``Offset`` is not documented, so it is not used: the offset is measured.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from engine.timebase import FRAME_RATE_HZ
from train.data.readers.source_clip import Box, FaceBox, SourceClip, clip_name, videos_by_stem
from train.data.storage.provenance import Provenance

_log = logging.getLogger(__name__)

_CREDIT = "Nagrani, Chung, Zisserman (2017), VoxCeleb; Chung, Nagrani, Zisserman (2018), VoxCeleb2"
_LICENCE = "see the VoxCeleb project; the videos remain their owners' (YouTube)"
_LAYOUT = """VoxCeleb is expected as
  {data}/txt/id10001/1zcIwhmdeo4/00001.txt   the published annotation of each utterance
  {data}/videos/1zcIwhmdeo4.mp4              the videos, by their YouTube names
or, for VoxCeleb 2,
  {data}/mp4/id00012/21Uxsk56VDQ/00001.mp4   the published face clips"""

_VOX1_LINES = 360
_LARGEST_SHARE = 2.0
_SECONDS_BETWEEN_BOXES = 1.0
_PERSON = re.compile(r"id\d{5}")
_VOX1_TEST = range(10270, 10310)
_WINDOW_MARGIN = 1.0


@dataclass(frozen=True, slots=True)
class Utterance:
    """One annotation: person, YouTube name, first and last frame at 25 fps, and the face's box in each row's frame."""

    identity: str
    reference: str
    frames: tuple[int, ...]
    boxes: tuple[Box, ...]


def read_utterance(text: str, name: str = "annotation") -> Utterance:
    """Parse an annotation.

    Args:
        text: the file; name: for messages.

    Raises:
        InputError: no table, a line that is no row of it, frames that do not rise, a box without size. The message
            names the line.
    """
    fields: dict[str, str] = {}
    rows: list[tuple[float, ...]] = []
    in_table = False
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        if not in_table:
            if words[0].upper() == "FRAME":
                in_table = True
            elif ":" in line:
                key, _, value = line.partition(":")
                fields[key.strip().lower()] = value.strip()
            else:
                raise InputError(f"{name} line {number}: neither 'key : value' nor the heading FRAME X Y W H: {line!r}")
            continue
        rows.append(_row(words, f"{name} line {number}"))
        if len(rows) > 1 and rows[-1][0] <= rows[-2][0]:
            raise InputError(f"{name} line {number}: frame {rows[-1][0]:.0f} comes after {rows[-2][0]:.0f}")
    if not rows:
        raise InputError(f"{name} holds no row under FRAME X Y W H")
    shares = max(max(row[1:]) for row in rows) <= _LARGEST_SHARE
    lines = 0 if shares else _VOX1_LINES
    return Utterance(
        identity=fields.get("identity", ""),
        reference=fields.get("reference", ""),
        frames=tuple(int(row[0]) for row in rows),
        boxes=tuple(Box(row[1], row[2], row[3], row[4], lines) for row in rows),
    )


@dataclass(frozen=True, slots=True)
class VoxCeleb:
    """The data set under ``data``; see the head of this file for its folders.

    The official test people (id10270 to id10309 of VoxCeleb 1, and whatever lies in a folder named test) are held out.
    """

    data: Path

    def clips(self) -> Sequence[SourceClip]:
        """One clip an utterance whose video is there, by person, video and number.

        Raises:
            InputError: neither annotations with videos nor face clips; or an annotation that cannot be read.
        """
        annotations = sorted(path for path in self.data.glob("txt/**/*.txt") if len(path.parts) > 2)
        found = [_face_clip(path) for path in sorted((self.data / "mp4").glob("**/id*/*/*.mp4"))]
        videos = videos_by_stem(self.data / "videos")
        without_video = set()
        for path in annotations:
            person, reference = path.parent.parent.name, path.parent.name
            if not _PERSON.fullmatch(person):
                raise InputError(f"{path} is in no folder of a person.\n{self._layout()}")
            if reference not in videos:
                without_video.add(reference)
                continue
            found.append(_utterance_clip(path, person, videos[reference]))
        if without_video:
            _log.warning("VoxCeleb: %d videos are not in %s", len(without_video), self.data / "videos")
        if not found:
            raise InputError(
                f"no VoxCeleb clip in {self.data} ({len(annotations)} annotations, {len(videos)} videos).\n"
                f"{self._layout()}"
            )
        return found

    def _layout(self) -> str:
        return _LAYOUT.format(data=self.data)


def _row(words: Sequence[str], place: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(word) for word in words)
    except ValueError:
        raise InputError(f"{place}: not five numbers: {' '.join(words)!r}") from None
    # A comparison with NaN is false.
    counted = len(numbers) == 5 and numbers[0] >= 0 and numbers[0] == int(min(numbers[0], 1e9))
    if not (counted and numbers[3] > 0 and numbers[4] > 0 and max(abs(n) for n in numbers[1:]) < 1e5):
        raise InputError(f"{place}: not a frame number and a box: {' '.join(words)!r}")
    return numbers


def _utterance_clip(path: Path, person: str, video: Path) -> SourceClip:
    utterance = read_utterance(path.read_text(encoding="utf-8", errors="replace"), str(path))
    first = utterance.frames[0]
    every = round(_SECONDS_BETWEEN_BOXES * FRAME_RATE_HZ)
    kept = sorted({*range(0, len(utterance.frames), every), len(utterance.frames) - 1})
    return SourceClip(
        clip=clip_name(person, path.parent.name, path.stem),
        path=video,
        provenance=_provenance(person, path),
        start_s=first / FRAME_RATE_HZ,
        end_s=(utterance.frames[-1] + 1) / FRAME_RATE_HZ,
        window=_around(utterance.boxes),
        face_boxes=tuple(FaceBox((utterance.frames[i] - first) / FRAME_RATE_HZ, utterance.boxes[i]) for i in kept),
    )


def _face_clip(path: Path) -> SourceClip:
    person = path.parent.parent.name
    return SourceClip(
        clip=clip_name(person, path.parent.name, path.stem),
        path=path,
        provenance=_provenance(person, path),
    )


def _provenance(person: str, path: Path) -> Provenance:
    tested = "test" in path.parts or int(person[2:]) in _VOX1_TEST if _PERSON.fullmatch(person) else False
    split = "held_out" if tested else "train"
    return Provenance(person=person, split=split, licence=_LICENCE, credit=_CREDIT)


def _around(boxes: Sequence[Box]) -> Box:
    """A window that holds every box with a margin of a face's width on each side."""
    margin = _WINDOW_MARGIN * max(max(box.width, box.height) for box in boxes)
    left, top = min(box.left for box in boxes) - margin, min(box.top for box in boxes) - margin
    right = max(box.left + box.width for box in boxes) + margin
    bottom = max(box.top + box.height for box in boxes) + margin
    return Box(left, top, right - left, bottom - top, boxes[0].video_height_px)
