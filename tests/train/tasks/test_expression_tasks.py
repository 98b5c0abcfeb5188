"""The two tasks of the expression predictor, and every row of Tables 3, 5 and 6."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from engine.errors import CommandInvalid, PretrainedNotFound
from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipNetwork
from engine.motion.networks.prosody import lip_window, mel_windows
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from tests.train.basel_face import face_file
from train.data.speech.synthetic import synthetic_clips
from train.data.storage.manifest import ClipRecord, write_manifest
from train.data.storage.provenance import Provenance
from train.datasets.batch_rng import BatchRng
from train.datasets.eye_sequences import EyeSequences, EyeSequencesConfig
from train.datasets.scales import fold_lip
from train.datasets.speech_runs import SpeechRuns, SpeechRunsConfig
from train.motion_space.bfm_model import BfmModel
from train.networks.eye_transformer import EyeTransformerConfig
from train.networks.temporal_discriminators import EyeDiscriminatorConfig, PatchConfig
from train.recipes import RECIPES
from train.recipes.expression import (
    ExpressionStage1Recipe,
    ExpressionStage2Recipe,
    toy_expression_stage1,
    toy_expression_stage2,
)
from train.recipes.expression_paper import (
    HDTF,
    HDTF_RESYNCED,
    paper_expression_stage1,
    paper_expression_stage2,
)
from train.recipes.motion_data import SYNTHETIC
from train.recipes.targets import check_targets
from train.tasks.expression_figures import expression_figures
from train.tasks.expression_stage1 import ExpressionStage1Task
from train.tasks.expression_stage2 import ExpressionStage2Task
from train.tasks.protocol import Task

_STAGE1, _STAGE2 = "paper_expression_stage1", "paper_expression_stage2"
_PLACE = {"trainer.out"}

ROWS: dict[str, tuple[str, dict[str, Any]]] = {
    "table3_without_stage2": (_STAGE1, {"task.network.eye_feature_size": 0}),
    "table3_without_stage1": (
        _STAGE2,
        {"task.train_stage1": True, "lip_checkpoint": None, "needs": ()},
    ),
    "table3_without_distillation": (_STAGE1, {"prepared": HDTF, "resynced": False}),
    "table3_without_distillation_stage2": (
        _STAGE2,
        {
            "prepared": HDTF,
            "resynced": False,
            "lip_checkpoint": Path("runs/table3_without_distillation/checkpoint.safetensors"),
            "needs": ("table3_without_distillation",),
        },
    ),
    "table3_full_transformer": (
        _STAGE2,
        {"task.network.layers": 4, "task.network.heads": 8, "task.network.feed_forward": 1024},
    ),
    "table5_without_read": (_STAGE1, {"task.losses.reading": 0.0}),
    "table5_without_lms": (_STAGE1, {"task.losses.landmarks": 0.0}),
    "table5_without_shut": (_STAGE1, {"task.losses.shut": 0.0}),
    "table6_without_ssim": (_STAGE2, {"task.losses.ssim": 0.0}),
    "table6_without_d_eye": (_STAGE2, {"task.losses.eye": 0.0}),
    "table6_without_d_tf": (_STAGE2, {"task.losses.temporal_expression": 0.0}),
    "table6_without_d_te": (_STAGE2, {"task.losses.temporal_eye": 0.0}),
}
"""What each row changes in the full recipe."""


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


@pytest.fixture(scope="module")
def lip_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained toy stage 1, as a finished run leaves it."""
    torch.manual_seed(0)
    network = LipNetwork(toy_expression_stage1().task.network)
    path = tmp_path_factory.mktemp("stage1") / "checkpoint.safetensors"
    save_file({f"average.lip.{key}": value for key, value in network.state_dict().items()}, path)
    return path


def _flat(config: Any, prefix: str = "") -> dict[str, Any]:
    found = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            found |= _flat(value, f"{prefix}{field.name}.")
        else:
            found[prefix + field.name] = value
    return found


