"""Names and shapes of the tensors in published files of pretrained networks, written from their projects' descriptions.

Independent of the networks in ``train.pretrained``: the tests fill these layouts and load them through the public door.
Tensors that are not used are stood in for by one number.
"""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    parts = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (channels,) for part in parts} | {f"{name}.num_batches_tracked": ()}


def conv_norm(name: str, out: int, channels: int, *kernel: int) -> Shapes:
    return {f"{name}.conv.weight": (out, channels, *kernel), **norm(f"{name}.bn", out)}


def vgg19() -> Shapes:
    shapes: Shapes = {"classifier.0.weight": (1,), "classifier.6.bias": (1,)}
    index, channels = 0, 3
    for width, count in ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4)):
        for _ in range(count):
            used = index <= 19
            shapes[f"features.{index}.weight"] = (width, channels, 3, 3) if used else (1,)
            shapes[f"features.{index}.bias"] = (width,) if used else (1,)
            index, channels = index + 2, width
        index += 1
    return shapes


def resnet50(prefix: str = "") -> Shapes:
    shapes: Shapes = {f"{prefix}conv1.weight": (64, 3, 7, 7), **norm(f"{prefix}bn1", 64)}
    channels = 64
    for stage, count in enumerate((3, 4, 6, 3), start=1):
        width = 32 << stage
        for index in range(count):
            name = f"{prefix}layer{stage}.{index}"
            for number, (out, into, kernel) in enumerate(
                ((width, channels, 1), (width, width, 3), (4 * width, width, 1)), start=1
            ):
                shapes[f"{name}.conv{number}.weight"] = (out, into, kernel, kernel)
                shapes |= norm(f"{name}.bn{number}", out)
            if index == 0:
                shapes[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
                shapes |= norm(f"{name}.downsample.1", 4 * width)
            channels = 4 * width
    return shapes


def deca() -> Shapes:
    return resnet50("E_flame.encoder.") | {
        "E_flame.layers.0.weight": (1,),
        "E_detail.encoder.conv1.weight": (1,),
        "D_detail.decoder.0.weight": (1,),
    }


def l2cs() -> Shapes:
    heads: Shapes = {"fc_finetune.weight": (3, 2051), "fc_finetune.bias": (3,)}
    for head in ("fc_yaw_gaze", "fc_pitch_gaze"):
        heads |= {f"{head}.weight": (90, 2048), f"{head}.bias": (90,)}
    return resnet50() | heads


def basic_layers(prefix: str, prelu: bool = False) -> Shapes:
    shapes: Shapes = {}
    channels = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for index in range(2):
            name = f"{prefix}layer{stage}.{index}"
            for number, into in ((1, channels), (2, width)):
                shapes[f"{name}.conv{number}.weight"] = (width, into, 3, 3)
                shapes |= norm(f"{name}.bn{number}", width)
                if prelu:
                    shapes[f"{name}.relu{number}.weight"] = (width,)
            if channels != width:
                shapes[f"{name}.downsample.0.weight"] = (width, channels, 1, 1)
                shapes |= norm(f"{name}.downsample.1", width)
            channels = width
    return shapes


def bisenet() -> Shapes:
    shapes: Shapes = {"cp.resnet.conv1.weight": (64, 3, 7, 7), **norm("cp.resnet.bn1", 64)}
    shapes |= basic_layers("cp.resnet.")
    for size, channels in ((16, 256), (32, 512)):
        shapes |= conv_norm(f"cp.arm{size}.conv", 128, channels, 3, 3)
        shapes[f"cp.arm{size}.conv_atten.weight"] = (128, 128, 1, 1)
        shapes |= norm(f"cp.arm{size}.bn_atten", 128)
        shapes |= conv_norm(f"cp.conv_head{size}", 128, 128, 3, 3)
        shapes |= conv_norm(f"conv_out{size}.conv", 64, 128, 3, 3)
        shapes[f"conv_out{size}.conv_out.weight"] = (19, 64, 1, 1)
    shapes |= conv_norm("cp.conv_avg", 128, 512, 1, 1) | conv_norm("ffm.convblk", 256, 256, 1, 1)
    shapes |= {"ffm.conv1.weight": (64, 256, 1, 1), "ffm.conv2.weight": (256, 64, 1, 1)}
    return shapes | conv_norm("conv_out.conv", 256, 256, 3, 3) | {"conv_out.conv_out.weight": (19, 256, 1, 1)}


def lip_reading(prelu: bool, prefix: str = "") -> Shapes:
    shapes: Shapes = {f"{prefix}frontend3D.0.weight": (64, 1, 5, 7, 7), **norm(f"{prefix}frontend3D.1", 64)}
    if prelu:
        shapes[f"{prefix}frontend3D.2.weight"] = (64,)
    return shapes | basic_layers(f"{prefix}trunk.", prelu) | {"tcn.tcn_output.weight": (1,)}


def syncnet() -> Shapes:
    shapes: Shapes = {}
    speech = (
        (0, 64, 1, 3, 3),
        (4, 192, 64, 3, 3),
        (8, 384, 192, 3, 3),
        (11, 256, 384, 3, 3),
        (14, 256, 256, 3, 3),
    )
    for index, *form in (*speech, (18, 512, 256, 5, 4)):
        shapes |= {f"netcnnaud.{index}.weight": tuple(form), f"netcnnaud.{index}.bias": (form[0],)}
        shapes |= norm(f"netcnnaud.{index + 1}", form[0])
    lips = ((0, 96, 3, 5, 7, 7), (4, 256, 96, 1, 5, 5), (8, 256, 256, 1, 3, 3), (11, 256, 256, 1, 3, 3))
    for index, *form in (*lips, (14, 256, 256, 1, 3, 3), (18, 512, 256, 1, 6, 6)):
        shapes |= {f"netcnnlip.{index}.weight": tuple(form), f"netcnnlip.{index}.bias": (form[0],)}
        shapes |= norm(f"netcnnlip.{index + 1}", form[0])
    for head in ("netfcaud", "netfclip"):
        shapes |= {f"{head}.0.weight": (512, 512), f"{head}.0.bias": (512,), **norm(f"{head}.1", 512)}
        shapes |= {f"{head}.3.weight": (1024, 512), f"{head}.3.bias": (1024,)}
    return shapes


def iresnet(blocks: tuple[int, ...] = (2, 2, 2, 2)) -> Shapes:
    shapes: Shapes = {"conv1.weight": (64, 3, 3, 3), **norm("bn1", 64), "prelu.weight": (64,)}
    channels = 64
    for stage, (width, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), start=1):
        for index in range(count):
            name = f"layer{stage}.{index}"
            shapes |= norm(f"{name}.bn1", channels) | norm(f"{name}.bn2", width) | norm(f"{name}.bn3", width)
            shapes[f"{name}.conv1.weight"] = (width, channels, 3, 3)
            shapes[f"{name}.conv2.weight"] = (width, width, 3, 3)
            shapes[f"{name}.prelu.weight"] = (width,)
            if index == 0:
                shapes[f"{name}.downsample.0.weight"] = (width, channels, 1, 1)
                shapes |= norm(f"{name}.downsample.1", width)
            channels = width
    shapes |= norm("bn2", 512) | norm("features", 512)
    return shapes | {"fc.weight": (512, 512 * 49), "fc.bias": (512,)}


