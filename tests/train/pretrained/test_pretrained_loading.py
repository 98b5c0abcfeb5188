"""Pretrained networks from files in their published layouts: what they compute, and which files are refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from engine.errors import CheckpointRefused, PretrainedNotFound, WeightsCorrupt
from tests.train.pretrained import pretrained_layouts as layouts
from train.pretrained import PRETRAINED, PretrainedKind, load_pretrained
from train.pretrained.loading import LOCK_NAME

_MEAN, _STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The files are large: gone after the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


def _rgb(size: int, rows: int = 1) -> Tensor:
    return torch.rand(rows, 3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine take longer than one alone."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class _Watch:
    """Inputs and outputs of parts, as they were in the last run."""

    def __init__(self, *modules: nn.Module) -> None:
        self.seen: dict[nn.Module, tuple[Tensor, Tensor]] = {}
        for module in modules:
            module.register_forward_hook(self._note)

    def _note(self, module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
        self.seen[module] = args[0].detach(), out.detach()


def _frozen_and_differentiable(network: nn.Module, run: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Checks evaluation mode, determinism, a gradient at the input and none at the weights."""
    assert not any(module.training for module in network.modules())
    x = x.clone().requires_grad_()
    result = run(x)
    result.square().mean().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad.abs().max() > 0
    assert all(not p.requires_grad and p.grad is None for p in network.parameters())
    with torch.no_grad():
        assert torch.equal(run(x), result)
    return result.detach()


