"""Offsets, the split, augmentation of speech, and shards and manifests that come back as written."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.audio import MEL_SILENCE, mel_spectrogram
from engine.errors import InputError
from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.mirror import mirror_pose
from train.data.pipeline.align import AlignmentClip, estimate_offsets
from train.data.readers.clips import read_audio, read_frames
from train.data.readers.portraits import portrait_held_out
from train.data.readers.sources import HELD_OUT_CLIPS, describe_clip
from train.data.speech.augment import augment_mel, augment_wave
from train.data.speech.synthetic import synthetic_clips
from train.data.storage.manifest import ClipRecord, read_manifest, write_manifest
from train.data.storage.provenance import Provenance
from train.data.storage.shards import load_clip, resample_motion, save_clip

_SPACE = Path(__file__).resolve().parents[3] / "engine" / "weights" / "default" / "motion_space.safetensors"


def _talk(person: int, late_frames: int, seed: int) -> AlignmentClip:
    rng = np.random.default_rng(seed)
    rough = np.repeat(rng.random(60), 4)[:200]
    opening = np.convolve(rough, np.ones(5) / 5, "same").astype(np.float32)
    heard = np.interp(np.arange(640) / 3.2 - late_frames, np.arange(200), opening)
    mel = (-3 + 4 * heard + 0.3 * rng.standard_normal((80, 640))).astype(np.float32)
    return AlignmentClip(person=f"p{person}", mel=mel, opening=opening)


def test_offsets_of_synthetic_talk_are_found() -> None:
    late = {"a": 0, "b": 5, "c": -3, "d": 2}
    clips = {name: _talk(i, frames, i) for i, (name, frames) in enumerate(late.items())}
    found = estimate_offsets(clips)
    assert {name: offset.frames for name, offset in found.items()} == late
    assert all(not offset.refused for offset in found.values())


def test_clip_without_relation_to_its_audio_is_refused_with_the_reason() -> None:
    clips = {str(i): _talk(i, 0, i) for i in range(4)}
    noise = np.random.default_rng(9).standard_normal((80, 640)).astype(np.float32)
    clips["bad"] = AlignmentClip(person="bad", mel=noise, opening=clips["0"].opening)
    assert "cannot be aligned" in estimate_offsets(clips)["bad"].refused


def test_split_is_by_person() -> None:
    stems = [*HELD_OUT_CLIPS, "grid-s26-bgbsza", "address-obama-a", "silent-obama-3", "grid-swiz3n"]
    sides: dict[str, set[str]] = {}
    for stem in stems:
        source = describe_clip(stem).provenance
        sides.setdefault(source.person, set()).add(source.split)
    assert all(len(side) == 1 for side in sides.values())
    assert {describe_clip(stem).provenance.person for stem in ("address-obama-a", "silent-obama-3")} == {"obama"}
    assert portrait_held_out("london-010-smile")
    assert not portrait_held_out("london-011-smile")


def test_augmented_audio_stays_in_range_and_silence_stays_silent() -> None:
    rng = np.random.default_rng(0)
    wave = (0.3 * np.sin(np.arange(16000) / 20)).astype(np.float32)
    for _ in range(5):
        out, speed = augment_wave(wave, rng)
        assert np.isfinite(out).all()
        assert np.abs(out).max() <= 1
        assert len(out) == pytest.approx(16000 / speed, abs=4)
    generator = torch.Generator().manual_seed(0)
    mel = torch.from_numpy(mel_spectrogram(wave))[None, :, :16].repeat(4, 1, 1)
    changed = augment_mel(mel, generator)
    assert changed.shape == mel.shape
    assert changed.abs().max() <= 4
    silence = augment_mel(torch.full((8, 80, 16), MEL_SILENCE), generator)
    assert silence.max() < MEL_SILENCE + 0.6


def test_mirroring_twice_gives_the_same_motion() -> None:
    pose = torch.randn(5, 6)
    assert torch.equal(mirror_pose(mirror_pose(pose)), pose)


def test_resampled_motion_follows_the_speed() -> None:
    ramp = np.arange(100, dtype=np.float32)[:, None]
    assert np.allclose(resample_motion(ramp, 0.5)[:10, 0], np.arange(10) / 2)
    assert resample_motion(ramp, 1.25).shape == (80, 1)


def test_shards_and_manifest_round_trip(tmp_path: Path) -> None:
    clip = synthetic_clips(LandmarkModel.load(_SPACE), people=1, frames=40)[0]
    save_clip(tmp_path / "synthetic-0.safetensors", clip)
    again = load_clip(tmp_path / "synthetic-0.safetensors", clip.person, clip.split)
    assert np.array_equal(again.expression, clip.expression)
    assert np.abs(again.variants[0].mel - clip.variants[0].mel).max() < 2e-3
    who = Provenance(person="p", split="train", licence="CC0", credit="nobody")
    record = ClipRecord(clip="a", provenance=who, frames=3, has_audio=True, refused="dark", video="a.mp4")
    path = tmp_path / "manifest.jsonl"
    write_manifest(path, [record])
    assert read_manifest(path) == [record]
    fields = json.loads(path.read_text())
    # The keys of manifests that users have.
    assert (fields["person"], fields["film"], fields["has_sound"], fields["without_pictures"]) == (
        "p",
        "a.mp4",
        True,
        "",
    )
    path.write_text('{"clip": "a"}\n')
    with pytest.raises(InputError, match="line 1"):
        read_manifest(path)


def test_missing_manifest_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train prepare"):
        read_manifest(tmp_path / "manifest.jsonl")


def test_videos_are_read_at_25_frames_with_their_audio(data_dir: Path) -> None:
    grid = sum(1 for _ in read_frames(data_dir / "clips" / "grid-bbaf2n.mpg"))
    assert grid == 75
    sound = read_audio(data_dir / "clips" / "grid-bbaf2n.mpg")
    assert sound is not None
    assert len(sound) / 16000 == pytest.approx(3.0, abs=0.05)
    assert np.abs(sound).max() <= 1
    assert read_audio(data_dir / "clips" / "silent-noem.mp4") is None
