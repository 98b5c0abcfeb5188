"""Tasks: what a batch is, what is minimised, what is evaluated."""

from train.tasks.protocol import BatchRng, Movable, Pictured, Task, Update

__all__ = ["BatchRng", "Movable", "Pictured", "Task", "Update"]
