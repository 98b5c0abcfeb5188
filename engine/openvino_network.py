"""Networks in OpenVINO on the CPU; the one place where that package is imported."""

import functools
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray


class OpenVinoNetwork:
    """A network compiled for fixed shapes. Any thread may call it, and several at once."""

    def __init__(
        self, source: Path | bytes, shape: Sequence[int] | None = None, *, precision: str, threads: int
    ) -> None:
        """Read and compile.

        Args:
            source: a file of ONNX or TensorFlow Lite, or the bytes of an ONNX file.
            shape: of the one input, where the file leaves it open; None makes every input's first dimension 1.
            precision: "f32", "bf16" or "f16".

        Raises:
            ImportError: OpenVINO is not installed. RuntimeError: it refuses the network.
        """
        core = _core()
        model = core.read_model(source, b"") if isinstance(source, bytes) else core.read_model(str(source))
        model.reshape(
            list(shape) if shape else {port.any_name: [1, *list(port.partial_shape)[1:]] for port in model.inputs}
        )
        self._compiled = core.compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": precision,
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "PERFORMANCE_HINT": "LATENCY",
                # The server's encoders and other workers share the cores.
                "ENABLE_CPU_PINNING": False,
            },
        )
        self._idle: list[Any] = []

    def __call__(self, *inputs: NDArray[Any]) -> list[NDArray[Any]]:
        """Outputs in the file's order; the caller's own."""
        # A request is one caller's at a time; list operations are atomic.
        request = self._idle.pop() if self._idle else self._compiled.create_infer_request()
        try:
            found = request.infer(list(inputs), share_inputs=True, share_outputs=True)
            return [np.array(found[index]) for index in range(len(found))]
        finally:
            self._idle.append(request)


@functools.cache
def _core() -> Any:
    """The one core of this process, which is never freed.

    Each core's CPU plugin sets a stack for signal handlers (sigaltstack) and frees it in its turn. Where cores end in
    another order than they began, the process is left with a freed one, and ends by SIGSEGV at the next Ctrl-C.
    """
    return import_openvino().Core()


def import_openvino() -> ModuleType:
    """The ``openvino`` package, with its usage reports off.

    On import it reports to Google Analytics through ``openvino_telemetry``, unless that package is missing: so it is
    hidden meanwhile, whatever the user's settings say. Nothing leaves this machine unasked.

    Raises:
        ImportError: it is not installed.
    """
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    reports = sys.modules.get("openvino_telemetry")
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("openvino")
    finally:
        if reports is None:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = reports
