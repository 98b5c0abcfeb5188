"""`import_release` and `check_weights` on a small release, and everything that they must refuse."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from clients.cli.main import app
from engine.checkpoint import WeightsFolder
from engine.errors import (
    CheckpointRefused,
    CommandInvalid,
    OutputUnwritable,
    WeightsIncomplete,
    WeightsNotFound,
)
from engine.release import check_weights, import_release
from engine.release.convert import convert, part_shapes
from tests.release_helper import filled, reader_in_this_process, small_release, write_release

GOLDEN = Path(__file__).parents[1] / "golden" / "release"
CONFIG = small_release()


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    import_release(write_release(folder, CONFIG), folder / "small", CONFIG)
    return folder / "small"


@pytest.fixture(scope="module")
def two_stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two-stage")
    report = import_release(write_release(folder, CONFIG, "expression", two_stage=True), folder / "small", CONFIG)
    assert [entry.form for entry in report] == ["two-stage expression"]
    return folder / "small"


def test_an_import_is_a_verified_folder_that_says_what_it_is(imported: Path) -> None:
    folder = WeightsFolder.open(imported)
    assert folder.config["animator"] == "neural"
    assert folder.config["motion_space"] == "bfm"
    assert folder.section("stream")["lip_lookahead_ms"] == 133
    assert folder.section("mixer")["pose_scale"] == 1.2
    assert folder.section("mixer")["expression_scale"] == 1.5
    assert folder.section("pose_window")["guidance"] is None
    assert set(folder.section("source")) == {"animator", "pose", "gaze", "expression"}
    assert "audio2exp.pth" in (imported / "README.md").read_text()
    names = sorted(path.name for path in imported.glob("*.safetensors"))
    assert names == ["animator.safetensors", "gaze.safetensors", "lip.safetensors", "pose.safetensors"]


def test_an_import_meets_every_golden_output(imported: Path, two_stage: Path) -> None:
    figures, left_out = check_weights(imported, GOLDEN)
    assert set(left_out) == {"two_stage"}
    more, _ = check_weights(two_stage, GOLDEN)
    assert {figure.reference for figure in (*figures, *more)} == {path.stem for path in GOLDEN.glob("*.npz")}
    assert [figure for figure in (*figures, *more) if not figure.met] == []


def test_the_command_fails_when_a_bar_is_missed(imported: Path, tmp_path: Path) -> None:
    with np.load(GOLDEN / "pose.npz") as arrays:
        changed = dict(arrays)
    changed["eps"] = changed["eps"] + np.float32(1e-3)
    np.savez(tmp_path / "pose.npz", **changed)
    arguments = ["weights", "check", str(imported), "--json", "--against"]
    result = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert result.exit_code == 1
    assert json.loads(result.stdout)["outputs"][0]["met"] is False
    (tmp_path / "pose.npz").write_bytes((GOLDEN / "pose.npz").read_bytes())
    result = CliRunner().invoke(app, [*arguments, str(tmp_path)])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["passed"] is True


def test_check_says_when_there_is_nothing_to_compare(two_stage: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"animator.*\.npz"):
        check_weights(two_stage, tmp_path)
    (tmp_path / "pose.npz").write_bytes((GOLDEN / "pose.npz").read_bytes())
    with pytest.raises(WeightsIncomplete):
        check_weights(two_stage, tmp_path)


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {self.marker}",)


def _gaze() -> dict[str, torch.Tensor]:
    return filled(part_shapes("gaze", CONFIG))


def _with_nan() -> dict[str, torch.Tensor]:
    state = _gaze()
    state["skip_projection.conv1d.bias"][3] = torch.nan
    return state


def _stretched() -> dict[str, torch.Tensor]:
    return {**_gaze(), "skip_projection.conv1d.bias": torch.zeros(1).expand(10**10)}


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "payload": (lambda marker: {"model": _gaze(), "extra": _Payload(marker)}, "code or objects"),
    "payload inside": (lambda marker: {"model": {**_gaze(), "x": _Payload(marker)}}, "code or objects"),
    "bare payload": (_Payload, "code or objects"),
    "nan": (lambda _: {"model": _with_nan()}, r"NaN.*skip_projection\.conv1d\.bias"),
    "number": (lambda _: {"model": {**_gaze(), "x": 3}}, "'x', a int"),
    "list": (lambda _: [1, 2], "holds a list"),
    "another key": (lambda _: {"net": _gaze()}, r"no 'model' inside; it holds: net"),
    "stretched": (lambda _: {"model": _stretched()}, "MiB of tensors"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_files_with_more_or_less_than_finite_tensors_are_refused(kind: str, tmp_path: Path) -> None:
    make, message = REFUSED[kind]
    marker, path, out = tmp_path / "ran", tmp_path / "audio2gaze.pt", tmp_path / "out"
    torch.save(make(marker), path)
    # One of them by the process that reads strangers' files; the others differ in what is found, not in how it is told.
    reader = contextlib.nullcontext() if kind == "payload" else reader_in_this_process()
    with reader, pytest.raises(CheckpointRefused, match=message):
        import_release({"gaze": path}, out, CONFIG)
    assert not marker.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == ["audio2gaze.pt"]


@pytest.mark.parametrize("share", [0.0, 0.001, 0.6])
def test_truncated_files_are_refused(share: float, tmp_path: Path) -> None:
    path = write_release(tmp_path, CONFIG, "gaze")["gaze"]
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    reader = contextlib.nullcontext() if share == 0.6 else reader_in_this_process()
    with reader, pytest.raises(CheckpointRefused, match="damaged"):
        import_release({"gaze": path}, tmp_path / "out", CONFIG)
    assert [entry.name for entry in tmp_path.iterdir()] == ["audio2gaze.pt"]


def test_one_bad_file_of_two_writes_nothing(tmp_path: Path) -> None:
    sources = write_release(tmp_path, CONFIG, "pose", "gaze")
    with pytest.raises(CheckpointRefused, match=r"not the released gaze checkpoint"):
        import_release({"pose": sources["pose"], "gaze": sources["pose"]}, tmp_path / "out", CONFIG)
    assert not (tmp_path / "out").exists()
    with pytest.raises(WeightsNotFound, match="nowhere"):
        import_release({**sources, "animator": tmp_path / "nowhere.pt"}, tmp_path / "out", CONFIG)
    with pytest.raises(CommandInvalid, match="--animator"):
        import_release({}, tmp_path / "out", CONFIG)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["audio2gaze.pt", "audio2pose.pt"]


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").touch()
    sources = {"gaze": tmp_path / "out" / "mine"}
    with pytest.raises(OutputUnwritable, match="not empty"):
        import_release(sources, tmp_path / "out", CONFIG)
    assert (tmp_path / "out" / "mine").exists()


def test_wrong_names_and_shapes_are_listed() -> None:
    state = _gaze()
    bias = state.pop("input_projection.conv1d.bias")
    state["input_projection.conv1d.offset"] = bias
    state["output_projection.conv1d.bias"] = torch.zeros(7)
    with pytest.raises(CheckpointRefused) as refusal:
        convert("gaze", Path("audio2gaze.pt"), state, CONFIG)
    text = str(refusal.value)
    assert "1 missing: input_projection.conv1d.bias" in text
    assert "1 not expected: input_projection.conv1d.offset" in text
    assert "output_projection.conv1d.bias (7,) instead of (2,)" in text


def test_whole_numbers_for_weights_are_refused() -> None:
    state = {**_gaze(), "output_projection.conv1d.bias": torch.zeros(2, dtype=torch.int32)}
    with pytest.raises(CheckpointRefused, match=r"whole numbers.*output_projection"):
        convert("gaze", Path("audio2gaze.pt"), state, CONFIG)


def test_half_precision_is_widened() -> None:
    state = {name: value.half() if value.is_floating_point() else value for name, value in _gaze().items()}
    converted = convert("gaze", Path("audio2gaze.pt"), state, CONFIG)
    assert {tensor.dtype for tensor in converted.files["gaze.safetensors"].values()} == {torch.float32}


def test_fetch_imports_a_folder_or_says_where_the_files_are(tmp_path: Path) -> None:
    for arguments in ([], ["--from", str(tmp_path)]):
        result = CliRunner().invoke(app, ["weights", "fetch", "--out", str(tmp_path / "out"), *arguments])
        assert isinstance(result.exception, WeightsNotFound)
        assert "FaceAnimator_GoHD.pt" in str(result.exception)
        assert "github.com/Jia1018/GoHD" in str(result.exception)
    # A file of the right name and wrong content gets as far as the import.
    (tmp_path / "audio2gaze.pt").write_bytes(b"no")
    result = CliRunner().invoke(app, ["weights", "fetch", "--out", str(tmp_path / "out"), "--from", str(tmp_path)])
    assert isinstance(result.exception, CheckpointRefused)
    # Nothing listens on port 1.
    result = CliRunner().invoke(
        app, ["weights", "fetch", "--out", str(tmp_path / "out"), "--from", "http://127.0.0.1:1/weights"]
    )
    assert isinstance(result.exception, WeightsNotFound)
    assert "cannot be reached" in str(result.exception)
    assert not (tmp_path / "out").exists()
