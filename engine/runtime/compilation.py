"""From a network to a built one: export, build, cache.

on a graphics card   finished frames, fixed rows      `exported` -> `tensorrt`
on a CPU             bare frames, any number of rows  `onnx`; `engine.postprocess.Postprocess` does the rest
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from engine.animator.network.face_animator import FaceAnimatorNetwork
from engine.errors import CommandInvalid
from engine.runtime.engine_cache import EngineCache, EngineKey
from engine.runtime.graphs import LAYOUTS, Graph, finished_graph, step_graph
from engine.runtime.onnx_export import export_onnx
from engine.runtime.onnx_step import onnx_version
from engine.runtime.tensorrt_build import build_from_onnx, build_from_torch
from engine.runtime.tensorrt_package import Package, choose_package

PRECISIONS = {"fp16": torch.float16, "fp32": torch.float32}
_REVISION = 3
"""Of how the step is exported; a new one leaves all built engines behind."""


def bundled_name(weights: str) -> str:
    """File in a weights folder that is `FrameCompiler.onnx` of an animator with this checksum.

    It is optional, and belongs to those weights alone: with others in their place nothing asks for it any more.
    """
    return f"animator-{weights[:12]}.onnx"


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
        layout: str = "rgb",
        cache: EngineCache | None = None,
    ) -> None:
        """Take ``network`` as it is: a copy is frozen and narrowed.

        Args:
            weights: checksum of what the network was loaded from.
            rows: sessions in one pass; engines have fixed shapes.
            precision: "fp16" or "fp32".
            layout: of what an engine hands out, "rgb" or "i420", see `finished_graph`.

        Raises:
            CommandInvalid: there is no such precision, layout or number of rows.
        """
        if layout not in LAYOUTS:
            raise CommandInvalid(f"a frame leaves as one of {', '.join(LAYOUTS)}, not {layout!r}")
        if precision not in PRECISIONS:
            raise CommandInvalid(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
        if not 1 <= rows <= 64:
            raise CommandInvalid(f"an engine takes 1 to 64 rows, not {rows}")
        self._network = network
        self._rows, self._precision, self._layout = rows, precision, layout
        config = json.dumps(dataclasses.asdict(network.config), sort_keys=True)
        self._weights = hashlib.sha256(f"{weights} {config}".encode()).hexdigest()
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
                return build_from_torch(self._finished(), self._rows)
            return build_from_onnx(package, self.exported().payload, target)

        return package, self._cached(key, build)

    def exported(self) -> CompiledFrame:
        """The network from which engines are built, as ONNX.

        Raises:
            MissingDependency: the ``onnx`` extra is not installed.
        """
        key = self._key(f"finished {self._layout}", "onnx", _exporters(), "any", self._rows)
        return self._cached(key, lambda: _onnx_bytes(self._finished(), rows=self._rows))

    def onnx(self) -> CompiledFrame:
        """The network that ONNX Runtime runs on the CPU, for any number of rows.

        Raises:
            MissingDependency: the ``onnx`` extra is not installed.
        """
        return self._cached(self._onnx_key(), lambda: _onnx_bytes(step_graph(self._narrowed())))

    def has_tensorrt(self, target: str) -> bool:
        """Whether `tensorrt` has nothing to build; raises as it does."""
        return self.cache.holds(self._tensorrt_key(choose_package("auto", target), target))

    def has_onnx(self) -> bool:
        """Whether `onnx` has nothing to build; raises as it does."""
        return self.cache.holds(self._onnx_key())

    def _narrowed(self) -> FaceAnimatorNetwork:
        return copy.deepcopy(self._network).freeze().to("cpu", PRECISIONS[self._precision])

    def _finished(self) -> Graph:
        return finished_graph(self._narrowed(), self._layout)

    def _tensorrt_key(self, package: Package, target: str) -> EngineKey:
        return self._key(f"finished {self._layout}", package.via, package.version, target, self._rows)

    def _onnx_key(self) -> EngineKey:
        return self._key("frame", "onnx", _exporters(), "any", 0)

    def _key(self, graph: str, package: str, version: str, target: str, rows: int) -> EngineKey:
        return EngineKey(
            graph=f"{graph} {_REVISION}",
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


def _exporters() -> str:
    return f"{onnx_version()}, torch {torch.__version__}"


def _onnx_bytes(graph: Graph, rows: int | None = None) -> bytes:
    """``graph`` for a number of rows, None for any."""
    with tempfile.TemporaryDirectory(prefix="gohd-onnx-") as folder:
        path = Path(folder) / "frame.onnx"
        export_onnx(graph, path, dynamic_batch=rows is None, rows=rows or 1)
        return path.read_bytes()
