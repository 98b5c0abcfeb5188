"""What is taken as a portrait, what is turned upright, what the user is told, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from engine.enrolment import PortraitFace, find_portrait_face
from engine.errors import FaceCutOff, FaceTooSmall, FaceTurnedAway, NoFaceFound
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker, load_image

_HERE = Path(__file__).parent
_WEIGHTS = _HERE.parents[1] / "engine" / "weights" / "default"
_MASK = [6, 197, 50, 280, 454, 361, 288, 397, 365, 379, 400, 152, 148, 150, 136, 172, 58, 132, 234]
_HAND = [61, 291, 0, 17, 164, 18, 57, 287, 43, 273, 202, 422, 92, 322]
_EYES = ([33, 133, 159, 145, 70, 107, 230, 226, 244], [263, 362, 386, 374, 300, 336, 450, 446, 464])

_Rgb = NDArray[np.uint8]
_Find = Callable[[_Rgb], PortraitFace]


@pytest.fixture(scope="module")
def find() -> _Find:
    landmarker, model = FaceLandmarker(), LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")
    return lambda rgb: find_portrait_face(np.ascontiguousarray(rgb), landmarker, model)


@pytest.fixture(scope="module")
def portrait(portrait_path: Path) -> _Rgb:
    return load_image(portrait_path)


@pytest.fixture(scope="module")
def points(find: _Find, portrait: _Rgb) -> NDArray[np.float32]:
    return find(portrait).landmarks_px[:, :2]


def _painted(rgb: _Rgb, outline: NDArray[np.float32], colour: tuple[int, int, int]) -> _Rgb:
    painted = rgb.copy()
    cv2.fillPoly(painted, [cv2.convexHull(outline.round().astype(np.int32))], colour, cv2.LINE_AA)
    return painted


def _tilted(rgb: _Rgb, degrees: float) -> _Rgb:
    height, width = rgb.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    return np.asarray(cv2.warpAffine(rgb, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8)


_GOOD: dict[str, Callable[[_Rgb], NDArray[np.generic]]] = {
    "as it is": lambda rgb: rgb,
    "mirrored": lambda rgb: rgb[:, ::-1],
    "grey": lambda rgb: np.repeat(rgb.mean(2, keepdims=True), 3, axis=2),
    "dark": lambda rgb: rgb * 0.15,
    "overexposed": lambda rgb: np.minimum(rgb * 2.0, 255),
    "tilted": lambda rgb: _tilted(rgb, 40),
    "small": lambda rgb: cv2.resize(rgb, (140, 140), interpolation=cv2.INTER_AREA),
    "posterised": lambda rgb: rgb // 64 * 64 + 32,
}


@pytest.mark.parametrize("change", _GOOD.values(), ids=_GOOD.keys())
def test_a_face_from_the_front_is_taken_without_a_word(
    find: _Find, portrait: _Rgb, change: Callable[[_Rgb], NDArray[np.generic]]
) -> None:
    assert find(change(portrait).astype(np.uint8)).warnings == ()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_an_image_on_its_side_or_head_is_turned_upright(find: _Find, portrait: _Rgb, quarters: int) -> None:
    found = find(np.rot90(portrait, -quarters))
    assert np.array_equal(found.rgb, portrait)
    assert len(found.warnings) == 1
    assert "turn" in found.warnings[0]


def test_a_mask_over_nose_and_mouth_is_told(find: _Find, portrait: _Rgb, points: NDArray[np.float32]) -> None:
    for colour in ((170, 190, 215), (25, 25, 28), (235, 235, 235)):
        found = find(_painted(portrait, points[_MASK], colour))
        assert any("mouth cannot be seen" in warning for warning in found.warnings)


def test_a_hand_before_the_mouth_is_told(find: _Find, portrait: _Rgb, points: NDArray[np.float32]) -> None:
    skin = tuple(int(value) for value in portrait[tuple(points[50, ::-1].astype(int))])
    found = find(_painted(portrait, points[_HAND], (skin[0], skin[1], skin[2])))
    assert any("mouth cannot be seen" in warning for warning in found.warnings)


def test_dark_glasses_and_a_patch_are_told(find: _Find, portrait: _Rgb, points: NDArray[np.float32]) -> None:
    patch = _painted(portrait, points[_EYES[0]], (15, 15, 18))
    assert any("one eye is covered" in warning for warning in find(patch).warnings)
    glasses = _painted(patch, points[_EYES[1]], (15, 15, 18))
    assert any("the eyes are covered" in warning for warning in find(glasses).warnings)


def test_shut_eyes_are_told(find: _Find) -> None:
    assert any("the eyes are shut" in warning for warning in find(load_image(_HERE / "eyes_shut.webp")).warnings)


def test_the_largest_real_face_is_taken(find: _Find, portrait: _Rgb) -> None:
    """Beside a cat whose picture is larger, and a smaller person."""
    cat = cv2.resize(load_image(_HERE / "cat.webp"), (960, 640), interpolation=cv2.INTER_CUBIC)
    small = np.full((640, 320, 3), 128, np.uint8)
    small[160:480] = cv2.resize(portrait, (320, 320), interpolation=cv2.INTER_AREA)
    found = find(np.hstack([cat, cv2.resize(portrait, (640, 640)), small]))
    middle = found.landmarks_px[:, 0].mean()
    assert 960 < middle < 1600


def test_a_profile_is_refused_by_name(find: _Find) -> None:
    with pytest.raises(FaceTurnedAway, match="to the side"):
        find(load_image(_HERE / "profile.webp"))


def test_half_a_face_is_refused_by_name(find: _Find, portrait: _Rgb, points: NDArray[np.float32]) -> None:
    with pytest.raises(FaceCutOff, match="within the face"):
        find(portrait[:, : int(points[168, 0]) + 20])
    with pytest.raises(FaceCutOff):
        find(portrait[: int(points[2, 1])])


def test_a_small_face_is_named_so(find: _Find, portrait: _Rgb) -> None:
    with pytest.raises(FaceTooSmall, match="48"):
        find(cv2.resize(portrait, (90, 90), interpolation=cv2.INTER_AREA))


def _drawing(draw: Callable[[ImageDraw.ImageDraw], object]) -> _Rgb:
    image = Image.new("RGB", (400, 400), (235, 230, 215))
    draw(ImageDraw.Draw(image))
    return np.asarray(image)


def _clock(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse((40, 40, 360, 360), fill=(250, 250, 245), outline=(30, 30, 30), width=12)
    for hour in range(12):
        x, y = 200 + 135 * np.sin(hour * np.pi / 6), 200 - 135 * np.cos(hour * np.pi / 6)
        pen.text((x - 6, y - 8), str(hour or 12), fill=(20, 20, 20))
    pen.line((200, 200, 130, 130), fill=(20, 20, 20), width=8)
    pen.line((200, 200, 290, 120), fill=(20, 20, 20), width=5)


def _smiley(pen: ImageDraw.ImageDraw) -> None:
    pen.ellipse((60, 60, 340, 340), fill=(250, 210, 60), outline=(40, 30, 10), width=6)
    pen.ellipse((130, 140, 165, 190), fill=(30, 25, 20))
    pen.ellipse((235, 140, 270, 190), fill=(30, 25, 20))
    pen.arc((120, 160, 280, 290), 20, 160, fill=(30, 25, 20), width=8)


def _socket(pen: ImageDraw.ImageDraw) -> None:
    pen.rounded_rectangle((90, 60, 310, 340), 30, fill=(245, 245, 240), outline=(120, 120, 120), width=4)
    for x in (150, 230):
        pen.rectangle((x, 130, x + 20, 190), fill=(40, 40, 40))
    pen.pieslice((170, 220, 230, 280), 0, 360, fill=(40, 40, 40))


def _text(pen: ImageDraw.ImageDraw) -> None:
    for row in range(20):
        pen.text((20, 10 + 19 * row), "a portrait and a voice become a talking head " * 2, fill=(20, 20, 20))


def _things() -> dict[str, _Rgb]:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:400, 0:400]
    rings = 127 + 120 * np.sin(np.hypot(x - 200, y - 200) / 9)
    coarse = cv2.resize(rng.integers(0, 256, (12, 12, 3), np.uint8), (400, 400), interpolation=cv2.INTER_CUBIC)
    grey = {
        "rings": rings,
        "checks": (x // 25 + y // 25) % 2 * 255,
        "stripes": 127 + 120 * np.sin(y / 11),
        "ramp": x / 2,
    }
    things = {name: np.repeat(value[..., None], 3, axis=2).astype(np.uint8) for name, value in grey.items()}
    things |= {"noise": rng.integers(0, 256, (400, 400, 3), np.uint8), "clouds": coarse}
    things |= {"clock": _drawing(_clock), "smiley": _drawing(_smiley), "socket": _drawing(_socket)}
    return things | {"text": _drawing(_text), "blank": np.full((400, 400, 3), 200, np.uint8)}


@pytest.mark.parametrize("thing", [*_things(), "cat"])
def test_what_is_no_face_is_refused(find: _Find, thing: str) -> None:
    rgb = load_image(_HERE / "cat.webp") if thing == "cat" else _things()[thing]
    with pytest.raises(NoFaceFound, match="no face was found"):
        find(rgb)
