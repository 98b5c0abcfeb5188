"""From a recipe to its result: data, task, trainer, export."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from engine.config import StreamConfig
from engine.errors import CommandInvalid
from engine.motion.expression import LipNetwork
from engine.motion.landmark_model import LandmarkModel
from engine.motion.motion_space import BUNDLED_MOTION_SPACE
from train.configuration import override
from train.data.manifest import ClipRecord
from train.data.portraits import load_styles
from train.data.prepare import PrepareConfig, load_prepared, prepare
from train.data.shards import ClipFeatures
from train.data.synthetic import synthetic_clips
from train.export import export_network, load_averaged
from train.recipes import RECIPES
from train.recipes.motion import EyeRecipe, LipRecipe, PoseRecipe
from train.recipes.prepare import MotionSpaceRecipe
from train.tasks.eye import EyeTask
from train.tasks.lip import LipTask
from train.tasks.pose import PoseTask
from train.tasks.scales import gain_mouth
from train.trainer import TrainingResult, config_json, train

__all__ = ["run", "run_config"]

_log = logging.getLogger(__name__)
_SYNTHETIC = Path("synthetic")


def run(recipe: str, overrides: Sequence[str] = ()) -> Mapping[str, Any]:
    """Run a recipe by name with ``key=value`` overrides; what ``gohd train`` calls.

    Returns:
        Figures of the run, ready to print.

    Raises:
        CommandInvalid: no such recipe, or an override that does not fit; the message lists what does.
    """
    if recipe not in RECIPES:
        raise CommandInvalid(f"no recipe '{recipe}'; there are {', '.join(RECIPES)}")
    return run_config(override(RECIPES[recipe](), overrides))


def run_config(config: Any) -> Mapping[str, Any]:
    """Run a recipe's config."""
    if isinstance(config, PrepareConfig):
        return _summary(prepare(config))
    if isinstance(config, MotionSpaceRecipe):
        from train.motion_space import build_motion_space

        report, held_out = build_motion_space(config.out, config.cache, config.data, config.fit)
        return dataclasses.asdict(report) | (dataclasses.asdict(held_out) if held_out else {})
    if isinstance(config, LipRecipe):
        return _run_lip(config)
    if isinstance(config, EyeRecipe):
        return _run_eye(config)
    if isinstance(config, PoseRecipe):
        return _run_pose(config)
    raise TypeError(f"{type(config).__name__} is not a recipe")


def _run_lip(recipe: LipRecipe) -> Mapping[str, Any]:
    model = LandmarkModel.load(recipe.motion_space)
    clips = _clips(recipe.prepared, model)
    extra = {person for person in recipe.also_hold_out.split(",") if person}
    clips = [dataclasses.replace(c, split="held_out") if c.person in extra else c for c in clips]
    task = LipTask(recipe.task, clips, model, _styles(recipe.prepared), recipe.trainer.seed)
    if recipe.start is not None:
        load_averaged(task.modules["lip"], recipe.start, "lip")
    result = _train(task, recipe)
    if recipe.weights is not None:
        stream = StreamConfig(
            lip_lookahead_ms=recipe.task.lookahead_ms, lip_window_columns=recipe.task.network.audio_columns
        )
        sections = {"lip": recipe.task.network, "stream": stream}
        network = result.averaged["lip"]
        assert isinstance(network, LipNetwork)
        widened = gain_mouth(network, model, recipe.mouth_gain, recipe.mouth_pivot)
        shipped = dataclasses.replace(
            result, averaged={"lip": widened}, figures=task.evaluate({"lip": widened})
        )
        _export(recipe.weights, "lip", shipped, sections, clips)
    return _figures(result)


def _run_eye(recipe: EyeRecipe) -> Mapping[str, Any]:
    model = LandmarkModel.load(recipe.motion_space)
    clips = _clips(recipe.prepared, model)
    lip = LipNetwork(recipe.lip)
    load_averaged(lip, recipe.lip_checkpoint, "lip")
    task = EyeTask(recipe.task, clips, model, lip, _styles(recipe.prepared), recipe.trainer.seed)
    result = _train(task, recipe)
    if recipe.weights is not None:
        _export(recipe.weights, "eye", result, {"eye": recipe.task.network}, clips)
    return _figures(result)


def _run_pose(recipe: PoseRecipe) -> Mapping[str, Any]:
    clips = _clips(recipe.prepared, None)
    task = PoseTask(recipe.task, clips, recipe.trainer.seed)
    result = _train(task, recipe)
    if recipe.weights is not None:
        sections = {"pose": recipe.task.network, "pose_window": task.sampling_config()}
        _export(recipe.weights, "pose", result, sections, clips)
    return _figures(result)


def _train(task: Any, recipe: Any) -> TrainingResult:
    recipe.trainer.out.mkdir(parents=True, exist_ok=True)
    (recipe.trainer.out / "config.json").write_text(config_json(recipe) + "\n", encoding="utf-8")
    result = train(task, recipe.trainer)
    if result.stopped:
        _log.warning("stopped at step %d; the same command goes on from there", result.step)
    return result


def _export(
    weights: Path,
    name: str,
    result: TrainingResult,
    sections: Mapping[str, Any],
    clips: Sequence[ClipFeatures],
) -> None:
    trained_on = [clip for clip in clips if clip.split == "train"]
    training = {
        "steps": result.step,
        "seconds": round(result.seconds),
        "people": len({clip.person for clip in trained_on}),
        "minutes_of_film": round(sum(clip.frames for clip in trained_on) / 1500, 2),
        "held_out": sorted({clip.person for clip in clips if clip.split == "held_out"}),
        "figures": {key: round(value, 4) for key, value in result.figures.items()},
    }
    export_network(weights, name, result.averaged[name], sections=sections, training=training)


def _clips(prepared: Path, model: LandmarkModel | None) -> list[ClipFeatures]:
    if prepared != _SYNTHETIC:
        return load_prepared(prepared)
    return synthetic_clips(model or LandmarkModel.load(BUNDLED_MOTION_SPACE))


def _styles(prepared: Path) -> torch.Tensor:
    return torch.zeros(1, 64) if prepared == _SYNTHETIC else torch.from_numpy(load_styles(prepared))


def _figures(result: TrainingResult) -> dict[str, Any]:
    return {"steps": result.step, "seconds": result.seconds, **result.losses, **result.figures}


def _summary(records: Sequence[ClipRecord]) -> dict[str, Any]:
    refused = {record.clip: record.refused for record in records if record.refused}
    offsets = {
        record.clip: record.offset_frames for record in records if record.has_sound and record.offset_frames
    }
    return {"clips": len(records), "refused": json.dumps(refused), "late sound, frames": json.dumps(offsets)}
