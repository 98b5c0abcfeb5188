"""The length that the header of a wave file states, which decoders cut down to what is there."""

import io
import struct
from fractions import Fraction

# What programs write that send a wave file down a pipe and never learn its length.
_UNKNOWN_BYTES = (0, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_UNCOMPRESSED = (1, 3, 0xFFFE)
_MOST_CHUNKS = 64


def stated_wave_s(file: io.BufferedIOBase) -> Fraction | None:
    """Seconds by the header; None where ``file`` is no RIFF wave file or states no length."""
    file.seek(0)
    start = file.read(12)
    if start[:4] != b"RIFF" or start[8:] != b"WAVE":
        return None
    bytes_a_second = 0
    for _ in range(_MOST_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return None
        name, size = header[:4], struct.unpack("<I", header[4:])[0]
        if name == b"fmt ":
            content = file.read(size + size % 2)
            if len(content) < 14:
                return None
            kind, _, rate, bytes_a_second, block = struct.unpack("<HHIIH", content[:14])
            if kind in _UNCOMPRESSED:  # where careless programs leave bytes a second wrong, and players do not look
                bytes_a_second = rate * block
        elif name == b"data":
            # A few bytes short of 4 GiB is what encoders leave of "unknown" after they have counted their own header.
            unknown = size in _UNKNOWN_BYTES or size > 0xFFFFFF00 or not bytes_a_second
            return None if unknown else Fraction(size, bytes_a_second)
        else:
            file.seek(size + size % 2, 1)
    return None
