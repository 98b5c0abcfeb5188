"""Clips with images: round trip, exact labels of synthetic clips, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker
from train.data.faces.face_clips import FaceClip, load_face_clips, save_face_clip
from train.data.faces.jpeg import encode_jpeg
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.data.storage.manifest import ClipRecord, write_manifest
from train.data.storage.provenance import Provenance


@pytest.fixture(scope="module")
def made() -> list[FaceClip]:
    return synthetic_face_clips(clips=2, frames=5, seed=3)


def _write(folder: Path, clips: list[FaceClip]) -> None:
    (folder / "faces").mkdir()
    records = []
    for clip in clips:
        images = [encode_jpeg(clip.rgb(frame)) for frame in range(clip.frames)]
        save_face_clip(folder / "faces" / f"{clip.clip}.safetensors", images, clip.landmarks_px, clip.descriptors)
        records.append(
            ClipRecord(
                clip=clip.clip,
                provenance=Provenance(person=clip.person, split=clip.split, licence="CC0-1.0", credit="nobody"),
                frames=clip.frames,
                has_audio=False,
            )
        )
    write_manifest(folder / "manifest.jsonl", records)


def test_clips_come_back_from_their_files(tmp_path: Path, made: list[FaceClip]) -> None:
    _write(tmp_path, made)
    again = load_face_clips(tmp_path)
    assert [(c.clip, c.person, c.split, c.frames) for c in again] == [
        (c.clip, c.person, c.split, c.frames) for c in made
    ]
    for before, after in zip(made, again, strict=True):
        assert np.array_equal(before.descriptors, after.descriptors)
        assert np.abs(before.landmarks_px - after.landmarks_px).max() < 0.04
        error = np.abs(before.rgb(2).astype(int) - after.rgb(2))
        assert error.mean() < 2
        assert after.rgb(0).shape == (256, 256, 3)
    with pytest.raises(IndexError, match="no image of frame 5"):
        again[0].rgb(5)


def test_thinned_clip_has_all_motion_and_some_images(tmp_path: Path, made: list[FaceClip]) -> None:
    _write(tmp_path, made[:1])
    kept = np.array([0, 3])
    images = [encode_jpeg(made[0].rgb(int(frame))) for frame in kept]
    path = tmp_path / "faces" / "synthetic-0.safetensors"
    path.unlink()
    save_face_clip(path, images, made[0].landmarks_px, made[0].descriptors, image_frames=kept)
    thinned = load_face_clips(tmp_path)[0]
    assert thinned.image_frames.tolist() == [0, 3]
    assert thinned.descriptors.shape == (5, 72)
    assert np.abs(thinned.rgb(3).astype(int) - made[0].rgb(3)).mean() < 2
    with pytest.raises(IndexError, match="no image of frame 1"):
        thinned.rgb(1)
    assert made[0].image_frames.tolist() == [0, 1, 2, 3, 4]


def test_damaged_file_says_what_to_do(tmp_path: Path, made: list[FaceClip]) -> None:
    _write(tmp_path, made[:1])
    path = tmp_path / "faces" / "synthetic-0.safetensors"
    path.write_bytes(path.read_bytes()[:2000])
    clip = load_face_clips(tmp_path)[0]
    with pytest.raises(InputError, match="prepare again"):
        clip.rgb(0)


def test_folder_without_images_says_how_to_make_them(tmp_path: Path) -> None:
    write_manifest(tmp_path / "manifest.jsonl", [])
    with pytest.raises(InputError, match="images=true"):
        load_face_clips(tmp_path)


def test_people_are_on_one_side(made: list[FaceClip]) -> None:
    assert [clip.split for clip in made] == ["train", "held_out"]
    assert len({clip.person for clip in made}) == 2


def test_synthetic_clip_is_the_same_for_the_same_seed_and_another_for_another(made: list[FaceClip]) -> None:
    again = synthetic_face_clips(clips=2, frames=5, seed=3)
    other = synthetic_face_clips(clips=1, frames=5, seed=4)
    assert np.array_equal(again[1].rgb(4), made[1].rgb(4))
    assert np.array_equal(again[1].descriptors, made[1].descriptors)
    assert not np.array_equal(other[0].descriptors, made[0].descriptors)


def test_labels_of_a_synthetic_clip_are_where_the_landmarker_sees_them(made: list[FaceClip]) -> None:
    landmarker = FaceLandmarker()
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    for frame in (0, 4):
        seen = landmarker.detect(made[0].rgb(frame))
        label = made[0].landmarks_px[frame]
        eyes = float(np.linalg.norm(label[33, :2] - label[263, :2]))
        assert np.linalg.norm(seen[:, :2] - label[:, :2], axis=1).mean() < 0.04 * eyes
        pose = model.fit(seen).pose
        assert np.abs(pose[:3] - made[0].descriptors[frame, 64:67]).max() < 0.1
        assert np.abs(pose[3:6] - made[0].descriptors[frame, 67:70]).max() < 0.05
