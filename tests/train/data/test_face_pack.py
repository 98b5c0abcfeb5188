"""The pack of videos and stills: what goes in comes out, thinned; and what cannot be used is said."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

import train
from engine.errors import CommandInvalid, InputError
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.face_clips import FaceClip, load_face_clips, save_face_clip
from train.data.faces.face_pack import StillPortrait, load_still_portraits
from train.data.faces.jpeg import encode_jpeg
from train.data.faces.photo_clips import photo_clips
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.data.storage.manifest import ClipRecord, write_manifest
from train.data.storage.provenance import Provenance

_PORTRAIT = Path(__file__).resolve().parents[3] / "engine" / "assets" / "portrait.jpg"


@pytest.fixture(scope="module")
def video() -> FaceClip:
    return synthetic_face_clips(clips=1, frames=7)[0]


@pytest.fixture
def prepared(tmp_path: Path, video: FaceClip) -> Path:
    folder = tmp_path / "prepared"
    (folder / "faces").mkdir(parents=True)
    images = [encode_jpeg(video.rgb(frame)) for frame in range(video.frames)]
    save_face_clip(folder / "faces" / "film.safetensors", images, video.landmarks_px, video.descriptors)
    who = Provenance(person="someone", split="train", licence="CC0", credit="us")
    record = ClipRecord(clip="film", provenance=who, frames=7, has_audio=False)
    write_manifest(folder / "manifest.jsonl", [record])
    return folder


def _pack(out: Path, *settings: str) -> dict[str, float]:
    return dict(train.run("prepare_faces", [f"out={out}", *settings]))


def test_a_pack_holds_thinned_videos_and_stills(tmp_path: Path, prepared: Path, video: FaceClip) -> None:
    portraits = tmp_path / "portraits"
    portraits.mkdir()
    for name in ("sam-neutral.jpg", "sam-smile.jpg", "composite-x.jpg"):
        shutil.copy(_PORTRAIT, portraits / name)
    (portraits / "notes.txt").write_text("no picture")
    (portraits / "broken.jpg").write_bytes(b"no image either")
    figures = _pack(tmp_path / "pack", f"prepared={prepared}", f"portraits={portraits}", "every=3")
    assert (figures["videos"], figures["images"], figures["stills"]) == (1, 3, 3)
    with zipfile.ZipFile(tmp_path / "pack.zip") as archive:
        archive.extractall(tmp_path / "carried")

    (clip,) = load_face_clips(tmp_path / "carried")
    assert clip.image_frames.tolist() == [0, 3, 6]
    assert np.array_equal(clip.descriptors, video.descriptors)
    assert np.abs(clip.landmarks_px[3] - video.landmarks_px[3]).max() < 0.1
    assert np.abs(clip.rgb(3).astype(int) - video.rgb(3)).mean() < 4
    stills = load_still_portraits(tmp_path / "carried")
    assert [(still.person, still.split) for still in stills] == [
        ("composite-x", "held_out"), ("sam", "train"), ("sam", "train"),
    ]  # fmt: skip
    assert stills[0].rgb.shape == (256, 256, 3)
    assert 0 < stills[0].landmarks_px[:, :2].min() < stills[0].landmarks_px[:, :2].max() < 256


def test_a_pack_that_is_too_large_says_what_to_change(tmp_path: Path, prepared: Path) -> None:
    with pytest.raises(InputError, match="raise every=1 or lower quality"):
        _pack(tmp_path / "pack", f"prepared={prepared}", "every=1", "most_mib=0.001")
    with pytest.raises(CommandInvalid, match="quality"):
        _pack(tmp_path / "pack", "quality=0")


def test_missing_or_damaged_stills_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="prepare_faces"):
        load_still_portraits(tmp_path)
    (tmp_path / "stills.safetensors").write_bytes(b"\x08" + bytes(30))
    with pytest.raises(InputError, match="make the pack again"):
        load_still_portraits(tmp_path)


def test_the_open_recipe_learns_from_a_pack_and_goes_on_from_its_weights(tmp_path: Path, prepared: Path) -> None:
    portraits = tmp_path / "portraits"
    portraits.mkdir()
    for name in ("sam.jpg", "kim-neutral.jpg", "kim-smile.jpg"):
        shutil.copy(_PORTRAIT, portraits / name)
    pack = tmp_path / "pack"
    _pack(pack, f"prepared={prepared}", f"portraits={portraits}", "every=2")
    settings = [
        f"faces={pack}", "task.network.widths=4,4,4,4,4,4", "pair_share=0.4", "photo_share=0.3",
        "task.rows=2", "task.readers=1",
        "task.losses.perceptual=0", "task.losses.parsing=0", "task.losses.adversarial=0.05", "trainer.steps=2",
        "trainer.device=cpu", "trainer.threads=1", "trainer.tensorboard=false", "compare=false",
    ]  # fmt: skip
    weights = tmp_path / "weights"
    figures = train.run("open_guided_animator", [*settings, f"trainer.out={tmp_path / 'one'}", f"weights={weights}"])
    assert np.isfinite(figures["discriminator/loss"])
    again = [*settings, f"trainer.out={tmp_path / 'two'}", f"start={weights}"]
    assert np.isfinite(train.run("open_guided_animator", again)["animator/reconstruction"])


def test_photographs_of_a_person_are_a_clip(video: FaceClip) -> None:
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    photos = [
        StillPortrait(f"{person}-{frame}", person, "train", video.rgb(frame), video.landmarks_px[frame])
        for person, frame in (("kim", 0), ("sam", 1), ("kim", 3))
    ]
    kim, sam = photo_clips(photos, model)
    assert (kim.person, kim.frames, sam.person, sam.frames) == ("kim", 2, "sam", 1)
    assert np.array_equal(kim.rgb(1), video.rgb(3))
    assert np.array_equal(kim.landmarks_px[1], video.landmarks_px[3])
    found = model.fit_sequence(kim.landmarks_px)
    assert np.array_equal(kim.descriptors, found.descriptors)
    with pytest.raises(IndexError):
        sam.rgb(1)
