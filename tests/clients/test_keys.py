"""The key that signs videos: made once, by whoever comes first."""

import multiprocessing
import multiprocessing.synchronize
from pathlib import Path

import pytest

from clients.cli.keys import signing_key
from engine.errors import CommandInvalid


def _public(
    folder: Path, barrier: "multiprocessing.synchronize.Barrier", found: "multiprocessing.Queue[bytes]"
) -> None:
    barrier.wait()
    found.put(signing_key(folder).public_key().public_bytes_raw())


def test_processes_that_make_it_at_once_get_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(5):
        folder, barrier, found = tmp_path / str(round_), context.Barrier(4), context.Queue()
        makers = [context.Process(target=_public, args=(folder, barrier, found)) for _ in range(4)]
        for maker in makers:
            maker.start()
        keys = {found.get(timeout=30) for _ in makers}
        for maker in makers:
            maker.join()
        assert len(keys) == 1
        assert [path.name for path in folder.iterdir()] == ["signing_key"]
        assert (folder / "signing_key").stat().st_mode & 0o777 == 0o600


def test_another_file_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "signing_key").write_text("no key")
    with pytest.raises(CommandInvalid, match="move it away"):
        signing_key(tmp_path)
