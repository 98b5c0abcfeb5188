"""Makes ``golden/release``: reference files for a small released layout, filled by ``tests/release_helper.py``.

    python -m tests.golden.make_release

The outputs are our networks' own, written when those met the reference outputs of the authors' networks; they
hold the networks to that state wherever the reference itself is not at hand.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch

from engine.checkpoint import WeightsFolder
from engine.release import check, import_release
from tests.release_helper import small_release, write_release

_FRAMES, _SAMPLED = 6, 4


def inputs() -> dict[str, dict[str, np.ndarray]]:
    """Inputs of every reference file, named and shaped as the authors' are."""
    draw = np.random.default_rng(20)

    def normal(*shape: int) -> np.ndarray:
        return draw.standard_normal(shape).astype(np.float32)

    def denoiser(channels: int) -> dict[str, np.ndarray]:
        return {
            "x": normal(1, _FRAMES, channels),
            "mel": normal(1, _FRAMES, 320),
            "global_cond": np.repeat(normal(1, 1, channels), _FRAMES, axis=1),
            "steps": np.array([0, 70.5, 149], np.float32),
        }

    lip = {"audio": normal(1, 3, 80, 16), "exp0": normal(1, 64)}
    return {
        "animator": {"source": np.tanh(normal(1, 3, 32, 32)), "semantics": 0.3 * normal(1, 72, 27)},
        "pose": denoiser(6),
        "gaze": denoiser(2),
        "expression": lip,
        "two_stage": {**lip, "blink0": normal(1, 1), "brow0": normal(1, 20), "z": normal(2, 8)},
        "sampler": {
            "mel": normal(_SAMPLED, 320),
            "pose0": normal(6),
            "x_start": normal(1, _SAMPLED, 6),
            "noise": normal(149, 1, _SAMPLED, 6),
        },
    }


@torch.inference_mode()
def main() -> None:
    folder = Path(__file__).parent / "release"
    folder.mkdir(exist_ok=True)
    config = small_release()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        one, two = root / "one", root / "two"
        import_release(write_release(root, config), one, config)
        import_release(write_release(root, config, "expression", two_stage=True), two, config)
        weights, two_stage = WeightsFolder.open(one), WeightsFolder.open(two)
        for name, arrays in inputs().items():
            given = {key: torch.from_numpy(value) for key, value in arrays.items()}
            outputs = check.run_reference(name, two_stage if name == "two_stage" else weights, given, folder)
            np.savez_compressed(
                folder / f"{name}.npz", **arrays, **{key: value.numpy() for key, value in outputs.items()}
            )


if __name__ == "__main__":
    main()
