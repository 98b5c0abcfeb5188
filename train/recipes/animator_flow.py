"""Recipes of the animator's first stage: dense flows, and the decoder's flow learnt from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.animator import FaceAnimatorConfig
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE
from train.data.faces.face_clips import load_face_clips
from train.data.faces.face_pack import load_still_portraits
from train.data.faces.mesh_flows import MeshFlowConfig, mesh_flows, save_flows
from train.export import export_network
from train.recipes.recipe import Experiment, TrainingRecipe, recipe
from train.tasks.animator_flow import FlowTask, FlowTaskConfig, load_flows
from train.tasks.animator_start import load_start
from train.trainer import TrainerConfig, TrainingResult


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowsRecipe:
    """Flows of the geometric animator's mesh.

    Attributes:
        faces: folder of `prepare_faces`, videos and stills. out: folder of train.safetensors and held_out.safetensors.
        held_out_portraits: of the people in no training.
    """

    faces: Path = Path("runs/faces")
    out: Path = Path("runs/flows")
    flows: MeshFlowConfig = field(default_factory=MeshFlowConfig)
    held_out_portraits: int = 30
    seed: int = 1

    def run(self) -> Mapping[str, Any]:
        """Make them; how many."""
        videos, stills = load_face_clips(self.faces), load_still_portraits(self.faces)
        counts = {}
        for split, portraits in (("train", self.flows.portraits), ("held_out", self.held_out_portraits)):
            made = mesh_flows(
                [video for video in videos if video.split == split],
                [still for still in stills if still.split == split],
                self.flows,
                self.seed,
                portraits,
            )
            counts[split] = save_flows(self.out / f"{split}.safetensors", made, portraits)
        return counts


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorFlowRecipe(TrainingRecipe):
    """Flow alone, without images.

    Attributes:
        train, held_out: files of `prepare_flows`.
        start: weights folder to go on from; None begins with the regression.
    """

    task: FlowTaskConfig
    train: tuple[Path, ...] = (Path("runs/flows/train.safetensors"),)
    held_out: tuple[Path, ...] = (Path("runs/flows/held_out.safetensors"),)
    start: Path | None = None

    def build(self) -> Experiment:
        """The network without its encoder."""
        task = FlowTask(
            self.task,
            load_flows(*self.train),
            load_flows(*self.held_out),
            start=None if self.start is None else load_start(self.start, self.task.network),
            seed=self.trainer.seed,
        )
        return Experiment(task, partial(self._export, task))

    def _export(self, task: FlowTask, result: TrainingResult, folder: Path) -> None:
        network = task.exported(result.averaged, LandmarkModel.load(BUNDLED_MOTION_SPACE))
        record = {
            "steps": result.step,
            "seconds": round(result.seconds),
            "figures": {key: round(value, 4) for key, value in result.figures.items()},
        }
        sections: dict[str, Any] = {"neural_animator": self.task.network}
        export_network(folder, "animator", network, sections=sections, training=record)


@recipe
def prepare_flows() -> FlowsRecipe:
    """Dense flows of videos and stills for `open_animator_flow`: ``faces=FOLDER out=FOLDER``; 200 samples a second."""
    return FlowsRecipe()


@recipe
def open_animator_flow() -> AnimatorFlowRecipe:
    """First stage of the bundled animator: its flow up to 64 px from measures and motion, against the mesh's flow.

    No image is made. ``start=train/results/open_animator_flow`` goes on from the last weights, and `open_animator`
    goes on from those exported here, with ``start=`` too. Beside the paper, which
    learns flow from images alone.
    """
    return AnimatorFlowRecipe(
        task=FlowTaskConfig(network=FaceAnimatorConfig.lite(), learning_rate=2e-3, linear_steps=1500),
        trainer=TrainerConfig(
            out=Path("runs/open_animator_flow"),
            steps=4000,
            ema_decay=0.995,
            clip_norm=5.0,
            evaluate_every=500,
            checkpoint_every=250,
            device="cpu",
            threads=1,
        ),
        needs=("prepare_flows",),
    )
