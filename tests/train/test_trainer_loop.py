"""The loop: shares add up, averages and rates follow their formulas, bad losses end it with the batch's name."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import BackendUnavailable, CommandInvalid, MissingDependency, NonFiniteLoss
from tests.train.curve_task import CurveTask, trainer_config
from train.datasets.batch_rng import BatchRng
from train.trainer import train
from train.trainer_config import TrainerConfig


def _logged(out: Path, key: str) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line[key] for line in lines if key in line]


def _weights(task: CurveTask) -> dict[str, Tensor]:
    return dict(task.modules.state_dict())


def test_loss_falls_and_figures_are_of_the_averaged_network(tmp_path: Path) -> None:
    task = CurveTask()
    result = train(task, trainer_config(tmp_path, steps=60))
    losses = _logged(tmp_path, "net/error")
    assert len(losses) == 60
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert result.figures == task.evaluate(result.averaged)
    assert result.losses["net/error"] == pytest.approx(losses[-1])
    assert not result.stopped


@pytest.mark.parametrize("accumulation", [2, 3, 12])
def test_accumulated_micro_batches_are_the_whole_batch(tmp_path: Path, accumulation: int) -> None:
    whole, parts = CurveTask(), CurveTask()
    train(whole, trainer_config(tmp_path / "whole"))
    train(parts, trainer_config(tmp_path / "parts", accumulation=accumulation))
    for key in ("net/loss", "judge/loss"):
        expected = _logged(tmp_path / "whole", key)
        assert _logged(tmp_path / "parts", key) == pytest.approx(expected, rel=1e-5)


def test_micro_batches_have_dropout_of_their_own(tmp_path: Path) -> None:
    masks: list[Tensor] = []
    task = CurveTask(dropout=0.5)
    task.modules["net"][2].register_forward_hook(lambda _m, _i, out: masks.append(out == 0))
    train(task, trainer_config(tmp_path, steps=2, accumulation=2))
    assert len(masks) >= 4
    assert not torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def test_moving_average_follows_its_formula(tmp_path: Path) -> None:
    task = CurveTask()
    expected = task.modules["net"][0].weight.detach().clone()
    history: list[Tensor] = []
    optimiser = task.optimisers["net"]
    optimiser.register_step_post_hook(lambda *_: history.append(task.modules["net"][0].weight.detach().clone()))
    result = train(task, trainer_config(tmp_path, ema_decay=0.6))
    for step, value in enumerate(history, start=1):
        decay = min(0.6, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * value
    assert torch.allclose(result.averaged["net"].state_dict()["0.weight"], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "constant", "warmup_steps": 0}, [1.0] * 8),
        ({"schedule": "constant", "warmup_steps": 4}, [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]),
        (
            {"warmup_steps": 2, "final_rate": 0.1},
            [0.5, 1.0, *(0.1 + 0.45 * (1 + math.cos(math.pi * step / 8)) for step in range(2, 8))],
        ),
    ],
)
def test_learning_rate_moves_as_asked(tmp_path: Path, changes: dict[str, object], expected: list[float]) -> None:
    train(CurveTask(), trainer_config(tmp_path, steps=8, **changes))
    assert _logged(tmp_path, "rate/net") == pytest.approx([3e-2 * factor for factor in expected])


def test_gradients_are_clipped_only_when_asked(tmp_path: Path) -> None:
    norms: dict[float, list[float]] = {}
    for clip in (0.0, 0.05):
        task = CurveTask()
        parameters = list(task.modules["net"].parameters())
        found = norms.setdefault(clip, [])
        task.optimisers["net"].register_step_pre_hook(
            lambda *_, p=parameters, f=found: f.append(math.hypot(*(float(x.grad.norm()) for x in p)))
        )
        train(task, trainer_config(tmp_path / str(clip), clip_norm=clip, steps=4))
    assert max(norms[0.05]) <= 0.05001
    assert max(norms[0.0]) > 0.1


def test_bf16_learns_with_weights_in_fp32(tmp_path: Path) -> None:
    kinds = set()
    task = CurveTask()
    task.modules["net"][0].register_forward_hook(lambda _m, _i, out: kinds.add(out.dtype))
    train(task, trainer_config(tmp_path, precision="bf16", steps=40))
    assert torch.bfloat16 in kinds
    assert all(value.dtype == torch.float32 for value in _weights(task).values())
    losses = _logged(tmp_path, "net/error")
    assert sum(losses[-5:]) < sum(losses[:5])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_non_finite_loss_names_step_and_batch_and_keeps_the_checkpoint(tmp_path: Path, accumulation: int) -> None:
    config = trainer_config(tmp_path, checkpoint_every=4, accumulation=accumulation)
    rows = "rows 0 to 11" if accumulation == 1 else "rows 6 to 11"
    with pytest.raises(NonFiniteLoss, match=rf"step 6: loss of 'judge' is nan.*{rows}.*is intact"):
        train(CurveTask(bad=(6, 9)), config)
    result = train(CurveTask(), config)
    assert result.step == 12


def test_non_finite_gradient_of_a_finite_loss_is_reported(tmp_path: Path) -> None:
    class Root(CurveTask):
        def updates(self, rng: BatchRng, step: int):  # type: ignore[no-untyped-def]
            for update in super().updates(rng, step):
                weight = self.modules["net"][0].weight if update.optimiser == "net" else self.modules["judge"].bias
                yield type(update)(update.optimiser, update.loss + (weight * 0).abs().sum().sqrt(), update.log)

    with pytest.raises(NonFiniteLoss, match=r"step 0: gradient of 'judge' is nan.*no checkpoint yet"):
        train(Root(), trainer_config(tmp_path))


class _HostReads(TorchDispatchMode):
    """Counts how often a tensor becomes a Python number, for which a GPU would have to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device(tmp_path: Path) -> None:
    counts = []
    for steps in (3, 12):
        task = CurveTask()
        # Adam counts its steps in a tensor on the CPU, which is read there.
        task.optimisers["net"] = torch.optim.SGD(task.modules["net"].parameters(), 1e-2)
        with _HostReads() as reads:
            train(task, trainer_config(tmp_path / str(steps), steps=steps, log_every=100))
        counts.append(reads.count)
    assert counts[0] == counts[1]