def _kernel_by_hand(weight: Tensor, patch: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.einsum("ocij,cij->o", weight.double().numpy(), patch.double().numpy())


def test_vgg19_gives_four_resolutions(folder: Path) -> None:
    weights = layouts.filled(layouts.vgg19())
    layouts.write(folder / "vgg19.pth", weights)
    network = load_pretrained("vgg19", folder)
    rgb = _rgb(64)
    maps = network(rgb)
    assert [tuple(m.shape) for m in maps] == [
        (1, 64, 64, 64),
        (1, 128, 32, 32),
        (1, 256, 16, 16),
        (1, 512, 8, 8),
    ]
    _frozen_and_differentiable(network, lambda x: network(x)[-1], rgb)
    # The first map by hand: ImageNet's normalisation, nine products a channel, ReLU.
    patch = (rgb[0, :, 4:7, 9:12].double().numpy() / 2 + 0.5 - _MEAN[:, None, None]) / _STD[:, None, None]
    sums = np.einsum("ocij,cij->o", weights["features.0.weight"].double().numpy(), patch)
    expected = np.maximum(sums + weights["features.0.bias"].double().numpy(), 0)
    np.testing.assert_allclose(maps[0][0, :, 5, 10].numpy(), expected, atol=1e-5)


def test_expression_encodes_faces(folder: Path) -> None:
    weights = layouts.filled(layouts.deca())
    nested: dict[str, dict[str, Tensor]] = {}
    for name, value in weights.items():
        group, _, rest = name.partition(".")
        nested.setdefault(group, {})[rest] = value
    torch.save({**nested, "epoch": 7}, folder / "deca_model.tar")
    network = load_pretrained("expression", folder)
    watch = _Watch(network.encoder.conv1)
    assert _frozen_and_differentiable(network, network, _rgb(224)).shape == (1, 2048)
    # Pixels go in as [0, 1].
    seen, out = watch.seen[network.encoder.conv1]
    torch.testing.assert_close(seen, _rgb(224) / 2 + 0.5)
    expected = _kernel_by_hand(weights["E_flame.encoder.conv1.weight"], seen[0, :, 17:24, 5:12])
    np.testing.assert_allclose(out[0, :, 10, 4].numpy(), expected, atol=1e-4)


def test_gaze_gives_features_and_angles(folder: Path) -> None:
    weights = layouts.filled(layouts.l2cs())
    layouts.write(folder / "L2CSNet_gaze360.pkl", weights)
    network = load_pretrained("gaze", folder)
    assert network.pixels.size_px == 448
    network.pixels.size_px = 96  # the same network, sooner done
    rgb = _rgb(96)
    features = _frozen_and_differentiable(network, network, rgb)
    assert features.shape == (1, 2048)
    angles = network.angles(rgb)[0]
    for angle, head in zip(angles.tolist(), ("fc_yaw_gaze", "fc_pitch_gaze"), strict=True):
        logits = weights[f"{head}.weight"].double() @ features[0].double() + weights[f"{head}.bias"].double()
        degrees = float((logits.softmax(0) * torch.arange(90)).sum()) * 4 - 180
        assert angle == pytest.approx(np.deg2rad(degrees), abs=1e-4)


def test_parsing_gives_logits_of_19_classes(folder: Path) -> None:
    layouts.write(folder / "79999_iter.pth", layouts.filled(layouts.bisenet()))
    network = load_pretrained("parsing", folder)
    assert network.pixels.size_px == 512
    network.pixels.size_px = 128
    watch = _Watch(network.classify)
    logits = _frozen_and_differentiable(network, network, _rgb(64))
    assert logits.shape == (1, 19, 64, 64)
    # The map at an eighth is resized with aligned corners: those stay.
    coarse = watch.seen[network.classify][1]
    assert coarse.shape == (1, 19, 16, 16)
    torch.testing.assert_close(logits[..., ::63, ::63], coarse[..., ::15, ::15], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prelu", [True, False])
def test_lip_reading_gives_features_of_every_frame(folder: Path, prelu: bool) -> None:
    prefix = "" if prelu else "encoder.frontend."
    weights = layouts.filled(layouts.lip_reading(prelu, prefix))
    layouts.write(folder / "lip_reading.pth", weights, wrapper="model_state_dict")
    network = load_pretrained("lip_reading", folder)
    grey = torch.rand(1, 4, 88, 88, generator=torch.Generator().manual_seed(2))
    watch = _Watch(network.frontend3D[0])
    assert _frozen_and_differentiable(network, network, grey).shape == (1, 4, 512)
    seen, out = watch.seen[network.frontend3D[0]]
    torch.testing.assert_close(seen[0, 0], (grey[0] - 0.421) / 0.165)
    # At the first frame, two of the five that the kernel spans lie before the video and are zero.
    kernel = weights[f"{prefix}frontend3D.0.weight"][:, 0, 2:].numpy()
    expected = np.einsum("otij,tij->o", kernel, seen[0, 0, :3, 7:14, 7:14].numpy())
    np.testing.assert_allclose(out[0, :, 0, 5, 5].numpy(), expected, atol=1e-4)
    # A frame is seen by its neighbours within two frames, and by no other.
    changed = grey.clone()
    changed[:, 3] = 0
    with torch.no_grad():
        moved = (network(changed) - network(grey)).abs().amax((0, 2))
    assert (moved > 0).tolist() == [False, True, True, True]


def test_syncnet_embeds_speech_and_lips(folder: Path) -> None:
    weights = layouts.filled(layouts.syncnet())
    layouts.write(folder / "syncnet_v2.model", weights)
    network = load_pretrained("syncnet", folder)
    mfcc = torch.randn(2, 1, 13, 20, generator=torch.Generator().manual_seed(3))
    watch = _Watch(network.netcnnaud[0])
    assert _frozen_and_differentiable(network, network.speech, mfcc).shape == (2, 1024)
    bgr = torch.rand(1, 3, 5, 224, 224, generator=torch.Generator().manual_seed(4)) * 255
    assert _frozen_and_differentiable(network, network.lips, bgr).shape == (1, 1024)
    out = watch.seen[network.netcnnaud[0]][1]
    expected = _kernel_by_hand(weights["netcnnaud.0.weight"], mfcc[1, :, 3:6, 7:10])
    np.testing.assert_allclose(out[1, :, 4, 8].numpy(), expected + weights["netcnnaud.0.bias"].numpy(), atol=1e-5)


def test_arcface_reads_its_depth_from_the_file(folder: Path) -> None:
    weights = layouts.filled(layouts.iresnet((2, 2, 2, 2)))
    save_file(weights, folder / "arcface.safetensors")
    network = load_pretrained("arcface", folder)
    watch = _Watch(network.features)
    assert _frozen_and_differentiable(network, network, _rgb(112)).shape == (1, 512)
    seen, out = watch.seen[network.features]
    scale = weights["features.weight"] / (weights["features.running_var"] + 1e-5).sqrt()
    expected = (seen[0] - weights["features.running_mean"]) * scale + weights["features.bias"]
    torch.testing.assert_close(out[0], expected, atol=1e-4, rtol=1e-4)


def test_inception_pools_as_fid_does(folder: Path) -> None:
    layouts.write(folder / "inception.pth", layouts.filled(layouts.inception()))
    network = load_pretrained("inception", folder)
    first, last = network.Mixed_5b, network.Mixed_7c
    watch = _Watch(first, first.branch_pool, last, last.branch_pool)
    assert _frozen_and_differentiable(network, network, _rgb(128)).shape == (1, 2048)
    # The corner of a 3x3 mean has four neighbours, and they are divided by four.
    inputs, pooled = watch.seen[first][0], watch.seen[first.branch_pool][0]
    torch.testing.assert_close(pooled[0, :, 0, 0], inputs[0, :, :2, :2].mean((1, 2)), atol=1e-5, rtol=1e-5)
    inputs, pooled = watch.seen[last][0], watch.seen[last.branch_pool][0]
    torch.testing.assert_close(pooled[0, :, 4, 4], inputs[0, :, 3:6, 3:6].amax((1, 2)))


def test_head_pose_is_a_rotation(folder: Path) -> None:
    layouts.write(folder / "cmu.pth", layouts.filled(layouts.repvgg()), wrapper="model_state_dict")
    network = load_pretrained("head_pose", folder)
    assert (network.config.groups, network.config.blocks) == (4, (1, 2, 4, 14, 1))
    watch = _Watch(network.linear_reg)
    rotation = _frozen_and_differentiable(network, network, _rgb(224))[0].double().numpy()
    np.testing.assert_allclose(rotation.T @ rotation, np.eye(3), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1, abs=1e-6)
    six = watch.seen[network.linear_reg][1]
    first, second = six[0, :3].double().numpy(), six[0, 3:].double().numpy()
    np.testing.assert_allclose(rotation[:, 0], first / np.linalg.norm(first), atol=1e-6)
    rest = second - rotation[:, 0] * (rotation[:, 0] @ second)
    np.testing.assert_allclose(rotation[:, 1], rest / np.linalg.norm(rest), atol=1e-5)


@pytest.mark.parametrize("kind", PRETRAINED)
def test_a_missing_network_says_where_to_get_it(tmp_path: Path, kind: PretrainedKind) -> None:
    with pytest.raises(PretrainedNotFound) as caught:
        load_pretrained(kind, tmp_path)
    message = str(caught.value)
    source = PRETRAINED[kind]
    for part in (kind, str(tmp_path), source.files[0], source.origin, source.licence, source.needed_by):
        assert part in message
    assert source.sha256_prefix in message


def test_the_checksum_is_noted_and_held_to(folder: Path) -> None:
    weights = layouts.filled(layouts.vgg19())
    layouts.write(folder / "vgg19.pth", weights)
    load_pretrained("vgg19", folder)
    noted = json.loads((folder / LOCK_NAME).read_text())
    assert set(noted) == {"vgg19.pth"}
    assert len(noted["vgg19.pth"]) == 64
    load_pretrained("vgg19", folder)
    weights["features.0.bias"] += 1
    layouts.write(folder / "vgg19.pth", weights)
    with pytest.raises(WeightsCorrupt, match="changed since"):
        load_pretrained("vgg19", folder)


def test_a_published_name_must_have_the_published_checksum(folder: Path) -> None:
    layouts.write(folder / "vgg19-dcbb9e9d.pth", layouts.filled(layouts.vgg19()))
    with pytest.raises(WeightsCorrupt, match="dcbb9e9d"):
        load_pretrained("vgg19", folder)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("/nonexistent/evil"),))


