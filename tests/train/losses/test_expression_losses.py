"""Eq. 18-27 against computations in numpy, and the networks of stage 2 that only training has."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.losses import (
    Stage1LossWeights,
    Stage2LossWeights,
    gaussian_kl,
    lsgan_discriminator_loss,
    lsgan_generator_loss,
    sliced_wasserstein,
    ssim_loss,
    stage1_losses,
)
from train.losses.expression_stage1 import expression_loss, eye_feature_loss, reading_loss, shut_loss
from train.networks.eye_transformer import EyeMotionTransformer, EyeTransformerConfig
from train.networks.temporal_discriminators import (
    EyeDiscriminator,
    EyeDiscriminatorConfig,
    PatchConfig,
    PatchDiscriminator,
)

Array = NDArray[np.float64]
_PX = 0.35 * 256


@pytest.fixture(scope="module")
def model() -> LandmarkModel:
    return LandmarkModel.load(BUNDLED_MOTION_SPACE)


def _reader(expression: torch.Tensor) -> torch.Tensor:
    return torch.cat([expression[..., :5].sin(), expression[..., 5:9]], -1)


def _eye_feature(points: Array, neutral: Array) -> Array:
    """Fig. 4, in units of 0.2 (blink ratio, about 1) and 0.01 face units (brows)."""
    pairs = ((37, 41), (38, 40), (43, 47), (44, 46))

    def height(p: Array) -> float:
        return float(np.mean([p[low, 1] - p[up, 1] for up, low in pairs]))

    brows = (points[17:27, :2] - neutral[17:27, :2]).ravel() / 0.01
    return np.concatenate([[(height(points) / height(neutral) - 1) / 0.2], brows])


def test_stage_1_losses_equal_their_equations(model: LandmarkModel) -> None:
    generator = torch.Generator().manual_seed(0)
    predicted, target = (torch.randn(2, 5, 64, generator=generator) for _ in range(2))
    given = torch.randn(2, 5, 21, generator=generator)
    weights = Stage1LossWeights(landmarks=0.3, eye=0.5, shut=0.7, reading=0.9, expression=1.1)
    terms = stage1_losses(model, predicted, target, given, weights, _reader)

    neutral = model.mean_68.double().numpy()
    found: dict[str, list[float]] = {name: [] for name in ("landmarks", "eye", "shut", "reading", "expression")}
    points = [*range(3, 14), *range(48, 68)]
    assert len(points) == 31
    for row in range(2):
        for t in range(5):
            e, e_hat = (x[row, t].double().numpy() for x in (target, predicted))
            basis = model.expression_basis_68.double().numpy()
            plain, plain_hat = (neutral + np.tensordot(c, basis, 1) for c in (e, e_hat))
            px, px_hat = plain * _PX, plain_hat * _PX
            found["landmarks"].append(np.mean([((px[i] - px_hat[i]) ** 2).sum() for i in points]))
            feature = given[row, t].double().numpy()
            found["eye"].append(np.abs(feature - _eye_feature(plain_hat, neutral)).sum())
            d, d_hat = (p[60:64] - p[64:68] for p in (px, px_hat))
            found["shut"].append(((d - d_hat) ** 2).sum())
            a, b = (_reader(x[row, t].double()).numpy() for x in (predicted, target))
            found["reading"].append(1 - a @ b / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-8))
            found["expression"].append(np.abs(e - e_hat).sum())
    expected = {name: float(np.mean(values)) for name, values in found.items()}
    for name, value in terms.log().items():
        assert float(value) == pytest.approx(expected[name], rel=1e-4), name
    lambdas = {"landmarks": 0.3, "eye": 0.5, "shut": 0.7, "reading": 0.9, "expression": 1.1}
    total = sum(weight * expected[name] for name, weight in lambdas.items())
    assert float(terms.total) == pytest.approx(total, rel=1e-4)


def test_default_lambdas_are_those_of_appendix_c() -> None:
    one, two = Stage1LossWeights(), Stage2LossWeights()
    assert (one.landmarks, one.eye, one.shut, one.reading, one.expression) == (0.01, 2, 1, 2, 2)
    assert (two.ssim, two.l1, two.eye, two.temporal_eye, two.temporal_expression) == (2, 2, 1, 1, 1)
    assert (two.stage1, two.kl, two.distribution) == (1, 0, 0)


def test_stage_1_losses_are_zero_for_what_is_right_and_each_sees_its_own_error(model: LandmarkModel) -> None:
    e = torch.randn(1, 3, 64, generator=torch.Generator().manual_seed(2))
    landmarks = model.landmarks_68(e)
    closed = landmarks.clone()
    closed[..., 60:64, 1] += 0.1
    assert float(shut_loss(landmarks, landmarks)) == 0
    assert float(shut_loss(closed, landmarks)) == pytest.approx(4 * 0.01, rel=1e-4)
    assert float(expression_loss(e, e + 0.5)) == pytest.approx(32)
    assert float(eye_feature_loss(torch.zeros(4, 21), torch.ones(4, 21))) == 21
    assert float(reading_loss(e, 3 * e)) == pytest.approx(0, abs=1e-6)
    assert float(reading_loss(e, -e)) == pytest.approx(2)
    assert torch.isfinite(reading_loss(torch.zeros(2, 4), torch.zeros(2, 4)))
    with pytest.raises(ValueError, match="lip reading network"):
        stage1_losses(model, e, e, torch.zeros(1, 3, 21), Stage1LossWeights())


def test_ssim_loss_equals_equation_26_and_is_zero_for_equal_sequences() -> None:
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(1, 30, 21, generator=generator), torch.randn(1, 30, 21, generator=generator)
    values = []
    for i in range(21):
        p, t = x[0, :, i].numpy(), y[0, :, i].numpy()
        covariance = ((p - p.mean()) * (t - t.mean())).mean()
        values.append(
            (2 * p.mean() * t.mean() + 1e-4)
            * (2 * covariance + 9e-4)
            / ((p.mean() ** 2 + t.mean() ** 2 + 1e-4) * (p.var() + t.var() + 9e-4))
        )
    assert float(ssim_loss(x, y)) == pytest.approx(1 - np.mean(values), abs=1e-5)
    assert float(ssim_loss(x, x)) == pytest.approx(0, abs=1e-6)


def test_least_squares_gan_targets() -> None:
    ones, zeros = torch.ones(3, 4), torch.zeros(3, 4)
    assert float(lsgan_discriminator_loss(ones, zeros)) == 0
    assert float(lsgan_generator_loss(ones)) == 0
    assert float(lsgan_discriminator_loss(zeros, ones)) == 1


def test_kl_of_a_standard_normal_is_zero_and_of_a_shifted_one_half_its_square() -> None:
    assert float(gaussian_kl(torch.zeros(4), torch.zeros(4))) == 0
    assert float(gaussian_kl(torch.full((4,), 2.0), torch.zeros(4))) == pytest.approx(2.0)


def test_distribution_match_ignores_order_of_rows_and_sees_missing_events() -> None:
    generator = torch.Generator().manual_seed(0)
    real = 0.1 * torch.randn(6, 60, 21, generator=generator)
    real[:, 20:25, 0] -= 4
    flat = 0.1 * torch.randn(6, 60, 21, generator=generator)
    same = sliced_wasserstein(real.flip(0), real, torch.Generator().manual_seed(1))
    missing = sliced_wasserstein(flat, real, torch.Generator().manual_seed(1))
    assert float(same) == pytest.approx(0, abs=1e-6)
    assert float(missing) > 0.1


def test_a_patch_of_the_papers_discriminator_sees_70_frames() -> None:
    torch.manual_seed(0)
    config = PatchConfig(width=2)
    judge = PatchDiscriminator(3, config)
    judge.layers = torch.nn.Sequential(*[m for m in judge.layers if not isinstance(m, torch.nn.InstanceNorm1d)])
    sequence = torch.randn(1, 300, 3, requires_grad=True)
    scores = judge(sequence)
    assert scores.shape == (1, 35)
    scores[0, 17].backward()
    assert sequence.grad is not None
    seen = sequence.grad[0].abs().sum(1).nonzero()
    assert int(seen.max() - seen.min()) + 1 == 70
    assert PatchDiscriminator(21, PatchConfig.lite())(torch.randn(2, 64, 21)).shape == (2, 8)


def test_patches_keep_rows_apart() -> None:
    torch.manual_seed(0)
    judge = PatchDiscriminator(4, PatchConfig(width=4))
    rows = torch.randn(3, 80, 4)
    assert torch.allclose(judge(rows)[1], judge(rows[1:2])[0], atol=1e-6)


def test_d_eye_weighs_eyes_against_what_is_heard(model: LandmarkModel) -> None:
    torch.manual_seed(0)
    points = [*range(17, 27), *range(36, 48)]
    config = EyeDiscriminatorConfig(width=16, layers=1, heads=2)
    judge = EyeDiscriminator(8, model.mean_68[points], config)
    audio = torch.randn(2, 12, 8)
    landmarks = model.landmarks_68(torch.randn(2, 12, 64))[..., points, :].requires_grad_()
    scores = judge(audio, landmarks)
    assert scores.shape == (2, 12)
    scores[0, 3].backward()
    assert landmarks.grad is not None
    assert (landmarks.grad[0].abs().sum((1, 2)) > 0).all()
    assert not torch.allclose(judge(audio.flip(1), landmarks), scores, atol=1e-3)


def test_the_transformer_of_table_3_begins_with_the_given_eyes_and_never_looks_ahead() -> None:
    torch.manual_seed(0)
    config = EyeTransformerConfig(
        audio_size=6, noise_size=3, hidden_size=16, layers=2, heads=2, feed_forward=32, bottleneck=8
    )
    network = EyeMotionTransformer(config).eval()
    audio, noise = torch.randn(2, 20, 6), torch.randn(2, 20, 3)
    expression0, feature0 = torch.randn(2, 64), torch.randn(2, 21)
    whole = network(audio, expression0, feature0, noise)
    assert torch.equal(whole[:, 0], feature0)
    audio[:, 12:], noise[:, 12:] = 5, -5
    changed = network(audio, expression0, feature0, noise)
    assert torch.allclose(whole[:, :12], changed[:, :12], atol=1e-6)
    assert not torch.allclose(whole[:, 12:], changed[:, 12:], atol=1e-2)
    with pytest.raises(ValueError, match="hidden_size"):
        EyeTransformerConfig(hidden_size=100)
