"""Every format a phone or browser makes, and every way a file can be wrong."""

import contextlib
import io
import struct
import sys
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

from engine.errors import ImageTooLarge, ImageUnreadable, MissingDependency, PortraitError
from engine.portrait import load_image
from engine.portrait.decode import MAX_SIDE

_Rgb = NDArray[np.uint8]


def _encode(image: Image.Image, file_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def _near(left: _Rgb, right: _Rgb, tolerance: float) -> bool:
    return float(np.abs(left.astype(float) - right.astype(float)).mean()) < tolerance


@pytest.mark.parametrize(
    ("file_format", "options", "tolerance"),
    [
        ("PNG", {}, 0.01),
        ("BMP", {}, 0.01),
        ("TIFF", {}, 0.01),
        ("WEBP", {"lossless": True}, 0.5),
        ("JPEG", {"quality": 95}, 3),
        ("JPEG", {"quality": 95, "progressive": True}, 3),
        ("GIF", {}, 12),
        pytest.param(
            "AVIF", {"quality": 90}, 4,
            marks=pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF"),
        ),
    ],
)  # fmt: skip
def test_format(face: _Rgb, file_format: str, options: dict[str, Any], tolerance: float) -> None:
    seen = load_image(_encode(Image.fromarray(face), file_format, **options))
    assert seen.dtype == np.uint8
    assert seen.shape == face.shape
    assert _near(seen, face, tolerance)


def test_path_bytes_and_array_agree(face: _Rgb, tmp_path: Path) -> None:
    data = _encode(Image.fromarray(face), "PNG")
    (tmp_path / "face.png").write_bytes(data)
    for source in (tmp_path / "face.png", str(tmp_path / "face.png"), data, face):
        np.testing.assert_array_equal(load_image(source), face)


def test_an_array_is_copied(face: _Rgb) -> None:
    own = face.copy()
    load_image(own)[:] = 0
    np.testing.assert_array_equal(own, face)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(face: _Rgb, orientation: int) -> None:
    upright = Image.fromarray(face[:300])
    undo = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = load_image(_encode(stored, "JPEG", quality=95, exif=exif))
    assert seen.shape == (300, 512, 3)
    assert _near(seen, face[:300], 3)


def test_a_damaged_exif_block_is_passed_over(face: _Rgb) -> None:
    data = _encode(Image.fromarray(face), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff garbage")
    assert load_image(data).shape == face.shape


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_on_grey(face: _Rgb, mode: str) -> None:
    image = Image.fromarray(face).convert("RGBA")
    image.putalpha(Image.fromarray(np.r_[np.zeros((256, 512), np.uint8), np.full((256, 512), 255, np.uint8)]))
    converted = image.convert("LA") if mode != "RGBA" else image
    file_format = "PNG"
    if mode == "PA":
        converted, file_format = image.convert("P"), "PNG"
        converted.info["transparency"] = 0
        seen = load_image(_encode(converted, file_format, transparency=0))
        assert seen.shape == face.shape
        return
    seen = load_image(_encode(converted, file_format))
    assert (seen[:200] == 128).all()
    assert seen[300:].std() > 10


def test_palette(face: _Rgb) -> None:
    seen = load_image(_encode(Image.fromarray(face).quantize(64), "PNG"))
    assert _near(seen, face, 12)


def test_grayscale(face: _Rgb) -> None:
    gray = Image.fromarray(face).convert("L")
    seen = load_image(_encode(gray, "PNG"))
    np.testing.assert_array_equal(seen, np.stack([np.asarray(gray)] * 3, -1))
    np.testing.assert_array_equal(load_image(np.asarray(gray)), seen)


def test_one_bit(face: _Rgb) -> None:
    assert set(np.unique(load_image(_encode(Image.fromarray(face).convert("1"), "PNG")))) == {0, 255}


def test_sixteen_bits(face: _Rgb) -> None:
    gray = np.asarray(Image.fromarray(face).convert("L"))
    seen = load_image(_encode(Image.fromarray(gray.astype(np.uint16) * 257), "PNG"))
    np.testing.assert_array_equal(seen[..., 0], gray)


def test_cmyk(face: _Rgb) -> None:
    assert _near(load_image(_encode(Image.fromarray(face).convert("CMYK"), "JPEG", quality=95)), face, 4)


def test_a_colour_profile_is_honoured(face: _Rgb) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert _near(load_image(_encode(Image.fromarray(face), "PNG", icc_profile=profile)), face, 2)
    broken = _encode(Image.fromarray(face), "PNG", icc_profile=b"no profile")
    np.testing.assert_array_equal(load_image(broken), face)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_an_animation_gives_its_first_frame(face: _Rgb, file_format: str) -> None:
    first, second = Image.fromarray(face), Image.new("RGB", (512, 512))
    seen = load_image(_encode(first, file_format, save_all=True, append_images=[second], duration=100))
    assert _near(seen, face, 12)


def test_a_phone_photo_is_reduced(face: _Rgb) -> None:
    large = Image.fromarray(face).resize((6000, 4500), Image.Resampling.BILINEAR)
    data = _encode(large, "JPEG", quality=80)
    tracemalloc.start()
    seen = load_image(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(seen.shape) <= MAX_SIDE
    assert seen.shape[0] / seen.shape[1] == pytest.approx(0.75, abs=0.01)
    assert peak < 6000 * 4500 * 3


def _huge_png(side: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100_000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [8000, 12_000, 30_000])
def test_too_many_pixels_are_refused_before_decoding(side: int) -> None:
    started = time.perf_counter()
    tracemalloc.start()
    with pytest.raises(ImageTooLarge):
        load_image(_huge_png(side))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert time.perf_counter() - started < 0.5


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    sparse = tmp_path / "large.jpg"
    with sparse.open("wb") as stream:
        stream.truncate(200_000_000)
    with pytest.raises(ImageTooLarge):
        load_image(sparse)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_unreadable(face: _Rgb, file_format: str, share: float) -> None:
    data = _encode(Image.fromarray(face), file_format)
    with pytest.raises(ImageUnreadable):
        load_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("data", [b"", b"\0", b"GIF89a", b"<svg></svg>", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"x" * 1000])
def test_garbage_is_unreadable(data: bytes) -> None:
    with pytest.raises(ImageUnreadable):
        load_image(data)


def test_a_missing_file_and_a_folder_are_unreadable(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jpg", tmp_path):
        with pytest.raises(ImageUnreadable):
            load_image(path)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
    ],
)
def test_a_wrong_array_is_unreadable(array: NDArray[Any]) -> None:
    with pytest.raises(ImageUnreadable):
        load_image(array)


def test_heic_without_its_extra_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingDependency, match="pip install"):
        load_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 64)


def test_heic(face: _Rgb) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the heic extra is not installed")
    pillow_heif.register_heif_opener()
    seen = load_image(_encode(Image.fromarray(face), "HEIF", quality=90))
    assert _near(seen, face, 4)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_only_named_errors(data: st.DataObject) -> None:
    file_format = data.draw(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"]))
    pixels = np.add.outer(np.arange(48), np.arange(48)).astype(np.uint8)
    good = bytearray(_encode(Image.fromarray(np.stack([pixels] * 3, -1)), file_format))
    for _ in range(data.draw(st.integers(1, 8))):
        good[data.draw(st.integers(0, len(good) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PortraitError):
        assert load_image(bytes(good)).ndim == 3
