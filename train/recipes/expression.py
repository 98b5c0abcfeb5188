"""Recipes of the expression predictor: stage 1 (audio to lips) and stage 2 (eye motion), open and toy.

The paper's and its ablations are in `train.recipes.expression_paper`.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

from engine.config import StreamConfig
from engine.errors import CommandInvalid
from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig, LipNetwork
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.storage.shards import ClipFeatures
from train.datasets.eye_sequences import EyeSequencesConfig
from train.datasets.mouth_range import even_mouths
from train.datasets.scales import gain_mouth
from train.datasets.speech_runs import SpeechRunsConfig
from train.export import export_network, load_averaged
from train.losses.expression_stage1 import PIXELS_PER_FACE_UNIT, Stage1LossWeights
from train.losses.expression_stage2 import Stage2LossWeights
from train.motion_space.bfm_model import BfmModel
from train.networks.eye_transformer import EyeTransformerConfig
from train.networks.temporal_discriminators import EyeDiscriminatorConfig, PatchConfig
from train.pretrained import load_pretrained
from train.recipes.motion_data import (
    PREPARED,
    SYNTHETIC,
    motion_clips,
    resting_expressions,
    training_record,
)
from train.recipes.recipe import Experiment, LossFall, TrainingRecipe, recipe
from train.recipes.targets import check_targets
from train.rendering import MouthReader, MouthRenderer, RandomLipReader, landmark_mouth_mesh
from train.tasks.expression_stage1 import ExpressionStage1Config, ExpressionStage1Task
from train.tasks.expression_stage2 import ExpressionStage2Config, ExpressionStage2Task
from train.trainer import TrainingResult
from train.trainer_config import TrainerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LipReadingConfig:
    """Where L_read (Eq. 23) gets its features; nothing is loaded while its weight is 0.

    Attributes:
        kind: the lip reading network in ``pretrained``, or a random network (toys).
        size_px: side of the rendered mouth crops.
    """

    kind: Literal["pretrained", "random"] = "pretrained"
    pretrained: Path = Path("experts")
    size_px: int = 88

    def reader(self, model: LandmarkModel | BfmModel) -> MouthReader:
        """The network behind the renderer of a motion space.

        Raises:
            PretrainedNotFound: its file is not in ``pretrained``.
        """
        mesh = landmark_mouth_mesh(model) if isinstance(model, LandmarkModel) else model.mouth_mesh()
        network = RandomLipReader() if self.kind == "random" else load_pretrained("lip_reading", self.pretrained)
        return MouthReader(MouthRenderer(mesh, self.size_px), network)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionRecipe(TrainingRecipe):
    """What both stages share.

    Attributes:
        prepared: folder of `prepare`; the targets are its coefficients. Made from videos that Wav2Lip has
            resynchronised, they are the paper's distillation; made from the videos as they are, "w/o distillation".
        resynced: which of the two is meant, so that the wrong folder is refused; None takes either.
        motion_space: of a prepared folder in the landmark space.
        bfm: BFM_model_front.mat, for a prepared folder in the bfm space; None is the landmark space.
        also_hold_out: people (comma separated) kept out beside the usual ones, for leave-one-person-out.
    """

    prepared: Path = PREPARED
    resynced: bool | None = None
    motion_space: Path = BUNDLED_MOTION_SPACE
    bfm: Path | None = None
    lip_reading: LipReadingConfig = field(default_factory=LipReadingConfig)
    also_hold_out: str = ""

    def model(self) -> LandmarkModel | BfmModel:
        """The motion space."""
        return LandmarkModel.load(self.motion_space) if self.bfm is None else BfmModel.load(self.bfm)

    def clips(self, model: LandmarkModel | BfmModel) -> list[ClipFeatures]:
        """Clips of the prepared folder.

        Raises:
            CommandInvalid: it is in the other motion space, or its videos are not of the kind that ``resynced`` says.
        """
        if self.prepared != SYNTHETIC:
            check_targets(self.prepared, "landmark" if self.bfm is None else "bfm", self.resynced)
        made_up_in = model if isinstance(model, LandmarkModel) else None
        return motion_clips(self.prepared, made_up_in, self.also_hold_out)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage1Recipe(ExpressionRecipe):
    """Stage 1 on a prepared folder.

    ``mouth_gain`` and ``mouth_pivot`` (face units) widen the mouth's range at export
    (`train.datasets.scales.gain_mouth`). ``start`` is a checkpoint whose averaged weights the run begins with;
    ``audio_checkpoint`` is one of `open_phones`, for the audio encoder alone. ``even_mouths`` (0 to 1) is how far
    training mouths are made to open alike (`train.datasets.mouth_range`).
    """

    task: ExpressionStage1Config
    start: Path | None = None
    audio_checkpoint: Path | None = None
    even_mouths: float = 0.0
    mouth_gain: float = 1.0
    mouth_pivot: float = 0.07

    def build(self) -> Experiment:
        """The lip network on clips with audio."""
        model = self.model()
        clips = self.clips(model)
        task = ExpressionStage1Task(
            self.task,
            even_mouths(clips, model, self.even_mouths),
            model,
            resting_expressions(self.prepared) if self.task.data.style_share > 0 else None,
            self.lip_reading.reader(model) if self.task.losses.reading > 0 else None,
            self.trainer.seed,
        )
        if self.audio_checkpoint is not None:
            lip = task.modules["lip"]
            assert isinstance(lip, LipNetwork)
            load_averaged(lip.audio_encoder, self.audio_checkpoint, "audio_encoder")
        if self.start is not None:
            load_averaged(task.modules["lip"], self.start, "lip")
        return Experiment(task, partial(self._export, task, clips))

    def _export(
        self,
        task: ExpressionStage1Task,
        clips: Sequence[ClipFeatures],
        result: TrainingResult,
        folder: Path,
    ) -> None:
        network = result.averaged["lip"]
        assert isinstance(network, LipNetwork)
        widened = gain_mouth(network, task.model, self.mouth_gain, self.mouth_pivot)
        shipped = dataclasses.replace(result, figures=task.evaluate({"lip": widened}))
        stream = StreamConfig(
            lip_lookahead_ms=self.task.data.lookahead_ms,
            lip_window_columns=self.task.network.audio_columns,
        )
        sections = {"lip": self.task.network, "stream": stream}
        export_network(folder, "lip", widened, sections=sections, training=training_record(shipped, clips))


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpressionStage2Recipe(ExpressionRecipe):
    """Stage 2 on a prepared folder, with stage 1 from ``lip_checkpoint``; None begins with an untrained one."""

    task: ExpressionStage2Config
    lip: LipConfig = field(default_factory=LipConfig.lite)
    lip_checkpoint: Path | None = Path("runs/open_expression_stage1/checkpoint.safetensors")

    def build(self) -> Experiment:
        """The eye network beside the lip network.

        Raises:
            CommandInvalid: weights are asked for of a network that the engine cannot stream, or an untrained stage 1
                would stay so.
        """
        if self.weights is not None and isinstance(self.task.network, EyeTransformerConfig):
            raise CommandInvalid(
                "the transformer of Table 3 is for comparison and has no stream form, so it cannot be exported: "
                "leave weights unset, or train an LSTM"
            )
        if self.lip_checkpoint is None and not self.task.train_stage1:
            raise CommandInvalid("without lip_checkpoint stage 1 is untrained: set task.train_stage1=true")
        model = self.model()
        clips = self.clips(model)
        lip = LipNetwork(self.lip)
        if self.lip_checkpoint is not None:
            load_averaged(lip, self.lip_checkpoint, "lip")
        reads = self.task.losses.stage1 > 0 and self.task.stage1_losses.reading > 0
        task = ExpressionStage2Task(
            self.task,
            clips,
            model,
            lip,
            resting_expressions(self.prepared) if self.task.data.style_share > 0 else None,
            self.lip_reading.reader(model) if reads else None,
            self.trainer.seed,
        )
        return Experiment(task, partial(self._export, clips))

    def _export(self, clips: Sequence[ClipFeatures], result: TrainingResult, folder: Path) -> None:
        record = training_record(result, clips)
        parts: dict[str, dict[str, object]] = {"eye": {"eye": self.task.network}}
        if self.task.train_stage1:
            data = self.task.data
            stream = StreamConfig(lip_lookahead_ms=data.lookahead_ms, lip_window_columns=data.columns)
            parts["lip"] = {"lip": self.lip, "stream": stream}
        for name, sections in parts.items():
            export_network(folder, name, result.averaged[name], sections=sections, training=record)


@recipe
def open_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1, audio to lips, with terms of our own beside the paper's.

    Differs from the paper: the lite network (a twentieth of the size) at 1e-3; an audio encoder that has learnt phones
    from made-up speech (`open_phones`) and goes on at three tenths of that rate; runs of 4 frames, varied in voice,
    level, face and eyes; mouths that open alike; terms for the spread, correlation and velocity of the mouth (see
    `ExpressionStage1Config`). No lip reading and no distillation: the licences of the lip reader and of Wav2Lip do not
    let us ship what was trained with them.
    """
    return ExpressionStage1Recipe(
        task=ExpressionStage1Config(
            network=LipConfig.lite(),
            data=SpeechRunsConfig(runs=32),
            learning_rate=1e-3,
            audio_rate=0.3,
            betas=(0.9, 0.99),
            weight_decay=1e-2,
            dropout=0.3,
            losses=Stage1LossWeights(
                landmarks=0.05,
                eye=4.0 / 21,
                shut=1.0 / PIXELS_PER_FACE_UNIT,
                reading=0.0,
                expression=1.0 / 64,
            ),
            spread=0.5,
            correlation=0.5,
            velocity=0.2,
        ),
        trainer=TrainerConfig.open("open_expression_stage1", 800),
        audio_checkpoint=Path("runs/open_phones/checkpoint.safetensors"),
        even_mouths=1.0,
        mouth_gain=1.2,
        mouth_pivot=0.13,
        needs=("open_phones",),
    )


