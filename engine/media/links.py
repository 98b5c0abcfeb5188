"""Complete recordings one after another in one file, of which decoders read the first alone.

BOS  page page ... EOS | BOS  page ... EOS      Ogg, chained (RFC 3533, section 4), as radios are recorded
RIFF size WAVE ...     | RIFF size WAVE ...     wave files put together with cat
`------- link -------'   `---- link ----'
"""

import io
import struct

_OGG, _RIFF = b"OggS", b"RIFF"
_PAGE_HEADER_BYTES = 27
_BEGINS = 0x02
_RESYNC_BYTES = 1 << 20


def links(file: io.BufferedIOBase, size: int) -> list[tuple[int, int]]:
    """First and last byte (exclusive) of every recording; all of a file, of any kind, that holds one."""
    file.seek(0)
    magic = file.read(4)
    starts = _ogg_starts(file, size) if magic == _OGG else _wave_starts(file, size) if magic == _RIFF else []
    starts = starts or [0]
    return list(zip(starts, [*starts[1:], size], strict=True))


def _wave_starts(file: io.BufferedIOBase, size: int) -> list[int]:
    starts, place = [], 0
    while place + 12 <= size:
        file.seek(place)
        header = file.read(12)
        if header[:4] != _RIFF or header[8:] != b"WAVE":
            break
        starts.append(place)
        length = struct.unpack("<I", header[4:8])[0]
        place += 8 + length + length % 2
    return starts


def _ogg_starts(file: io.BufferedIOBase, size: int) -> list[int]:
    starts: list[int] = []
    place, in_headers = 0, False
    while place + _PAGE_HEADER_BYTES <= size:
        file.seek(place)
        header = file.read(_PAGE_HEADER_BYTES)
        if header[:4] != _OGG:
            following = _next_page(file, place, size)
            if following is None:
                break
            place = following
            continue
        begins = bool(header[5] & _BEGINS)
        # The streams of one link all begin before the first of their other pages.
        if begins and not in_headers:
            starts.append(place)
        in_headers = begins
        lengths = file.read(header[26])
        place += _PAGE_HEADER_BYTES + len(lengths) + sum(lengths)
    return starts


def _next_page(file: io.BufferedIOBase, place: int, size: int) -> int | None:
    """Where the next page begins after damage."""
    file.seek(place + 1)
    found = file.read(min(size - place, _RESYNC_BYTES)).find(_OGG)
    return None if found < 0 else place + 1 + found
