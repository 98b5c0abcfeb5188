"""Offers are checked here before aiortc acts on them.

aiortc's parser raises at least seven kinds of exception on malformed text, and what it lets through may leave
a connection half made. So an offer is parsed and checked here first; only one that can work reaches a peer
connection.
"""

import ipaddress
import re
from dataclasses import dataclass

from aiortc import RTCSessionDescription
from aiortc.sdp import MediaDescription, SessionDescription

from server.live.messages import Refusal

_MAX_LINES = 1000
_MAX_FORMATS = 250
_MAX_SECTIONS = 6
_MAX_CANDIDATES = 40
_FRAGMENT_LINE = re.compile(r"[a-z]=")
_FINGERPRINTS = {"sha-256", "sha-384", "sha-512"}


def check_offer(sdp: str, *, needs_audio: bool = True) -> RTCSessionDescription:
    """A description that is safe to apply: candidates by name (mDNS) are left out, the rest is as it came.

    The server needs no candidates by name: the browser's own checks tell its address. Whoever only watches may do
    without audio.

    Raises:
        Refusal: ``bad_sdp``.
    """
    lines = [line for line in sdp.splitlines() if line]
    if len(lines) > _MAX_LINES or sum(line.startswith("a=rtpmap") for line in lines) > _MAX_FORMATS:
        raise _bad("it has too many lines")
    if sum(line.startswith("m=") for line in lines) > _MAX_SECTIONS:
        raise _bad(f"it has more than {_MAX_SECTIONS} media sections")
    kept = [line for line in lines if not line.startswith("a=candidate:") or _has_address(line)]
    if sum(line.startswith("a=candidate:") for line in kept) > _MAX_CANDIDATES:
        raise _bad(f"it has more than {_MAX_CANDIDATES} candidates")
    text = "\r\n".join(kept) + "\r\n"
    try:
        description = SessionDescription.parse(text)
        text.encode()
    except Exception as error:  # aiortc's parser raises whatever its parts raise, AssertionError included
        raise _bad("it cannot be read") from error
    _check_media(description.media, needs_audio)
    mids = {m.rtp.muxId for m in description.media}
    if any(group.semantic == "BUNDLE" and not mids.issuperset(group.items) for group in description.group):
        raise _bad("it bundles media sections that are not there")
    return RTCSessionDescription(sdp=text, type="offer")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Trickled candidates (RFC 8840): ``candidates`` are pairs of a media section's name and ``candidate:...``."""

    ufrag: str | None
    candidates: tuple[tuple[str | None, str], ...]


def check_candidates(text: str) -> Fragment:
    """Read an SDP fragment; candidates without an IP address are left out, and so is an empty one, which ends them.

    Raises:
        Refusal: ``bad_candidate``.
    """
    ufrag, mid, found = None, None, []
    lines = text.splitlines()
    if len(lines) > _MAX_LINES:
        raise Refusal("bad_candidate", "The fragment has too many lines.")
    for line in lines:
        name, _, value = line.partition(":")
        if line and not _FRAGMENT_LINE.match(line):
            raise Refusal("bad_candidate", "The fragment is no SDP.")
        if name == "a=ice-ufrag":
            ufrag = value.strip()
        elif name == "a=mid":
            mid = value.strip()
        elif name == "a=candidate" and value.strip():
            if len(value.split()) < 8:
                raise Refusal("bad_candidate", "A candidate is cut short.")
            if _has_address(line):
                found.append((mid, line.removeprefix("a=")))
    if len(found) > _MAX_CANDIDATES:
        raise Refusal("bad_candidate", f"The fragment has more than {_MAX_CANDIDATES} candidates.")
    return Fragment(ufrag, tuple(found))


def _check_media(sections: list[MediaDescription], needs_audio: bool) -> None:
    if not any(m.kind == "video" and m.direction in (None, "recvonly", "sendrecv") for m in sections):
        raise _bad("it does not ask for video")
    if needs_audio and not any(m.kind == "audio" for m in sections):
        raise _bad("it has no audio")
    mids = [m.rtp.muxId for m in sections]
    if len(set(mids)) != len(mids) or not all(mids):
        raise _bad("its media sections need different names (a=mid)")
    for m in sections:
        if m.kind not in ("audio", "video", "application"):
            raise _bad("only audio, video and data are served")
        if m.ice is None or not m.ice.usernameFragment or not m.ice.password:
            raise _bad("it has no ICE credentials")
        if m.dtls is None or not any(f.algorithm.lower() in _FINGERPRINTS for f in m.dtls.fingerprints):
            raise _bad("it has no DTLS fingerprint")
        if m.kind == "application" and not m.sctp_port:
            raise _bad("its data section has no SCTP port")


def _has_address(candidate_line: str) -> bool:
    parts = candidate_line.split()
    try:
        ipaddress.ip_address(parts[4])
    except (IndexError, ValueError):
        return False
    return True


def _bad(reason: str) -> Refusal:
    return Refusal("bad_sdp", f"The session description cannot be used: {reason}.")
