"""HDTF (Zhang et al. 2021): the published annotation files and videos that the user has.

    DATA/HDTF_dataset/RD_video_url.txt        Radio11 https://www.youtube.com/watch?v=XtySvTwIOfw
                      RD_annotion_time.txt    Radio11.mp4 00:30-01:00 01:30-02:30      (minutes:seconds, one a clip)
                      RD_crop_wh.txt          Radio11_0.mp4 412 599 0 599              (left width top height, px)
                      RD_resolution.txt       Radio11.mp4 720                          (lines those px are meant for)
                      WDA_..., WRA_...        the other two subsets, alike
    DATA/videos/Radio11.mp4                   videos, named as in the lists (RD_Radio11 is understood too) or by their
                                              YouTube names; any video suffix, folders below are searched

File names are the published ones, "annotion" included. Videos that were cut into clips already are a plain folder:
``source=folder``. Formats as in the README and the lists of the HDTF repository.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from engine.errors import InputError
from train.data.readers.source_clip import Box, SourceClip, clip_name, side_of, videos_by_stem
from train.data.storage.provenance import Provenance

_log = logging.getLogger(__name__)

_SUBSETS = ("RD", "WDA", "WRA")
_LISTS = ("video_url", "annotion_time", "crop_wh", "resolution")
_CREDIT = "Zhang, Li, Ding, Fan (2021), Flow-guided One-shot Talking Face Generation (HDTF)"
_LICENCE = "see the HDTF project; the videos remain their owners' (YouTube)"
_LAYOUT = """HDTF is expected as
  {data}/HDTF_dataset/{{RD,WDA,WRA}}_{{video_url,annotion_time,crop_wh,resolution}}.txt   the published lists
  {data}/videos/Radio11.mp4, ...   the videos, by their names in the lists or on YouTube"""
_SPAN = re.compile(r"(?:(\d+):)?(\d+):(\d\d)-(?:(\d+):)?(\d+):(\d\d)")


@dataclass(frozen=True, slots=True)
class HdtfVideo:
    """One video of a list: (start, end) in seconds and crop by clip number; ``crops`` lacks clips without one."""

    name: str
    subset: str
    youtube: str
    spans_s: dict[int, tuple[int, int]]
    crops: dict[int, Box]


def read_subset(texts: dict[str, str], subset: str) -> list[HdtfVideo]:
    """Parse the four lists of a subset.

    Args:
        texts: list name (video_url, annotion_time, crop_wh, resolution) to the file's text.

    Raises:
        InputError: a line that does not read as its list's lines do; the message names list and line.
    """
    address = _table(texts["video_url"], f"{subset}_video_url.txt", 1, most=1)
    times = _table(texts["annotion_time"], f"{subset}_annotion_time.txt", 1)
    crops = _table(texts["crop_wh"], f"{subset}_crop_wh.txt", 4, most=4)
    lines = _table(texts["resolution"], f"{subset}_resolution.txt", 1, most=1)
    videos = []
    for name, (place, words) in times.items():
        spans = {i: _span(word, place) for i, word in enumerate(words)}
        boxes = {}
        for index in spans:
            crop = crops.get(f"{name}_{index}")
            if crop is not None:
                height = _numbers(lines[name][1], lines[name][0])[0] if name in lines else 0
                boxes[index] = _crop(_numbers(crop[1], crop[0]), height, crop[0])
        videos.append(HdtfVideo(name, subset, _youtube(address[name][1][0]) if name in address else "", spans, boxes))
    return videos


@dataclass(frozen=True, slots=True)
class Hdtf:
    """The data set under ``data``; see the head of this file for its folders.

    People are told apart by the name of the video without its last number, so that videos of one person (and all videos
    of the RD list, whose names tell nobody) stay on one side of the split. Clips without a crop are left out, as they
    are not in the published set of crops.
    """

    data: Path
    held_out_share: float = 0.05

    def clips(self) -> Sequence[SourceClip]:
        """One clip for each span of each video that is there, named SUBSET-VIDEO-NUMBER.

        Raises:
            InputError: lists or videos are missing, or a line cannot be read.
        """
        videos = videos_by_stem(self.data / "videos")
        found, missing, uncropped = [], 0, 0
        for video in self._listed():
            path = next(
                (videos[n] for n in (f"{video.subset}_{video.name}", video.name, video.youtube) if n in videos),
                None,
            )
            if path is None:
                missing += 1
                continue
            for index, (start_s, end_s) in video.spans_s.items():
                if index in video.crops:
                    found.append(self._clip(video, index, path, float(start_s), float(end_s)))
                else:
                    uncropped += 1
        if missing or uncropped:
            _log.warning("HDTF: %d videos are not in %s; %d clips have no crop", missing, self.data, uncropped)
        if not found:
            raise InputError(f"no HDTF video in {self.data / 'videos'}.\n{_LAYOUT.format(data=self.data)}")
        return found

    def _listed(self) -> list[HdtfVideo]:
        folder = self.data / "HDTF_dataset"
        videos: list[HdtfVideo] = []
        for subset in _SUBSETS:
            paths = {name: folder / f"{subset}_{name}.txt" for name in _LISTS}
            if not any(path.is_file() for path in paths.values()):
                continue
            if gone := [path.name for path in paths.values() if not path.is_file()]:
                raise InputError(f"{folder} lacks {', '.join(gone)}.\n{_LAYOUT.format(data=self.data)}")
            texts = {name: path.read_text(encoding="utf-8", errors="replace") for name, path in paths.items()}
            videos += read_subset(texts, subset)
        if not videos:
            raise InputError(f"no HDTF lists in {folder}.\n{_LAYOUT.format(data=self.data)}")
        return videos

    def _clip(self, video: HdtfVideo, index: int, path: Path, start_s: float, end_s: float) -> SourceClip:
        person = video.name.rstrip("0123456789") or video.name
        return SourceClip(
            clip=clip_name(video.subset, video.name, str(index)),
            path=path,
            provenance=Provenance(
                person=person, split=side_of(person, self.held_out_share), licence=_LICENCE, credit=_CREDIT
            ),
            start_s=start_s,
            end_s=end_s,
            window=video.crops[index],
        )


def _table(text: str, name: str, least: int, most: int | None = None) -> dict[str, tuple[str, list[str]]]:
    """First word without suffix to (place for messages, further words)."""
    rows: dict[str, tuple[str, list[str]]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words:
            continue
        place = f"{name} line {number}"
        if not least <= len(words) - 1 <= (most or len(words)):
            raise InputError(f"{place}: expected a name and {least} word{'s' * (least > 1)} or more: {line!r}")
        rows[words[0].removesuffix(".mp4")] = place, words[1:]
    return rows


def _span(word: str, place: str) -> tuple[int, int]:
    match = _SPAN.fullmatch(word)
    if match is None:
        raise InputError(f"{place}: not a time span like 00:30-01:00: {word!r}")
    hours, minutes, seconds, to_hours, to_minutes, to_seconds = (int(part or 0) for part in match.groups())
    start, end = 3600 * hours + 60 * minutes + seconds, 3600 * to_hours + 60 * to_minutes + to_seconds
    if end <= start:
        raise InputError(f"{place}: the span ends before it starts: {word!r}")
    return start, end


def _numbers(words: Sequence[str], place: str) -> list[int]:
    if not all(re.fullmatch(r"\d{1,5}", word) for word in words):
        raise InputError(f"{place}: not whole numbers: {' '.join(words)!r}")
    return [int(word) for word in words]


def _crop(numbers: Sequence[int], video_height_px: int, place: str) -> Box:
    left, width, top, height = numbers
    if not (width and height and video_height_px):
        raise InputError(f"{place}: a crop without size, or of a video whose resolution is not listed")
    return Box(left, top, width, height, video_height_px)


def _youtube(address: str) -> str:
    parts = urlparse(address)
    return parse_qs(parts.query).get("v", [parts.path.rpartition("/")[2]])[0]
