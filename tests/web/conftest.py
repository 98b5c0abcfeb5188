"""A real headless Chromium with an audio file for a microphone, and a served fake engine."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.chromium import NO_CHROMIUM, find_chromium, open_chromium, write_wav
from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, start_server


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = find_chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    return path


@pytest.fixture(scope="session")
def microphone_wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of tone, half a second of silence, again and again."""
    time_s = np.arange(48_000 * 4) / 48_000
    tone = 0.8 * np.sin(2 * np.pi * 220 * time_s) * (time_s % 1.0 < 0.5)
    return write_wav(tmp_path_factory.mktemp("voice") / "microphone.wav", (32767 * tone).astype(np.int16))


@pytest.fixture(scope="module")
def browser(chromium_path: str, microphone_wav: Path) -> Iterator[Any]:
    with open_chromium(microphone=microphone_wav) as browser:
        yield browser


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

            async def end_tasks() -> None:
                """As `asyncio.run` does: a relay that is gone, for one, is asked in vain to free what it gave."""
                rest = asyncio.all_tasks() - {asyncio.current_task()}
                for task in rest:
                    task.cancel()
                await asyncio.gather(*rest, return_exceptions=True)

            def stop() -> None:
                call(services.aclose())
                call(end_tasks())
                loop.call_soon_threadsafe(loop.stop)
                thread.join(5)
                loop.close()

            stack.callback(stop)
            return call(start_server(services, engine, **config))

        yield start
