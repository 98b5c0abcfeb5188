"""``gohd evaluate`` on videos that the engine makes: tables, CSV, plots, cache, and what goes wrong with videos."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from engine import load_engine
from engine.errors import CommandInvalid, InputError, OutputUnwritable
from engine.media import Mp4Writer, read_audio
from train.evaluate import EvaluateConfig, evaluate, parse_metrics
from train.evaluate.pairs import match_videos

_FRAMES = 24
_OURS = "ssim_p,var_p,ssim_e,var_e,mld,mouth,mouth_range,blinks,jitter,landmarks,psnr,ssim"


def _videos(portrait: Path, voice: Path, out: Path, seed: int) -> list[np.ndarray]:  # type: ignore[type-arg]
    engine = load_engine()
    session = engine.open_session(engine.enroll(portrait), seed=seed)
    images: list[np.ndarray] = []  # type: ignore[type-arg]
    for chunk, rate in read_audio(voice):
        images += [frame.rgb.copy() for frame in session.push_pcm(chunk, rate)]
        if len(images) >= _FRAMES:
            break
    _write(out, images[:_FRAMES])
    return images[:_FRAMES]


def _write(path: Path, images: list[np.ndarray], hertz: int = 25) -> None:  # type: ignore[type-arg]
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = np.sin(np.arange(16000 * len(images) // hertz) / 9).astype(np.float32) / 4
    with Mp4Writer(path, images[0].shape[1::-1], 16000, 1) as video:
        video.write_audio(audio)
        for index, image in enumerate(images):
            video.write(image, index * 16000 // hertz)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, portrait_path: Path, voice_path: Path) -> tuple[Path, Path]:
    """Two folders: 'talk' by two seeds, 'wide' (real one with a border, 30 fps), a damaged video, and lone ones."""
    root = tmp_path_factory.mktemp("films")
    generated, real = root / "generated", root / "real"
    _videos(portrait_path, voice_path, generated / "talk.mp4", 1)
    images = _videos(portrait_path, voice_path, real / "talk.mp4", 0)
    shutil.copy(real / "talk.mp4", generated / "wide.mp4")
    wide = [cv2.copyMakeBorder(p, 0, 0, 64, 64, cv2.BORDER_REPLICATE) for p in images]
    _write(real / "wide.mp4", wide, hertz=30)
    shutil.copy(real / "talk.mp4", real / "broken.mp4")
    (generated / "broken.mp4").write_bytes((real / "talk.mp4").read_bytes()[:900])
    shutil.copy(real / "talk.mp4", generated / "alone.mp4")
    (real / "notes.txt").write_text("no film")
    return generated, real


def test_command_prints_tables_and_writes_csv_and_plots(folders: tuple[Path, Path], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    result = CliRunner().invoke(
        app,
        [
            "evaluate",
            str(folders[0]),
            str(folders[1]),
            "--metrics",
            _OURS + ",lse_c,fid",
            "--out",
            str(tmp_path),
        ],
        env={"COLUMNS": "220"},
    )
    assert result.exit_code == 0, result.output
    for text in (
        "SSIM_p",
        "ground truth",
        "MLD",
        "not computed",
        "syncnet",
        "broken",
        "alone",
        "held to 25",
    ):
        assert text in result.output
    with (tmp_path / "films.csv").open() as file:
        videos = {row["film"]: row for row in csv.DictReader(file)}
    assert set(videos) == {"talk", "wide", "broken"}
    assert "broken.mp4" in videos["broken"]["refused"]
    assert 0 < float(videos["talk"]["landmarks"]) < 0.3
    # The wide video is the square one with borders: its face square is the same image, cropped a little otherwise.
    assert float(videos["wide"]["mouth"]) > 0.8
    with (tmp_path / "summary.csv").open() as file:
        summary = {row["metric"]: row for row in csv.DictReader(file)}
    assert float(summary["mld"]["generated"]) > 0
    assert summary["mld"]["real"] == ""
    assert float(summary["var_e"]["real"]) > 0
    assert "syncnet" in summary["lse_c"]["not computed"]
    assert "inception" in summary["fid"]["not computed"]
    assert (tmp_path / "metrics.png").stat().st_size > 1000
    assert (tmp_path / "motion.png").stat().st_size > 1000


def test_a_video_against_itself_is_perfect_and_a_rerun_looks_at_nothing_again(
    folders: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = tmp_path / "same"
    same.mkdir()
    shutil.copy(folders[1] / "talk.mp4", same / "talk.mp4")
    config = EvaluateConfig(generated=same, real=folders[1], metrics=parse_metrics(_OURS), out=tmp_path / "out")
    first = evaluate(config).summaries
    assert first["ssim_p"].generated == pytest.approx(1)
    assert first["ssim_e"].generated == pytest.approx(1)
    assert first["mld"].generated == pytest.approx(0)
    assert first["landmarks"].generated == pytest.approx(0)
    assert first["mouth"].generated == pytest.approx(1)
    assert first["psnr"].generated == 100
    assert first["var_p"].generated == first["var_p"].real

    def looked(*_: object) -> None:
        raise AssertionError("a cached video was looked at again")

    monkeypatch.setattr("train.evaluate.features.detect_landmarks", looked)
    monkeypatch.setattr("train.evaluate.embeddings.framed", looked)
    assert evaluate(config).summaries == first


def test_a_damaged_cache_file_is_made_again(folders: tuple[Path, Path], tmp_path: Path) -> None:
    one = tmp_path / "one"
    one.mkdir()
    shutil.copy(folders[0] / "talk.mp4", one / "talk.mp4")
    config = EvaluateConfig(generated=one, real=folders[1], metrics=("mld",), out=tmp_path / "out")
    first = evaluate(config).summaries
    for path in (tmp_path / "out" / "cache").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    assert evaluate(config).summaries == first


def test_nothing_to_compare_is_said_plainly(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        match_videos(tmp_path / "empty", folders[1])
    with pytest.raises(InputError, match="no folder"):
        match_videos(tmp_path / "none", folders[1])
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(folders[0] / "talk.mp4", other / "somebody.mp4")
    with pytest.raises(InputError, match="same name"):
        match_videos(other, folders[1])
    shutil.copy(folders[0] / "broken.mp4", other / "talk.mp4")
    config = EvaluateConfig(generated=other, real=folders[1], metrics=("mld",), out=tmp_path / "out")
    with pytest.raises(InputError, match="no pair"):
        evaluate(config)


def test_two_videos_of_one_name_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    for suffix in (".mp4", ".mov"):
        shutil.copy(folders[0] / "talk.mp4", tmp_path / f"talk{suffix}")
    with pytest.raises(InputError, match="rename one"):
        match_videos(tmp_path, folders[1])


def test_unknown_metric_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(CommandInvalid, match="lse_c, lse_d, fid"):
        EvaluateConfig(generated=tmp_path, real=tmp_path, metrics=parse_metrics("psnr,beauty"))


def test_an_output_that_cannot_be_made_is_named(folders: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    config = EvaluateConfig(generated=folders[0], real=folders[1], out=tmp_path / "file" / "out", metrics=("mld",))
    with pytest.raises(OutputUnwritable, match="file"):
        evaluate(config)
