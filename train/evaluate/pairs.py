"""Which generated video belongs to which real one: the file's name without its suffix."""

from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from train.data.readers.clips import CLIP_SUFFIXES


@dataclass(frozen=True, slots=True)
class VideoPair:
    """A generated video and the real one of the same name."""

    name: str
    generated: Path
    real: Path


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs by name, and the names that stand in one folder alone."""

    pairs: tuple[VideoPair, ...]
    only_generated: tuple[str, ...]
    only_real: tuple[str, ...]


def match_videos(generated: Path, real: Path) -> Matching:
    """Match the videos of two folders (searched one level deep).

    Raises:
        InputError: a folder is missing or holds no video, two videos of a folder share a name, or nothing matches.
    """
    ours, theirs = _videos(generated), _videos(real)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        raise InputError(
            f"no video in {generated} has the name of one in {real}: "
            f"{_some(sorted(ours))} against {_some(sorted(theirs))}; give matching videos the same name"
        )
    return Matching(
        pairs=tuple(VideoPair(name, ours[name], theirs[name]) for name in both),
        only_generated=tuple(sorted(ours.keys() - theirs.keys())),
        only_real=tuple(sorted(theirs.keys() - ours.keys())),
    )


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name a folder of videos")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in CLIP_SUFFIXES:
            continue
        if path.stem in found:
            raise InputError(f"{found[path.stem].name} and {path.name} in {folder} have one name; rename one")
        found[path.stem] = path
    if not found:
        raise InputError(f"no videos ({', '.join(sorted(CLIP_SUFFIXES))}) in {folder}")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
