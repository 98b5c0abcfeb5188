"""The signed note beside a video: what made it, of what, and that not a byte has changed since.

    video.mp4        the video, labelled and marked
    video.mp4.json   this note: digests, tag, public key, Ed25519 signature (RFC 8032)

The signature covers every other field, as JSON with sorted keys and no spaces.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from engine.errors import ManifestUnreadable, OutputUnwritable
from engine.files import file_sha256, replacing

_FORMAT = "gohd-live manifest 1"
_MAX_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class ManifestReading:
    """What a manifest says, checked.

    Attributes:
        signed: the signature fits the fields and the public key in it.
        unchanged: the video's digest is the one that was signed.
        signer: first 16 hex digits of the SHA-256 of the public key.
        made: what the maker wrote down.
    """

    signed: bool
    unchanged: bool
    signer: str
    made: Mapping[str, Any]


def manifest_path(video: Path) -> Path:
    """Where the manifest of a video lies."""
    return video.with_name(video.name + ".json")


def write_manifest(video: Path, made: Mapping[str, Any], key: Ed25519PrivateKey) -> Path:
    """Sign ``video`` as it is now, together with ``made`` (JSON values), and return the manifest's path.

    Raises:
        OSError: the video cannot be read or the manifest cannot be written.
        OutputUnwritable: a file of its name is there that is no manifest, and is left alone.
    """
    path = manifest_path(video)
    if has_manifest(video) and not _is_manifest(path):
        raise OutputUnwritable(f"'{path}' is there and is no manifest; move it away")
    public = key.public_key().public_bytes_raw()
    fields = {
        "format": _FORMAT,
        "film_sha256": file_sha256(video),
        "made": dict(made),
        "public_key": public.hex(),
    }
    signed = fields | {"signature": key.sign(_canonical(fields)).hex()}
    with replacing(path) as partial:
        partial.write_text(json.dumps(signed, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path


def has_manifest(video: Path) -> bool:
    """Whether a file lies where the manifest of a video would."""
    try:
        return manifest_path(video).is_file()
    except OSError:  # the video's own name leaves no room for a longer one
        return False


def read_manifest(video: Path) -> ManifestReading:
    """Check the manifest beside ``video``.

    Raises:
        ManifestUnreadable: it is no manifest of this program.
        OSError: a file cannot be read.
    """
    path = manifest_path(video)
    if path.stat().st_size > _MAX_BYTES:
        raise ManifestUnreadable(f"'{path}' is too large for a manifest")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or fields.get("format") != _FORMAT:
            raise ManifestUnreadable(f"'{path}' is not a manifest of this program")
        signature = bytes.fromhex(fields.pop("signature"))
        public = bytes.fromhex(fields["public_key"])
        made, digest = dict(fields["made"]), str(fields["film_sha256"])
        verifier = Ed25519PublicKey.from_public_bytes(public)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestUnreadable(f"'{path}' is damaged: {error}") from error
    try:
        verifier.verify(signature, _canonical(fields))
        signed = True
    except InvalidSignature:
        signed = False
    signer = hashlib.sha256(public).hexdigest()[:16]
    return ManifestReading(signed, digest == file_sha256(video), signer, made)


def _is_manifest(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_MAX_BYTES)
    try:
        fields = json.loads(start)
    except (ValueError, RecursionError):
        return False
    return isinstance(fields, dict) and fields.get("format") == _FORMAT


def _canonical(fields: Mapping[str, Any]) -> bytes:
    return json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
