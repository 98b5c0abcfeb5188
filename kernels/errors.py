"""Errors of the kernels; they know nothing of the engine."""

from __future__ import annotations


class ImplementationUnavailable(RuntimeError):
    """The asked implementation cannot run here; the message says how to get it."""
