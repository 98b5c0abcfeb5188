"""Built networks on disk: what is kept, found, refused and cleared."""

import dataclasses
import multiprocessing
from pathlib import Path

import pytest

from engine.runtime import EngineCache, EngineKey

KEY = EngineKey(
    graph="frame 1",
    weights="ab" * 32,
    rows=1,
    precision="fp16",
    package="tensorrt-rtx",
    package_version="1.7.1.116",
    target="sm86",
)


class Builder:
    def __init__(self, payload: bytes = b"engine\n" * 100) -> None:
        self.payload, self.runs = payload, 0

    def __call__(self) -> bytes:
        self.runs += 1
        return self.payload


def _file(cache: EngineCache) -> Path:
    (entry,) = cache.entries()
    return entry.path


def test_what_was_built_is_found_again_and_nothing_else_lies_about(tmp_path: Path) -> None:
    build = Builder()
    for _ in range(2):
        assert EngineCache(tmp_path).get(KEY, build) == build.payload
    assert build.runs == 1
    cache = EngineCache(tmp_path)
    assert cache.holds(KEY)
    assert [entry.key for entry in cache.entries()] == [KEY]
    assert not list(tmp_path.glob(".*.partial"))


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(EngineKey)])
def test_a_change_of_anything_builds_anew(tmp_path: Path, field: str) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)
    other = dataclasses.replace(KEY, **{field: 2 if field == "rows" else "other"})
    assert not cache.holds(other)
    cache.get(other, build)
    assert build.runs == 2
    assert len(cache.entries()) == 2


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-10] ^= 1
    path.write_bytes(content)


def _other_key(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"sm86", b"sm89"))


@pytest.mark.parametrize(
    "damage",
    [
        _cut,
        _flip,
        _other_key,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"engine of another program"),
        lambda path: path.write_bytes(b"GOHDENGINE 1\nnot json\n"),
        lambda path: path.write_bytes(b"GOHDENGINE 1\n" + b"\xff" * 100 + b"\n"),
        lambda path: path.chmod(0o666),
    ],
    ids=["cut", "flipped bit", "other key", "empty", "foreign", "no json", "no utf-8", "writable by all"],
)
def test_what_cannot_be_trusted_is_built_again(tmp_path: Path, damage: object) -> None:
    cache, build = EngineCache(tmp_path), Builder()
    cache.get(KEY, build)
    damage(_file(cache))  # type: ignore[operator]
    assert not cache.holds(KEY)
    assert len(cache.entries()) == 1
    assert cache.get(KEY, build) == build.payload
    assert build.runs == 2
    assert cache.holds(KEY)


def test_a_build_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)

    def broken() -> bytes:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        cache.get(KEY, broken)
    assert cache.entries() == []


def test_a_cache_that_cannot_be_written_does_not_stop_anybody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    build = Builder()
    assert EngineCache(tmp_path / "file" / "engines").get(KEY, build) == build.payload


def _build_slowly(folder: Path, count: object) -> None:
    def build() -> bytes:
        with count.get_lock():  # type: ignore[attr-defined]
            count.value += 1  # type: ignore[attr-defined]
        return b"x" * 1_000_000

    assert len(EngineCache(folder).get(KEY, build)) == 1_000_000


def test_two_processes_build_once(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    context = multiprocessing.get_context("fork")
    count = context.Value("i", 0)
    workers = [context.Process(target=_build_slowly, args=(tmp_path, count)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert count.value == 1


def test_it_lies_in_the_users_cache_folder_and_can_be_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cache = EngineCache()
    assert cache.folder == tmp_path / "gohd-live" / "engines"
    assert cache.entries() == []
    cache.get(KEY, Builder())
    assert cache.clear() > 700
    assert cache.entries() == []
    assert not cache.holds(KEY)
