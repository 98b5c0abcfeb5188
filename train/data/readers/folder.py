"""A plain folder of clips, of any frame rate, with or without audio.

DATA/talk.mp4               a clip of a person named after the file
DATA/anna/one.mp4           clips of one person
DATA/anna/two.mov
DATA/clips.csv              optional: clip,person,split,licence,credit,resynced_by  (clip: talk, or anna/one;
                            split: train or held_out; an empty cell keeps what the names say;
                            `train.data.pipeline.resync` writes the last column)
"""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from train.data.readers.clips import CLIP_SUFFIXES
from train.data.readers.source_clip import SourceClip, clip_name, side_of
from train.data.readers.sources import UNKNOWN_LICENCE, describe_clip

_COLUMNS = ("clip", "person", "split", "licence", "credit", "resynced_by")
_LAYOUT = """A folder of clips is expected as
  {data}/talk.mp4          a clip ({suffixes}) of a person named after the file
  {data}/anna/one.mp4      clips of one person
  {data}/clips.csv         optional: clip,person,split,licence,credit"""


@dataclass(frozen=True, slots=True)
class ClipFolder:
    """The videos directly in ``data`` and one folder below it; people of unknown sets are split by the share."""

    data: Path
    held_out_share: float = 0.0

    def clips(self) -> Sequence[SourceClip]:
        """One clip a video, in order of names.

        Raises:
            InputError: no video, two of one name, or a line of ``clips.csv`` that cannot be read.
        """
        paths = [
            path
            for pattern in ("*", "*/*")
            for path in sorted(self.data.glob(pattern))
            if path.suffix.lower() in CLIP_SUFFIXES and path.is_file() and not path.name.startswith(".")
        ]
        if not paths:
            suffixes = " ".join(sorted(CLIP_SUFFIXES))
            raise InputError(f"no videos in {self.data}.\n{_LAYOUT.format(data=self.data, suffixes=suffixes)}")
        listed = self._listed()
        clips: dict[str, SourceClip] = {}
        for path in paths:
            clip = self._clip(path, listed)
            if clip.clip in clips:
                raise InputError(f"{path} and {clips[clip.clip].path} would both be clip '{clip.clip}'; rename one")
            clips[clip.clip] = clip
        return [clips[name] for name in sorted(clips)]

    def _listed(self) -> Mapping[str, Mapping[str, str]]:
        path = self.data / "clips.csv"
        if not path.is_file():
            return {}
        return read_clip_list(path.read_text(encoding="utf-8-sig", errors="replace"), str(path))

    def _clip(self, path: Path, listed: Mapping[str, Mapping[str, str]]) -> SourceClip:
        inside = path.parent != self.data
        name = clip_name(path.parent.name, path.stem) if inside else path.stem
        known = describe_clip(path.stem)
        key = f"{path.parent.name}/{path.stem}" if inside else path.stem
        given = {column: cell for column, cell in listed.get(key, {}).items() if cell and column != "clip"}
        resynced_by = given.pop("resynced_by", "")
        named = {"person": path.parent.name} if inside else {}
        provenance = dataclasses.replace(known.provenance, **(named | given))
        if "split" not in given and provenance.licence == UNKNOWN_LICENCE:
            provenance = dataclasses.replace(provenance, split=side_of(provenance.person, self.held_out_share))
        return SourceClip(
            clip=name,
            path=path,
            provenance=provenance,
            offset_prior_frames=0 if resynced_by else known.offset_prior_frames,
            resynced_by=resynced_by,
        )


def read_clip_list(text: str, name: str = "clips.csv") -> dict[str, dict[str, str]]:
    """Parse ``clips.csv``: clip to its cells.

    Raises:
        InputError: another heading, a row of another length, an unknown split, a person on both sides. The message
            names the line.
    """
    rows = list(csv.reader(text.splitlines()))
    heading = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "clip" not in heading or not set(heading) <= set(_COLUMNS) or len(set(heading)) < len(heading):
        raise InputError(f"{name} line 1: expected columns out of {','.join(_COLUMNS)}, got {','.join(heading)}")
    listed: dict[str, dict[str, str]] = {}
    sides: dict[str, str] = {}
    for number, row in enumerate(rows[1:], 2):
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(heading):
            raise InputError(f"{name} line {number}: {len(row)} cells under {len(heading)} columns")
        cells = {column: cell.strip() for column, cell in zip(heading, row, strict=True)}
        split, person = cells.get("split", ""), cells.get("person", "")
        if split not in ("", "train", "held_out"):
            raise InputError(f"{name} line {number}: split must be train or held_out, not {split!r}")
        if person and split and sides.setdefault(person, split) != split:
            raise InputError(f"{name} line {number}: {person} is on both sides of the split")
        listed[cells["clip"]] = cells
    return listed
