"""Animator losses against independent computations of Eq. 11-17."""

import numpy as np
import pytest
import torch
from torch import Tensor

from train.losses.adversarial import adversarial_loss, discriminator_loss, r1_penalty
from train.losses.animator import (
    AnimatorLossWeights,
    enlarged_mouths,
    feature_loss,
    landmark_loss,
    parsing_loss,
    perceptual_loss,
    reconstruction_loss,
)
from train.networks.image_discriminator import ImageDiscriminator, minibatch_std


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_lambdas_are_the_paper_s() -> None:
    weights = AnimatorLossWeights()
    assert (weights.reconstruction, weights.perceptual, weights.expression) == (1, 1, 1)
    assert (weights.gaze, weights.parsing, weights.adversarial) == (100, 1, 1)
    with pytest.raises(ValueError, match="'gaze'"):
        AnimatorLossWeights(gaze=-1)


def test_reconstruction_equals_equation_11() -> None:
    generated, target = _random(2, 3, 5, 7), _random(2, 3, 5, 7, seed=1)
    weight = 1 + (_random(2, 1, 5, 7, seed=2) > 0).double() * 4
    error = np.abs(target.numpy() - generated.numpy())
    total = sum(error[b, c, y, x] * weight[b, 0, y, x].item() for b, c, y, x in np.ndindex(error.shape))
    assert reconstruction_loss(generated, target, weight).item() == pytest.approx(total / error.size)


def test_perceptual_equals_equation_12_with_the_mask_averaged_down() -> None:
    sizes = [(3, 8, 8), (5, 4, 4), (2, 2, 2)]
    generated = [_random(2, *size, seed=i) for i, size in enumerate(sizes)]
    target = [_random(2, *size, seed=9 + i) for i, size in enumerate(sizes)]
    weight = 1 + _random(2, 1, 8, 8, seed=5).abs()
    expected = 0.0
    for g, t in zip(generated, target, strict=True):
        block = 8 // g.shape[2]
        mask = weight.numpy()[:, 0].reshape(2, g.shape[2], block, g.shape[2], block).mean((2, 4))
        expected += (np.abs(g.numpy() - t.numpy()) * mask[:, None]).mean()
    assert perceptual_loss(generated, target, weight).item() == pytest.approx(expected)


def test_features_equal_equations_13_and_14() -> None:
    generated, target = _random(3, 6), _random(3, 6, seed=1)
    expected = np.mean([abs(g - t) for g, t in zip(generated.flatten(), target.flatten(), strict=True)])
    assert feature_loss(generated, target).item() == pytest.approx(expected)


def test_parsing_equals_equation_15() -> None:
    generated, target = _random(2, 4, 3, 5), _random(2, 4, 3, 5, seed=1)
    scores = generated.numpy()
    truth = target.numpy().argmax(1)
    probability = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    errors = [-np.log(probability[b, truth[b, y, x], y, x]) for b, y, x in np.ndindex(truth.shape)]
    assert parsing_loss(generated, target).item() == pytest.approx(np.mean(errors))
    # Scores may be log-probabilities, and only the target's best class counts.
    assert parsing_loss(generated.log_softmax(1), 7 * target).item() == pytest.approx(np.mean(errors))


def test_adversarial_equals_equation_16_and_the_discriminator_opposes_it() -> None:
    real, generated = _random(5), _random(5, seed=1)
    d_real, d_generated = (1 / (1 + np.exp(-score.numpy())) for score in (real, generated))
    assert adversarial_loss(generated).item() == pytest.approx(np.mean(-np.log(d_generated)))
    expected = np.mean(-np.log(d_real)) + np.mean(-np.log(1 - d_generated))
    assert discriminator_loss(real, generated).item() == pytest.approx(expected)


def test_mouths_are_cut_out_at_twice_their_size() -> None:
    size = 64
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    rgb = torch.stack([x, y, x + y])[None].double()
    landmarks = torch.zeros(1, 478, 3, dtype=torch.float64)
    landmarks[:, [13, 14, 78, 308], :2] = torch.tensor([[30.0, 38], [30, 42], [24, 40], [36, 40]]).double()
    mouth = enlarged_mouths(rgb, landmarks)
    assert mouth.shape == (1, 3, 32, 32)
    # 16 px about (30, 40), two pixels for each
    expected = 30 - 8 + (torch.arange(32) + 0.5) / 2
    assert torch.allclose(mouth[0, 0, 5], expected.double())
    assert torch.allclose(mouth[0, 1, :, 5], (expected + 10).double())


def test_landmarks_are_compared_in_the_image_plane() -> None:
    generated, target = _random(2, 4, 3), _random(2, 4, 3, seed=1)
    expected = np.abs(generated.numpy() - target.numpy())[..., :2].mean()
    assert landmark_loss(generated, target).item() == pytest.approx(expected)


def test_spread_is_the_groups_standard_deviation() -> None:
    x = _random(8, 3, 2, 2)
    spread = minibatch_std(x)[:, 3]
    for row in range(8):
        group = x.numpy()[row % 2 :: 2]
        assert spread[row].numpy() == pytest.approx(np.sqrt(group.var(0) + 1e-8).mean())
    assert minibatch_std(_random(5, 3, 2, 2))[:, 3].max() < 1e-3


def _discriminator() -> ImageDiscriminator:
    torch.manual_seed(0)
    return ImageDiscriminator((6, 5)).double()


def test_r1_equals_finite_differences() -> None:
    network = _discriminator()
    image = _random(2, 3, 8, 8).requires_grad_()
    penalty = r1_penalty(network(image), image)
    step, squares = 1e-5, 0.0
    with torch.no_grad():
        for index in np.ndindex(2, 3, 8, 8):
            moved = torch.zeros_like(image)
            moved[index] = step
            difference = network(image + moved).sum() - network(image - moved).sum()
            squares += float(difference / (2 * step)) ** 2
    assert penalty.item() == pytest.approx(squares / 2, rel=1e-5)


def test_r1_teaches_the_discriminator() -> None:
    network = _discriminator()
    image = _random(2, 3, 8, 8).requires_grad_()

    def penalty() -> Tensor:
        return r1_penalty(network(image), image)

    names = ["stem.conv.weight", "blocks.0.conv_2.conv.weight", "hidden.weight", "score.weight"]
    parameters = dict(network.named_parameters())
    gradients = torch.autograd.grad(penalty(), [parameters[name] for name in names])
    for name, gradient in zip(names, gradients, strict=True):
        direction = _random(*gradient.shape, seed=3)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameters[name].add_(direction, alpha=sign * 1e-6)
            values.append(penalty().item())
            with torch.no_grad():
                parameters[name].add_(direction, alpha=-sign * 1e-6)
        expected = (values[0] - values[1]) / 2e-6
        assert (gradient * direction).sum().item() == pytest.approx(expected, rel=1e-4), name


def test_discriminator_learns_to_tell_two_kinds_apart() -> None:
    torch.manual_seed(0)
    network = ImageDiscriminator((8, 8, 8))
    optimiser = torch.optim.Adam(network.parameters(), 2e-3, betas=(0.0, 0.99))
    for _ in range(30):
        real, generated = torch.rand(8, 3, 16, 16) * 0.5, -torch.rand(8, 3, 16, 16) * 0.5
        loss = discriminator_loss(network(real), network(generated))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert loss.item() < 0.5  # a coin's is 1.39
