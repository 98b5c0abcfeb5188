"""Recipes of the face animator: the paper's, Table 4, ours, and a toy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from engine.animator import FaceAnimatorConfig
from engine.animator.network.guided_decoder import GuidedDecoder
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces import face_pack
from train.data.faces.face_clips import FaceClip, load_face_clips
from train.data.faces.photo_clips import photo_clips
from train.datasets.face_augmentation import FaceAugmentation
from train.export import export_network
from train.losses.animator import AnimatorLossWeights
from train.recipes.animator_networks import animator_networks
from train.recipes.motion_data import PREPARED, SYNTHETIC
from train.recipes.recipe import Experiment, LossFall, TrainingRecipe, recipe, variants
from train.tasks.animator import AnimatorTask, AnimatorTaskConfig
from train.tasks.animator_start import load_start
from train.tasks.geometric_baseline import geometric_render
from train.trainer import TrainingResult
from train.trainer_config import TrainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorRecipe(TrainingRecipe):
    """The animator on clips with images.

    Attributes:
        faces: folder of `prepare` with images or of `prepare_faces`; "synthetic" makes up a few clips.
        pretrained: folder of the paper's frozen networks; None takes the open substitutes.
        start: weights folder to begin with; None begins at random.
        identity: also measure whether the person stays the same, by dlib's face recognition (an optional package).
        compare: also write the geometric animator's figures on the same pairs into the exported record.
        select: whether `animator` in the exported config names what was trained.
        shrink: share of what a guided network learnt to add that is exported: it holds less of people in no training
            than of those in it.
        pair_share: share of the rows that are two photographs of one person; photo_share: that are one, which stays.
    """

    task: AnimatorTaskConfig
    faces: Path = PREPARED
    pretrained: Path | None = None
    start: Path | None = None
    identity: bool = False
    compare: bool = False
    select: bool = True
    pair_share: float = 0.0
    photo_share: float = 0.0
    shrink: float = 1.0

    def build(self) -> Experiment:
        """The animator, its discriminator and the pretrained networks that its losses need."""
        clips, space = self._groups(), LandmarkModel.load(BUNDLED_MOTION_SPACE)
        task = AnimatorTask(
            self.task,
            clips,
            animator_networks(self.pretrained, self.task.losses, identity=self.identity),
            mirror_sign_E=space.expression_mirror_sign if self.task.augmentation.moves else None,
            seed=self.trainer.seed,
        )
        if self.start is not None:
            task.start_from(load_start(self.start, self.task.network))
        return Experiment(task, partial(self._export, task, [c for _, group in clips for c in group]))

    def _groups(self) -> list[tuple[float, Sequence[FaceClip]]]:
        if self.faces == SYNTHETIC:
            from train.data.faces.synthetic_faces import synthetic_face_clips

            return [(1.0, synthetic_face_clips(clips=3, frames=8))]
        groups: list[tuple[float, Sequence[FaceClip]]] = []
        video_share = 1 - self.pair_share - self.photo_share
        if video_share > 0 or (self.faces / "manifest.jsonl").is_file():
            groups.append((video_share, load_face_clips(self.faces)))
        if video_share == 1:
            return groups
        portraits = [p for p in face_pack.load_still_portraits(self.faces) if p.split == "train"]
        photos = photo_clips(portraits, LandmarkModel.load(BUNDLED_MOTION_SPACE))
        groups.append((self.pair_share, [clip for clip in photos if clip.frames > 1]))
        groups.append((self.photo_share, [clip for clip in photos if clip.frames == 1]))
        return groups

    def _export(self, task: AnimatorTask, clips: Sequence[FaceClip], result: TrainingResult, folder: Path) -> None:
        trained_on = [clip for clip in clips if clip.split == "train"]
        record: dict[str, Any] = {
            "steps": result.step,
            "seconds": round(result.seconds),
            "people": len({clip.person for clip in trained_on}),
            "held_out": sorted({clip.person for clip in task.held_out}),
            "started_from": None if self.start is None else self.start.name,
            "figures": {key: round(value, 4) for key, value in result.figures.items()},
        }
        if self.compare:
            figures = task.figures(geometric_render(LandmarkModel.load(BUNDLED_MOTION_SPACE), self.task.size))
            record["geometric"] = {key: round(value, 4) for key, value in figures.items()}
        sections: dict[str, Any] = {"neural_animator": self.task.network}
        if self.select:
            sections["animator"] = "neural"
        network = task.exported(result.averaged)
        if isinstance(network.decoder, GuidedDecoder):
            record["shrink"] = self.shrink
            network.decoder.shrink(self.shrink)
        export_network(folder, "animator", network, sections=sections, training=record)


@dataclass(frozen=True, slots=True, kw_only=True)
class FacePackRecipe(face_pack.FacePackConfig):
    """Images and motion in one archive."""

    def run(self) -> Mapping[str, Any]:
        """Pack, and say how much went in."""
        return face_pack.build_face_pack(self)


@recipe
def prepare_faces() -> FacePackRecipe:
    """Videos and stills for the animator in one archive: ``prepared=FOLDER portraits=FOLDER,FOLDER out=FOLDER``."""
    return FacePackRecipe(prepared=PREPARED, out=Path("runs/faces"))


@recipe
def paper_animator() -> AnimatorRecipe:
    """The paper's animator (Eq. 11-17): four GPUs, VoxCeleb.

    ``pretrained`` is the folder of VGG19, DECA, L2CS-Net and BiSeNet.

    From the paper: the losses and their lambdas, Adam at 1e-4, the released layout, one clip for source and target.
    Our choice, for it says nothing of them: 8 rows a GPU, 300,000 steps, constant rate, no augmentation, the weight 4
    of the lip and eye mask, StyleGAN2's discriminator with R1 (gamma 10, every 16 steps), decays (0.9, 0.99) and
    (0, 0.99), averaged weights.
    """
    return AnimatorRecipe(
        task=AnimatorTaskConfig(
            network=FaceAnimatorConfig.paper(),
            rows=32,
            augmentation=FaceAugmentation.none(),
            readers=8,
            cache_mib=4096,
        ),
        trainer=TrainerConfig.paper("paper_animator", 300_000, ema_decay=0.999),
        pretrained=Path("experts"),
    )


variants(
    paper_animator,
    ("table4_without_parsing", 'Table 4, "w/o L_pars": Eq. 15 left out', {"task.losses.parsing": 0.0}),
    ("table4_without_mask", 'Table 4, "w/o M_lip&eye": plain means in Eq. 11 and 12', {"task.losses.mask": 0.0}),
)


@recipe
def open_guided_animator() -> AnimatorRecipe:
    """The bundled animator: narrow layout guided by the mesh, on a folder of `prepare_faces`.

    It begins as the geometric animator's image, so that every step is about what that one gets wrong. Beside videos it
    learns from pairs of photographs of one person and from photographs alone. Substitutes for the paper's networks:
    EfficientNet-Lite for VGG19, the bundled landmark network for the landmark term. ``start=`` goes on from exported
    weights. Settings are those of the end of the bundled run; ``train/results`` has its whole course.
    """
    return AnimatorRecipe(
        task=AnimatorTaskConfig(
            network=FaceAnimatorConfig.guided_lite(),
            rows=8,
            learning_rate=2e-3,
            losses=AnimatorLossWeights(
                reconstruction=4.0,
                perceptual=0.06,
                expression=0,
                gaze=0,
                parsing=0,
                adversarial=0,
                landmarks=0.6,
                mouth=0.12,
            ),
            landmarks_every=3,
            perceptual_window=128,
            discriminator_widths=(128, 128, 96, 64, 48, 24, 16),
            discriminator_rate=2e-3,
            scaled_descriptors=True,
            cache_mib=2048,
        ),
        trainer=TrainerConfig.open("open_guided_animator", 20_000, ema_decay=0.995),
        faces=Path("runs/faces"),
        compare=True,
        pair_share=0.35,
        photo_share=0.1,
    )


@recipe
def toy_animator() -> AnimatorRecipe:
    """Animator and discriminator of a few thousand weights at 32 px, 20 steps, on made-up clips."""
    network = FaceAnimatorConfig(
        widths=(16, 16, 12, 8), style_size=16, directions=4, past_frames=2, future_frames=0, mapping_width=16,
        mapping_kernel=1, mapping_dilations=(1,), head_layers=2, transform_sizes=(32,),
    )  # fmt: skip
    return AnimatorRecipe(
        task=AnimatorTaskConfig(
            network=network,
            rows=4,
            learning_rate=5e-3,
            losses=AnimatorLossWeights(
                reconstruction=4.0, perceptual=0, expression=0.01, gaze=0.02, parsing=0, adversarial=0.01
            ),
            augmentation=FaceAugmentation(brightness=0, contrast=0, saturation=0, tint=0),
            discriminator_widths=(8, 8, 8, 8),
            discriminator_rate=1e-3,
            adversarial_from_step=12,
            r1_every=4,
            scaled_descriptors=True,
            evaluation_targets=2,
        ),
        trainer=TrainerConfig.toy("toy_animator", steps=20),
        faces=SYNTHETIC,
        loss_fall=LossFall(loss="animator/reconstruction", factor=1.2),
    )
