"""Training runs as functions that return their whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from train.recipes.motion import open_eye, open_lip, open_pose
from train.recipes.prepare import open_motion_space, prepare_clips
from train.recipes.toy import toy_eye, toy_lip, toy_pose

__all__ = ["RECIPES"]

RECIPES: dict[str, Callable[[], Any]] = {
    "prepare": prepare_clips,
    "open_motion_space": open_motion_space,
    "open_lip": open_lip,
    "open_eye": open_eye,
    "open_pose": open_pose,
    "toy_lip": toy_lip,
    "toy_eye": toy_eye,
    "toy_pose": toy_pose,
}
"""Name on the command line to the function that makes the config."""
