"""Tasks: what a batch is, what is minimised, what is evaluated."""

from train.tasks.protocol import BatchRng, HasImages, Movable, Task, Update

__all__ = ["BatchRng", "HasImages", "Movable", "Task", "Update"]
