"""The invisible mark: unseen, found again after codecs and resizing, and not found where it is not."""

import io
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from engine.postprocess import FOUND_SCORE, Watermark, WatermarkDetector, WatermarkReading

TAG = 0xABCD
ASSETS = Path(__file__).parents[2] / "engine" / "assets"


def moving_portrait(frames: int, seed: int = 0, size: int = 256) -> list[np.ndarray]:
    """The bundled portrait under a swaying, breathing camera."""
    portrait = cv2.imread(str(ASSETS / "portrait.jpg"))[..., ::-1]
    sway = np.random.default_rng(seed).uniform(0.5, 1.5, 4)
    images = []
    for t in range(frames):
        x, y = 12 * np.sin(0.09 * sway[0] * t), 9 * np.sin(0.13 * sway[1] * t)
        zoom = size / portrait.shape[0] * (1.06 + 0.03 * np.sin(0.07 * sway[2] * t))
        turn = cv2.getRotationMatrix2D((portrait.shape[1] / 2, portrait.shape[0] / 2), 2 * np.sin(0.05 * t), zoom)
        turn[:, 2] += [size / 2 - portrait.shape[1] / 2 + x, size / 2 - portrait.shape[0] / 2 + y]
        images.append(cv2.warpAffine(portrait, turn, (size, size), borderMode=cv2.BORDER_REFLECT))
    return images


def through(codec: str, images: list[np.ndarray], rate: int, scale: float = 1.0) -> list[np.ndarray]:
    """Encode as a live sender does, and decode again."""
    height, width = (round(scale * side) for side in images[0].shape[:2])
    options = {
        "libx264": {"preset": "veryfast", "tune": "zerolatency", "profile": "baseline"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    }
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as film:
        stream = film.add_stream(codec, rate=25, options=options[codec])
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = width, height, "yuv420p", rate
        for rgb in images:
            small = rgb if scale == 1 else cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(small, format="rgb24")))
        film.mux(stream.encode())
    buffer.seek(0)
    with av.open(buffer) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def read(images: list[np.ndarray], key: bytes | None = None) -> WatermarkReading:
    detector = WatermarkDetector() if key is None else WatermarkDetector(key)
    for rgb in images:
        detector.push(rgb)
    return detector.read()


@pytest.fixture(scope="module")
def plain() -> list[np.ndarray]:
    return moving_portrait(50)


@pytest.fixture(scope="module")
def marked(plain: list[np.ndarray]) -> list[np.ndarray]:
    mark = Watermark(256, 256, TAG)
    return [mark.apply(rgb) for rgb in plain]


def test_mark_is_fainter_than_40_db_in_every_frame(plain: list[np.ndarray], marked: list[np.ndarray]) -> None:
    for before, after in zip(plain, marked, strict=True):
        error = np.mean(np.square(after.astype(float) - before))
        assert 10 * np.log10(255**2 / error) >= 40


def test_mark_hides_where_the_image_is_busy(plain: list[np.ndarray], marked: list[np.ndarray]) -> None:
    change = np.abs(marked[0].astype(float) - plain[0]).mean(2)
    grey = cv2.cvtColor(plain[0], cv2.COLOR_RGB2GRAY).astype(np.float32)
    busy = cv2.blur(np.abs(grey - cv2.blur(grey, (9, 9))), (25, 25))
    assert change[busy < np.quantile(busy, 0.2)].mean() < 0.5 * change[busy > np.quantile(busy, 0.8)].mean()


def test_one_frame_is_enough_where_nothing_was_encoded(marked: list[np.ndarray]) -> None:
    reading = read(marked[:1])
    assert reading.found
    assert reading.tag == TAG


@pytest.mark.parametrize(
    ("codec", "rate", "scale"),
    [
        ("libx264", 900_000, 1),
        ("libx264", 900_000, 0.5),
        ("libvpx", 1_000_000, 1),
        ("libvpx", 1_000_000, 0.5),
    ],
)
def test_mark_survives_codecs_and_half_size(marked: list[np.ndarray], codec: str, rate: int, scale: float) -> None:
    reading = read(through(codec, marked, rate, scale))
    assert reading.found
    assert reading.tag == TAG


def test_videos_of_other_shapes_keep_their_mark() -> None:
    wide = [cv2.resize(rgb, (640, 360)) for rgb in moving_portrait(10)]
    mark = Watermark(360, 640, 7)
    assert read([cv2.resize(mark.apply(rgb), (426, 240)) for rgb in wide]).tag == 7


def test_unmarked_images_are_not_called_marked() -> None:
    scores = [read(moving_portrait(4, seed)).score for seed in range(60)]
    noise = np.random.default_rng(0).integers(0, 256, (20, 256, 256, 3), dtype=np.uint8)
    flat = [np.full((256, 256, 3), level, np.uint8) for level in (0, 128, 255)]
    scores += [read([rgb]).score for rgb in [*noise, *flat]]
    assert max(np.abs(scores)) < FOUND_SCORE


def test_another_key_finds_nothing(marked: list[np.ndarray]) -> None:
    assert not read(marked, b"a key that was not used").found
    secret = Watermark(256, 256, TAG, b"only we know this")
    film = [secret.apply(rgb) for rgb in moving_portrait(3)]
    assert not read(film).found
    assert read(film, b"only we know this").tag == TAG


def test_same_frame_same_mark(plain: list[np.ndarray], marked: list[np.ndarray]) -> None:
    assert (Watermark(256, 256, TAG).apply(plain[3]) == marked[3]).all()


def test_flat_frames_and_wrong_input() -> None:
    mark = Watermark(256, 256)
    assert mark.apply(np.zeros((256, 256, 3), np.uint8)).shape == (256, 256, 3)
    with pytest.raises(ValueError, match="expected uint8"):
        mark.apply(np.zeros((128, 128, 3), np.uint8))
    with pytest.raises(ValueError, match="16 bits"):
        Watermark(256, 256, tag=1 << 16)
    with pytest.raises(ValueError, match="too small"):
        Watermark(32, 256)
    assert WatermarkDetector().read() == WatermarkReading(False, 0.0, 0, None, 0)
