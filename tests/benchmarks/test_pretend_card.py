"""Every step that a card would capture keeps to what a capture allows, asked of a card that is none."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import torch

from benchmarks.pretend_card import CaptureRules, PretendedVoices, look
from engine.batch.renderer import BUCKETS
from engine.runtime.card import Outputs, is_card
from engine.runtime.cuda_graph import rerun


@pytest.mark.parametrize(("preset", "rows"), [("default", 1), ("default", 4), ("paper", 2)])
def test_steps_of_real_sessions_can_be_captured(preset: str, rows: int) -> None:
    found = look(preset, rows)
    assert found["forbidden"] == []
    assert found["captured_steps"] == 3, "expressions, poses, images"
    assert found["operations"] > 1000
    assert found["bytes_down"] >= rows * 3 * 256 * 256
    assert not is_card("meta"), "only while it is pretended"


@pytest.mark.parametrize(
    ("step", "why"),
    [
        # As the pose prior once did in every diffusion step, so that no card started.
        (lambda x_33: torch.linalg.solve(x_33, x_33), "whether it succeeded"),
        (lambda x_33: torch.linalg.inv(x_33), "whether it succeeded"),
        (lambda x_33: x_33.sum().item(), "waits"),
        (lambda x_33: bool(x_33.sum() > 0), "waits"),
        (lambda x_33: x_33.nonzero(), "waits"),
        (lambda x_33: x_33.unique(), "waits"),
        (lambda x_33: x_33.masked_select(x_33 > 0), "waits"),
        (lambda x_33: x_33[x_33 > 0], "mask"),
        (lambda x_33: x_33.to("cpu"), "copies"),
        (lambda x_33: x_33.copy_(torch.zeros(3, 3)), "copies"),
        (lambda x_33: torch.zeros(3, 3).to("meta"), "copies"),
        (lambda x_33: torch.randn(3, device="meta", generator=torch.Generator()), "generator"),
    ],
)
@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad])
def test_what_a_capture_forbids_is_named(
    mode: Callable[[], Any], step: Callable[[torch.Tensor], Any], why: str
) -> None:
    rules = CaptureRules()
    # The pretended card has no numbers to give.
    with mode(), rules, contextlib.suppress(RuntimeError, NotImplementedError):
        step(torch.zeros(3, 3, device="meta"))
    assert any(why in line for line in rules.forbidden), rules.forbidden


def test_ordinary_steps_are_not_forbidden() -> None:
    rules = CaptureRules()
    with torch.inference_mode(), rules:
        x_33 = torch.zeros(3, 3, device="meta")
        torch.where(x_33 > 0, x_33, 2.0 * x_33).softmax(-1).index_select(0, torch.zeros(2, device="meta").long())
        x_33[torch.zeros(2, device="meta").long()] @ x_33.half().float()
        torch.randn(3, device="meta")
    assert rules.forbidden == []


def test_the_motion_of_every_number_of_sessions_is_ready_before_the_first() -> None:
    """A hop of sixteen sessions at once is rare, and must not be captured in the middle of a talk."""
    captured: list[int] = []

    def capture(run: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
        made = rerun(run)
        captured.append(len(made[0][0]))
        return made

    with PretendedVoices.open("default", 3, capture) as voices:
        voices.prepare()
        assert sorted(captured) == sorted(3 * BUCKETS), "expressions, poses and gazes"
        voices.copies_of_a_frame()
        assert len(captured) == 3 * len(BUCKETS) + 1, "the images of a batch of four"
