"""Every Triton kernel, as its wrapper launches it, is compiled to machine code for a card that is not here.

The interpreter knows no types and no limits of the hardware; the compiler, which comes with Triton, does.
"""

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.kernels.kernel_cases import kernel_cases

pytest.importorskip("triton", reason="Triton is not installed: pip install triton")
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.jit import JITFunction

_SM86 = GPUTarget("cuda", 86, 32)
_POINTERS = {
    torch.uint8: "*u8",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float32: "*fp32",
    torch.float64: "*fp64",
}


def _launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, dict[str, Any], dict[str, Any]]]:
    """Kernel, arguments by name and options of every launch that the cases make; nothing is run."""
    made: list[tuple[Any, dict[str, Any], dict[str, Any]]] = []

    def note(kernel: Any, *given: Any, grid: Any, warmup: bool, **named: Any) -> None:
        arguments = dict(zip(kernel.arg_names, given, strict=False))
        arguments |= {name: named.pop(name) for name in list(named) if name in kernel.arg_names}
        made.append((kernel, arguments, named))

    for operation in {case.operation for case in kernel_cases()} - {"decoder"}:
        importlib.import_module(f"kernels.{operation}.triton")  # to be compiled: the interpreter is off
    with monkeypatch.context() as patch:
        patch.setattr(JITFunction, "run", note)
        patch.setenv("TRITON_INTERPRET", "1")  # lets the wrappers take tensors of the CPU
        for case in kernel_cases():
            case.run("triton")
    return iter(made)


def _source(kernel: Any, arguments: dict[str, Any]) -> ASTSource:
    fixed = {parameter.name: arguments[parameter.name] for parameter in kernel.params if parameter.is_constexpr}
    # As at a launch: an integer that is one is known to the compiler, which is what lets it join reads.
    fixed |= {name: 1 for name, value in arguments.items() if type(value) is int and value == 1}
    signature = {name: "constexpr" if name in fixed else _kind(value) for name, value in arguments.items()}
    return ASTSource(kernel, signature, constexprs=fixed)


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return _POINTERS[value.dtype]
    return "fp32" if isinstance(value, float) else "i32"


def test_kernels_compile_for_a_card_that_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {}
    for kernel, arguments, options in _launches(monkeypatch):
        # Of each kernel one launch on half types, where it has them.
        halves = torch.float16 in {getattr(value, "dtype", None) for value in arguments.values()}
        if halves or kernel.__name__ not in chosen:
            chosen[kernel.__name__] = (kernel, arguments, options)
    assert len(chosen) == 7
    for kernel, arguments, options in chosen.values():
        options = {"enable_fp_fusion": True} | options
        built = triton.compile(_source(kernel, arguments), target=_SM86, options=options)
        assert built.asm["cubin"], kernel.__name__
