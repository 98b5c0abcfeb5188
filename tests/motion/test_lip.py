"""The lip network's two presets, through its public interface."""

import pytest
import torch

from engine.motion.networks.audio_encoder import AudioEncoder, AudioEncoderConfig
from engine.motion.networks.lip import LipConfig, LipNetwork


@pytest.mark.parametrize("config", [LipConfig.paper(), LipConfig.paper(eye_feature=True), LipConfig.lite()])
@torch.no_grad()
def test_shapes(config: LipConfig) -> None:
    network = LipNetwork(config).eval()
    audio = network.encode_audio(torch.randn(5, 80, config.audio_columns))
    assert audio.shape == (5, config.audio_size)
    feature = torch.randn(5, 21) if config.eye_feature_size else None
    assert network(audio, torch.randn(5, 64), feature).shape == (5, 64)


@torch.no_grad()
def test_leading_dimensions_pass_through() -> None:
    network = LipNetwork(LipConfig.lite()).eval()
    audio, expression0, feature = torch.randn(2, 3, 128), torch.randn(2, 3, 64), torch.randn(2, 3, 21)
    frame = network(audio[1, 2], expression0[1, 2], feature[1, 2])
    torch.testing.assert_close(network(audio, expression0, feature)[1, 2], frame, rtol=0, atol=1e-5)


def test_eye_feature_must_be_there_exactly_if_the_config_says_so() -> None:
    with_feature, without = LipNetwork(LipConfig.lite()), LipNetwork(LipConfig.lite(eye_feature=False))
    audio, expression0, feature = torch.zeros(1, 128), torch.zeros(1, 64), torch.zeros(1, 21)
    with pytest.raises(ValueError, match="eye feature"):
        with_feature(audio, expression0)
    with pytest.raises(ValueError, match="eye feature"):
        without(audio, expression0, feature)


@torch.no_grad()
def test_folding_the_norms_keeps_the_function() -> None:
    torch.manual_seed(0)
    network = LipNetwork(LipConfig.lite())
    mel = torch.randn(16, 80, 16)
    network.encode_audio(mel)
    network.eval()
    before = network.encode_audio(mel)
    after = network.fold_norms().encode_audio(mel)
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    assert not any("norm" in name for name in network.state_dict())


def test_folding_needs_evaluation_mode() -> None:
    with pytest.raises(ValueError, match="eval"):
        AudioEncoder().fold_norms()


def test_cover_is_the_map_that_the_stages_leave() -> None:
    assert AudioEncoderConfig().cover() == (3, 3)
    assert LipConfig.lite().audio_encoder().cover() == (5, 2)


def test_lite_fits_two_megabytes() -> None:
    assert sum(parameter.numel() for parameter in LipNetwork(LipConfig.lite()).parameters()) * 4 < 2 * 2**20


@pytest.mark.parametrize(
    "values",
    [{"audio_widths": (8, 16)}, {"audio_residuals": -1}, {"map_widths": (0,)}, {"eye_feature_size": -1}],
)
def test_config_refuses_nonsense(values: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(ValueError):
        LipConfig(**values)  # type: ignore[arg-type]
