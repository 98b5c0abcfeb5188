"""Rows of Tables 3, 5 and 6: each is a paper recipe with the stated thing changed. The "Full" rows are those recipes.

A row of Table 3 or 6 is read off stage 2 (``mld``, ``ssim_e``), a row of Table 5 off stage 1 (``mld``).
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from engine.motion.networks.lip import LipConfig
from train.networks.eye_transformer import EyeTransformerConfig
from train.recipes.expression import ExpressionStage1Recipe, ExpressionStage2Recipe
from train.recipes.expression_paper import HDTF, paper_expression_stage1, paper_expression_stage2
from train.recipes.recipe import recipe

_Recipe = TypeVar("_Recipe", ExpressionStage1Recipe, ExpressionStage2Recipe)


@recipe
def table3_without_stage2() -> ExpressionStage1Recipe:
    """Table 3, w/o Stage 2 & f: the map of stage 1 without eye features at its input; nothing follows it."""
    return _row(paper_expression_stage1(), "table3_without_stage2", network=LipConfig.paper())


@recipe
def table3_without_stage1() -> ExpressionStage2Recipe:
    """Table 3, w/o Stage 1: both networks are trained from scratch in stage 2."""
    row = _row(paper_expression_stage2(), "table3_without_stage1", train_stage1=True)
    return dataclasses.replace(row, lip_checkpoint=None, needs=())


@recipe
def table3_without_distillation() -> ExpressionStage1Recipe:
    """Table 3, w/o Distillation, stage 1: the videos as they are, not resynchronised."""
    row = _row(paper_expression_stage1(), "table3_without_distillation")
    return dataclasses.replace(row, prepared=HDTF, resynced=False)


@recipe
def table3_without_distillation_stage2() -> ExpressionStage2Recipe:
    """Table 3, w/o Distillation, stage 2: after ``table3_without_distillation``, on the videos as they are."""
    return dataclasses.replace(
        _row(paper_expression_stage2(), "table3_without_distillation_stage2"),
        prepared=HDTF,
        resynced=False,
        lip_checkpoint=Path("runs/table3_without_distillation/checkpoint.safetensors"),
        needs=("table3_without_distillation",),
    )


@recipe
def table3_full_transformer() -> ExpressionStage2Recipe:
    """Table 3, Full-transformer: a causal transformer in the place of G_lstm. It cannot be exported."""
    return _row(paper_expression_stage2(), "table3_full_transformer", network=EyeTransformerConfig())


@recipe
def table5_without_read() -> ExpressionStage1Recipe:
    """Table 5, w/o L_read. It needs no lip reading expert."""
    return _without(paper_expression_stage1(), "table5_without_read", "reading")


@recipe
def table5_without_lms() -> ExpressionStage1Recipe:
    """Table 5, w/o L_lms."""
    return _without(paper_expression_stage1(), "table5_without_lms", "landmarks")


@recipe
def table5_without_shut() -> ExpressionStage1Recipe:
    """Table 5, w/o L_shut."""
    return _without(paper_expression_stage1(), "table5_without_shut", "shut")


@recipe
def table6_without_ssim() -> ExpressionStage2Recipe:
    """Table 6, w/o L_ssim."""
    return _without(paper_expression_stage2(), "table6_without_ssim", "ssim")


@recipe
def table6_without_d_eye() -> ExpressionStage2Recipe:
    """Table 6, w/o D_eye."""
    return _without(paper_expression_stage2(), "table6_without_d_eye", "eye")


@recipe
def table6_without_d_tf() -> ExpressionStage2Recipe:
    """Table 6, w/o D_tf."""
    return _without(paper_expression_stage2(), "table6_without_d_tf", "temporal_expression")


@recipe
def table6_without_d_te() -> ExpressionStage2Recipe:
    """Table 6, w/o D_te."""
    return _without(paper_expression_stage2(), "table6_without_d_te", "temporal_eye")


def _without(full: _Recipe, name: str, term: str) -> _Recipe:
    """The recipe with one lambda at 0, which also leaves out the discriminator behind it."""
    weights: Any = full.task.losses
    return _row(full, name, losses=dataclasses.replace(weights, **{term: 0.0}))


def _row(full: _Recipe, name: str, **task: object) -> _Recipe:
    """The recipe with other settings of its task, in a folder of its own."""
    config: Any = full.task
    return dataclasses.replace(
        full,
        task=dataclasses.replace(config, **task),
        trainer=dataclasses.replace(full.trainer, out=Path("runs") / name),
    )