def test_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CommandInvalid, match="12 rows cannot be cut into 5 equal shares"):
        train(CurveTask(), trainer_config(tmp_path, accumulation=5))


def test_shares_of_a_draw_are_the_batch() -> None:
    draws = [BatchRng.for_step(3, 5, index, 4) for index in range(4)]
    noise = [torch.randn(8, generator=rng.generator) for rng in draws]
    assert all(torch.equal(noise[0], other) for other in noise)
    assert torch.equal(torch.cat([n[d.own_rows(8)] for n, d in zip(noise, draws, strict=True)]), noise[0])
    assert not torch.equal(torch.randn(8, generator=BatchRng.for_step(3, 6).generator), noise[0])
    assert not torch.equal(torch.randn(8, generator=BatchRng.for_step(4, 5).generator), noise[0])


def test_evaluation_comes_as_often_as_asked(tmp_path: Path) -> None:
    for every, expected in ((0, 1), (4, 3), (5, 3)):
        task = CurveTask()
        train(task, trainer_config(tmp_path / str(every), evaluate_every=every))
        assert task.evaluations == expected
        assert len(_logged(tmp_path / str(every), "held_out")) == expected


def test_time_limit_ends_the_run_as_complete(tmp_path: Path) -> None:
    result = train(CurveTask(), trainer_config(tmp_path, steps=10**6, minutes=0.005, log_every=100))
    assert 0 < result.step < 10**6
    assert not result.stopped
    assert "held_out" in result.figures


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpu_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendUnavailable, match=r"trainer\.device=cpu"):
        train(CurveTask(), trainer_config(tmp_path, device="cuda"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_gpu_follows_the_cpu(tmp_path: Path) -> None:
    for device in ("cpu", "cuda"):
        result = train(CurveTask(), trainer_config(tmp_path / device, device=device))
        assert next(result.averaged["net"].parameters()).device.type == device
    expected = _logged(tmp_path / "cpu", "net/loss")
    assert _logged(tmp_path / "cuda", "net/loss") == pytest.approx(expected, rel=2e-3)


def test_settings_out_of_range_are_refused() -> None:
    for name in ("steps", "accumulation", "log_every", "checkpoint_every"):
        with pytest.raises(ValueError, match=name):
            TrainerConfig(out=Path("x"), **{name: 0})  # type: ignore[arg-type]


def test_tensorboard_gets_scalars_and_images(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(CurveTask(), trainer_config(tmp_path, tensorboard=True))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert [event.step for event in events.Scalars("net/loss")] == list(range(1, 13))
    assert {"held_out", "rows_per_s", "rate/net"} <= set(events.Tags()["scalars"])
    assert events.Images("grey")[0].width == 12


def test_missing_tensorboard_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingDependency, match=r"gohd-live\[train\]"):
        train(CurveTask(), trainer_config(tmp_path, tensorboard=True))
