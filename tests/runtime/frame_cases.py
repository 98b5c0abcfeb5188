"""Networks of random weights, frames for them, and what eager makes of those: what every backend is compared with."""

import dataclasses
import functools
import importlib

import numpy as np
import torch
from torch import Tensor

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.mesh.guide import corrected_frame
from engine.animator.network.step import FrameInputs, FrameStep, eager_step, to_bytes
from engine.postprocess import Postprocess, WatermarkConfig
from engine.postprocess.graph import watermark_pattern
from engine.runtime import EngineCache, FrameCompiler
from tests.animator.neural_cases import GUIDED, SMALL, guides, inputs
from tests.random_weights import randomise_weights

MARKING = WatermarkConfig(tag=0x1234, key=b"an operator's own")
HEAD = dataclasses.replace(SMALL, widths=(16, 12, 12, 8, 8, 8), transform_sizes=(32,))
"""128x128 pixels, which is large enough for a mark."""
LAYOUTS = {
    "tiny": dataclasses.replace(SMALL, widths=SMALL.widths[:4], transform_sizes=(32,)),
    "head": HEAD,
    "guided": GUIDED,
    "guided_lite": FaceAnimatorConfig.guided_lite(),
    "paper": FaceAnimatorConfig.paper(),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Frames:
    """Inputs of frames in float32, and eager's images of them, bare and finished.

    Attributes:
        given: without ``finished_B``.
        bare, finished: uint8 (rows, size, size, 3); nothing is finished where images are too small for a mark.
        stepped: as ``bare``, by the step of a CPU, which of a guided network returns corrections.
    """

    given: FrameInputs
    bare: np.ndarray
    stepped: np.ndarray
    finished: np.ndarray | None

    def run(self, step: FrameStep, dtype: torch.dtype, finished: bool | None, rows: int) -> np.ndarray:
        """The first ``rows`` by another step, in its type, on the CPU."""
        given = self.given
        flags = None if finished is None else torch.full((rows,), float(finished), dtype=dtype)
        with torch.inference_mode():
            inputs = FrameInputs(
                given.identity_code_BS[:rows].to(dtype),
                given.window_BTD[:rows].to(dtype),
                given.intensity_B[:rows].to(dtype),
                tuple(maps[:rows].to(dtype) for maps in given.features),
                flags,
            )
            return _images(step(inputs), given)


def drawn(config: FaceAnimatorConfig) -> FaceAnimatorNetwork:
    """A network that may be taken over; the same weights each time."""
    network = FaceAnimatorNetwork(config)
    randomise_weights(network)
    return network


def compiler(config: FaceAnimatorConfig, cache: EngineCache, **settings: object) -> FrameCompiler:
    return FrameCompiler(drawn(config), "drawn 0", cache=cache, **settings)  # type: ignore[arg-type]


@functools.cache
def frames(layout: str, rows: int = 1) -> Frames:
    config = LAYOUTS[layout]
    network = drawn(config).freeze()
    rgb, window = inputs(config, rows=rows)
    with torch.inference_mode():
        code, features = network.encode(rgb)
        features = (*features, *guides(config, rows))
        given = FrameInputs(code, window / 4, torch.linspace(1, 0.5, rows), features)
        bare = to_bytes(network.animate(code, features, given.window_BTD, given.intensity_B)).numpy()
        stepped = _images(eager_step(network)(given), given)
    assert bare.std() > 5
    size = config.image_size
    finish = Postprocess(size, size, MARKING) if size >= 112 else None
    return Frames(given, bare, stepped, None if finish is None else np.stack([finish.apply(rgb) for rgb in bare]))


def _images(made: Tensor, given: FrameInputs) -> np.ndarray:
    """Images of a step, whose corrections are applied to the guides' own."""
    if made.dtype == torch.uint8:
        return made.numpy()
    drawn = to_bytes(given.features[-1][: len(made), :3].float()).numpy()
    return np.stack([corrected_frame(rgb, correction.numpy()) for rgb, correction in zip(drawn, made, strict=True)])


def engine_twin(network: bytes) -> FrameStep:
    """The network of an engine, by ONNX Runtime on the CPU."""
    onnxruntime = importlib.import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    pattern_SP = watermark_pattern(MARKING)

    def step(inputs: FrameInputs) -> Tensor:
        given = zip(session.get_inputs(), inputs.flat(pattern_SP), strict=True)
        named = {tensor.name: value.numpy() for tensor, value in given}
        return torch.from_numpy(session.run(None, named)[0])

    return step