def _missing(weights: dict[str, Tensor]) -> object:
    del weights["features.5.weight"]
    return weights


def _misshapen(weights: dict[str, Tensor]) -> object:
    weights["features.5.weight"] = torch.zeros(128, 64, 1, 1)
    return weights


def _foreign(weights: dict[str, Tensor]) -> object:
    return {**weights, "decoder.weight": torch.zeros(1)}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (_missing, "features.5.weight"),
        (_misshapen, "of another shape"),
        (_foreign, "decoder.weight"),
        (lambda _: {"features.0.weight": _Evil()}, "tensors only"),
        (lambda _: [1, 2], "missing"),
    ],
)
def test_other_files_are_refused(folder: Path, content: Callable[[dict[str, Tensor]], object], says: str) -> None:
    torch.save(content(layouts.filled(layouts.vgg19())), folder / "vgg19.pth")
    with pytest.raises(CheckpointRefused, match=says):
        load_pretrained("vgg19", folder)


@pytest.mark.parametrize("name", ["vgg19.pth", "vgg19.safetensors"])
def test_damaged_files_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(CheckpointRefused, match=name):
        load_pretrained("vgg19", tmp_path)


def test_a_training_checkpoint_of_the_pose_network_is_explained(folder: Path) -> None:
    torch.save({"layer0.rbr_dense.conv.weight": torch.zeros(64, 3, 3, 3)}, folder / "cmu.pth")
    with pytest.raises(CheckpointRefused, match="deployed form"):
        load_pretrained("head_pose", folder)
