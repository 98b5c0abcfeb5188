"""Errors of the kernels; they know nothing of the engine."""


class ImplementationUnavailable(RuntimeError):
    """The asked implementation cannot run here; the message says how to get it."""
