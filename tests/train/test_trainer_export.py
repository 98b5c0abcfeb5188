"""From checkpoints to weights folders, and from one run to the next that starts from it."""

import errno
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine.checkpoint import verify_checksums
from engine.errors import OutputUnwritable, WeightsCorrupt, WeightsNotFound
from tests.train.curve_task import CurveTask, trainer_config
from train import export
from train.trainer import CHECKPOINT, train


def test_averaged_network_of_a_run_is_loaded_by_the_next(tmp_path: Path) -> None:
    result = train(CurveTask(), trainer_config(tmp_path))
    net = CurveTask(seed=5).modules["net"]
    export.load_averaged(net, tmp_path / CHECKPOINT, "net")
    for key, value in result.averaged["net"].state_dict().items():
        assert torch.equal(net.state_dict()[key], value)
    assert all(parameter.requires_grad for parameter in net.parameters())


def test_missing_other_or_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT
    with pytest.raises(WeightsNotFound, match="train that stage first"):
        export.averaged_tensors(path, "net")
    train(CurveTask(), trainer_config(tmp_path))
    with pytest.raises(WeightsNotFound, match="no averaged module called 'lip'"):
        export.averaged_tensors(path, "lip")
    with pytest.raises(WeightsCorrupt, match="another 'net'"):
        export.load_averaged(nn.Linear(4, 8), path, "net")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(WeightsCorrupt, match="not a readable checkpoint"):
        export.averaged_tensors(path, "net")


def test_networks_are_exported_one_beside_the_other_with_checksums(tmp_path: Path) -> None:
    for name, size in (("first", 3), ("second", 5)):
        export.export_network(
            tmp_path, name, nn.Linear(size, 2), sections={name: {"size": size}}, training={"steps": size}
        )
    verify_checksums(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["first"], config["second"]) == ({"size": 3}, {"size": 5})
    assert config["training"] == {"first": {"steps": 3}, "second": {"steps": 5}}
    tensors = load_file(tmp_path / "second.safetensors")
    assert tensors["weight"].dtype == torch.float16
    assert tensors["bias"].dtype == torch.float32


def test_full_disk_at_export_says_that_the_run_is_safe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "save_tensors", full)
    with pytest.raises(OutputUnwritable, match=r"No space left.*only evaluates and exports"):
        export.export_network(tmp_path / "w", "net", nn.Linear(1, 1), sections={}, training={})
