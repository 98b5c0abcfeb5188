"""The per-frame step by the name of a backend. On CUDA all but eager hand out finished images.

eager      PyTorch as it is; the reference                          CPU, CUDA   fp32
onnx       the exported network in OpenVINO, or in ONNX Runtime     CPU         fp32
compiled   torch.compile                                            CPU, CUDA   fp32 / fp16
graph      the eager step in a CUDA graph                           CUDA        fp16
tensorrt   an engine of tensorrt-rtx or tensorrt in a CUDA graph    CUDA        fp16
geometric  no network: what guides it is shown as it is             CPU         -
auto       CUDA: tensorrt if it is built, else graph; CPU: onnx if it is built, else eager
"""

import logging
import shutil
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from engine.animator.mesh.geometric import GeometricAnimator
from engine.animator.network.face_animator import FaceAnimatorNetwork
from engine.animator.network.neural import NeuralAnimator
from engine.animator.network.step import FrameStep, eager_step
from engine.errors import BackendUnavailable, MissingDependency
from engine.postprocess import WatermarkConfig
from engine.postprocess.graph import watermark_pattern
from engine.runtime.captured_frame import CapturedFrameStep
from engine.runtime.card import is_card
from engine.runtime.compilation import FrameCompiler
from engine.runtime.cuda_graph import cuda_graphs_enabled
from engine.runtime.engine_cache import EngineCache
from engine.runtime.graphs import FinishedFrame, step_graph
from engine.runtime.onnx_step import onnx_runner, onnx_step, onnx_version
from engine.runtime.tensorrt_package import choose_package, present_target
from engine.runtime.tensorrt_step import TensorRTEngine

Backend = Literal["auto", "eager", "compiled", "graph", "onnx", "tensorrt", "geometric"]
BACKENDS: tuple[str, ...] = get_args(Backend)
_log = logging.getLogger(__name__)


def neural_animator(
    network: FaceAnimatorNetwork,
    weights: str,
    *,
    backend: str = "eager",
    device: torch.device | str = "cpu",
    cache: EngineCache | None = None,
    watermark: WatermarkConfig | None = None,
    build: bool = False,
    mesh: GeometricAnimator | None = None,
    exported: bytes | None = None,
) -> NeuralAnimator:
    """An animator of ``network``, which it takes over, with the step of a backend.

    Args:
        weights: checksum of what the network was loaded from; built engines are found by it.
        cache: of built engines; None is the user's.
        watermark: of finished images.
        build: let "auto" export the network for the CPU when it was not built before; the lite one takes seconds, once.
        mesh: what guides a network of a guided layout.
        exported: the ONNX network for the CPU, if the weights bring it.

    Raises:
        BackendUnavailable: the backend is not on this machine; the message has the install line.
    """
    device = torch.device(device)
    narrow = is_card(device)
    compiler = FrameCompiler(network, weights, precision="fp16" if narrow else "fp32", cache=cache)
    if backend == "auto":
        backend = _automatic(device, compiler, build, exported is not None)
    check_backend(backend, device, exported is not None)
    dtype = torch.float16 if narrow and backend != "eager" else torch.float32
    finishes = narrow and backend != "eager"
    pattern_SP = watermark_pattern(watermark or WatermarkConfig()).to(device) if finishes else None
    network.freeze().to(device=device, dtype=dtype)
    step: FrameStep
    if backend == "onnx":
        step = onnx_step(exported or compiler.onnx().payload)
    elif backend == "tensorrt":
        step = _tensorrt(compiler, pattern_SP)
    elif backend == "graph":
        step = captured_step(network, pattern_SP)
    elif backend == "compiled":
        step = _compiled(network, pattern_SP)
    else:
        step = eager_step(network, device)
    return NeuralAnimator(network, device=device, dtype=dtype, step=step, backend=backend, finishes=finishes, mesh=mesh)