def _inception_convs() -> Iterator[tuple[str, int, int, tuple[int, int]]]:
    square, row, column = (3, 3), (1, 7), (7, 1)
    yield from (("Conv2d_1a_3x3", 32, 3, square), ("Conv2d_2a_3x3", 32, 32, square))
    yield from (("Conv2d_2b_3x3", 64, 32, square), ("Conv2d_3b_1x1", 80, 64, (1, 1)))
    yield ("Conv2d_4a_3x3", 192, 80, square)
    for block, into, pool in (("5b", 192, 32), ("5c", 256, 64), ("5d", 288, 64)):
        name = f"Mixed_{block}.branch"
        yield from ((f"{name}1x1", 64, into, (1, 1)), (f"{name}5x5_1", 48, into, (1, 1)))
        yield from ((f"{name}5x5_2", 64, 48, (5, 5)), (f"{name}3x3dbl_1", 64, into, (1, 1)))
        yield from ((f"{name}3x3dbl_2", 96, 64, square), (f"{name}3x3dbl_3", 96, 96, square))
        yield (f"{name}_pool", pool, into, (1, 1))
    yield from (("Mixed_6a.branch3x3", 384, 288, square), ("Mixed_6a.branch3x3dbl_1", 64, 288, (1, 1)))
    yield from (("Mixed_6a.branch3x3dbl_2", 96, 64, square), ("Mixed_6a.branch3x3dbl_3", 96, 96, square))
    for block, width in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        name = f"Mixed_{block}.branch"
        yield from ((f"{name}1x1", 192, 768, (1, 1)), (f"{name}7x7_1", width, 768, (1, 1)))
        yield from ((f"{name}7x7_2", width, width, row), (f"{name}7x7_3", 192, width, column))
        yield (f"{name}7x7dbl_1", width, 768, (1, 1))
        yield from ((f"{name}7x7dbl_2", width, width, column), (f"{name}7x7dbl_3", width, width, row))
        yield from ((f"{name}7x7dbl_4", width, width, column), (f"{name}7x7dbl_5", 192, width, row))
        yield (f"{name}_pool", 192, 768, (1, 1))
    name = "Mixed_7a.branch"
    yield from ((f"{name}3x3_1", 192, 768, (1, 1)), (f"{name}3x3_2", 320, 192, square))
    yield from ((f"{name}7x7x3_1", 192, 768, (1, 1)), (f"{name}7x7x3_2", 192, 192, row))
    yield from ((f"{name}7x7x3_3", 192, 192, column), (f"{name}7x7x3_4", 192, 192, square))
    for block, into in (("7b", 1280), ("7c", 2048)):
        name = f"Mixed_{block}.branch"
        yield from ((f"{name}1x1", 320, into, (1, 1)), (f"{name}3x3_1", 384, into, (1, 1)))
        yield from ((f"{name}3x3_2a", 384, 384, (1, 3)), (f"{name}3x3_2b", 384, 384, (3, 1)))
        yield from ((f"{name}3x3dbl_1", 448, into, (1, 1)), (f"{name}3x3dbl_2", 384, 448, square))
        yield from ((f"{name}3x3dbl_3a", 384, 384, (1, 3)), (f"{name}3x3dbl_3b", 384, 384, (3, 1)))
        yield (f"{name}_pool", 192, into, (1, 1))