@recipe
def open_expression_stage2() -> ExpressionStage2Recipe:
    """Stage 2, with a posterior for z and a distribution match beside the paper's terms.

    Differs from the paper: the lite network; sequences of 70 to 160 frames, most of them under somebody else's voice
    (see `EyeSequencesConfig`), for which L_stage1, D_tf and D_eye would compare a mouth with another's speech, so they
    are left out and D_te alone judges (see `train.tasks.expression_stage2` for the posterior).
    """
    return ExpressionStage2Recipe(
        task=ExpressionStage2Config(
            network=EyeConfig.lite(),
            data=EyeSequencesConfig(),
            learning_rate=2e-3,
            betas=(0.9, 0.99),
            discriminator_rate=2e-4,
            discriminator_betas=(0.5, 0.99),
            patch=PatchConfig.lite(),
            losses=Stage2LossWeights(
                l1=1.0, ssim=2.0, kl=1.0, eye=0.0, temporal_expression=0.0, stage1=0.0, distribution=6.0
            ),
            posterior=True,
            audio_dropout=0.6,
            blink_scale=0.25,
            brow_scale=2.0,
        ),
        trainer=TrainerConfig.open("open_expression_stage2", 1400, ema_decay=0.99),
        needs=("open_expression_stage1",),
    )


