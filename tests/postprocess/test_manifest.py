"""The signed note beside a video: good as written, and every change shows."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from engine.errors import ManifestUnreadable
from engine.postprocess.manifest import manifest_path, read_manifest, write_manifest


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(b"not really a film")
    write_manifest(path, {"software": "test", "tag": 5}, Ed25519PrivateKey.generate())
    return path


def test_good_manifest(video: Path) -> None:
    reading = read_manifest(video)
    assert reading.signed
    assert reading.unchanged
    assert reading.made == {"software": "test", "tag": 5}


def test_changed_video_shows(video: Path) -> None:
    video.write_bytes(b"another film")
    reading = read_manifest(video)
    assert reading.signed
    assert not reading.unchanged


def test_changed_field_shows(video: Path) -> None:
    path = manifest_path(video)
    fields = json.loads(path.read_text())
    fields["made"]["tag"] = 6
    path.write_text(json.dumps(fields))
    assert not read_manifest(video).signed


def test_another_signer_has_another_name(video: Path) -> None:
    first = read_manifest(video).signer
    write_manifest(video, {}, Ed25519PrivateKey.generate())
    assert read_manifest(video).signer != first


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "gohd-live manifest 1"}', "\x00\xff", "[" * 100_000])
def test_damaged_manifest_is_named(video: Path, text: str) -> None:
    manifest_path(video).write_text(text)
    with pytest.raises(ManifestUnreadable):
        read_manifest(video)


def test_huge_manifest_is_refused(video: Path) -> None:
    manifest_path(video).write_bytes(b" " * (2 << 20))
    with pytest.raises(ManifestUnreadable, match="too large"):
        read_manifest(video)
