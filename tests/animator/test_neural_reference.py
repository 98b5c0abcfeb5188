"""The released animator against the reference outputs of the authors' network, weights seeded by name."""

import importlib.util
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.animator.network.face_animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.release.names import animator_layout

Outputs = dict[str, Tensor]


@pytest.fixture(scope="module")
def released_state(reference_dir: Path) -> dict[str, Tensor]:
    spec = importlib.util.spec_from_file_location("reference_fill", reference_dir / "fill.py")
    assert spec is not None
    assert spec.loader is not None
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    manifest = json.loads((reference_dir / "release" / "animator.manifest.json").read_text())
    kept: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros((4, 4), np.float32))
    return {key: torch.from_numpy(value) for key, value in fill.fill_state(manifest, kept, 1).items()}


@pytest.fixture(scope="module")
def expected(reference_dir: Path) -> Outputs:
    with np.load(reference_dir / "release" / "animator.npz") as arrays:
        return {key: torch.from_numpy(arrays[key]) for key in arrays}


@pytest.fixture(scope="module")
def network(released_state: dict[str, Tensor]) -> FaceAnimatorNetwork:
    network = FaceAnimatorNetwork(FaceAnimatorConfig.paper())
    network.load_state_dict(animator_layout(network).state(released_state))
    return network.eval()


@torch.inference_mode()
def _outputs(network: FaceAnimatorNetwork, inputs: Outputs) -> Outputs:
    window_BTD = inputs["semantics"].transpose(1, 2)
    identity_code, features = network.encode(inputs["source"])
    motion_feature = network.mapping(window_BTD)
    images = network.decoder.pyramid(network.navigate(identity_code, window_BTD), features)
    return {
        "identity_code": identity_code,
        "motion_feature": motion_feature,
        "magnitudes": network.head(identity_code, motion_feature),
        "image_64": images[3],
        "image": images[5],
    }


BARS = {"identity_code": 1e-5, "motion_feature": 1e-5, "magnitudes": 1e-5, "image_64": 1e-4, "image": 1e-3}


@pytest.mark.slow
def test_every_output_matches_the_release(network: FaceAnimatorNetwork, expected: Outputs) -> None:
    actual = _outputs(network.freeze(), expected)
    errors = {name: float((actual[name] - expected[name]).abs().max() / expected[name].abs().max()) for name in BARS}
    print(errors)
    assert all(errors[name] <= bar for name, bar in BARS.items()), errors
