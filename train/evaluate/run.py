"""The evaluation of two folders: match, look, compare; what fails is named and the rest goes on."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from engine.errors import InputError
from engine.motion.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker
from engine.timebase import FRAME_RATE_HZ
from train.evaluate import embeddings
from train.evaluate.config import METRICS, EvaluateConfig
from train.evaluate.features import Arrays, FeatureCache, Film, open_film
from train.evaluate.figures import PairFigures, Summary, motion_figures, network_figures, summarise
from train.evaluate.networks import Networks, find_networks
from train.evaluate.pairs import FilmPair, Matching, match_films
from train.metrics import mouth_opening

__all__ = ["Evaluation", "Trace", "evaluate"]

_log = logging.getLogger(__name__)
_POSE_METRICS, _PICTURE_METRICS = frozenset({"ssim_p", "var_p"}), frozenset({"psnr", "ssim", "perceptual"})

Progress = Callable[[int, int, str], None]
"""(pairs done, pairs, what is being looked at)."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Curves of a pair for the plots: generated and real, both over the frames that both have."""

    name: str
    mouth: tuple[Any, Any]
    pose: tuple[Any, Any]


@dataclass(slots=True)
class Evaluation:
    """What came out.

    Attributes:
        summaries: by metric, those that could be computed; not_computed: by metric, why not.
        refused: by film name, why its pair was left out; notes: what a reader of the table must know.
    """

    matching: Matching
    pairs: list[PairFigures] = field(default_factory=list)
    summaries: dict[str, Summary] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)


def evaluate(config: EvaluateConfig, progress: Progress = lambda done, of, what: None) -> Evaluation:
    """Compare the films of two folders.

    Raises:
        InputError: no films, no names in common, or every pair was refused.
        OutputUnwritable: the cache cannot be written.
    """
    return _Run(config, progress).result()


class _Run:
    def __init__(self, config: EvaluateConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress
        self._matching = match_films(config.generated, config.real)
        self._cache = FeatureCache(config.out / "cache")
        self._model = LandmarkModel.load(config.motion_space)
        self._networks = _networks(config)
        self._inception: tuple[list[Any], list[Any]] = ([], [])
        self._evaluation = Evaluation(self._matching)

    def result(self) -> Evaluation:
        evaluation, pairs = self._evaluation, self._matching.pairs
        landmarker = FaceLandmarker()
        try:
            for index, pair in enumerate(pairs):
                self._progress(index, len(pairs), pair.name)
                try:
                    evaluation.pairs.append(self._pair(pair, landmarker))
                except InputError as error:
                    evaluation.refused[pair.name] = str(error)
                    _log.warning("%s is left out: %s", pair.name, error)
        finally:
            landmarker.close()
        self._progress(len(pairs), len(pairs), "")
        if not evaluation.pairs:
            raise InputError(
                "no pair of films could be compared: "
                + "; ".join(f"{name}: {reason}" for name, reason in evaluation.refused.items())
            )
        inception = self._inception if self._inception[0] else None
        evaluation.summaries = summarise(evaluation.pairs, self._config.metrics, inception)
        self._explain()
        return evaluation

    def _pair(self, pair: FilmPair, landmarker: FaceLandmarker) -> PairFigures:
        config, cache, found = self._config, self._cache, self._networks.found
        opened = partial(
            open_film,
            cache=cache,
            landmarker=landmarker,
            model=self._model,
            min_face_share=config.min_face_share,
        )
        real = opened(f"{pair.name}.real", pair.real)
        generated = opened(f"{pair.name}.generated", pair.generated, like=real)
        films = (generated, real)
        self._note(pair, films)
        heads = None
        if "head_pose" in found:
            heads = [self._see(pair, film, "head_pose", embeddings.head_pose_features) for film in films]
        ours, theirs = motion_figures(generated, real, self._model, config.metrics, heads)
        identity = None
        if "arcface" in found:
            identity = [self._see(pair, film, "arcface", embeddings.identity_features) for film in films]
        elif "identity" in found:
            identity = [
                self._see(pair, film, "identity", embeddings.open_identity_features) for film in films
            ]
        sync = [self._sync(pair, film) for film in films] if "syncnet" in found else []
        for figures, more in zip((ours, theirs), network_figures(identity, sync), strict=True):
            figures.update({name: value for name, value in more.items() if name in config.metrics})
        if _PICTURE_METRICS & set(config.metrics):
            backbone = found.get("perceptual")
            kind = "pictures" if backbone is None else "pictures_perceptual"
            likeness = cache.get(
                pair.name,
                kind,
                f"{generated.key} {real.key}",
                lambda: embeddings.picture_figures(generated, real, backbone, config.batch),
            )
            ours |= {name: float(np.mean(v)) for name, v in likeness.items() if name in config.metrics}
        if "inception" in found:
            for features, film in zip(self._inception, films, strict=True):
                features.append(self._see(pair, film, "inception", embeddings.inception_features)["features"])
        self._evaluation.traces.append(_trace(pair.name, generated, real, self._model))
        return PairFigures(pair.name, min(generated.frames, real.frames), ours, theirs)

    def _see(self, pair: FilmPair, film: Film, kind: str, look: Callable[[Film, Any, int], Arrays]) -> Arrays:
        side = "generated" if film.info.path == pair.generated else "real"
        key = f"{film.key} {self._networks.identities.get(kind, '')}"
        network = self._networks.found[kind]
        return self._cache.get(
            f"{pair.name}.{side}", kind, key, lambda: look(film, network, self._config.batch)
        )

    def _sync(self, pair: FilmPair, film: Film) -> Arrays | None:
        try:
            return self._see(pair, film, "syncnet", embeddings.sync_features)
        except InputError as error:
            self._evaluation.notes.append(f"LSE leaves out {film.info.path.name}: {error}")
            return None

    def _note(self, pair: FilmPair, films: tuple[Film, Film]) -> None:
        for film in films:
            if abs(film.info.frame_rate_hz - FRAME_RATE_HZ) > 0.01:
                self._evaluation.notes.append(
                    f"{film.info.path} has {film.info.frame_rate_hz:.4g} frames a second; it was held to 25"
                )
        lengths = [film.frames for film in films]
        if max(lengths) - min(lengths) > 2:
            self._evaluation.notes.append(
                f"{pair.name}: {lengths[0]} generated and {lengths[1]} real frames; "
                f"the first {min(lengths)} are compared"
            )

    def _explain(self) -> None:
        evaluation, networks = self._evaluation, self._networks
        for name in self._config.metrics:
            if name not in evaluation.summaries:
                reason = networks.missing.get(METRICS[name].expert, "no film has what it needs")
                evaluation.not_computed[name] = reason
        evaluation.notes += list(networks.notes.values())
        for label, names in (
            ("generated", self._matching.only_generated),
            ("real", self._matching.only_real),
        ):
            if names:
                evaluation.notes.append(f"only among the {label} films, left out: {', '.join(names)}")


def _networks(config: EvaluateConfig) -> Networks:
    wanted = {METRICS[name].expert for name in config.metrics} - {""}
    if _POSE_METRICS & set(config.metrics):
        wanted.add("head_pose")
    return find_networks(sorted(wanted), config.experts)


def _trace(name: str, generated: Film, real: Film, model: LandmarkModel) -> Trace:
    frames = min(generated.frames, real.frames)
    films = (generated, real)
    mouths = [
        mouth_opening(model, torch.from_numpy(film.motion.expression[:frames])).numpy() for film in films
    ]
    poses = [film.motion.pose[:frames] for film in films]
    return Trace(name, (mouths[0], mouths[1]), (poses[0], poses[1]))
