"""The geometric animator seen from outside: portrait and descriptor in, image out."""

import itertools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.animator import CpuRig, GeometricAnimator
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceCrop, FaceLandmarker, crop_face, load_image

_WEIGHTS = Path(__file__).resolve().parents[2] / "engine" / "weights" / "default"
_UPPER_LIDS = [246, 161, 160, 159, 158, 157, 173, 466, 388, 387, 386, 385, 384, 398]
_LOWER_LIDS = [7, 163, 144, 145, 153, 154, 155, 249, 390, 373, 374, 380, 381, 382]
_UPPER_LIPS = [0, 37, 267, 11, 12, 13, 82, 312, 81, 311]
_LOWER_LIPS = [14, 87, 317, 178, 402, 15, 16, 17, 84, 314, 18, 200, 199, 175, 152]

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Stage:
    """A portrait on stage, with descriptors named by what they do."""

    animator: GeometricAnimator
    crop: FaceCrop
    prepared: CpuRig
    rest: npt.NDArray[np.float32]
    blink: npt.NDArray[np.float32]
    open_mouth: npt.NDArray[np.float32]

    def picture(self, descriptor: npt.NDArray[np.floating]) -> Image:
        return self.animator.render(self.prepared, descriptor[None].astype(np.float32))

    def with_gaze(self, pitch: float, yaw: float) -> npt.NDArray[np.float32]:
        return np.concatenate([self.rest[:70], np.array([pitch, yaw], np.float32)])

    def with_turn(self, *rotation: float) -> npt.NDArray[np.float32]:
        turned = self.rest.copy()
        turned[64:67] += np.array(rotation, np.float32)
        return turned

    def patch(self, image: Image, landmark: int, radius: int) -> npt.NDArray[np.float64]:
        x, y = self.crop.landmarks_px[landmark, :2].round().astype(int)
        return image[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(np.float64)


@pytest.fixture(scope="module")
def stage(portrait_path: Path) -> Stage:
    model = LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")
    image = load_image(portrait_path)
    crop = crop_face(image, FaceLandmarker().detect(image))
    coefficients = model.fit(crop.landmarks_px)
    animator = GeometricAnimator(model)
    rest = coefficients.descriptor
    return Stage(
        animator=animator,
        crop=crop,
        prepared=animator.prepare(crop, coefficients),
        rest=rest,
        blink=_moved(model, rest, {**dict.fromkeys(_UPPER_LIDS, 0.095), **dict.fromkeys(_LOWER_LIDS, 0.0)}),
        open_mouth=_moved(model, rest, {**dict.fromkeys(_UPPER_LIPS, -0.03), **dict.fromkeys(_LOWER_LIPS, 0.16)}),
    )


def _moved(model: LandmarkModel, rest: npt.NDArray[np.float32], drop: dict[int, float]) -> npt.NDArray[np.float32]:
    """Descriptor whose expression lowers landmarks by so many face units more than ``rest`` does."""
    basis = model.expression_basis.numpy()[:, list(drop), 1].T
    wanted = np.array(list(drop.values()))
    change = np.linalg.solve(basis.T @ basis + 1e-5 * np.eye(64), basis.T @ wanted)
    return np.concatenate([rest[:64] + change, rest[64:]]).astype(np.float32)


def _psnr(a: npt.NDArray[np.floating], b: npt.NDArray[np.floating]) -> float:
    error = float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))
    return 10 * float(np.log10(255**2 / max(error, 1e-12)))


def test_the_portrait_at_rest_is_the_crop(stage: Stage) -> None:
    assert _psnr(stage.picture(stage.rest), stage.crop.rgb) > 38


def test_same_descriptor_gives_the_same_bytes(stage: Stage) -> None:
    descriptor = stage.with_turn(0.1, -0.2, 0.05)
    first = stage.picture(descriptor)
    stage.picture(stage.blink)
    assert np.array_equal(first, stage.picture(descriptor))


def test_a_small_motion_changes_little(stage: Stage) -> None:
    base = stage.with_turn(0.02, 0.1, 0.02)
    nudged = base.copy()
    nudged[65] += 1e-4
    assert _psnr(stage.picture(base), stage.picture(nudged)) > 45


def test_wrong_windows_are_refused(stage: Stage) -> None:
    with pytest.raises(ValueError, match="window"):
        stage.animator.render(stage.prepared, np.zeros((2, 72), np.float32))
    with pytest.raises(ValueError, match="finite"):
        stage.picture(np.full(72, np.nan, np.float32))