def check_backend(backend: str, device: torch.device, exported: bool = False) -> None:
    """Whether ``backend`` (not "auto") can run on ``device`` here; ``exported``: there is an ONNX network already.

    Raises:
        BackendUnavailable: it cannot; the message says what to install or to choose.
    """
    if backend not in BACKENDS:
        raise BackendUnavailable(f"backend '{backend}' is not there; choose one of {', '.join(BACKENDS)}")
    if backend == "geometric":
        raise BackendUnavailable("backend 'geometric' runs no network; load the weights with `load_engine`")
    on_cuda = is_card(device)
    if backend in ("graph", "tensorrt") and not on_cuda:
        raise BackendUnavailable(
            f"backend '{backend}' needs a CUDA device (--device cuda); on a CPU choose onnx, compiled or eager"
        )
    try:
        if backend == "tensorrt":
            choose_package("auto", present_target() or "")
        if backend == "onnx":
            if on_cuda:
                raise BackendUnavailable("backend 'onnx' runs on the CPU; on CUDA choose tensorrt, graph or compiled")
            onnx_runner() if exported else onnx_version()
    except MissingDependency as error:
        raise BackendUnavailable(str(error)) from error
    if backend == "graph" and not cuda_graphs_enabled():
        raise BackendUnavailable("backend 'graph' is switched off by GOHD_CUDA_GRAPHS")
    if backend == "compiled" and not on_cuda and not any(shutil.which(name) for name in ("g++", "clang++", "cl")):
        raise BackendUnavailable("backend 'compiled' needs a C++ compiler on the CPU: apt install g++, or choose onnx")


def _automatic(device: torch.device, compiler: FrameCompiler, build: bool, exported: bool) -> str:
    """The fastest that is there: built networks count when they are built, so that nobody waits unasked."""
    try:
        if is_card(device):
            check_backend("tensorrt", device)
            if compiler.has_tensorrt(present_target() or ""):
                return "tensorrt"
        elif exported:
            check_backend("onnx", device, exported)
            return "onnx"
        elif compiler.has_onnx():
            return "onnx"
        elif build:
            check_backend("onnx", device)
            _log.info("exporting the animator's network for this CPU, once")
            return "onnx"
        _log.info("the animator has no built network here; make one with: gohd weights compile")
    except MissingDependency as error:
        _log.info("the animator runs without a built network: %s", error)
    except BackendUnavailable as error:
        _log.warning("the animator runs without a built network: %s", error)
    return "graph" if is_card(device) and cuda_graphs_enabled() else "eager"


def captured_step(network: FaceAnimatorNetwork, pattern_SP: Tensor | None = None) -> FrameStep:
    """PyTorch's own operations in a CUDA graph; on a CPU they run at every replay, with the same buffers and checks.

    Args:
        network: frozen, on its device and in its type.
        pattern_SP: what finished images are marked with; None hands out bare ones.
    """
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    frame = _frame(network, pattern_SP)
    return CapturedFrameStep(lambda rows: lambda *inputs: (frame(*inputs),), pattern_SP)


def _compiled(network: FaceAnimatorNetwork, pattern_SP: Tensor | None) -> FrameStep:
    """Compiled at the first frame; once for every number of rows."""
    # Inductor has no in-place view of inference tensors to offer; fixed shapes give the best code.
    frame = torch.compile(_frame(network, pattern_SP), dynamic=False)
    if pattern_SP is not None:
        return CapturedFrameStep(lambda rows: lambda *inputs: (frame(*inputs),), pattern_SP)

    return lambda inputs: frame(*inputs.flat())


def _frame(network: FaceAnimatorNetwork, pattern_SP: Tensor | None) -> nn.Module:
    if pattern_SP is None:
        return step_graph(network).module
    return FinishedFrame(network)


def _tensorrt(compiler: FrameCompiler, pattern_SP: Tensor | None) -> FrameStep:
    target = present_target()
    assert target is not None

    def engine(rows: int) -> Callable[..., tuple[Tensor, ...]]:
        package, frame = compiler.with_rows(rows).tensorrt(target)
        built = TensorRTEngine(package, frame.payload)
        return lambda *inputs: built(*(tensor.contiguous() for tensor in inputs))

    captured = CapturedFrameStep(engine, pattern_SP)
    captured.prepare(1)
    return captured