def _toy(row: Any, lip_checkpoint: Path) -> ExpressionStage1Recipe | ExpressionStage2Recipe:
    """A row with small networks and short sequences of synthetic clips; all else as it is."""
    lip = toy_expression_stage1().task.network
    shared = {"prepared": SYNTHETIC, "lip_reading": toy_expression_stage1().lip_reading}
    if isinstance(row, ExpressionStage1Recipe):
        task = dataclasses.replace(
            row.task,
            network=dataclasses.replace(lip, eye_feature_size=row.task.network.eye_feature_size),
            data=dataclasses.replace(row.task.data, runs=2, run_frames=6),
        )
        return dataclasses.replace(row, task=task, **shared)
    sizes: Any = {"audio_size": 16, "noise_size": 4, "hidden_size": 16, "layers": 1, "bottleneck": 8}
    network = (
        EyeTransformerConfig(heads=2, feed_forward=16, **sizes)
        if isinstance(row.task.network, EyeTransformerConfig)
        else EyeConfig(**sizes)
    )
    stage2 = dataclasses.replace(
        row.task,
        network=network,
        data=dataclasses.replace(row.task.data, rows=2, lengths_frames=(40,)),
        patch=PatchConfig(width=4),
        eye_discriminator=EyeDiscriminatorConfig(width=16, layers=1, heads=2),
        evaluation_frames=60,
    )
    checkpoint = None if row.lip_checkpoint is None else lip_checkpoint
    return dataclasses.replace(row, task=stage2, lip=lip, lip_checkpoint=checkpoint, **shared)


def _steps(task: Task, count: int) -> dict[str, float]:
    """Losses of the last of ``count`` steps."""
    losses = {}
    for step in range(count):
        for update in task.updates(BatchRng.for_step(0, step), step):
            optimiser = task.optimisers[update.optimiser]
            optimiser.zero_grad(set_to_none=True)
            update.loss.backward()
            optimiser.step()
            losses[update.optimiser] = float(update.loss.detach())
            losses |= {f"{update.optimiser}/{name}": float(v) for name, v in update.log.items()}
    return losses


