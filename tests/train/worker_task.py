"""A task for worker processes that can be told to crash; imports little, because each process imports it."""

import os

from engine.errors import InputError


def square(number: int) -> int:
    """The square; 3 ends the process, 99 is refused."""
    if number == 3:
        os._exit(7)
    if number == 99:
        raise InputError("this one")
    return number**2
