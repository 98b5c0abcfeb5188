"""Many clips over a few processes, so that one video that crashes a decoder costs one clip and not the run."""

import contextlib
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from rich.progress import Progress, track

_TERMINATE_S = 5.0

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """In place of a result: the process that worked on the task ended with this code (negative: a signal)."""

    exit_code: int | None


def default_workers() -> int:
    """Half of the processors that this process may use, one at least."""
    return max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1


def run_tasks(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, workers: int, description: str
) -> Iterator[tuple[int, Result | WorkerDied]]:
    """Yield (index of the task, result) as results come, with a progress bar on a terminal.

    Args:
        function: importable by name; tasks and results can be pickled.
        workers: processes; 0 works in this one, in order, where a crash is the crash of all.

    Raises:
        Whatever ``function`` raises; the other processes are ended then, as they are when the caller stops iterating.
    """
    if len(tasks) == 0:
        return
    if workers == 0:
        for index, task in enumerate(track(tasks, description=description)):
            yield index, function(task)
        return
    pool = _Pool(function, min(workers, len(tasks)))
    try:
        with Progress(*Progress.get_default_columns()) as progress:
            shown = progress.add_task(description, total=len(tasks))
            for index, result in pool.results(tasks):
                progress.advance(shown)
                yield index, result
    finally:
        pool.end()


class _Pool(Generic[Task, Result]):
    def __init__(self, function: Callable[[Task], Result], workers: int) -> None:
        self._function = function
        self._context = multiprocessing.get_context("spawn")
        self._workers = [self._start() for _ in range(workers)]

    def results(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Result | WorkerDied]]:
        waiting = list(range(len(tasks)))[::-1]
        working: dict[Connection, int] = {}
        for _, pipe in self._workers[: len(tasks)]:
            self._send_task(pipe, tasks, waiting, working)
        while working:
            for ready in wait(list(working)):
                assert isinstance(ready, Connection)
                index = working.pop(ready)
                pipe = ready
                try:
                    result, error = ready.recv()
                except (EOFError, OSError):
                    result, error = WorkerDied(self._replace_dead(ready)), None
                    pipe = self._workers[-1][1]
                if error is not None:
                    raise error
                if waiting:
                    self._send_task(pipe, tasks, waiting, working)
                yield index, result

    def end(self) -> None:
        for process, pipe in self._workers:
            process.terminate()
            pipe.close()
        for process, _ in self._workers:
            process.join(_TERMINATE_S)
            if process.is_alive():
                process.kill()
                process.join()

    def _send_task(
        self, pipe: Connection, tasks: Sequence[Task], waiting: list[int], working: dict[Connection, int]
    ) -> None:
        index = waiting.pop()
        working[pipe] = index
        # A worker that is dead by now is noticed when its result is waited for.
        with contextlib.suppress(OSError):
            pipe.send(tasks[index])

    def _start(self) -> tuple[Any, Connection]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._function), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def _replace_dead(self, pipe: Connection) -> int | None:
        """Replace the worker behind a broken pipe; its successor is the last of the list."""
        place = next(i for i, (_, own) in enumerate(self._workers) if own is pipe)
        process, _ = self._workers.pop(place)
        pipe.close()
        process.join()
        self._workers.append(self._start())
        exit_code: int | None = process.exitcode
        return exit_code


def _work(pipe: Connection, function: Callable[[Any], Any]) -> None:
    """The loop of a worker process: tasks in, (result, None) or (None, error) out, until the pipe closes."""
    # Ctrl-C goes to the whole group; the parent decides when its workers end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Ended as by an error, so that temporary folders and programs that a task has started go with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    _one_thread()
    with contextlib.suppress(EOFError, OSError):
        while True:
            task = pipe.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = function(task), None
            except Exception as error:
                answer = None, error
            pipe.send(answer)


def _one_thread() -> None:
    """Libraries that came with the function compute in one thread: the processes are the parallelism."""
    for name in ("torch", "cv2"):
        if (module := sys.modules.get(name)) is not None:
            (module.set_num_threads if name == "torch" else module.setNumThreads)(1)
