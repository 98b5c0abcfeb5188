"""The paper's expression predictor (section 3.2, App. B.2 and C).

The targets are the coefficients of ``prepared``: HDTF videos that a lip expert has resynchronised, in the landmark
space, or with ``bfm=BFM_model_front.mat`` in the paper's own. What the paper does not give is ours to choose: batch
sizes, numbers of steps, the layouts of the discriminators, and the units of landmarks and eye features
(`train.losses.expression_stage1`).
"""

from __future__ import annotations

from pathlib import Path

from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig
from train.datasets.eye_sequences import EyeSequencesConfig
from train.datasets.speech_runs import SpeechRunsConfig
from train.recipes.expression import ExpressionStage1Recipe, ExpressionStage2Recipe
from train.recipes.recipe import recipe
from train.tasks.expression_stage1 import ExpressionStage1Config
from train.tasks.expression_stage2 import ExpressionStage2Config
from train.trainer_config import TrainerConfig

HDTF = Path("runs/hdtf")
HDTF_RESYNCED = Path("runs/hdtf_resynced")
"""Where `prepare` puts the videos as they are, and resynchronised (train/README.md)."""


@recipe
def paper_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1, Eq. 5 and 18-24, lambdas and sequence length of App. C.

    Needs HDTF resynchronised by Wav2Lip and the lip reading expert of Ma et al. 2022 (``lip_reading.experts=FOLDER``).
    16 sequences of 30 frames a step, on one GPU or cut among the processes of torchrun.
    """
    return ExpressionStage1Recipe(
        task=ExpressionStage1Config(network=LipConfig.paper(eye_feature=True), data=SpeechRunsConfig.plain(runs=16)),
        trainer=TrainerConfig.paper("paper_expression_stage1", 100_000),
        prepared=HDTF_RESYNCED,
        resynced=True,
    )


@recipe
def paper_expression_stage2() -> ExpressionStage2Recipe:
    """Stage 2, Eq. 6-8 and 25-27, three discriminators at 1e-6, after ``paper_expression_stage1``, which is frozen.

    4 sequences of 300 frames a step: one for each of the paper's four GPUs under torchrun.
    """
    return ExpressionStage2Recipe(
        task=ExpressionStage2Config(network=EyeConfig.paper(), data=EyeSequencesConfig.plain(rows=4)),
        trainer=TrainerConfig.paper("paper_expression_stage2", 50_000),
        lip=LipConfig.paper(eye_feature=True),
        lip_checkpoint=Path("runs/paper_expression_stage1/checkpoint.safetensors"),
        prepared=HDTF_RESYNCED,
        resynced=True,
        needs=("paper_expression_stage1",),
    )
