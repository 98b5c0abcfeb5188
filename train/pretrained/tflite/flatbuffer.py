"""Reading a FlatBuffer: a table is a list of optional fields, found through offsets.

    table --(-int32)--> vtable: bytes, bytes of the table, offset of field 0, of field 1, ... (0: absent, so default)

Only what TensorFlow Lite files need; the format is documented at flatbuffers.dev. Offsets that point outside the file
raise.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a buffer."""

    data: bytes
    start: int

    def _field(self, index: int) -> int | None:
        """Where field ``index`` lies, None where it is absent."""
        vtable = self.start - self._unpack("<i", self.start)
        place = 4 + 2 * index
        if place >= self._unpack("<H", vtable):
            return None
        offset = self._unpack("<H", vtable + place)
        return self.start + offset if offset else None

    def _unpack(self, form: str, place: int) -> int:
        if place < 0:
            raise struct.error("offset outside the buffer")
        value: int = struct.unpack_from(form, self.data, place)[0]
        return value

    def integer(self, index: int, form: str = "<i", default: int = 0) -> int:
        """A number; ``form`` is its `struct` format."""
        place = self._field(index)
        return default if place is None else self._unpack(form, place)

    def table(self, index: int) -> Table | None:
        """A table that this one refers to."""
        place = self._field(index)
        return None if place is None else Table(self.data, place + self._unpack("<I", place))

    def tables(self, index: int) -> Iterator[Table]:
        """A vector of tables."""
        start, count = self._vector(index)
        for place in range(start, start + 4 * count, 4):
            yield Table(self.data, place + self._unpack("<I", place))

    def integers(self, index: int) -> tuple[int, ...]:
        """A vector of int32."""
        start, count = self._vector(index)
        return struct.unpack_from(f"<{count}i", self.data, start)

    def bytes(self, index: int) -> NDArray[np.uint8]:
        """A vector of bytes."""
        start, count = self._vector(index)
        return np.frombuffer(self.data, np.uint8, count, start)

    def _vector(self, index: int) -> tuple[int, int]:
        place = self._field(index)
        if place is None:
            return 0, 0
        start = place + self._unpack("<I", place)
        return start + 4, self._unpack("<I", start)


def root_table(data: bytes) -> Table:
    """The table that a buffer begins with."""
    start: int = struct.unpack_from("<I", data, 0)[0]
    return Table(data, start)