def test_lids_close_over_the_iris(stage: Stage) -> None:
    shut = stage.picture(stage.blink)
    for iris, cheek in ((468, 50), (473, 280)):
        skin = stage.patch(stage.crop.rgb, cheek, 4).mean()
        open_eye = stage.patch(stage.crop.rgb, iris, 2).mean()
        closed_eye = stage.patch(shut, iris, 2).mean()
        assert open_eye < 0.55 * skin, "the portrait's irises should be dark for this test to say anything"
        assert closed_eye > open_eye + 0.35 * (skin - open_eye)


def test_parted_lips_show_the_inside_of_the_mouth(stage: Stage) -> None:
    opened = stage.picture(stage.open_mouth)
    x, y = stage.crop.landmarks_px[14, :2].round().astype(int)
    column = opened[y : y + 16, x - 2 : x + 3].astype(np.float64).mean(axis=(1, 2))
    lips = stage.crop.rgb[y - 3 : y + 8, x - 2 : x + 3].mean()
    assert column.min() < 0.45 * lips


@pytest.mark.parametrize("pitch", [-0.1, 0.0, 0.1])
def test_the_iris_goes_where_the_gaze_is_commanded(stage: Stage, pitch: float) -> None:
    places = [_iris_place(stage, stage.picture(stage.with_gaze(pitch, yaw)))[0] for yaw in _YAWS]
    assert np.all(np.diff(places) > -0.15)
    assert places[-1] - places[0] > 4.0


_YAWS = np.linspace(-0.3 * np.pi, 0.3 * np.pi, 13)


def test_looking_up_lifts_the_iris(stage: Stage) -> None:
    up = _iris_place(stage, stage.picture(stage.with_gaze(0.3, 0.0)))[1]
    down = _iris_place(stage, stage.picture(stage.with_gaze(-0.3, 0.0)))[1]
    assert down - up > 1.0


def test_gaze_leaves_the_rest_of_the_face_alone(stage: Stage) -> None:
    looked = stage.picture(stage.with_gaze(0.1, 0.5))
    for landmark in (1, 50, 280, 152, 10, 13):
        assert np.array_equal(stage.patch(looked, landmark, 4), stage.patch(stage.crop.rgb, landmark, 4))


def _iris_place(stage: Stage, image: Image) -> npt.NDArray[np.float64]:
    """Centre of darkness in both eye openings, mean over the eyes, px."""
    places = []
    for left, right in ((33, 133), (362, 263)):
        corners = stage.crop.landmarks_px[[left, right], :2]
        x0, x1 = corners[0, 0] + 3, corners[1, 0] - 3
        y = corners[:, 1].mean()
        part = image[int(y - 6) : int(y + 7), int(x0) : int(x1) + 1].astype(np.float64).mean(axis=2)
        dark = np.clip(np.quantile(part, 0.25) - part, 0, None) ** 2
        rows, columns = np.mgrid[0 : part.shape[0], 0 : part.shape[1]]
        places.append([(dark * columns).sum() / dark.sum(), (dark * rows).sum() / dark.sum()])
    return np.mean(places, axis=0)


def test_turning_the_head_moves_the_nose_to_that_side(stage: Stage) -> None:
    at_rest = FaceLandmarker().detect(stage.crop.rgb)
    for rotation, axis, sign in (
        ((0, 0.25, 0), 0, -1),
        ((0, -0.25, 0), 0, 1),
        ((0.2, 0, 0), 1, 1),
        ((-0.2, 0, 0), 1, -1),
    ):
        turned = FaceLandmarker().detect(stage.picture(stage.with_turn(*rotation)))
        nose = (turned[1] - turned[[33, 263]].mean(axis=0)) - (at_rest[1] - at_rest[[33, 263]].mean(axis=0))
        assert sign * nose[axis] > 3.0


_extreme = st.tuples(
    st.floats(-0.35, 0.35),
    st.floats(-0.44, 0.44),
    st.floats(-0.35, 0.35),
    st.floats(-0.12, 0.12),
    st.floats(-0.12, 0.12),
    st.floats(-0.15, 0.15),
)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(pose=_extreme, opened=st.booleans(), yaw=st.floats(-0.9, 0.9))
def test_any_motion_leaves_the_border_still_and_tears_nothing(
    stage: Stage, pose: tuple[float, ...], opened: bool, yaw: float
) -> None:
    descriptor = (stage.open_mouth if opened else stage.rest).copy()
    descriptor[64:70] += np.array(pose, np.float32)
    descriptor[71] = yaw
    picture = stage.picture(descriptor)
    assert picture.shape == stage.crop.rgb.shape
    assert picture.dtype == np.uint8
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        assert np.array_equal(picture[edge], stage.crop.rgb[edge])
    # A hole would show the unmoved portrait: a place that maps to itself amid places that do not.
    _, places = stage.animator.render_with_map(stage.prepared, descriptor[None])
    assert np.isfinite(places).all()
    rows, columns = np.mgrid[: len(places), : len(places)]
    still = (places[..., 0] == columns) & (places[..., 1] == rows)
    assert still[64:192, 80:176].mean() < 0.02 or np.abs(np.array(pose)).max() < 1e-2


