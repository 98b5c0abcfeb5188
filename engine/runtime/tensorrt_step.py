"""The per-frame step as an engine of either TensorRT package."""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.errors import BackendUnavailable
from engine.runtime.tensorrt_build import tensorrt_logger
from engine.runtime.tensorrt_package import Package


class TensorRTEngine:
    """A deserialised engine of fixed shapes as a function of CUDA tensors, for one thread.

    It runs on torch's current stream and allocates nothing, so a CUDA graph can capture it.

    Attributes:
        inputs, outputs: names of the tensors, in order.
    """

    def __init__(self, package: Package, plan: bytes) -> None:
        """Deserialise ``plan`` on the present device.

        Raises:
            BackendUnavailable: no CUDA device, or the engine is of another device or version.
        """
        if not torch.cuda.is_available():
            raise BackendUnavailable("a TensorRT engine runs on a CUDA device, and torch can use none here")
        trt = package.load()
        self._runtime = trt.Runtime(tensorrt_logger(trt))
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise BackendUnavailable(
                f"{package.via} {package.version} refuses this engine on "
                f"{torch.cuda.get_device_name()}; make it again: gohd weights compile"
            )
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise BackendUnavailable("the engine has no room on this device; see the log of TensorRT")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        given = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = tuple(given)
        self.outputs = tuple(name for name in names if name not in given)
        types = {
            trt.DataType.HALF: torch.float16,
            trt.DataType.FLOAT: torch.float32,
            trt.DataType.UINT8: torch.uint8,
        }
        self._dtypes = {name: types[self._engine.get_tensor_dtype(name)] for name in names}
        self._shapes = {name: tuple(self._engine.get_tensor_shape(name)) for name in names}
        self._results = tuple(
            torch.empty(self._shapes[name], dtype=self._dtypes[name], device="cuda") for name in self.outputs
        )
        for name, tensor in zip(self.outputs, self._results, strict=True):
            self._context.set_tensor_address(name, tensor.data_ptr())

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs, in buffers that the next call overwrites.

        Raises:
            ValueError: an input has another shape, type or device than the engine was built for.
            BackendUnavailable: the device refuses to run it.
        """
        self._bind(inputs)
        if not self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream):
            raise BackendUnavailable("the device refused to run the engine; see the log of TensorRT")
        return self._results

    def _bind(self, inputs: Sequence[Tensor]) -> None:
        if len(inputs) != len(self.inputs):
            raise ValueError(f"the engine takes {len(self.inputs)} inputs, not {len(inputs)}")
        for name, tensor in zip(self.inputs, inputs, strict=True):
            if tuple(tensor.shape) != self._shapes[name] or tensor.dtype != self._dtypes[name]:
                raise ValueError(
                    f"the engine takes {name} as {self._dtypes[name]} {self._shapes[name]}, "
                    f"not {tensor.dtype} {tuple(tensor.shape)}"
                )
            if not tensor.is_cuda or not tensor.is_contiguous():
                raise ValueError(f"{name} must lie contiguous on the CUDA device")
            self._context.set_tensor_address(name, tensor.data_ptr())
