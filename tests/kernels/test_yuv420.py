"""yuv420: its reference against OpenCV's and FFmpeg's arithmetic, and its CUDA C, compiled for a CPU, against it."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace

from kernels.errors import ImplementationUnavailable
from kernels.yuv420 import LabelPatch, finished_rgb_reference, yuv420
from kernels.yuv420.cuda_arguments import Launch, launch_of
from kernels.yuv420.cuda_source import ENTRY, SOURCE
from tests.kernels.kernel_cases import yuv_inputs

# Enough of CUDA for the source to be C++: one thread after the other, products rounded before sums.
_SHIM = r"""
#include <cmath>
#include <cstring>
#include <algorithm>
#define __device__
#define __global__
using std::min;
struct Place { int x, y, z; };
static Place blockIdx, threadIdx, blockDim;
static float __fmul_rn(float a, float b) { volatile float c = a * b; return c; }
static float __fadd_rn(float a, float b) { volatile float c = a + b; return c; }
static float __uint_as_float(unsigned int bits) { float value; std::memcpy(&value, &bits, 4); return value; }
static float as_half(unsigned short bits) { _Float16 value; std::memcpy(&value, &bits, 2); return (float)value; }
#define HALF_TO_FLOAT as_half
"""
_LOOP = r"""
extern "C" void launch(int gx, int gy, int gz, int bx, int by, PARAMETERS) {
    blockDim = {bx, by, 1};
    for (blockIdx.z = 0; blockIdx.z < gz; ++blockIdx.z)
    for (blockIdx.y = 0; blockIdx.y < gy; ++blockIdx.y)
    for (blockIdx.x = 0; blockIdx.x < gx; ++blockIdx.x)
    for (threadIdx.y = 0; threadIdx.y < by; ++threadIdx.y)
    for (threadIdx.x = 0; threadIdx.x < bx; ++threadIdx.x)
        yuv420(ARGUMENTS);
}
"""
_C_TYPES = {
    np.uint64: ctypes.c_uint64,
    np.int32: ctypes.c_int32,
    np.int64: ctypes.c_int64,
    np.float32: ctypes.c_float,
}


def _portrait(path: Path) -> torch.Tensor:
    rgb = cv2.cvtColor(cv2.resize(cv2.imread(str(path)), (256, 192)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]


@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_planes_are_within_a_level_of_what_ffmpeg_makes(matrix: str, portrait_path: Path) -> None:
    image = _portrait(portrait_path)
    rgb = np.ascontiguousarray(image[0].permute(1, 2, 0).numpy())
    options = {
        "src_color_range": ColorRange.JPEG,
        "dst_color_range": ColorRange.MPEG,
        "dst_colorspace": Colorspace.ITU709 if matrix == "bt709" else Colorspace.ITU601,
    }
    expected = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p", **options).to_ndarray()
    found = yuv420(image, matrix=matrix, impl="reference")[0].numpy()
    assert found.shape == expected.shape
    apart = np.abs(found.astype(int) - expected.astype(int))
    # Its sums are cut to 15 bits on the way: where two of them meet a border, by a level more.
    assert apart.max() <= 2
    assert (apart > 1).mean() < 1e-3


def test_nv12_is_the_same_planes_in_turn(portrait_path: Path) -> None:
    image = _portrait(portrait_path)
    flat = yuv420(image, impl="reference").flatten()
    turn = yuv420(image, layout="nv12", impl="reference").flatten()
    pixels = 192 * 256
    assert torch.equal(turn[:pixels], flat[:pixels])
    assert torch.equal(turn[pixels:].view(-1, 2).T.flatten(), flat[pixels:])


def test_greys_have_no_colour_and_the_ends_are_sixteen_and_235() -> None:
    levels = torch.arange(256, dtype=torch.uint8).repeat_interleave(2).expand(1, 3, 2, 512)
    for matrix in ("bt601", "bt709"):
        planes = yuv420(levels, matrix=matrix)
        assert (planes[:, 2:] == 128).all()
        assert planes[0, 0, 0] == 16
        assert planes[0, 0, -1] == 235


def test_label_and_mark_are_those_of_the_engine() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    pattern = np.random.default_rng(1).normal(0, 3, (128, 128)).astype(np.float32)
    from engine.postprocess import VisibleLabel

    label = VisibleLabel(128, 128)
    expected = cv2.add(label.apply(rgb), cv2.merge([pattern] * 3), dtype=cv2.CV_8U)
    rows, columns = label.area
    patch = LabelPatch(
        keep_HW=torch.from_numpy(label.keep[..., 0]),
        add_3HW=torch.from_numpy(label.add).permute(2, 0, 1),
        top_px=rows.start,
        left_px=columns.start,
    )
    image = torch.from_numpy(rgb).permute(2, 0, 1)[None]
    found = finished_rgb_reference(image, patch, torch.from_numpy(pattern)[None])
    assert np.array_equal(found[0].permute(1, 2, 0).numpy(), expected)


def test_what_does_not_fit_is_refused() -> None:
    image, label, pattern = yuv_inputs((1, 6, 10), torch.float32)
    with pytest.raises(ValueError, match="even"):
        yuv420(image[:, :, 1:])
    with pytest.raises(ValueError, match="mark"):
        yuv420(image, pattern_BHW=pattern[:, 1:])
    with pytest.raises(ValueError, match="leaves"):
        yuv420(image[..., :4], label=label)
    with pytest.raises(ValueError, match="out"):
        yuv420(image, out=torch.empty(1, 6, 10, dtype=torch.uint8))
    with pytest.raises(ValueError, match="impl"):
        yuv420(image, impl="magic")  # type: ignore[arg-type]
    with pytest.raises(ImplementationUnavailable, match="cupy"):
        yuv420(image, impl="cupy")


def _built(launch: Launch, folder: Path) -> ctypes.CDLL:
    """The source as a shared library; built once for each set of definitions."""
    path = folder / ("".join(launch.defines).replace("-D", "_").replace("=", "") + ".so")
    if not path.exists():
        start = SOURCE.index("(", SOURCE.index(f"void {ENTRY}")) + 1
        parameters = SOURCE[start : SOURCE.index(") {", start)]
        names = ", ".join(part.split()[-1].lstrip("*") for part in parameters.split(","))
        loop = _LOOP.replace("PARAMETERS", parameters).replace("ARGUMENTS", names)
        source = path.with_suffix(".cpp")
        source.write_text(_SHIM + SOURCE + loop, encoding="utf-8")
        flags = ["-shared", "-fPIC", "-O1", "-ffp-contract=off", *launch.defines]
        subprocess.run(["g++", *flags, "-o", path, source], check=True, capture_output=True, timeout=60)
    return ctypes.CDLL(str(path))


def test_the_cuda_source_run_on_the_cpu_gives_the_same_integers(tmp_path: Path) -> None:
    if shutil.which("g++") is None:
        pytest.skip("needs a C++ compiler: apt install g++")
    kinds = ((torch.uint8, "i420", True), (torch.float16, "nv12", True), (torch.float32, "i420", False))
    for (dtype, layout, finished), shape in itertools.product(kinds, ((2, 6, 10), (1, 4, 264), (1, 2, 138))):
        image, label, pattern = yuv_inputs(shape, dtype)
        label, pattern = (label, pattern) if finished else (None, None)
        expected = yuv420(image, layout=layout, label=label, pattern_BHW=pattern, impl="reference")
        out = torch.zeros(expected.numel() + 16, dtype=torch.uint8)
        launch = launch_of(image, layout, "bt601", label, pattern, out)
        sizes = [ctypes.c_int(size) for size in (*launch.grid, *launch.block[:2])]
        values = [_C_TYPES[type(value)](value.item()) for value in launch.arguments]
        _built(launch, tmp_path).launch(*sizes, *values)
        assert torch.equal(out[: expected.numel()], expected.flatten()), (dtype, layout, shape)
        assert not out[expected.numel() :].any(), "written past the end"


def test_the_cuda_source_compiles_for_cards() -> None:
    try:
        from nvidia import cu13
    except ImportError:
        pytest.skip("NVRTC is not installed: pip install nvidia-cuda-nvrtc")
    (library,) = Path(next(iter(cu13.__path__)), "lib").glob("libnvrtc.so.*")
    nvrtc = ctypes.CDLL(str(library))
    for architecture, defines in ((b"sm_86", "0111"), (b"sm_86", "1110"), (b"sm_90", "2001")):
        program = ctypes.c_void_p()
        source = SOURCE.encode()
        assert nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"yuv420.cu", 0, None, None) == 0
        names = ("ELEMENT", "LABEL", "MARK", "NV12")
        options = [b"--gpu-architecture=" + architecture]
        options += [f"-D{name}={value}".encode() for name, value in zip(names, defines, strict=True)]
        failed = nvrtc.nvrtcCompileProgram(program, len(options), (ctypes.c_char_p * len(options))(*options))
        log = ctypes.create_string_buffer(1 << 16)
        nvrtc.nvrtcGetProgramLog(program, log)
        assert not failed, log.value.decode()
        size = ctypes.c_size_t()
        assert nvrtc.nvrtcGetCUBINSize(program, ctypes.byref(size)) == 0
        assert size.value > 1000
        nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
