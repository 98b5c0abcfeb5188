"""A served fake engine for every test of the server."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, ServeFactory, start_server


@pytest.fixture
async def serve_fake() -> AsyncIterator[ServeFactory]:
    """``await serve_fake(engine=..., **config)`` starts a server on a free port."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(engine: FakeEngine | None = None, **config: Any) -> Served:
            return await start_server(stack, engine, **config)

        yield start


@pytest.fixture
async def served(serve_fake: ServeFactory) -> Served:
    return await serve_fake()
