"""Pictures of strangers: whatever they do, they do it to a child process."""

import io
import os
import signal
import struct
import time
import zlib
from collections.abc import AsyncIterator

import numpy as np
import pytest
from PIL import Image

from engine.errors import ImageTooLarge, ImageUnreadable
from server.http.image_sandbox import ImageDecoder
from tests.serving_helper import image_bytes


@pytest.fixture
async def decoder() -> AsyncIterator[ImageDecoder]:
    decoder = ImageDecoder()
    yield decoder
    await decoder.close()


def _bomb(side_px: int) -> bytes:
    """A PNG of a few kilobytes that says it has side x side pixels, and has the first of them."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    head = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


async def test_pixels_are_those_of_the_image(decoder: ImageDecoder) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    assert np.array_equal(await decoder.decode(file.getvalue()), pixels)


async def test_bad_images_are_named_and_the_next_is_decoded(decoder: ImageDecoder) -> None:
    for bad in (b"MZ no picture", image_bytes()[:200], b"\x00"):
        with pytest.raises(ImageUnreadable):
            await decoder.decode(bad)
    for side_px in (20_000, 60_000):
        with pytest.raises((ImageTooLarge, ImageUnreadable)):
            await decoder.decode(_bomb(side_px))
    first = decoder._child
    assert (await decoder.decode(image_bytes())).shape == (32, 32, 3)
    assert decoder._child is first


async def test_memory_is_limited(decoder: ImageDecoder) -> None:
    await decoder.decode(image_bytes())
    assert decoder._child is not None
    with open(f"/proc/{decoder._child.pid}/limits") as limits:  # noqa: PTH123
        rows = {line[:25].strip(): line[25:].split()[0] for line in limits}
    assert 2**30 < int(rows["Max data size"]) < 3 * 2**30
    assert rows["Max file size"] == "0"


async def test_a_child_that_dies_is_replaced(decoder: ImageDecoder) -> None:
    await decoder.decode(image_bytes())
    assert decoder._child is not None
    os.kill(decoder._child.pid, signal.SIGSTOP)
    os.kill(decoder._child.pid, signal.SIGKILL)
    with pytest.raises(ImageUnreadable):
        await decoder.decode(image_bytes())
    assert (await decoder.decode(image_bytes())).shape == (32, 32, 3)


async def test_a_child_that_hangs_is_killed() -> None:
    decoder = ImageDecoder(timeout_s=15.0)
    await decoder.decode(image_bytes())
    assert decoder._child is not None
    hanging = decoder._child
    os.kill(hanging.pid, signal.SIGSTOP)
    decoder._timeout_s = 0.3
    began = time.monotonic()
    with pytest.raises(ImageUnreadable, match="too long"):
        await decoder.decode(image_bytes())
    assert time.monotonic() - began < 8
    assert hanging.returncode is not None
    await decoder.close()


async def test_children_are_renewed_and_know_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOHD_TOKEN", "0123456789abcdef")
    decoder = ImageDecoder(images_per_child=2)
    await decoder.decode(image_bytes())
    assert decoder._child is not None
    with open(f"/proc/{decoder._child.pid}/environ", "rb") as environ:  # noqa: PTH123
        assert b"0123456789abcdef" not in environ.read()
    await decoder.decode(image_bytes())
    assert decoder._child is None
