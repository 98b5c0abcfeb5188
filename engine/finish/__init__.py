"""The last stage: every frame that leaves the engine passes through here."""

from engine.finish.label import VisibleLabel

__all__ = ["VisibleLabel"]
