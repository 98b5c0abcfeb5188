"""``gohd doctor``: the report of the machine and the costs of the networks."""

from __future__ import annotations

import importlib.util
import re

import pytest
from typer.testing import CliRunner

from clients.cli.main import app
from engine.models import network_costs


def _run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["doctor", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_doctor_names_what_is_here_and_how_to_install_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "pillow_heif" else find(name)
    )
    report = _run()
    assert re.search(r"python +3\.\d+", report)
    assert re.search(r"torch +2\.\d+", report)
    assert re.search(r"weights +default: checksums hold", report)
    assert re.search(r"pillow_heif +missing .*pip install 'gohd-live\[heic\]'", report)


def test_doctor_prints_the_costs_of_both_presets() -> None:
    report = _run("--models")
    for preset in ("paper preset", "lite preset"):
        assert preset in report
    assert re.search(r"animator decoder +25\.97 M +88\.0980 +frame", report)


def test_paper_networks_have_the_size_of_the_release() -> None:
    costs = {cost.name: cost for cost in network_costs("paper")}
    animator = [cost for name, cost in costs.items() if name.startswith("animator")]
    assert sum(cost.parameters for cost in animator) == 51_554_314
    assert costs["animator decoder"].flop == pytest.approx(88.1e9, rel=0.01)
    assert costs["animator encoder"].flop == pytest.approx(31.3e9, rel=0.02)
    assert costs["pose denoiser"].parameters == pytest.approx(72.8e6, rel=0.01)
    assert costs["pose denoiser"].flop * 3 == pytest.approx(21.8e9, rel=0.05)
    assert costs["lip audio encoder"].flop == pytest.approx(0.2e9, rel=0.3)


def test_lite_networks_keep_the_budget() -> None:
    costs = {cost.name: cost for cost in network_costs("lite")}
    assert costs["animator decoder"].flop <= 1.5e9
    animator = sum(cost.parameters for name, cost in costs.items() if name.startswith("animator"))
    others = [cost.parameters for name, cost in costs.items() if not name.startswith("animator")]
    assert all(2 * parameters <= 16 * 2**20 for parameters in (animator, *others))


def test_an_unknown_preset_is_refused() -> None:
    with pytest.raises(ValueError, match="preset"):
        network_costs("huge")  # type: ignore[arg-type]
