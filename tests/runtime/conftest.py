"""One cache of built networks for all tests of the runtime: an export takes ten seconds, so each is made once."""

import pytest

from engine.runtime import EngineCache


@pytest.fixture(scope="session")
def engine_cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))
