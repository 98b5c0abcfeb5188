"""The ``gohd`` command inside the test's own process: a process for each call would spend two seconds on imports."""

import contextlib
import io
import logging
import subprocess
import sys
from pathlib import Path
from unittest import mock

from clients.cli import main

GOHD = (sys.executable, "-c", "from clients.cli import main; main()")
"""The command as a program, for tests whose subject is the process: its signals, its end, its memory."""


def run_gohd(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run the installed entry point with ``arguments``; what it prints and its exit code, as a process would give them.

    The levels of its loggers are put back, so that a later test still sees every record.
    """
    words = ["gohd", *map(str, arguments)]
    printed, told = io.StringIO(), io.StringIO()
    loggers = [logging.getLogger(name) for name in ("engine", "server", "train", "clients")]
    levels = [logger.level for logger in loggers]
    code = 0
    try:
        with (
            mock.patch.object(sys, "argv", words),
            contextlib.redirect_stdout(printed),
            contextlib.redirect_stderr(told),
        ):
            main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
    return subprocess.CompletedProcess(words, code, printed.getvalue(), told.getvalue())
