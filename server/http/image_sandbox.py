"""Uploaded images are decoded in a process of their own, which may crash, hang or grow without harm.

    server --length, bytes--> image_sandbox_child.py: at most 1 GiB more than it began with, no file may be written
           <--pixels or the name of an error--          killed after ten seconds

The child starts with the first image, takes one at a time, and is replaced after twenty, or when it dies. It sees
none of the server's environment, where tokens may be.
"""

import asyncio
import contextlib
import logging
import os
import struct
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from engine import errors
from engine.errors import ImageTooLarge, ImageUnreadable, PortraitError

log = logging.getLogger(__name__)

_ROOT = Path(__file__).resolve().parent.parent.parent
_CHILD = Path(__file__).with_name("image_sandbox_child.py")
_PASSED_ON = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV", "HOME")
_HEADER = struct.Struct("<cIII")
_MAX_SIDE_PX = 4096
_START_TIMEOUT_S = 60.0
_MAX_ERROR_BYTES = 2048


class ImageDecoder:
    """Gives pixels for bytes. Belongs to one event loop; images wait for one another."""

    def __init__(self, timeout_s: float = 10.0, images_per_child: int = 20) -> None:
        self._timeout_s = timeout_s
        self._images_per_child = images_per_child
        self._turn = asyncio.Lock()
        self._child: asyncio.subprocess.Process | None = None
        self._decoded = 0

    async def decode(self, image: bytes) -> npt.NDArray[np.uint8]:
        """Pixels of an image file: uint8 (H, W, 3) RGB.

        Raises:
            ImageUnreadable, ImageTooLarge, MissingDependency: see the message.
        """
        async with self._turn:
            try:
                child = await self._running()
                answer = await asyncio.wait_for(_ask(child, image), self._timeout_s)
            except TimeoutError:
                await self._end()
                raise ImageUnreadable("the image takes too long to decode; save it anew and try again") from None
            except (asyncio.IncompleteReadError, ConnectionError, BrokenPipeError):
                await self._end()
                log.warning("an image made the decoder end; a new one takes its place")
                raise ImageUnreadable("the image cannot be decoded; save it anew and try again") from None
            except BaseException:
                await self._end()
                raise
            self._decoded += 1
            if self._decoded >= self._images_per_child:
                await self._end()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        """End the child, if one runs."""
        async with self._turn:
            await self._end()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
            environment["PYTHONPATH"] = os.pathsep.join((str(_ROOT), *filter(None, sys.path)))
            self._decoded = 0
            self._child = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", str(_CHILD)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                env=environment,
                limit=2**20,
            )
            assert self._child.stdout is not None
            await asyncio.wait_for(self._child.stdout.readexactly(1), _START_TIMEOUT_S)
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        if child.stdin is not None:
            child.stdin.close()
            with contextlib.suppress(ConnectionError):
                await child.stdin.wait_closed()
        await child.wait()


async def _ask(child: asyncio.subprocess.Process, image: bytes) -> npt.NDArray[np.uint8] | PortraitError | Exception:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(struct.pack("<I", len(image)))
    child.stdin.write(image)
    await child.stdin.drain()
    kind, size, height, width = _HEADER.unpack(await child.stdout.readexactly(_HEADER.size))
    if kind == b"E":
        text = (await child.stdout.readexactly(min(size, _MAX_ERROR_BYTES))).decode("utf-8", "replace")
        name, _, message = text.partition("\n")
        return _named_error(name, message)
    if not (0 < height <= _MAX_SIDE_PX and 0 < width <= _MAX_SIDE_PX) or size != 3 * height * width:
        raise ConnectionError("the decoder's answer makes no sense")
    pixels = np.frombuffer(await child.stdout.readexactly(size), np.uint8)
    return pixels.reshape(height, width, 3)


def _named_error(name: str, message: str) -> Exception:
    if name == "MemoryError":
        return ImageTooLarge("the image needs more memory than is given to one; take a smaller one")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, errors.GohdError):
        return kind(message)
    return ImageUnreadable("the image cannot be decoded")
