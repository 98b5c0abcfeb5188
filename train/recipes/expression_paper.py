"""The paper's expression predictor (section 3.2, App. B.2 and C), and the rows of Tables 3, 5 and 6.

A row is the full recipe with the stated thing changed; the "Full" rows are the full recipes. A row of Table 3 or 6 is
read off stage 2 (``mld``, ``ssim_e``), a row of Table 5 off stage 1 (``mld``).

The targets are the coefficients of ``prepared``: HDTF videos that Wav2Lip has resynchronised, in the landmark
space, or with ``bfm=BFM_model_front.mat`` in the paper's own. What the paper does not give is ours to choose: batch
sizes, numbers of steps, the layouts of the discriminators, and the units of landmarks and eye features
(`train.losses.expression_stage1`).
"""

from pathlib import Path

from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig
from train.datasets.eye_sequences import EyeSequencesConfig
from train.datasets.speech_runs import SpeechRunsConfig
from train.networks.eye_transformer import EyeTransformerConfig
from train.recipes.expression import ExpressionStage1Recipe, ExpressionStage2Recipe
from train.recipes.recipe import recipe, variants
from train.tasks.expression_stage1 import ExpressionStage1Config
from train.tasks.expression_stage2 import ExpressionStage2Config
from train.trainer_config import TrainerConfig

HDTF = Path("runs/hdtf")
HDTF_RESYNCED = Path("runs/hdtf_resynced")
"""Where `prepare` puts the videos as they are, and resynchronised (train/README.md)."""


@recipe
def paper_expression_stage1() -> ExpressionStage1Recipe:
    """Stage 1, Eq. 5 and 18-24, lambdas and sequence length of App. C.

    Needs HDTF resynchronised by Wav2Lip and the lip reading network of Ma et al. 2022
    (``lip_reading.pretrained=FOLDER``). 16 sequences of 30 frames a step, on one GPU or cut among the processes of
    torchrun.
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


variants(
    paper_expression_stage1,
    (
        "table3_without_stage2",
        "Table 3, w/o Stage 2 & f: the map of stage 1 without eye features at its input; nothing follows it",
        {"task.network": LipConfig.paper()},
    ),
    (
        "table3_without_distillation",
        "Table 3, w/o Distillation, stage 1: the videos as they are, not resynchronised",
        {"prepared": HDTF, "resynced": False},
    ),
    ("table5_without_read", "Table 5, w/o L_read: no lip reading network is needed", {"task.losses.reading": 0.0}),
    ("table5_without_lms", "Table 5, w/o L_lms", {"task.losses.landmarks": 0.0}),
    ("table5_without_shut", "Table 5, w/o L_shut", {"task.losses.shut": 0.0}),
)

variants(
    paper_expression_stage2,
    (
        "table3_without_stage1",
        "Table 3, w/o Stage 1: both networks are trained from scratch in stage 2",
        {"task.train_stage1": True, "lip_checkpoint": None, "needs": ()},
    ),
    (
        "table3_without_distillation_stage2",
        "Table 3, w/o Distillation, stage 2: after ``table3_without_distillation``, on the videos as they are",
        {
            "prepared": HDTF,
            "resynced": False,
            "lip_checkpoint": Path("runs/table3_without_distillation/checkpoint.safetensors"),
            "needs": ("table3_without_distillation",),
        },
    ),
    (
        "table3_full_transformer",
        "Table 3, Full-transformer: a causal transformer in the place of G_lstm; it cannot be exported",
        {"task.network": EyeTransformerConfig()},
    ),
    # A lambda at 0 also leaves out the discriminator behind it.
    ("table6_without_ssim", "Table 6, w/o L_ssim", {"task.losses.ssim": 0.0}),
    ("table6_without_d_eye", "Table 6, w/o D_eye", {"task.losses.eye": 0.0}),
    ("table6_without_d_tf", "Table 6, w/o D_tf", {"task.losses.temporal_expression": 0.0}),
    ("table6_without_d_te", "Table 6, w/o D_te", {"task.losses.temporal_eye": 0.0}),
)
