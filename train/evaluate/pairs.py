"""Which generated film belongs to which real one: the file's name without its suffix."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import InputError
from train.data.clips import CLIP_SUFFIXES

__all__ = ["FilmPair", "Matching", "match_films"]


@dataclass(frozen=True, slots=True)
class FilmPair:
    """A generated film and the real one of the same name."""

    name: str
    generated: Path
    real: Path


@dataclass(frozen=True, slots=True)
class Matching:
    """Pairs by name, and the names that stand in one folder alone."""

    pairs: tuple[FilmPair, ...]
    only_generated: tuple[str, ...]
    only_real: tuple[str, ...]


def match_films(generated: Path, real: Path) -> Matching:
    """Match the films of two folders (searched one level deep).

    Raises:
        InputError: a folder is missing or holds no film, two films of a folder share a name, or nothing matches.
    """
    ours, theirs = _films(generated), _films(real)
    both = sorted(ours.keys() & theirs.keys())
    if not both:
        raise InputError(
            f"no film in {generated} has the name of one in {real}: "
            f"{_some(sorted(ours))} against {_some(sorted(theirs))}; give matching films the same name"
        )
    return Matching(
        pairs=tuple(FilmPair(name, ours[name], theirs[name]) for name in both),
        only_generated=tuple(sorted(ours.keys() - theirs.keys())),
        only_real=tuple(sorted(theirs.keys() - ours.keys())),
    )


def _films(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name a folder of films")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in CLIP_SUFFIXES:
            continue
        if path.stem in found:
            raise InputError(f"{found[path.stem].name} and {path.name} in {folder} have one name; rename one")
        found[path.stem] = path
    if not found:
        raise InputError(f"no films ({', '.join(sorted(CLIP_SUFFIXES))}) in {folder}")
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
