"""Tasks: what a batch is, what is minimised, what is evaluated."""

from train.tasks.protocol import HasImages, Movable, Task, Update

__all__ = ["HasImages", "Movable", "Task", "Update"]
