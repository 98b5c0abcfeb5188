"""The captured per-frame step while sessions join and leave, by the twin of a CUDA graph."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from engine.animator import FaceAnimatorNetwork
from engine.animator.network.step import FrameInputs, eager_step
from engine.runtime import CapturedFrameStep
from tests.animator.neural_cases import SMALL, inputs
from tests.random_weights import randomise_weights


@pytest.fixture(scope="module")
def network() -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(SMALL)
    randomise_weights(network)
    return network.freeze()


def _captured(network: FaceAnimatorNetwork, asked: list[int]) -> CapturedFrameStep:
    eager = eager_step(network)

    def step_of(rows: int):  # type: ignore[no-untyped-def]
        asked.append(rows)
        return lambda code, window, intensity, *features: (eager(FrameInputs(code, window, intensity, features)),)

    return CapturedFrameStep(step_of)


def _frames(network: FaceAnimatorNetwork) -> list[FrameInputs]:
    """Frames of two portraits alone, together, and alone again."""
    rgb, window = inputs(SMALL)
    with torch.inference_mode():
        codes, features = network.encode(rgb)
    a: tuple[Tensor, tuple[Tensor, ...]] = codes[:1], tuple(maps[:1] for maps in features)
    b = codes[1:], tuple(maps[1:] for maps in features)
    alone = [
        FrameInputs(code, window[row : row + 1] * scale, torch.ones(1), maps)
        for (code, maps), row, scale in ((a, 0, 0.2), (a, 1, 0.3), (b, 0, 0.4), (a, 0, 0.5))
    ]
    together = FrameInputs(codes, window / 3, torch.tensor([1.0, 0.5]), features)
    return [alone[0], together, *alone[1:], together]


def test_replays_after_sessions_joined_and_left_are_fresh_frames(network: FaceAnimatorNetwork) -> None:
    asked: list[int] = []
    captured, eager = _captured(network, asked), eager_step(network)
    with torch.inference_mode():
        for frame in _frames(network):
            expected = eager(frame)
            assert expected.float().std() > 5
            assert torch.equal(captured(frame), expected)
            assert torch.equal(_captured(network, [])(frame), expected)
    assert asked == [1, 2]


def test_sessions_in_threads_of_their_own_do_not_disturb_each_other(network: FaceAnimatorNetwork) -> None:
    captured, eager = _captured(network, []), eager_step(network)
    with torch.inference_mode():
        frames = _frames(network)
        expected = [eager(frame) for frame in frames]

        def run(index: int) -> bool:
            with torch.inference_mode():
                return torch.equal(captured(frames[index]), expected[index])

        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(run, [*range(len(frames))] * 4))
