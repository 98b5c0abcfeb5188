"""Weights folders: what is accepted, and that everything else is named."""

import json
from pathlib import Path

import pytest
import torch

from engine.checkpoint import WeightsFolder, load_into, save_tensors, write_checksums
from engine.config import MixerConfig, from_mapping
from engine.errors import WeightsCorrupt, WeightsNotFound


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.json").write_text(json.dumps({"format_version": 1, "mixer": {"pose_scale": 0.5}}))
    save_tensors(tmp_path / "lip.safetensors", {"weight": torch.arange(6).reshape(2, 3).half()})
    write_checksums(tmp_path)
    return tmp_path


def test_opens_verified_and_widens_half_precision(folder: Path) -> None:
    opened = WeightsFolder.open(folder)
    weight = opened.tensors("lip.safetensors")["weight"]
    assert weight.dtype == torch.float32
    assert torch.equal(weight, torch.arange(6.0).reshape(2, 3))
    assert from_mapping(MixerConfig, opened.section("mixer"), "mixer").pose_scale == 0.5
    assert opened.section("absent") == {}


@pytest.mark.parametrize("name", ["config.json", "lip.safetensors"])
def test_changed_byte_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(bytes(content))
    with pytest.raises(WeightsCorrupt, match=name):
        WeightsFolder.open(folder)


def test_unlisted_missing_and_outside_files_are_refused(folder: Path) -> None:
    save_tensors(folder / "extra.safetensors", {"x": torch.zeros(1)})
    with pytest.raises(WeightsCorrupt, match=r"extra\.safetensors"):
        WeightsFolder.open(folder)
    (folder / "extra.safetensors").unlink()
    (folder / "lip.safetensors").unlink()
    with pytest.raises(WeightsCorrupt, match="missing"):
        WeightsFolder.open(folder)
    (folder / "SHA256SUMS").write_text("0" * 64 + "  ../config.json\n")
    with pytest.raises(WeightsCorrupt, match="malformed"):
        WeightsFolder.open(folder)


def test_other_format_version_and_unknown_keys_are_refused(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"format_version": 99}))
    write_checksums(folder)
    with pytest.raises(WeightsCorrupt, match="99"):
        WeightsFolder.open(folder)
    with pytest.raises(WeightsCorrupt, match="pose_scael"):
        from_mapping(MixerConfig, {"pose_scael": 1.0}, "mixer")
    with pytest.raises(WeightsCorrupt, match="mouth_close_frames"):
        from_mapping(MixerConfig, {"mouth_close_frames": 0}, "mixer")


def test_unknown_name_lists_what_there_is() -> None:
    with pytest.raises(WeightsNotFound, match="default"):
        WeightsFolder.open("no-such-weights")


def test_pickles_are_not_read(folder: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, folder / "lip.safetensors")
    write_checksums(folder)
    with pytest.raises(WeightsCorrupt, match="safetensors"):
        WeightsFolder.open(folder).tensors("lip.safetensors")


def test_load_into_names_what_does_not_fit() -> None:
    module = torch.nn.Linear(3, 2)
    with pytest.raises(WeightsCorrupt) as refused:
        load_into(module, {"weight": torch.zeros(2, 4), "scale": torch.zeros(1)}, "lip.safetensors")
    for part in ("missing: bias", "not expected: scale", "weight is (2, 4), expected (2, 3)"):
        assert part in str(refused.value)
    load_into(module, {"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, "lip.safetensors")
    assert module(torch.ones(3)).tolist() == [3.0, 3.0]
    assert not module.training