def test_a_smile_can_close_its_lips(data_dir: Path, stage: Stage) -> None:
    """Teeth of the portrait vanish when the descriptor brings the lips together."""
    model = LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")
    image = load_image(data_dir / "portraits" / "london-036-smile.jpg")
    crop = crop_face(image, FaceLandmarker().detect(image))
    coefficients = model.fit(crop.landmarks_px)
    prepared = stage.animator.prepare(crop, coefficients)
    rest = coefficients.descriptor
    assert _psnr(stage.animator.render(prepared, rest[None]), crop.rgb) > 38
    gap = (crop.landmarks_px[14, 1] - crop.landmarks_px[13, 1]) / (
        0.35 * len(crop.rgb) * float(np.exp(coefficients.pose[5]))
    )
    upper = dict.fromkeys([13, 82, 312, 81, 311, 80, 310, 191, 415, 12, 11, 0], 0.35 * gap)
    lower = dict.fromkeys([14, 87, 317, 178, 402, 88, 318, 95, 324, 15, 16, 17], -0.75 * gap)
    closed = stage.animator.render(prepared, _moved(model, rest, {**upper, **lower})[None])
    (x0, _), (x1, _) = crop.landmarks_px[[80, 310], :2].round().astype(int)
    top, bottom = crop.landmarks_px[[0, 17], 1].round().astype(int)

    def whitest(picture: Image) -> float:
        part = picture[top:bottom, x0:x1].astype(np.float64)
        return float(np.quantile(part.min(axis=2), 0.95))

    assert whitest(closed) < 0.85 * whitest(crop.rgb)


@pytest.mark.parametrize("shut", [(468,), (473,), (468, 473)], ids=["left", "right", "both"])
def test_shut_eyes_open_with_a_white(stage: Stage, shut: tuple[int, ...]) -> None:
    """Only dark lashes show between shut lids; the white comes from the other eye or suits the skin."""
    asleep = stage.crop.rgb.copy()
    blinking = stage.picture(stage.blink)
    shut_px = FaceLandmarker().detect(blinking)[:, :2]
    lids = {468: (_UPPER_LIDS[:7], _LOWER_LIDS[:7]), 473: (_UPPER_LIDS[7:], _LOWER_LIDS[7:])}
    for iris in shut:
        points = stage.crop.landmarks_px[[*lids[iris][0], *lids[iris][1]], :2]
        (left, top), (right, bottom) = (points.min(0) - 8).astype(int), (points.max(0) + 8).astype(int)
        asleep[top:bottom, left:right] = blinking[top:bottom, left:right]
        line = (shut_px[lids[iris][0]] + shut_px[lids[iris][1]]) / 2
        cv2.polylines(asleep, [line.round().astype(np.int32)], False, (28, 22, 22), 2)
    model = LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")
    crop = FaceCrop(asleep, FaceLandmarker().detect(asleep), stage.crop.matrix)
    coefficients = model.fit(crop.landmarks_px)
    prepared = stage.animator.prepare(crop, coefficients)
    skin = stage.patch(asleep, 50, 4).mean()
    for side, iris in enumerate((468, 473)):
        white = prepared.rig.eyes[side].white.mean()
        assert not prepared.rig.eyes[side].sealed or iris in shut
        assert 0.5 * skin < white < 1.5 * skin
    if len(shut) == 2:
        awake = coefficients.descriptor.copy()
        awake[:64] = stage.rest[:64]
        picture = stage.animator.render(prepared, awake[None])
        for iris in shut:
            assert stage.patch(picture, iris, 3).mean() < 0.8 * stage.patch(blinking, iris, 3).mean()


def test_a_steady_motion_makes_no_frame_jump(stage: Stage) -> None:
    sway = [stage.picture(stage.with_turn(0.0, 0.25 * k / 24, 0.05 * k / 24)).astype(np.int16) for k in range(25)]
    steps = np.array([np.abs(b - a).mean() for a, b in itertools.pairwise(sway)])
    assert steps.max() < 2.0 * np.median(steps)
