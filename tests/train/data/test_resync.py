"""Resynchronisation by the user's Wav2Lip: its command line, its results checked, its failures named."""

import dataclasses
import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError, MissingDependency, PretrainedNotFound
from tests.train.video_factory import face_frames, write_video
from train.data.pipeline.align import AlignmentConfig
from train.data.pipeline.prepare import PrepareConfig, prepare
from train.data.pipeline.resync import ResyncConfig, read_resync_list, resync
from train.data.readers.clips import read_audio, read_frames
from train.data.readers.folder import ClipFolder

_FAKE_INFERENCE = """
import argparse, os, sys, time, wave
import av
import numpy as np

parser = argparse.ArgumentParser()
for name in ("checkpoint_path", "face", "audio", "outfile"):
    parser.add_argument("--" + name, required=True)
args = parser.parse_args()
assert os.path.isdir("temp"), "the program keeps its files in temp/"
assert args.face.split(".")[1] == "mp4" and args.audio.endswith(".wav")
mode = open(args.checkpoint_path).read()
with open(args.checkpoint_path + ".calls", "a") as log:
    log.write(" ".join(sys.argv[1:]) + "\\n")
if mode == "fail":
    sys.exit("Face not detected! Ensure the video contains a face in all the frames.")
if mode == "hang":
    time.sleep(60)
if mode == "none":
    sys.exit(0)
with wave.open(args.audio) as audio:
    assert (audio.getframerate(), audio.getnchannels(), audio.getsampwidth()) == (16000, 1, 2)
    samples = np.frombuffer(audio.readframes(audio.getnframes()), "<i2")
frames = [frame.to_ndarray(format="rgb24") for frame in av.open(args.face).decode(video=0)]
with av.open(args.outfile, "w") as output:
    video = output.add_stream("libx264", rate=25)
    video.height, video.width = frames[0].shape[:2]
    video.pix_fmt = "yuv420p"
    voice = output.add_stream("aac", rate=16000, layout="mono") if mode != "mute" else None
    for frame in frames[: 3 if mode == "short" else None]:
        output.mux(video.encode(av.VideoFrame.from_ndarray(255 - frame)))
    output.mux(video.encode())
    if voice is not None:
        chunk = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="s16", layout="mono")
        chunk.sample_rate = 16000
        output.mux(voice.encode(chunk))
        output.mux(voice.encode())
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resync")
    write_video(folder / "data" / "anna" / "it's one; rm.mp4", face_frames())
    write_video(folder / "data" / "silent.mp4", face_frames(), audio=False)
    config = PrepareConfig(
        data=folder / "data",
        out=folder / "prepared",
        workers=0,
        variants=0,
        alignment=AlignmentConfig(min_score=-1.0),
    )
    prepare(config)
    return folder


@pytest.fixture
def config(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResyncConfig:
    monkeypatch.setattr(shutil, "which", lambda name: name)
    (tmp_path / "wav 2 lip").mkdir()
    (tmp_path / "wav 2 lip" / "inference.py").write_text(_FAKE_INFERENCE)
    (tmp_path / "ok.pth").write_text("ok")
    return ResyncConfig(
        data=prepared / "data",
        prepared=prepared / "prepared",
        checkout=tmp_path / "wav 2 lip",
        checkpoint=tmp_path / "ok.pth",
        out=tmp_path / "films",
        workers=0,
    )


def test_videos_come_back_resynchronised_and_are_prepared_as_targets(config: ResyncConfig, tmp_path: Path) -> None:
    (record,) = resync(config)
    sha256 = hashlib.sha256(b"ok").hexdigest()
    assert (record.clip, record.provenance.person, record.refused) == ("anna-it_s_one_rm", "anna", "")
    assert record.checkpoint_sha256 == sha256
    video = config.out / "anna-it_s_one_rm.mp4"
    frames = list(read_frames(video))
    assert len(frames) == 32
    assert frames[0].shape == (512, 512, 3)
    audio = read_audio(video)
    assert audio is not None
    assert np.abs(audio).max() > 0.1
    (clip,) = ClipFolder(config.out).clips()
    assert (clip.provenance.person, clip.resynced_by, clip.offset_prior_frames) == ("anna", sha256, 0)
    (target,) = prepare(
        PrepareConfig(
            data=config.out,
            out=tmp_path / "targets",
            workers=0,
            variants=0,
            alignment=AlignmentConfig(min_score=-1.0),
        )
    )
    assert (target.refused, target.provenance.person, target.resynced_by) == ("", "anna", sha256)


def test_finished_videos_are_kept_and_another_checkpoint_makes_them_anew(config: ResyncConfig) -> None:
    calls = Path(f"{config.checkpoint}.calls")
    first = resync(config)
    assert resync(config) == first
    assert len(calls.read_text().splitlines()) == 1
    config.checkpoint.write_text("ok ")
    other = dataclasses.replace(config, checkpoint=config.checkpoint.rename(config.checkpoint.with_name("b.pth")))
    assert resync(other)[0].checkpoint_sha256 != first[0].checkpoint_sha256
    (config.out / "anna-it_s_one_rm.mp4").unlink()
    assert resync(other)[0].refused == ""
    assert len(Path(f"{other.checkpoint}.calls").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("fail", "code 1: Face not detected"),
        ("none", "left no video"),
        ("short", "left 3 frames of 32"),
        ("mute", "without sound"),
        ("hang", "did not finish within 2 s"),
    ],
)
def test_failure_is_named_and_tried_again_only_on_request(config: ResyncConfig, mode: str, reason: str) -> None:
    checkpoint = config.checkpoint.with_name(f"{mode}.pth")
    checkpoint.write_text(mode)
    failing = dataclasses.replace(config, checkpoint=checkpoint, timeout_s=2 if mode == "hang" else 60)
    assert reason in resync(failing)[0].refused
    assert not list(config.out.glob("*.mp4"))
    assert read_resync_list(config.out)[0].refused
    if mode == "fail":
        resync(failing)
        resync(dataclasses.replace(failing, retry_refused=True))
        assert len(Path(f"{checkpoint}.calls").read_text().splitlines()) == 2
        with pytest.raises(InputError, match="no videos"):
            ClipFolder(config.out).clips()


def test_what_is_missing_is_named(config: ResyncConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    for change, match in (
        ({"checkout": config.out}, "Wav2Lip"),
        ({"checkpoint": config.out / "x.pth"}, "x.pth"),
    ):
        with pytest.raises(PretrainedNotFound, match=match):
            resync(dataclasses.replace(config, **change))  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError, match="no manifest"):
        resync(dataclasses.replace(config, prepared=config.out))
    bad = dataclasses.replace(config, python=Path("/nowhere/python"))
    assert "cannot be run" in resync(bad)[0].refused
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(MissingDependency, match="ffmpeg"):
        resync(config)


def test_broken_list_is_named(tmp_path: Path) -> None:
    (tmp_path / "resync.jsonl").write_text('{"clip": "a"}\n')
    with pytest.raises(InputError, match="line 1"):
        read_resync_list(tmp_path)
