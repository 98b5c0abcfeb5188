"""Tasks: what a batch is, what is minimised, what is evaluated."""

from train.tasks.protocol import Draw, Movable, Pictured, Task, Update

__all__ = ["Draw", "Movable", "Pictured", "Task", "Update"]
