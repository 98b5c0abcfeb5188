"""Changes a frozen config by ``key=value`` assignments from the command line."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import CommandInvalid

_Config = TypeVar("_Config")

_FORMER_NAMES = {
    "experts": "pretrained",
    "need_sound": "need_audio",
    "pictures": "images",
    "stretch": "augmentation",
    "stretched": "variants",
    "tame": "short_clip_weight",
}
"""Settings that had other names, which command lines may still use."""


def override(config: _Config, assignments: Sequence[str]) -> _Config:
    """Return ``config`` with ``trainer.steps=100``-like assignments applied.

    Raises:
        CommandInvalid: an assignment has no ``=``, names no field, or its value is of the wrong type or out of range.
    """
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not separator:
            raise CommandInvalid(f"'{assignment}' is not KEY=VALUE")
        config = _assign(config, key.split("."), text, "")
    return config


def _assign(config: Any, path: Sequence[str], text: str, above: str) -> Any:
    """``config``, which is the setting ``above`` (with a dot at its end), with a part of it changed."""
    name, full = path[0], f"{above}{path[0]}"
    if not dataclasses.is_dataclass(config):
        raise CommandInvalid(f"'{above.rstrip('.')}' has no parts to set")
    hints = typing.get_type_hints(type(config))
    if name not in hints:
        name = _FORMER_NAMES.get(name, name)
    if name not in hints:
        near = difflib.get_close_matches(name, hints, n=2)
        hint = f"did you mean {' or '.join(above + n for n in near)}?" if near else f"there are {', '.join(hints)}"
        raise CommandInvalid(f"no setting '{full}'; {hint}")
    value = getattr(config, name)
    try:
        changed = _assign(value, path[1:], text, f"{full}.") if len(path) > 1 else _parse(hints[name], text)
        whole: Any = config
        return dataclasses.replace(whole, **{name: changed})
    except CommandInvalid:
        raise
    except (TypeError, ValueError) as error:
        raise CommandInvalid(f"{full}={text}: {error}") from error


def _parse(kind: Any, text: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if text.lower() == "none" and type(None) in arguments:
            return None
        return _parse(next(a for a in arguments if a is not type(None)), text)
    if origin is typing.Literal:
        if text not in arguments:
            raise ValueError(f"must be {' or '.join(map(str, arguments))}")
        return text
    if origin is tuple:
        parts = [part for part in text.strip("()").split(",") if part]
        return tuple(_parse(arguments[0], part) for part in parts)
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0"):
            raise ValueError("must be true or false")
        return text.lower() in ("true", "1")
    if kind in (int, float, str, Path):
        return kind(text)
    raise ValueError("cannot be set as a whole from the command line; set its parts")