def inception() -> Shapes:
    shapes: Shapes = {"fc.weight": (1,), "fc.bias": (1,)}
    for name, out, into, kernel in _inception_convs():
        shapes |= conv_norm(name, out, into, *kernel)
    return shapes


def repvgg(
    widths: tuple[int, ...] = (48, 48, 96, 192, 1280),
    blocks: tuple[int, ...] = (2, 4, 14, 1),
    groups: int = 4,
) -> Shapes:
    shapes: Shapes = {
        "layer0.rbr_reparam.weight": (widths[0], 3, 3, 3),
        "layer0.rbr_reparam.bias": (widths[0],),
        "linear_reg.weight": (6, widths[-1]),
        "linear_reg.bias": (6,),
    }
    channels, layer = widths[0], itertools.count(1)
    for stage, count in enumerate(blocks, start=1):
        for index in range(count):
            into = channels // (groups if next(layer) % 2 == 0 else 1)
            shapes[f"layer{stage}.{index}.rbr_reparam.weight"] = (widths[stage], into, 3, 3)
            shapes[f"layer{stage}.{index}.rbr_reparam.bias"] = (widths[stage],)
            channels = widths[stage]
    return shapes


def filled(shapes: Shapes) -> dict[str, Tensor]:
    """Values of every tensor from its name: kernels that keep a signal's size, norms near one."""
    noise = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    tensors: dict[str, Tensor] = {}
    for name, shape in shapes.items():
        count = math.prod(shape)
        offset = sum(name.encode()) * 7919 % (len(noise) // 2)
        repeated = noise[offset:].repeat(-(-count // (len(noise) - offset)))[:count].reshape(shape)
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(1000)
        elif name.endswith("running_var"):
            tensors[name] = 1 + 0.2 * repeated.abs()
        elif len(shape) > 1:
            tensors[name] = repeated * (2 / math.prod(shape[1:])) ** 0.5
        elif name.endswith("weight"):
            tensors[name] = 0.8 + 0.1 * repeated
        else:
            tensors[name] = 0.1 * repeated
    return tensors


def write(path: Path, tensors: dict[str, Tensor], wrapper: str = "") -> None:
    torch.save({wrapper: tensors} if wrapper else tensors, path)
