"""Decodes images from its standard input under limits of memory. Run by path, it imports nothing of the server.

It says ``R`` when it is ready. Each request is a length (uint32) and that many bytes; each answer a header (kind, size,
height, width) and ``size`` bytes: pixels for kind ``O``, for kind ``E`` the name of an error, a line feed and its
message.
"""

import contextlib
import os
import struct
import sys
from typing import BinaryIO

from engine.errors import GohdError
from engine.portrait.decode import load_image

__all__: list[str] = []

_MAX_MORE_BYTES = 2**30
_MAX_ERROR_BYTES = 2048


def _limit_resources() -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        data_bytes = _data_bytes()
        for kind, most in (
            (resource.RLIMIT_DATA, data_bytes + _MAX_MORE_BYTES),
            (resource.RLIMIT_FSIZE, 0),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(kind, (most, most))


def _data_bytes() -> int:
    """Private memory that this process has now (Linux)."""
    with open("/proc/self/status", encoding="ascii") as status:  # noqa: PTH123
        for line in status:
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    raise OSError("no VmData")


def _serve(requests: BinaryIO, answers: BinaryIO) -> None:
    while len(head := requests.read(4)) == 4:
        (size,) = struct.unpack("<I", head)
        image = requests.read(size)
        if len(image) < size:
            return
        try:
            rgb = load_image(image)
        except (GohdError, MemoryError) as error:
            body = f"{type(error).__name__}\n{error}".encode()[:_MAX_ERROR_BYTES]
            answers.write(struct.pack("<cIII", b"E", len(body), 0, 0) + body)
        else:
            answers.write(struct.pack("<cIII", b"O", rgb.nbytes, *rgb.shape[:2]))
            answers.write(rgb.tobytes())
        answers.flush()


def _main() -> None:
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print must not mix with answers
    _limit_resources()
    answers.write(b"R")
    answers.flush()
    _serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    _main()
