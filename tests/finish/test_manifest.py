"""The signed note beside a film: good as written, and every change shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import ManifestUnreadable
from engine.finish.manifest import manifest_path, read_manifest, write_manifest


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"not really a film")
    write_manifest(path, {"software": "test", "tag": 5}, Ed25519PrivateKey.generate())
    return path


def test_good_manifest(film: Path) -> None:
    reading = read_manifest(film)
    assert reading.signed
    assert reading.unchanged
    assert reading.made == {"software": "test", "tag": 5}


def test_changed_film_shows(film: Path) -> None:
    film.write_bytes(b"another film")
    reading = read_manifest(film)
    assert reading.signed
    assert not reading.unchanged


def test_changed_field_shows(film: Path) -> None:
    path = manifest_path(film)
    fields = json.loads(path.read_text())
    fields["made"]["tag"] = 6
    path.write_text(json.dumps(fields))
    assert not read_manifest(film).signed


def test_another_signer_has_another_name(film: Path) -> None:
    first = read_manifest(film).signer
    write_manifest(film, {}, Ed25519PrivateKey.generate())
    assert read_manifest(film).signer != first


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": "gohd-live manifest 1"}', "\x00\xff", "[" * 100_000]
)
def test_damaged_manifest_is_named(film: Path, text: str) -> None:
    manifest_path(film).write_text(text)
    with pytest.raises(ManifestUnreadable):
        read_manifest(film)


def test_huge_manifest_is_refused(film: Path) -> None:
    manifest_path(film).write_bytes(b" " * (2 << 20))
    with pytest.raises(ManifestUnreadable, match="too large"):
        read_manifest(film)
