"""From videos to shards: what comes out, what is kept between runs, what is refused, and a disk that is full."""

import dataclasses
import errno
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from engine.checkpoint import save_tensors, write_checksums
from engine.config import FORMAT_VERSION
from engine.errors import CommandInvalid, InputError, OutputUnwritable, WeightsIncomplete
from engine.motion.space.bfm_estimators import FaceReconstruction, GazeEstimator
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.pose import project
from engine.motion.space.resnet import ResNetConfig
from engine.portrait import FaceLandmarker, crop_face
from tests.train.video_factory import face_frames, write_video
from train.data.faces.face_clips import load_face_clips
from train.data.pipeline import features, scan, tracking
from train.data.pipeline.align import AlignmentConfig
from train.data.pipeline.prepare import PrepareConfig, load_prepared, prepare
from train.data.storage import files
from train.data.storage.manifest import ClipRecord, read_manifest

_ANY_SYNC = AlignmentConfig(min_score=-1.0)
"""The mouths of these videos do not follow the voice."""


def _config(data: Path, out: Path, **changes: object) -> PrepareConfig:
    config = PrepareConfig(data=data, out=out, images=True, variants=1, workers=0, alignment=_ANY_SYNC)
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = tmp_path_factory.mktemp("films")
    write_video(data / "anna" / "one.mp4", face_frames())
    write_video(data / "bob.mp4", face_frames()[::-1], audio=False, rate_hz=30)
    return data


@pytest.fixture(scope="module")
def prepared(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ClipRecord]]:
    out = tmp_path_factory.mktemp("prepared")
    return out, prepare(_config(videos, out))


def test_manifest_says_whose_each_clip_is_and_what_it_was(prepared: tuple[Path, list[ClipRecord]]) -> None:
    out, records = prepared
    assert read_manifest(out / "manifest.jsonl") == records
    one, bob = records
    assert (one.clip, one.provenance.person, one.provenance.split, one.video, one.frames) == (
        "anna-one",
        "anna",
        "train",
        "anna/one.mp4",
        32,
    )
    assert (one.has_audio, bob.has_audio) == (True, False)
    assert (one.rate_hz, bob.frames) == (25.0, 27)
    assert bob.rate_hz == pytest.approx(30, abs=1)
    assert all("unknown" in record.provenance.licence and not record.refused for record in records)


def test_shards_and_images_tell_of_the_same_motion(prepared: tuple[Path, list[ClipRecord]]) -> None:
    out, _ = prepared
    shard, face = load_prepared(out)[0], load_face_clips(out)[0]
    assert shard.expression.shape == (32, 64)
    assert len(shard.variants) == 2
    assert shard.heard.sum() >= 32 - AlignmentConfig().max_offset_frames
    assert load_prepared(out)[1].variants == ()
    assert np.abs(face.descriptors[:, :64] - shard.expression).max() < 1e-3
    assert np.abs(face.descriptors[:, 70:] - shard.gaze).max() < 1e-4
    assert np.abs(face.descriptors[:, 64:67] - shard.pose[:, :3]).max() < 1e-4
    # The shard's crop is centred on the median face, the pictures' is not.
    assert np.abs(np.median(shard.pose[:, 3:], 0)).max() < 0.02


def test_images_are_framed_as_at_enrolment(prepared: tuple[Path, list[ClipRecord]], videos: Path) -> None:
    out, _ = prepared
    face = load_face_clips(out)[0]
    landmarker = FaceLandmarker()
    seen = landmarker.detect(face.rgb(7))
    enrolled = crop_face(face_frames()[7], landmarker.detect(face_frames()[7]))
    eyes = float(np.linalg.norm(seen[33, :2] - seen[263, :2]))
    assert np.linalg.norm(seen - face.landmarks_px[7], axis=1).mean() < 0.03 * eyes
    size, usual = (np.ptp(points[:, :2], axis=0).max() for points in (seen, enrolled.landmarks_px))
    assert size == pytest.approx(usual, rel=0.1)
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    pose = torch.from_numpy(face.descriptors[7, 64:70].copy())
    corners = project(model.mean[[33, 263]], pose, 256)[:, :2].numpy()
    assert np.abs(corners - face.landmarks_px[7, [33, 263], :2]).max() < 0.15 * eyes