_TOY_LIP = LipConfig(
    audio_widths=(4, 8),
    audio_mel_strides=(4, 4),
    audio_time_strides=(2, 2),
    audio_residuals=0,
    audio_size=16,
    eye_feature_size=21,
    map_widths=(32,),
)
_TOY_READING = LipReadingConfig(kind="random", size_px=24)


@recipe
def toy_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1 with all five terms, 40 steps of a network with a few thousand weights, on made-up clips.

    L_read looks at 24-pixel mouths through a random network.
    """
    return ExpressionStage1Recipe(
        task=ExpressionStage1Config(
            network=_TOY_LIP,
            data=SpeechRunsConfig(runs=16, run_frames=4),
            learning_rate=5e-3,
            betas=(0.9, 0.99),
        ),
        trainer=TrainerConfig.toy("toy_expression_stage1", steps=40),
        prepared=SYNTHETIC,
        lip_reading=_TOY_READING,
        loss_fall=LossFall(loss="lip/loss", factor=3.0),
    )


@recipe
def toy_expression_stage2() -> ExpressionStage2Recipe:
    """Stage 2 with every term, three discriminators and the posterior, 20 steps, after ``toy_expression_stage1``."""
    return ExpressionStage2Recipe(
        task=ExpressionStage2Config(
            network=EyeConfig(audio_size=16, noise_size=4, hidden_size=16, bottleneck=16, layers=1),
            data=EyeSequencesConfig(rows=4, lengths_frames=(40,), silence_share=0.0, foreign_voice_share=0.0),
            learning_rate=1e-2,
            discriminator_rate=2e-4,
            losses=Stage2LossWeights(kl=1.0, distribution=1.0),
            patch=PatchConfig(width=4),
            eye_discriminator=EyeDiscriminatorConfig(width=16, layers=1, heads=2),
            posterior=True,
            evaluation_frames=120,
        ),
        trainer=TrainerConfig.toy("toy_expression_stage2", steps=20),
        lip=_TOY_LIP,
        lip_checkpoint=Path("runs/toy_expression_stage1/checkpoint.safetensors"),
        prepared=SYNTHETIC,
        lip_reading=_TOY_READING,
        needs=("toy_expression_stage1",),
        loss_fall=LossFall(loss="eye/loss", factor=1.25),
    )
