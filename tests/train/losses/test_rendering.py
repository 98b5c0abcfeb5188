"""The rasteriser against a brute-force one, its gradients against finite differences, mouths of both motion spaces."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import CheckpointRefused, WeightsNotFound
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from tests.train.basel_face import face_file
from train.datasets.regions import mouth_opening_direction
from train.metrics.mouth import mouth_opening
from train.motion_space.bfm_model import BfmModel
from train.rendering import MouthRenderer, interpolate, landmark_mouth_mesh, visible_triangles


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


def _scene(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    position = torch.rand(2, 12, 3, generator=generator, dtype=torch.float64) * 20 - 2
    triangles = torch.stack([torch.randperm(12, generator=generator)[:3] for _ in range(9)])
    return position, triangles


def test_visible_triangles_and_values_equal_a_pixel_by_pixel_search() -> None:
    size = 16
    for seed in range(3):
        position, triangles = _scene(seed)
        values = torch.rand(2, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        visible = visible_triangles(position, triangles, size)
        image = interpolate(position, values, triangles, visible, background=-7)
        for b in range(2):
            for row in range(size):
                for column in range(size):
                    depth, face, expected = np.inf, -1, np.full(2, -7.0)
                    for f, corners in enumerate(triangles.tolist()):
                        p = position[b, corners].numpy()
                        system = np.vstack([p[:, :2].T, np.ones(3)])
                        share = np.linalg.solve(system, [column + 0.5, row + 0.5, 1])
                        if share.min() >= 0 and share @ p[:, 2] < depth:
                            depth, face = share @ p[:, 2], f
                            expected = share @ values[b, corners].numpy()
                    assert visible[b, row, column] == face
                    assert np.allclose(image[b, :, row, column].numpy(), expected)


def test_gradients_of_the_interpolation_equal_finite_differences() -> None:
    position, triangles = _scene(3)
    values = torch.rand(2, 12, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    visible = visible_triangles(position, triangles, 12)
    xy = position[..., :2].clone().requires_grad_()

    def image(xy: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        placed = torch.cat([xy, position[..., 2:]], -1)
        return interpolate(placed, values, triangles, visible)

    assert torch.autograd.gradcheck(image, (xy, values.requires_grad_()))


def test_neighbouring_triangles_leave_no_hole() -> None:
    generator = torch.Generator().manual_seed(0)
    grid = torch.cartesian_prod(torch.arange(9.0), torch.arange(9.0))
    grid = grid * 5 - 4 + 0.8 * torch.rand(81, 2, generator=generator)
    corner = (torch.arange(8)[:, None] * 9 + torch.arange(8)).flatten()
    triangles = torch.cat(
        [torch.stack([corner, corner + 1, corner + 10], 1), torch.stack([corner, corner + 10, corner + 9], 1)]
    )
    position = torch.cat([grid, torch.zeros(81, 1)], 1)[None]
    assert (visible_triangles(position, triangles, 30) >= 0).all()


def test_vertices_that_are_not_numbers_are_not_seen() -> None:
    corners = torch.tensor([[1.0, 1, 0], [9, 1, 0], [1, 9, 0], [torch.nan, 3, 0], [torch.inf, 4, 0]])
    triangles = torch.tensor([[0, 1, 3], [1, 2, 4], [3, 4, 3], [0, 1, 2]])
    visible = visible_triangles(corners[None], triangles, 10)
    assert set(visible.unique().tolist()) == {-1, 3}


def test_gradients_of_mouth_images_equal_finite_differences(model: LandmarkModel) -> None:
    renderer = MouthRenderer(landmark_mouth_mesh(model), size=20).double()
    opened = 0.1 * mouth_opening_direction(model).double()
    directions = 0.3 * torch.randn(4, 64, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    amount = torch.randn(2, 4, generator=torch.Generator().manual_seed(2), dtype=torch.float64)

    def blurred(amount: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(renderer(opened + amount @ directions), 5)

    assert torch.autograd.gradcheck(blurred, amount.requires_grad_(), eps=1e-7, atol=1e-5, rtol=1e-3)


def test_an_open_mouth_is_dark_and_a_shut_one_is_not(model: LandmarkModel) -> None:
    renderer = MouthRenderer(landmark_mouth_mesh(model))
    steps = torch.tensor([0.0, 0.05, 0.1, 0.2])
    images = renderer(steps[:, None] * mouth_opening_direction(model))
    assert images.shape == (4, 1, 88, 88)
    assert images.min() >= 0
    assert images.max() <= 1
    darkest = images[:, 0, 38:52, 34:54].amin((1, 2))
    assert (darkest.diff() < 0).all()
    assert darkest[0] > 0.15
    assert darkest[-1] < 0.05


def test_images_lead_a_wrong_mouth_to_the_right_one(model: LandmarkModel) -> None:
    renderer = MouthRenderer(landmark_mouth_mesh(model), size=44)
    target = 0.12 * mouth_opening_direction(model)
    wanted = renderer(target[None])
    guess = torch.zeros(1, 64, requires_grad=True)
    optimiser = torch.optim.Adam([guess], 0.05)
    for _ in range(60):
        optimiser.zero_grad()
        (renderer(guess) - wanted).square().mean().backward()
        optimiser.step()
    opening = [float(mouth_opening(model, e)) for e in (torch.zeros(64), guess.detach()[0], target)]
    assert abs(opening[1] - opening[2]) < 0.3 * abs(opening[0] - opening[2])


def test_a_basel_face_opens_its_mouth_downwards(tmp_path: Path) -> None:
    face = BfmModel.load(face_file(tmp_path / "BFM_model_front.mat"))
    shut, opened = torch.zeros(64), torch.eye(64)[0]
    corners = face.landmarks_68(shut)[[36, 45]]
    assert float((corners[1] - corners[0]).norm()) == pytest.approx(1)
    assert face.landmarks_68(opened)[66, 1] > face.landmarks_68(shut)[66, 1]
    assert float(face.eye_feature(shut)[0]) == pytest.approx(1)
    assert face.eye_feature(torch.randn(3, 64)).shape == (3, 21)
    renderer = MouthRenderer(face.mouth_mesh())
    dark = renderer(torch.stack([shut, opened]))[:, 0, 40:60, 40:48].amin((1, 2))
    assert dark[0] > 0.3
    assert dark[1] < 0.2
    with pytest.raises(ValueError, match="mirror_share"):
        face.mirror_expression(shut)


def test_a_basel_face_without_an_opening_stays_closed(tmp_path: Path) -> None:
    face = BfmModel.load(face_file(tmp_path / "BFM_model_front.mat", slit=False))
    images = MouthRenderer(face.mouth_mesh(), size=32)(torch.eye(64)[:2])
    assert images.min() > 0.2


def test_what_is_wrong_with_a_basel_face_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound, match=r"faces\.dmi\.unibas\.ch"):
        BfmModel.load(tmp_path / "none.mat")
    (tmp_path / "text.mat").write_text("not a mat file, but long enough to look at " * 8)
    with pytest.raises(CheckpointRefused):
        BfmModel.load(tmp_path / "text.mat")
    with pytest.raises(CheckpointRefused, match="exBase"):
        BfmModel.load(face_file(tmp_path / "half.mat", exBase=None))
    with pytest.raises(CheckpointRefused, match="numbers vertices"):
        BfmModel.load(face_file(tmp_path / "far.mat", tri=np.full((4, 3), 9999)))
