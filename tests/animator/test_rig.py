"""A rig: saved and read back, moved, and drawn at any size."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from engine.animator.mesh.build_rig import build_rig
from engine.animator.mesh.cpu_renderer import CpuRig, draw
from engine.animator.mesh.rig import Rig
from engine.animator.mesh.vertices import RigTables, move
from engine.errors import RigUnreadable
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker, crop_face, load_image
from tests.golden.make_rig import GOLDEN, motions

_WEIGHTS = Path(__file__).resolve().parents[2] / "engine" / "weights" / "default"


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(_WEIGHTS / "motion_space.safetensors")


@pytest.fixture(scope="module")
def landmarks_px(portrait_path: Path) -> npt.NDArray[np.float32]:
    return FaceLandmarker().detect(load_image(portrait_path))


def _rig(model: LandmarkModel, portrait_path: Path, landmarks_px: npt.NDArray[np.float32], size: int) -> Rig:
    crop = crop_face(load_image(portrait_path), landmarks_px, size)
    return build_rig(crop, model.fit(crop.landmarks_px, size), model)


@pytest.fixture(scope="module")
def rig(model: LandmarkModel, portrait_path: Path, landmarks_px: npt.NDArray[np.float32]) -> Rig:
    return _rig(model, portrait_path, landmarks_px, 256)


def _frames(rig: Rig, descriptors: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint8]]:
    prepared = CpuRig.of(rig)
    return [draw(prepared, move(prepared.tables, torch.from_numpy(row[None]))) for row in descriptors]


def test_a_saved_rig_draws_the_same_bytes(rig: Rig, tmp_path: Path) -> None:
    rig.save(tmp_path / "rig")
    again = Rig.load(tmp_path / "rig")
    descriptors = motions(rig.rest_descriptor)[[0, 2, 8]]
    for before, after in zip(_frames(rig, descriptors), _frames(again, descriptors), strict=True):
        assert np.array_equal(before, after)


def test_a_folder_says_by_itself_where_its_tables_lie(rig: Rig, tmp_path: Path) -> None:
    rig.save(tmp_path)
    content = json.loads((tmp_path / "rig.json").read_text())
    table = content["tables"]["source_px"]
    binary = (tmp_path / "rig.bin").read_bytes()
    count = int(np.prod(table["shape"]))
    assert table["dtype"] == "float32"
    values = np.frombuffer(binary[table["offset"] : table["offset"] + 4 * count], "<f4").reshape(table["shape"])
    assert np.array_equal(values, rig.source_px)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("rig.json", b"{}"),
        ("rig.json", b"\xff\xfe"),
        ("rig.json", b'{"version": 99}'),
        ("rig.bin", b"short"),
        ("skin.png", b"no image"),
    ],
)
def test_a_damaged_folder_is_refused(rig: Rig, tmp_path: Path, name: str, content: bytes) -> None:
    rig.save(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(RigUnreadable):
        Rig.load(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RigUnreadable, match="nowhere"):
        Rig.load(tmp_path / "nowhere")


def test_rows_move_together_as_alone(rig: Rig) -> None:
    golden = Rig.load(GOLDEN / "rig")
    small = [RigTables.of(golden)] * 3
    descriptors = torch.from_numpy(motions(golden.rest_descriptor)[[1, 6, 9]])
    together = move(RigTables.stack(small), descriptors)
    for row in range(3):
        alone = move(small[row], descriptors[row : row + 1])
        for name in alone._fields:
            torch.testing.assert_close(getattr(together, name)[row], getattr(alone, name)[0], rtol=1e-4, atol=1e-3)
    with pytest.raises(ValueError, match="one size"):
        RigTables.stack([small[0], RigTables.of(rig)])


def test_the_golden_rig_moves_and_draws_as_recorded() -> None:
    golden = Rig.load(GOLDEN / "rig")
    with np.load(GOLDEN / "rig_motion.npz") as recorded:
        prepared = CpuRig.of(golden)
        moved = move(
            RigTables.stack([prepared.tables] * len(recorded["frames"])), torch.from_numpy(recorded["descriptors"])
        )
        for name in moved._fields:
            np.testing.assert_allclose(getattr(moved, name).numpy(), recorded[name], rtol=1e-3, atol=5e-3, err_msg=name)
        for frame, expected in zip(_frames(golden, recorded["descriptors"]), recorded["frames"], strict=True):
            apart = np.abs(frame.astype(int) - expected).max(-1)
            assert (apart > 2).mean() < 1e-3


def test_a_larger_rig_shows_the_same_face(
    rig: Rig, model: LandmarkModel, portrait_path: Path, landmarks_px: npt.NDArray[np.float32]
) -> None:
    large = _rig(model, portrait_path, landmarks_px, 512)
    for small, big in zip(
        _frames(rig, motions(rig.rest_descriptor)), _frames(large, motions(large.rest_descriptor)), strict=True
    ):
        halved = big.reshape(256, 2, 256, 2, 3).mean((1, 3))
        assert np.abs(halved - small).mean() < 2.5
