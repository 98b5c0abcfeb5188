"""The headless Chromium of tests and benchmarks."""

import contextlib
import os
import shutil
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NO_CHROMIUM = "no Chromium: install it (apt-get install chromium), or name one in GOHD_CHROMIUM"

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)


def find_chromium() -> str | None:
    """Path of the browser: the one named in ``GOHD_CHROMIUM``, else the first that is installed."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return os.environ.get("GOHD_CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


@contextlib.contextmanager
def open_chromium(*flags: str, microphone: Path | None = None) -> Iterator[Any]:
    """Playwright's browser until the block ends.

    Args:
        flags: further command-line flags.
        microphone: a WAV file that pages hear as their microphone, without being asked for permission.

    Raises:
        RuntimeError: there is no Chromium.
    """
    from playwright.sync_api import sync_playwright

    path = find_chromium()
    if path is None:
        raise RuntimeError(NO_CHROMIUM)
    hears = [] if microphone is None else [
        "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}",
    ]  # fmt: skip
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, headless=True, args=[*_FLAGS, *hears, *flags])
        yield browser
        browser.close()


def write_wav(path: Path, samples: npt.NDArray[np.int16], rate_hz: int = 48_000) -> Path:
    """A mono WAV file of int16 ``samples`` (n,)."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path
