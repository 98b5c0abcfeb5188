"""The evaluation of two folders: match, look, compare; what fails is named and the rest goes on."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from engine.errors import InputError
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker
from engine.timebase import FRAME_RATE_HZ
from train.evaluate import embeddings
from train.evaluate.config import METRICS, EvaluateConfig
from train.evaluate.features import Arrays, FeatureCache, Video, open_video
from train.evaluate.figures import PairFigures, Summary, motion_figures, network_figures, summarise
from train.evaluate.networks import Networks, find_networks
from train.evaluate.pairs import Matching, VideoPair, match_videos
from train.metrics import mouth_opening

_log = logging.getLogger(__name__)
_POSE_METRICS, _IMAGE_METRICS = frozenset({"ssim_p", "var_p"}), frozenset({"psnr", "ssim", "perceptual"})

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
        refused: by video name, why its pair was left out; notes: what a reader of the table must know.
    """

    matching: Matching
    pairs: list[PairFigures] = field(default_factory=list)
    summaries: dict[str, Summary] = field(default_factory=dict)
    not_computed: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)


def evaluate(config: EvaluateConfig, progress: Progress = lambda done, of, what: None) -> Evaluation:
    """Compare the videos of two folders.

    Raises:
        InputError: no videos, no names in common, or every pair was refused.
        OutputUnwritable: the cache cannot be written.
    """
    return _Run(config, progress).result()


class _Run:
    def __init__(self, config: EvaluateConfig, progress: Progress) -> None:
        self._config = config
        self._progress = progress
        self._matching = match_videos(config.generated, config.real)
        self._cache = FeatureCache(config.out / "cache")
        self._model = LandmarkModel.load(config.motion_space)
        self._networks = _networks(config)
        self._inception: tuple[list[Any], list[Any]] = ([], [])
        self._evaluation = Evaluation(self._matching)

    def result(self) -> Evaluation:
        evaluation, pairs = self._evaluation, self._matching.pairs
        landmarker = FaceLandmarker()
        for index, pair in enumerate(pairs):
            self._progress(index, len(pairs), pair.name)
            try:
                evaluation.pairs.append(self._pair(pair, landmarker))
            except InputError as error:
                evaluation.refused[pair.name] = str(error)
                _log.warning("%s is left out: %s", pair.name, error)
        self._progress(len(pairs), len(pairs), "")
        if not evaluation.pairs:
            raise InputError(
                "no pair of videos could be compared: "
                + "; ".join(f"{name}: {reason}" for name, reason in evaluation.refused.items())
            )
        inception = self._inception if self._inception[0] else None
        evaluation.summaries = summarise(evaluation.pairs, self._config.metrics, inception)
        self._explain()
        return evaluation

    def _pair(self, pair: VideoPair, landmarker: FaceLandmarker) -> PairFigures:
        config, cache, found = self._config, self._cache, self._networks.found
        opened = partial(
            open_video,
            cache=cache,
            landmarker=landmarker,
            model=self._model,
            min_face_share=config.min_face_share,
        )
        real = opened(f"{pair.name}.real", pair.real)
        generated = opened(f"{pair.name}.generated", pair.generated, like=real)
        videos = (generated, real)
        self._note(pair, videos)
        heads = None
        if "head_pose" in found:
            heads = [self._see(pair, video, "head_pose", embeddings.head_pose_features) for video in videos]
        ours, theirs = motion_figures(generated, real, self._model, config.metrics, heads)
        identity = None
        if "arcface" in found:
            identity = [self._see(pair, video, "arcface", embeddings.identity_features) for video in videos]
        elif "identity" in found:
            identity = [self._see(pair, video, "identity", embeddings.open_identity_features) for video in videos]
        sync = [self._sync(pair, video) for video in videos] if "syncnet" in found else []
        for figures, more in zip((ours, theirs), network_figures(identity, sync), strict=True):
            figures.update({name: value for name, value in more.items() if name in config.metrics})
        if _IMAGE_METRICS & set(config.metrics):
            backbone = found.get("perceptual")
            kind = "pictures" if backbone is None else "pictures_perceptual"
            likeness = cache.get(
                pair.name,
                kind,
                f"{generated.key} {real.key}",
                lambda: embeddings.image_figures(generated, real, backbone, config.batch),
            )
            ours |= {name: float(np.mean(v)) for name, v in likeness.items() if name in config.metrics}
        if "inception" in found:
            for features, video in zip(self._inception, videos, strict=True):
                features.append(self._see(pair, video, "inception", embeddings.inception_features)["features"])
        self._evaluation.traces.append(_trace(pair.name, generated, real, self._model))
        return PairFigures(pair.name, min(generated.frames, real.frames), ours, theirs)

    def _see(self, pair: VideoPair, video: Video, kind: str, look: Callable[[Video, Any, int], Arrays]) -> Arrays:
        side = "generated" if video.info.path == pair.generated else "real"
        key = f"{video.key} {self._networks.identities.get(kind, '')}"
        network = self._networks.found[kind]
        return self._cache.get(f"{pair.name}.{side}", kind, key, lambda: look(video, network, self._config.batch))

    def _sync(self, pair: VideoPair, video: Video) -> Arrays | None:
        try:
            return self._see(pair, video, "syncnet", embeddings.sync_features)
        except InputError as error:
            self._evaluation.notes.append(f"LSE leaves out {video.info.path.name}: {error}")
            return None

    def _note(self, pair: VideoPair, videos: tuple[Video, Video]) -> None:
        for video in videos:
            if abs(video.info.frame_rate_hz - FRAME_RATE_HZ) > 0.01:
                self._evaluation.notes.append(
                    f"{video.info.path} has {video.info.frame_rate_hz:.4g} frames a second; it was held to 25"
                )
        lengths = [video.frames for video in videos]
        if max(lengths) - min(lengths) > 2:
            self._evaluation.notes.append(
                f"{pair.name}: {lengths[0]} generated and {lengths[1]} real frames; "
                f"the first {min(lengths)} are compared"
            )

    def _explain(self) -> None:
        evaluation, networks = self._evaluation, self._networks
        for name in self._config.metrics:
            if name not in evaluation.summaries:
                reason = networks.missing.get(METRICS[name].network, "no video has what it needs")
                evaluation.not_computed[name] = reason
        evaluation.notes += list(networks.notes.values())
        for label, names in (
            ("generated", self._matching.only_generated),
            ("real", self._matching.only_real),
        ):
            if names:
                evaluation.notes.append(f"only among the {label} videos, left out: {', '.join(names)}")


def _networks(config: EvaluateConfig) -> Networks:
    wanted = {METRICS[name].network for name in config.metrics} - {""}
    if _POSE_METRICS & set(config.metrics):
        wanted.add("head_pose")
    return find_networks(sorted(wanted), config.pretrained)


def _trace(name: str, generated: Video, real: Video, model: LandmarkModel) -> Trace:
    frames = min(generated.frames, real.frames)
    videos = (generated, real)
    mouths = [mouth_opening(model, torch.from_numpy(video.motion.expression[:frames])).numpy() for video in videos]
    poses = [video.motion.pose[:frames] for video in videos]
    return Trace(name, (mouths[0], mouths[1]), (poses[0], poses[1]))