def test_second_run_keeps_what_is_finished_and_remakes_what_changed(videos: Path, tmp_path: Path) -> None:
    records = prepare(_config(videos, tmp_path))
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert prepare(_config(videos, tmp_path)) == records
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == made
    prepare(_config(videos, tmp_path, images=False))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == made
    prepare(_config(videos, tmp_path, variants=0))
    changed = {p.parent.name for p, time in made.items() if p.stat().st_mtime_ns != time}
    assert changed == {"shards", "faces"}
    assert len(load_prepared(tmp_path)[0].variants) == 1


def test_interrupted_run_goes_on_where_it_was(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked = []

    def track(*args: object) -> object:
        tracked.append(1)
        if len(tracked) == 2:
            raise KeyboardInterrupt
        return original(*args)  # type: ignore[arg-type]

    original = tracking.track_face
    monkeypatch.setattr(scan, "track_face", track)
    with pytest.raises(KeyboardInterrupt):
        prepare(_config(videos, tmp_path))
    assert not (tmp_path / "manifest.jsonl").exists()
    (tmp_path / "tracks" / ".left.safetensors.partial").touch()
    records = prepare(_config(videos, tmp_path))
    assert len(tracked) == 3
    assert [record.refused for record in records] == ["", ""]
    assert not list(tmp_path.rglob(".*.partial"))


def test_full_disk_is_named_and_costs_nothing_finished(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = [3]

    def save(tensors: Any, path: Path, metadata: Any) -> None:
        room[0] -= 1
        if room[0] < 0:
            Path(path).write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        original(tensors, path, metadata)

    original = save_file
    monkeypatch.setattr(files, "save_file", save)
    with pytest.raises(OutputUnwritable, match="No space left"):
        prepare(_config(videos, tmp_path))
    finished = [p for p in tmp_path.rglob("*.safetensors") if load_file(p)]
    assert len(finished) == 3
    assert not list(tmp_path.rglob(".*.partial"))
    room[0] = 100
    assert [record.refused for record in prepare(_config(videos, tmp_path))] == ["", ""]
    assert len(load_face_clips(tmp_path)) == 2


def test_bad_videos_are_refused_and_the_rest_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data, frames = tmp_path / "data", face_frames()
    write_video(data / "good.mp4", frames, rate_hz=30)
    write_video(data / "silent.mp4", frames, audio=False)
    write_video(data / "short.mp4", frames[:9])
    write_video(data / "empty.mp4", [np.full_like(frames[0], 128)] * 30)
    half = write_video(data / "half.mp4", frames, repeat=3)
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    (data / "none.mkv").write_bytes(b"no film")
    caplog.set_level(logging.INFO)
    records = prepare(_config(data, tmp_path / "out", need_audio=True))
    reasons = {record.clip: record.refused for record in records}
    assert reasons.pop("good") == ""
    expected = {
        "silent": "no sound",
        "short": "too short",
        "empty": "no face",
        "half": "half.mp4",
        "none": "none.mkv",
    }
    assert reasons.keys() == expected.keys()
    assert all(expected[clip] in reason for clip, reason in reasons.items())
    assert "1 of 1 clips were resampled to 25 fps" in caplog.text
    assert [clip.clip for clip in load_prepared(tmp_path / "out")] == ["good"]
    assert {p.stem for p in (tmp_path / "out" / "faces").iterdir()} == {"good"}


def test_clip_without_sync_is_refused(videos: Path, tmp_path: Path) -> None:
    records = prepare(_config(videos, tmp_path, alignment=AlignmentConfig(min_score=1.1), images=False))
    assert "cannot be aligned" in records[0].refused
    assert records[1].refused == ""
    assert not (tmp_path / "faces").exists()


def test_annotated_utterance_is_cut_from_its_video(tmp_path: Path) -> None:
    pair = [np.concatenate([frame, frame[:, ::-1]], 1) for frame in face_frames()]
    write_video(tmp_path / "data" / "videos" / "abc.mp4", pair, repeat=3)
    rows = "".join(f"{30 + i:06d} {(256 + 80) / 512} {60 / 256} {100 / 512} {130 / 256}\n" for i in range(40))
    text = tmp_path / "data" / "txt" / "id00012" / "abc" / "00001.txt"
    text.parent.mkdir(parents=True)
    text.write_text(f"Identity : id00012\nReference : abc\n\nFRAME X Y W H\n{rows}")
    record = prepare(_config(tmp_path / "data", tmp_path / "out", source="voxceleb"))[0]
    assert (record.clip, record.refused, record.frames, record.start_s) == ("id00012-abc-00001", "", 40, 1.2)
    track = scan.read_landmarks(tmp_path / "out" / "tracks" / "id00012-abc-00001.safetensors")
    assert track[..., 0].min() > 256


def test_head_that_leaves_its_crop_gives_motion_without_images(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "_crops", lambda task, landmarks: None)
    records = prepare(_config(videos, tmp_path))
    assert {record.without_images for record in records} == {"the head leaves its crop"}
    assert len(load_prepared(tmp_path)) == 2
    with pytest.raises(InputError, match="no images"):
        load_face_clips(tmp_path)
    assert [record.without_images for record in prepare(_config(videos, tmp_path))] == [
        record.without_images for record in records
    ]


def _write_estimators(folder: Path) -> None:
    """A weights folder of the bfm space with two small networks."""
    size = ResNetConfig(width=4, blocks=(1, 1, 1, 1))
    folder.mkdir()
    config: dict[str, object] = {"format_version": FORMAT_VERSION, "motion_space": "bfm"}
    torch.manual_seed(0)
    for part, network in (("recon", FaceReconstruction(size)), ("l2cs", GazeEstimator(size))):
        config[part] = dataclasses.asdict(size)
        save_tensors(folder / f"{part}.safetensors", network.state_dict())
    (folder / "config.json").write_text(json.dumps(config))
    write_checksums(folder)


def test_bfm_numbers_are_measured_by_the_users_networks(videos: Path, tmp_path: Path) -> None:
    _write_estimators(tmp_path / "weights")
    records = prepare(_config(videos, tmp_path / "out", space="bfm", weights=tmp_path / "weights"))
    assert {record.space for record in records} == {"bfm"}
    shard, face = load_prepared(tmp_path / "out")[0], load_face_clips(tmp_path / "out")[0]
    assert np.array_equal(np.concatenate([shard.expression, shard.pose, shard.gaze], 1), face.descriptors)
    assert np.isfinite(face.descriptors).all()
    landmark = prepare(_config(videos, tmp_path / "other"))
    assert landmark[0].space == "landmark"
    assert not np.allclose(load_prepared(tmp_path / "other")[0].expression, shard.expression, atol=0.1)
    assert np.allclose(load_prepared(tmp_path / "other")[0].eye_feature, shard.eye_feature, atol=1e-5)


def test_weights_that_cannot_measure_fail_before_the_work(videos: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsIncomplete, match="cannot measure"):
        prepare(_config(videos, tmp_path, space="bfm", weights=BUNDLED_MOTION_SPACE.parent))
    for changes in ({"space": "bfm"}, {"source": "tv"}, {"workers": -1}, {"held_out_share": 2.0}):
        with pytest.raises(CommandInvalid):
            _config(videos, tmp_path, **changes)
    for gone in (_config(videos / "gone", tmp_path), _config(videos, tmp_path, portraits=videos / "gone")):
        with pytest.raises(InputError, match="no folder"):
            prepare(gone)
