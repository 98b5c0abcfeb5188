"""A real headless Chromium with an audio file for a microphone, and a served fake engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.fake_engine import FakeEngine
from tests.serving_helper import CHROMIUM_FLAGS, Served, start_server


@pytest.fixture(scope="session")
def chromium_path() -> str:
    named = os.environ.get("GOHD_CHROMIUM")
    path = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("no Chromium: install it (apt-get install chromium), or name one in GOHD_CHROMIUM")
    return path


@pytest.fixture(scope="session")
def microphone_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of tone, half a second of silence, again and again."""
    path = tmp_path_factory.mktemp("voice") / "microphone.wav"
    time_s = np.arange(48_000 * 4) / 48_000
    tone = 0.8 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 1.0 < 0.5)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(48_000)
        out.writeframes((32767 * tone).astype("<i2").tobytes())
    return path


@pytest.fixture(scope="module")
def browser(chromium_path: str, microphone_wav: Path) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    flags = [*CHROMIUM_FLAGS, f"--use-file-for-fake-audio-capture={microphone_wav}"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, headless=True, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def serve_in_thread() -> Iterator[Callable[..., Served]]:
    """``serve_in_thread(engine=..., **config)``: a server on an event loop in a thread of its own."""
    with contextlib.ExitStack() as stack:

        def start(engine: FakeEngine | None = None, **config: Any) -> Served:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
            thread.start()
            services = contextlib.AsyncExitStack()

            def call(work: Any) -> Any:
                return asyncio.run_coroutine_threadsafe(work, loop).result(30)

            def stop() -> None:
                call(services.aclose())
                loop.call_soon_threadsafe(loop.stop)
                thread.join(5)
                loop.close()

            stack.callback(stop)
            return call(start_server(services, engine, **config))

        yield start
