"""From a data folder to ``motion_space.safetensors``: find landmarks, fit, measure on held-out people, write."""

import logging
from dataclasses import asdict
from pathlib import Path

from engine.motion.space.landmark_basis import save_landmark_basis
from train.motion_space.config import MotionSpaceConfig
from train.motion_space.fit import FitReport, fit_motion_space
from train.motion_space.landmarks import find_landmarks, read_landmarks
from train.motion_space.measure import HeldOutReport, measure_held_out
from train.motion_space.people import split_held_out

_log = logging.getLogger(__name__)


def build_motion_space(
    output: Path, cache: Path, data: Path | None = None, config: MotionSpaceConfig | None = None
) -> tuple[FitReport, HeldOutReport | None]:
    """Fit the motion space and write it to ``output``.

    cache: folder of landmarks, filled from ``data`` where a file is missing; without ``data`` it is used as it is.
    Returns the figures of the fit and those of the held-out people (None where nobody is held out).
    """
    if data is not None:
        find_landmarks(data, cache)
    training, held_out = split_held_out(read_landmarks(cache))
    if not training.stills or not training.clips:
        raise ValueError(f"{cache} holds no landmarks of stills and clips; give the data folder too")
    space, report = fit_motion_space(training, config)
    _log.info("fit: %s", asdict(report))
    measured = measure_held_out(space, held_out) if held_out.stills and held_out.clips else None
    if measured is not None:
        _log.info("held-out people: %s", asdict(measured))
    save_landmark_basis(space, output)
    return report, measured
