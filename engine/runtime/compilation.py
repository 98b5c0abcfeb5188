"""From a network to a built one: export, build, cache."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from engine.animator.face_animator import FaceAnimatorNetwork
from engine.errors import CommandInvalid
from engine.runtime.engine_cache import EngineCache, EngineKey
from engine.runtime.graphs import Graph, animator_graph
from engine.runtime.onnx_export import export_onnx
from engine.runtime.onnx_step import onnx_version
from engine.runtime.tensorrt_build import build_from_onnx, build_from_torch
from engine.runtime.tensorrt_package import Package, choose_package

__all__ = ["PRECISIONS", "CompiledFrame", "FrameCompiler"]

PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}
_REVISION = "frame 1"
"""Of how the step is exported; a new one leaves all built engines behind."""


@dataclasses.dataclass(frozen=True, slots=True)
class CompiledFrame:
    """A built per-frame step.

    Attributes:
        key: what it depends on.
        payload: the engine, or the ONNX network.
        was_cached: nothing had to be built.
    """

    key: EngineKey
    payload: bytes
    was_cached: bool


class FrameCompiler:
    """Builds the per-frame step of one set of weights for any number of targets.

    The network is exported once for all of them, when the first engine is built.
    """

    def __init__(
        self,
        network: FaceAnimatorNetwork,
        weights: str,
        *,
        rows: int = 1,
        precision: str = "fp16",
        cache: EngineCache | None = None,
    ) -> None:
        """Take ``network`` as it is: a copy is frozen and narrowed.

        Args:
            weights: checksum of what the network was loaded from.
            rows: sessions in one pass; engines have fixed shapes.
            precision: "fp16" or "fp32".

        Raises:
            CommandInvalid: there is no such precision or number of rows.
        """
        if precision not in PRECISIONS:
            raise CommandInvalid(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if not 1 <= rows <= 64:
            raise CommandInvalid(f"an engine takes 1 to 64 rows, not {rows}")
        self._network = network
        self._rows, self._precision = rows, precision
        layout = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
        self._weights = hashlib.sha256(f"{weights} {layout}".encode()).hexdigest()
        self.cache = cache or EngineCache()

    def with_rows(self, rows: int) -> FrameCompiler:
        """The same for batches of another size."""
        other = copy.copy(self)
        other._rows = rows
        return other

    def tensorrt(self, target: str, via: str = "auto") -> tuple[Package, CompiledFrame]:
        """The engine for ``target`` ("sm86"), and the package that runs it.

        Raises:
            CommandInvalid, MissingDependency, BackendUnavailable: see `choose_package` and `build_from_onnx`.
        """
        package = choose_package(via, target)
        key = self._tensorrt_key(package, target)

        def build() -> bytes:
            if package.via == "torch-tensorrt":
                return build_from_torch(self._graph())
            return build_from_onnx(package, self.onnx(dynamic_rows=False).payload, target)

        return package, self._cached(key, build)

    def onnx(self, *, dynamic_rows: bool = True) -> CompiledFrame:
        """The network as ONNX, from which engines are built and which ONNX Runtime runs.

        Raises:
            MissingDependency: the ``onnx`` extra is not installed.
        """
        key = self._onnx_key(dynamic_rows)

        def build() -> bytes:
            with tempfile.TemporaryDirectory(prefix="gohd-onnx-") as folder:
                path = Path(folder) / "frame.onnx"
                export_onnx(self._graph(), path, dynamic_batch=dynamic_rows)
                return path.read_bytes()

        return self._cached(key, build)

    def has_tensorrt(self, target: str) -> bool:
        """Whether `tensorrt` has nothing to build; raises as it does."""
        return self.cache.holds(self._tensorrt_key(choose_package("auto", target), target))

    def has_onnx(self) -> bool:
        """Whether `onnx` has nothing to build; raises as it does."""
        return self.cache.holds(self._onnx_key(dynamic_rows=True))

    def _graph(self) -> Graph:
        network = copy.deepcopy(self._network).freeze().to("cpu", PRECISIONS[self._precision])
        graph = animator_graph(network, as_bytes=True)
        inputs = {
            name: tensor.repeat(self._rows, *[1] * (tensor.ndim - 1)) for name, tensor in graph.inputs.items()
        }
        return dataclasses.replace(graph, inputs=inputs)

    def _tensorrt_key(self, package: Package, target: str) -> EngineKey:
        return self._key(package.via, package.version, target, self._rows)

    def _onnx_key(self, dynamic_rows: bool) -> EngineKey:
        version = f"onnxruntime {onnx_version()}, torch {torch.__version__}"
        return self._key("onnx", version, "any", 0 if dynamic_rows else self._rows)

    def _key(self, package: str, version: str, target: str, rows: int) -> EngineKey:
        return EngineKey(
            graph=_REVISION,
            weights=self._weights,
            rows=rows,
            precision=self._precision,
            package=package,
            package_version=version,
            target=target,
        )

    def _cached(self, key: EngineKey, build: Callable[[], bytes]) -> CompiledFrame:
        was_built = False

        def noted() -> bytes:
            nonlocal was_built
            was_built = True
            return build()

        payload = self.cache.get(key, noted)
        return CompiledFrame(key=key, payload=payload, was_cached=not was_built)
