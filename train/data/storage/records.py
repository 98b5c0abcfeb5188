"""Dataclasses about clips as lines of JSON; fields of their `Provenance` stand among their own."""

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import InputError
from train.data.storage.files import save_text
from train.data.storage.provenance import Provenance

_Record = TypeVar("_Record")
_PROVENANCE = tuple(field.name for field in dataclasses.fields(Provenance))


def write_records(path: Path, records: Iterable[Any], keys: Mapping[str, str] | None = None) -> None:
    """Write dataclasses, one a line, replacing the file in one step.

    Args:
        keys: field name to key in the file, where they differ.

    Raises:
        OutputUnwritable: the disk is full or forbidden.
    """
    keys = keys or {}
    lines = []
    for record in records:
        fields = dataclasses.asdict(record)
        flat = {"clip": fields.pop("clip"), **fields.pop("provenance"), **fields}
        lines.append(json.dumps({keys.get(name, name): value for name, value in flat.items()}) + "\n")
    save_text(path, "".join(lines))


def read_records(path: Path, kind: Callable[..., _Record], keys: Mapping[str, str] | None = None) -> list[_Record]:
    """Read what `write_records` wrote.

    Raises:
        InputError: a line is not a record; the message names it.
    """
    names = {key: name for name, key in (keys or {}).items()}
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            fields = {names.get(key, key): value for key, value in json.loads(line).items()}
            provenance = Provenance(**{name: fields.pop(name) for name in _PROVENANCE})
            records.append(kind(**fields, provenance=provenance))
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InputError(f"{path} line {number} is not a record of a clip: {error}") from error
    return records
