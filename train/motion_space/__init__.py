"""Fitting the landmark motion space: alignment, bases of identity and expression, gaze calibration."""

from train.motion_space.build import build_motion_space
from train.motion_space.config import MotionSpaceConfig
from train.motion_space.fit import FitReport, fit_motion_space
from train.motion_space.measure import HeldOutReport, measure_held_out
from train.motion_space.people import Clip, FaceData, Still

__all__ = [
    "Clip",
    "FaceData",
    "FitReport",
    "HeldOutReport",
    "MotionSpaceConfig",
    "Still",
    "build_motion_space",
    "fit_motion_space",
    "measure_held_out",
]
