"""``gohd serve``, or another server, in a process of its own: started, waited for, ended."""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Self

GOHD = "from clients.cli import main; main()"
"""The command ``gohd`` as a program for ``python -c``."""

_ROOT = Path(__file__).resolve().parents[1]
_READY_S = 180.0
_STOP_S = 20.0


class ServerProcess:
    """A server that prints its address, then a line that begins with "ready".

    Args:
        arguments: of the program, as ``"serve", "--port", "0"``.
        program: Python source; by default the command ``gohd``.
        wrap: changes the command line, as to run it in a network namespace.
        stderr: where the process writes its errors; by default where this one does.
    """

    def __init__(
        self,
        *arguments: str,
        program: str = GOHD,
        wrap: Callable[..., Sequence[str]] = lambda *command: command,
        stderr: IO[str] | None = None,
    ) -> None:
        command = wrap(sys.executable, "-u", "-c", program, *arguments)
        self._process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""
        while not (said := self.line(_READY_S)).lower().startswith("ready"):
            self.url = next((word.rstrip("/") for word in said.split() if word.startswith("http")), self.url)

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def line(self, timeout_s: float) -> str:
        """The next line that the process prints. Raises queue.Empty."""
        return self._lines.get(timeout=timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        self._process.send_signal(number)

    def stop(self) -> int:
        """End it as Ctrl-C does, or by force after twenty seconds; its exit code."""
        self.signal(signal.SIGINT)
        try:
            code = self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
