"""What is said of a graphics card that cannot be used; torch and its driver are made up."""

import importlib
import logging
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from engine import load_engine
from engine.errors import BackendUnavailable
from engine.runtime import card, tensorrt_package
from engine.runtime.tensorrt_package import rtx_targets


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    path = tmp_path / "version"
    monkeypatch.setattr(card, "DRIVER", path)
    return path


@pytest.mark.parametrize(("built_for", "advice"), [(None, "a build for CPUs"), ("13.0", "update the driver")])
def test_a_card_that_torch_cannot_use_is_not_passed_over_in_silence(
    driver: Path,
    built_for: str | None,
    advice: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(torch.version, "cuda", built_for)
    driver.write_text("NVRM version: 470.1")
    with caplog.at_level(logging.WARNING):
        load_engine()
    assert advice in caplog.text
    with pytest.raises(BackendUnavailable, match=advice):
        load_engine(device="cuda")


def test_a_machine_without_a_card_hears_nothing(driver: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not driver.exists()
    with caplog.at_level(logging.WARNING):
        load_engine()
    assert caplog.text == ""
    with pytest.raises(BackendUnavailable, match="there is none"):
        load_engine(device="cuda")


def test_a_package_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> NoReturn:
        raise ImportError("libnvinfer_rtx.so.1: cannot open shared object file")

    monkeypatch.setattr(tensorrt_package.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(BackendUnavailable, match=r"tensorrt_rtx is installed and cannot be loaded \(libnvinfer"):
        rtx_targets()