def test_every_row_of_tables_3_5_and_6_is_here() -> None:
    names = {name for name in RECIPES if name.startswith(("table3", "table5", "table6"))}
    assert names == set(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_a_row_differs_from_the_full_recipe_in_what_it_says_and_trains(name: str, lip_checkpoint: Path) -> None:
    base, changes = ROWS[name]
    full, row = _flat(RECIPES[base]()), _flat(RECIPES[name]())
    assert {key for key in full.keys() | row.keys() if full.get(key) != row.get(key)} == {*changes, *_PLACE}
    assert {key: row[key] for key in changes} == changes
    assert row["trainer.out"] == Path("runs") / name

    experiment = _toy(RECIPES[name](), lip_checkpoint).build()
    losses = _steps(experiment.task, 2)
    assert losses
    assert all(torch.isfinite(torch.tensor(value)) for value in losses.values())
    if name.startswith("table6_without_d"):
        gone = name.removeprefix("table6_without_")
        assert gone not in experiment.task.modules
        assert f"eye/{gone}" not in losses
    figures = experiment.task.evaluate(dict(experiment.task.modules.eval().items()))
    assert figures["mld"] > 0
    assert ("ssim_e" in figures) == (base == _STAGE2 or name == "table3_without_stage2")


def test_paper_recipes_have_the_settings_of_appendix_c() -> None:
    one, two = paper_expression_stage1(), paper_expression_stage2()
    assert (one.task.learning_rate, two.task.learning_rate, two.task.discriminator_rate) == (1e-4, 1e-4, 1e-6)
    assert (one.task.data.run_frames, two.task.data.lengths_frames) == (30, (300,))
    assert (one.task.weight_decay, one.task.dropout, two.task.audio_dropout) == (0, 0, 0)
    assert one.prepared == two.prepared == HDTF_RESYNCED
    assert (two.task.losses.kl, two.task.losses.distribution, two.task.posterior) == (0, 0, False)
    for trainer in (one.trainer, two.trainer):
        assert (trainer.schedule, trainer.ema_decay, trainer.clip_norm) == ("constant", 0, 0)


def test_what_cannot_be_trained_or_exported_is_said_first(tmp_path: Path, lip_checkpoint: Path) -> None:
    full = paper_expression_stage1()
    reading = dataclasses.replace(full.lip_reading, pretrained=tmp_path)
    with pytest.raises(PretrainedNotFound, match="lip_reading"):
        dataclasses.replace(full, prepared=SYNTHETIC, lip_reading=reading).build()
    row = _toy(RECIPES["table3_full_transformer"](), lip_checkpoint)
    with pytest.raises(CommandInvalid, match="no stream form"):
        dataclasses.replace(row, weights=tmp_path / "weights").build()
    two = toy_expression_stage2()
    with pytest.raises(CommandInvalid, match="train_stage1=true"):
        dataclasses.replace(two, lip_checkpoint=None).build()
    long = dataclasses.replace(two.task, data=EyeSequencesConfig.plain(rows=2, frames=1000))
    with pytest.raises(ValueError, match="lengths_frames"):
        dataclasses.replace(two, task=long, lip_checkpoint=lip_checkpoint).build()


def test_targets_of_another_kind_are_refused(tmp_path: Path) -> None:
    who = Provenance(person="p", split="train", licence="", credit="")
    record = ClipRecord(clip="film-1", provenance=who, frames=400, has_audio=True)
    write_manifest(tmp_path / "manifest.jsonl", [dataclasses.replace(record, clip="bad", refused="no face"), record])
    check_targets(tmp_path, "landmark", None)
    check_targets(tmp_path, "landmark", False)
    with pytest.raises(CommandInvalid, match=r"film-1 .* as it was shot"):
        dataclasses.replace(paper_expression_stage1(), prepared=tmp_path).build()
    with pytest.raises(CommandInvalid, match="leave bfm unset"):
        check_targets(tmp_path, "bfm", False)
    write_manifest(tmp_path / "manifest.jsonl", [dataclasses.replace(record, resynced_by="0" * 64)])
    check_targets(tmp_path, "landmark", True)
    with pytest.raises(CommandInvalid, match="is resynchronised"):
        check_targets(tmp_path, "landmark", False)


def test_a_plain_run_is_the_clip_as_it_is(model: LandmarkModel) -> None:
    clips = synthetic_clips(model, people=2, frames=64)
    runs = SpeechRuns(SpeechRunsConfig.plain(runs=3), clips[:1], model, columns=16)
    batch = runs.draw(BatchRng.for_step(0, 0))
    assert batch.mel_RKFW.shape == (3, 30, 80, 16)
    assert torch.equal(batch.expression0_RKE[:, 5], batch.target_RKE[:, 0])
    whole = torch.from_numpy(clips[0].expression)
    windows = mel_windows(torch.from_numpy(clips[0].variants[0].mel), lip_window(torch.arange(64), 133)[0], 16)
    for mel_KFW, target_KE in zip(batch.mel_RKFW, batch.target_RKE, strict=True):
        first = int((whole - target_KE[0]).abs().sum(1).argmin())
        assert torch.equal(target_KE, whole[first : first + 30])
        assert torch.allclose(mel_KFW, windows[first : first + 30], atol=2e-3)  # kept in half precision


def test_a_long_sequence_hears_itself_embedded_once_or_in_the_batch(model: LandmarkModel) -> None:
    clips = synthetic_clips(model, people=2, frames=90)
    lip = LipNetwork(toy_expression_stage1().task.network).eval().requires_grad_(False)
    config = EyeSequencesConfig.plain(rows=3, frames=40)
    heard = EyeSequences(config, clips, model, lip.encode_audio).draw(BatchRng.for_step(0, 1))
    raw = EyeSequences(config, clips, model, None).draw(BatchRng.for_step(0, 1))
    assert raw.audio_BT.shape == (3, 40, 80, 16)
    assert torch.equal(heard.expression_BTE, raw.expression_BTE)
    embedded = lip.encode_audio(raw.audio_BT.flatten(0, 1)).reshape(3, 40, -1)
    assert torch.allclose(heard.audio_BT, embedded, atol=1e-5)


def _stage2(model: LandmarkModel, **changes: Any) -> ExpressionStage2Task:
    torch.manual_seed(0)
    recipe = toy_expression_stage2()
    lip = LipNetwork(recipe.lip)
    task = dataclasses.replace(recipe.task, **changes)
    reader = recipe.lip_reading.reader(model)
    return ExpressionStage2Task(task, synthetic_clips(model, frames=60), model, lip, reader=reader)


def test_stage_1_is_frozen_in_stage_2_unless_it_is_trained_there(model: LandmarkModel) -> None:
    for trained in (False, True):
        task = _stage2(model, train_stage1=trained)
        before = {key: value.clone() for key, value in task._lip.named_parameters()}
        _steps(task, 1)
        moved = [not torch.equal(value, before[key]) for key, value in task._lip.named_parameters()]
        assert all(moved) if trained else not any(moved)
        assert ("lip" in task.modules) == trained


def test_stage_1_shows_real_and_predicted_mouths(model: LandmarkModel) -> None:
    recipe = toy_expression_stage1()
    reader = recipe.lip_reading.reader(model)
    task = ExpressionStage1Task(recipe.task, synthetic_clips(model, frames=120), model, reader=reader)
    mouths = task.images(dict(task.modules.eval().items()))["mouths"]
    assert (mouths.shape, mouths.dtype) == ((2 * 24, 8 * 24, 3), np.uint8)
    assert mouths[:24].std() > 10


def test_a_map_without_eye_features_is_exported_as_it_is() -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(toy_expression_stage1().task.network, eye_feature_size=0)
    network = LipNetwork(config).eval()
    audio, expression0 = torch.rand(3, 16), torch.randn(3, 64)
    assert torch.equal(fold_lip(network)(audio, expression0), network(audio, expression0))


def test_figures_of_known_expressions(model: LandmarkModel) -> None:
    real = [torch.randn(50, 64, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    same = expression_figures(model, real, real)
    assert same["mld"] == 0
    assert same["ssim_e"] == pytest.approx(1)
    assert same["var_e"] == same["real/var_e"] > 0
    still = expression_figures(model, [e[:1].expand_as(e) for e in real], real)
    assert still["var_e"] == pytest.approx(0, abs=1e-9)
    assert still["ssim_e"] < 0.99
    points = [(model.landmarks_68(e)[..., 48:68, :2] * 89.6).numpy() for e in real]
    expected = np.mean([np.linalg.norm(p - p[:1], axis=-1).mean() for p in points])
    assert still["mld"] == pytest.approx(expected, rel=1e-5)
    assert expression_figures(model, [], []) == {}


def test_shares_of_a_batch_add_up_to_it(model: LandmarkModel) -> None:
    losses = dataclasses.replace(toy_expression_stage2().task.losses, distribution=0.0)
    whole = [u.loss.detach() for u in _stage2(model, losses=losses).updates(BatchRng.for_step(3, 0), 0)]
    shares = [
        [u.loss.detach() for u in _stage2(model, losses=losses).updates(BatchRng.for_step(3, 0, i, 2), 0)]
        for i in range(2)
    ]
    for total, one, other in zip(whole, *shares, strict=True):
        assert float((one + other) / 2) == pytest.approx(float(total), rel=1e-4)


def test_stage_1_trains_in_the_space_of_a_basel_face(tmp_path: Path, model: LandmarkModel) -> None:
    face = BfmModel.load(face_file(tmp_path / "BFM_model_front.mat"))
    recipe = toy_expression_stage1()
    config = dataclasses.replace(recipe.task, data=SpeechRunsConfig.plain(runs=2, run_frames=5))
    reader = recipe.lip_reading.reader(face)
    task = ExpressionStage1Task(config, synthetic_clips(model, frames=60), face, reader=reader)
    losses = _steps(task, 1)
    assert losses["lip"] > 0
    assert losses["lip/reading"] > 0


def test_networks_trained_together_are_exported_together(tmp_path: Path, lip_checkpoint: Path) -> None:
    row = _toy(RECIPES["table3_without_stage1"](), lip_checkpoint)
    trainer = dataclasses.replace(row.trainer, out=tmp_path / "run", steps=1, tensorboard=False, threads=1)
    dataclasses.replace(row, trainer=trainer, weights=tmp_path / "weights").run()
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert {"lip", "eye", "stream"} <= config.keys()
    assert config["stream"]["lip_lookahead_ms"] == 133
    assert {"lip.safetensors", "eye.safetensors"} <= {p.name for p in (tmp_path / "weights").iterdir()}
