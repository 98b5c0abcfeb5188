"""Recipes of the face animator: the paper's, Table 4, ours, and a toy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from engine.animator import FaceAnimatorConfig
from engine.animator.network.guided_decoder import GuidedDecoder
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE
from train.data.faces import face_pack
from train.data.faces.face_clips import FaceClip, load_face_clips
from train.data.faces.photo_clips import photo_clips
from train.datasets.face_augmentation import FaceAugmentation
from train.export import export_network
from train.losses.animator import AnimatorLossWeights
from train.pretrained import LandmarkNetwork, face_places
from train.recipes.motion_data import PREPARED, SYNTHETIC
from train.recipes.recipe import Experiment, LossFall, TrainingRecipe, recipe
from train.tasks.animator import AnimatorTask, AnimatorTaskConfig
from train.tasks.animator_pretrained import PretrainedNetworks
from train.tasks.animator_start import load_start
from train.tasks.geometric_baseline import geometric_render
from train.trainer import TrainerConfig, TrainingResult


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorRecipe(TrainingRecipe):
    """The animator on clips with images.

    Attributes:
        faces: folder of `prepare` with images or of `prepare_faces`; "synthetic" makes up a few clips.
        experts: folder of the paper's frozen networks; None takes the open substitutes.
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
    experts: Path | None = None
    start: Path | None = None
    identity: bool = False
    compare: bool = False
    select: bool = True
    pair_share: float = 0.0
    photo_share: float = 0.0
    shrink: float = 1.0

    def build(self) -> Experiment:
        """The animator, its discriminator and the experts that its losses need."""
        clips = self._groups()
        task = AnimatorTask(
            self.task,
            clips,
            self._experts(),
            mirror_sign_E=_mirror_sign() if self.task.augmentation.moves else None,
            seed=self.trainer.seed,
        )
        if self.start is not None:
            task.start_from(load_start(self.start, self.task.network))
        return Experiment(task, partial(self._export, task, [c for _, group in clips for c in group]))

    def _experts(self) -> PretrainedNetworks:
        experts = animator_experts(self.experts, self.task.losses)
        if self.identity:
            from train.pretrained import FaceIdentity

            experts = dataclasses.replace(experts, identity=FaceIdentity())
        return experts

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
    """Pictures and motion in one archive."""

    def run(self) -> Mapping[str, Any]:
        """Pack, and say how much went in."""
        return face_pack.build_face_pack(self)


@recipe
def prepare_faces() -> FacePackRecipe:
    """Films and stills for the animator in one archive: ``prepared=FOLDER portraits=FOLDER,FOLDER out=FOLDER``."""
    return FacePackRecipe(prepared=PREPARED, out=Path("runs/faces"))


def _mirror_sign() -> Tensor:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE).expression_mirror_sign


def animator_experts(folder: Path | None, weights: AnimatorLossWeights) -> PretrainedNetworks:
    """The paper's experts from ``folder``, or the open substitutes (None), those that ``weights`` give a weight.

    The landmark network comes always: it needs no file, and evaluation looks through it.

    Raises:
        ExpertNotFound: a file is missing; the message says which and from where. MissingDependency: a package is.
    """
    landmarks = LandmarkNetwork()
    terms = tuple(name for name in ("expression", "gaze", "parsing") if getattr(weights, name))
    if folder is None:
        return _open_experts(landmarks, terms, perceptual=max(weights.perceptual, weights.mouth) > 0)
    return _paper_experts(landmarks, folder, terms, perceptual=max(weights.perceptual, weights.mouth) > 0)


def _open_experts(landmarks: LandmarkNetwork, terms: tuple[str, ...], *, perceptual: bool) -> PretrainedNetworks:
    from train.pretrained import BlendshapeFeatures, IrisPlaces, PerceptualBackbone, RegionParser

    blendshapes = BlendshapeFeatures(landmarks)
    backbone = PerceptualBackbone() if perceptual else None
    parser = RegionParser(landmarks) if "parsing" in terms else None

    def located(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> Tensor:
        found_BN3: Tensor = landmarks(rgb_B3HW, face_places(landmarks_BN3))
        return found_BN3

    def face(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        if {"expression", "gaze"} & set(terms):
            found_BN3 = located(rgb_B3HW, landmarks_BN3)
            seen["expression"] = blendshapes.of_landmarks(found_BN3)[0]
            seen["gaze"] = IrisPlaces.of_landmarks(found_BN3)
        if parser is not None:
            seen["parsing"] = parser(rgb_B3HW)
        return {name: seen[name] for name in terms}

    return PretrainedNetworks(
        perceptual=None if backbone is None else lambda rgb_B3HW: backbone(rgb_B3HW)[:4],
        face=face if terms else None,
        terms=terms,
        landmarks=located,
        networks=tuple(network for network in (landmarks, blendshapes, backbone, parser) if network is not None),
    )


def _paper_experts(
    landmarks: LandmarkNetwork, folder: Path, terms: tuple[str, ...], *, perceptual: bool
) -> PretrainedNetworks:
    from train.pretrained import FaceCropped, expert, expression_places

    chosen: dict[str, nn.Module] = {}
    if "expression" in terms:
        chosen["expression"] = FaceCropped(expert("expression", folder), landmarks, places=expression_places)
    if "gaze" in terms:
        chosen["gaze"] = FaceCropped(expert("gaze", folder), landmarks, scale=1.2)
    if "parsing" in terms:
        chosen["parsing"] = expert("parsing", folder)
    vgg = expert("vgg19", folder) if perceptual else None

    def face(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> dict[str, Tensor]:
        return {
            name: network(rgb_B3HW) if name == "parsing" else network(rgb_B3HW, landmarks_BN3)
            for name, network in chosen.items()
        }

    return PretrainedNetworks(
        perceptual=vgg,
        face=face if terms else None,
        terms=terms,
        landmarks=lambda rgb_B3HW, landmarks_BN3: landmarks(rgb_B3HW, face_places(landmarks_BN3)),
        networks=(landmarks, *chosen.values(), *(() if vgg is None else (vgg,))),
    )


@recipe
def paper_animator() -> AnimatorRecipe:
    """The paper's animator (Eq. 11-17): four GPUs, VoxCeleb. Experts: VGG19, DECA, L2CS-Net and BiSeNet in ``experts``.

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
        experts=Path("experts"),
    )


def _table4(name: str, **losses: float) -> AnimatorRecipe:
    full = paper_animator()
    return dataclasses.replace(
        full,
        task=dataclasses.replace(full.task, losses=dataclasses.replace(full.task.losses, **losses)),
        trainer=dataclasses.replace(full.trainer, out=Path("runs") / name),
    )


@recipe
def table4_full() -> AnimatorRecipe:
    """Table 4, "Full": `paper_animator` in a folder of its own."""
    return _table4("table4_full")


@recipe
def table4_without_parsing() -> AnimatorRecipe:
    """Table 4, "w/o L_pars": `paper_animator` with Eq. 15 left out."""
    return _table4("table4_without_parsing", parsing=0.0)


@recipe
def table4_without_mask() -> AnimatorRecipe:
    """Table 4, "w/o M_lip&eye": `paper_animator` with plain means in Eq. 11 and 12."""
    return _table4("table4_without_mask", mask=0.0)


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
        trainer=TrainerConfig(
            out=Path("runs/open_guided_animator"),
            steps=20_000,
            ema_decay=0.995,
            evaluate_every=2000,
            device="cpu",
            tensorboard=True,
        ),
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
