"""Recipes: found by name, listed with what they do, changed by settings, with advice for every mistake."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import train
from clients.cli.main import app
from engine.errors import CommandInvalid
from train.__main__ import main
from train.configuration import override
from train.recipes import RECIPES
from train.recipes.recipe import TrainingRecipe, first_sentence

_ROOT = Path(__file__).resolve().parents[2]


def test_without_arguments_all_recipes_are_listed_with_their_first_sentences() -> None:
    shown = CliRunner().invoke(app, ["train"])
    assert shown.exit_code == 0
    for name, recipe in RECIPES.items():
        line = next(line for line in shown.output.splitlines() if line.split()[:1] == [name])
        assert line.endswith(f"  {first_sentence(recipe)}")


def test_first_sentence_goes_on_after_eq_and_app() -> None:
    def animator() -> None:
        """The losses of App. B.1,
        Eq. 11-17, e.g. L1. What follows is not shown.
        """

    assert first_sentence(animator) == "The losses of App. B.1, Eq. 11-17, e.g. L1"


@pytest.mark.parametrize(("name", "near"), [("open_poze", "open_pose"), ("toy_pos", "toy_pose"), ("prepar", "prepare")])
def test_unknown_recipe_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(CommandInvalid, match=f"no recipe '{name}'; did you mean {near}"):
        train.run(name)


def test_unknown_recipe_like_none_says_where_they_are_listed() -> None:
    with pytest.raises(CommandInvalid, match="no recipe 'xyzzy'; `gohd train` lists"):
        train.run("xyzzy")


def test_mistakes_end_with_exit_code_2_and_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["open_poze"]) == 2
    assert "did you mean open_pose" in capsys.readouterr().err
    assert main(["toy_pose", "trainer.stepz=4"]) == 2
    assert "did you mean trainer.steps" in capsys.readouterr().err
    assert main(["toy_pose", "prepared=nowhere"]) == 2
    assert "nowhere" in capsys.readouterr().err


def test_stopped_run_ends_with_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that in `train stage1 && train stage2` the second does not start from half of the first."""

    def interrupted(*_: object) -> dict[str, object]:
        raise KeyboardInterrupt

    for outcome, code in (
        (lambda *_: {"steps": 3, "stopped": True}, 130),
        (lambda *_: {"steps": 3}, 0),
        (interrupted, 130),
    ):
        monkeypatch.setattr("train.runner.run", outcome)
        assert main(["toy_pose"]) == code


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_a_frozen_config_that_runs(name: str) -> None:
    recipe = RECIPES[name]()
    assert dataclasses.is_dataclass(recipe)
    assert recipe.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert callable(recipe.run)
    if isinstance(recipe, TrainingRecipe):
        assert recipe.trainer.out == Path("runs") / name
        assert set(recipe.needs) <= set(RECIPES)
        assert (recipe.loss_fall is not None) == name.startswith("toy_")


def test_settings_are_changed_by_dotted_name() -> None:
    recipe = override(RECIPES["toy_pose"](), ["trainer.steps=7", "weights=x", "trainer.precision=bf16", "task.rows=4"])
    assert isinstance(recipe, TrainingRecipe)
    assert (recipe.trainer.steps, recipe.trainer.precision, recipe.weights) == (7, "bf16", Path("x"))
    assert override(recipe, ["weights=none"]).weights is None


def test_settings_may_be_called_by_their_former_names() -> None:
    recipe: Any = override(RECIPES["prepare"](), ["pictures=true", "need_sound=true", "stretch.noise_probability=0.25"])
    assert (recipe.images, recipe.need_audio, recipe.augmentation.noise_probability) == (True, True, 0.25)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps", "is not KEY=VALUE"),
        ("trainer.stepz=1", r"no setting 'trainer\.stepz'; did you mean trainer\.steps\?"),
        ("qqq=1", "no setting 'qqq'; there are .*trainer"),
        ("trainer.steps=many", r"trainer\.steps=many: .*int"),
        ("trainer.steps=0", "at least 1"),
        ("trainer.tensorboard=maybe", "must be true or false"),
        ("trainer.precision=fp8", "must be fp32 or bf16"),
        ("trainer=3", "set its parts"),
        ("trainer.steps.more=3", "'trainer.steps' has no parts"),
    ],
)
def test_setting_that_does_not_fit_is_refused_with_advice(assignment: str, message: str) -> None:
    with pytest.raises(CommandInvalid, match=message):
        override(RECIPES["toy_pose"](), [assignment])


def test_recipes_are_listed_without_optional_packages() -> None:
    """A newcomer who has not installed the extras sees what there is, and gets advice when an extra is needed."""
    blocked = ["soxr", "scipy", "tensorboard", "matplotlib", "onnx", "onnxruntime", "pillow_heif", "triton"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({blocked})); from train.__main__ import main; sys.exit(main([]))"
    )
    shown = subprocess.run([sys.executable, "-c", program], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert shown.returncode == 0, shown.stderr[-2000:]
    assert "toy_pose" in shown.stdout
