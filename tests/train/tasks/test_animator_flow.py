"""The first stage of the animator: dense flows of the mesh, and a network that begins with their regression."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from engine.animator import FaceAnimatorConfig
from engine.animator.network.face_animator import portrait_measures
from engine.errors import InputError
from engine.motion.space.coefficients import EXPRESSION, POSE, Coefficients
from engine.motion.space.landmark_model import LandmarkModel
from engine.motion.space.motion_space import BUNDLED_MOTION_SPACE
from train.data.faces.mesh_flows import FLOW_SIZE, MeshFlowConfig, mesh_flows, save_flows
from train.data.faces.still_clips import StillPortrait
from train.data.faces.synthetic_faces import synthetic_face_clips
from train.recipes import RECIPES
from train.recipes.animator_flow import open_animator_flow
from train.tasks.animator_flow import FlowData, FlowTask, FlowTaskConfig, load_flows
from train.tasks.protocol import BatchRng

_TINY = dataclasses.replace(
    FaceAnimatorConfig.lite(),
    widths=(24, 24, 24, 24, 8),
    style_size=80,
    directions=16,
    mapping_width=96,
    paint_sizes=(64,),
)


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    videos = synthetic_face_clips(clips=2, frames=6)
    stills = [
        StillPortrait(f"still-{index}", f"still-{index}", "train", video.rgb(0), video.landmarks_px[0])
        for index, video in enumerate(videos)
    ]
    path = tmp_path_factory.mktemp("flows") / "train.safetensors"
    config = MeshFlowConfig(samples=4)
    assert save_flows(path, mesh_flows(videos, stills, config, 1, 24), 24) == 24 * 4
    return path


@pytest.fixture(scope="module")
def flows(path: Path) -> FlowData:
    return load_flows(path)


def _coefficients(measures_G: Tensor) -> Coefficients:
    rest = measures_G[:72].numpy()
    return dataclasses.replace(Coefficients.from_descriptor(rest), residual=measures_G[72:].view(478, 3).numpy().copy())


def test_flows_lead_from_the_moved_landmarks_to_the_portrait_s(flows: FlowData, model: LandmarkModel) -> None:
    measures_NG = flows.measures_PG[flows.portrait_N]
    rest = measures_NG[:, :72]
    shape = model.mean + measures_NG[:, 72:].view(-1, 478, 3)
    shape = shape + torch.tensordot(rest[:, EXPRESSION], model.expression_basis, 1)
    source = model.project(shape, rest[:, POSE])[..., :2] / 128 - 1
    target = flows.landmarks_NL2.float()
    found = F.grid_sample(flows.flow_N2HW.float(), target[:, :, None], align_corners=False).squeeze(3).mT
    # Irises approach the limits of the eye; lids and lips meet where landmarks do not.
    error_px = ((found - (source - target)) * 128)[:, :468].norm(dim=2).mean()
    motion_px = ((source - target) * 128)[:, :468].norm(dim=2).mean()
    assert flows.flow_N2HW.shape[-1] == FLOW_SIZE
    assert error_px < 0.6
    assert motion_px > 3


def test_the_network_begins_with_the_regression_and_learns_on(flows: FlowData) -> None:
    still = FlowTask(FlowTaskConfig(network=_TINY, rows=16), flows, flows)
    figures = still.evaluate(still.modules)
    assert figures["error_px"] == pytest.approx(figures["still_px"], rel=0.05)
    config = FlowTaskConfig(network=_TINY, rows=16, components=20, linear_size=16, linear_steps=150, learning_rate=1e-4)
    task = FlowTask(config, flows, flows)
    begun = task.evaluate(task.modules)["error_px"]
    assert begun < 0.5 * figures["still_px"]
    for step in range(6):
        (update,) = task.updates(BatchRng.of(0, step), step)
        task.optimisers["flow"].zero_grad()
        update.loss.backward()  # type: ignore[no-untyped-call]
        task.optimisers["flow"].step()
    assert task.evaluate(task.modules)["error_px"] < 1.2 * begun


def test_the_exported_network_moves_as_the_trained_one(flows: FlowData, model: LandmarkModel) -> None:
    task = FlowTask(FlowTaskConfig(network=_TINY, linear_steps=5), flows, flows)
    network = task.exported(task.modules, model)
    rows = torch.tensor([0, 40, 80])
    measures = flows.measures_PG[flows.portrait_N[rows]]
    window = flows.window_NTD[rows]
    with torch.no_grad():
        expected = task.modules["flow"](measures, window, 4)[-1]
        code, features = network.encode(
            torch.zeros(3, 3, 64, 64), torch.cat([portrait_measures(_coefficients(row)) for row in measures])
        )
        blank = tuple(torch.zeros_like(feature) for feature in features)
        flow = network.decoder.stages(network.navigate(code, window), blank)[-1][1]
    assert expected.abs().max() > 0.02
    np.testing.assert_allclose(flow.numpy(), expected.numpy(), atol=2e-4)
    again = FlowTask(FlowTaskConfig(network=_TINY, linear_steps=5), flows, flows, start=network)
    with torch.no_grad():
        resumed = again.modules["flow"](measures, window, 4)[-1]
    np.testing.assert_allclose(resumed.numpy(), expected.numpy(), atol=1e-3)


def test_identity_coefficients_and_residual_say_the_same(flows: FlowData, model: LandmarkModel) -> None:
    task = FlowTask(FlowTaskConfig(network=_TINY), flows, flows)
    network = task.exported(task.modules, model)
    plain = _coefficients(flows.measures_PG[0])
    identity = np.linspace(-1, 1, len(plain.identity)).astype(np.float32)
    shape = np.tensordot(identity, model.identity_basis.numpy(), 1).astype(np.float32)
    split = dataclasses.replace(plain, identity=identity, residual=plain.residual - shape)
    assert network.measures is not None
    with torch.no_grad():
        codes = [network.measures(portrait_measures(found)) for found in (plain, split)]
    assert (codes[0] - codes[1]).abs().max() < 1e-3


def test_recipes_are_registered_and_missing_flows_are_named(tmp_path: Path) -> None:
    assert {"prepare_flows", "open_animator_flow"} <= set(RECIPES)
    recipe = dataclasses.replace(open_animator_flow(), train=(tmp_path / "none.safetensors",))
    with pytest.raises(InputError, match="prepare_flows"):
        recipe.build()
