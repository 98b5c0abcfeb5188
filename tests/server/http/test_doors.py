"""Every way in, with every kind of token, origin, host and content type: one table, and a plain rule beside it.

The rule says what must happen; it knows nothing of how the server does it. A door opens for the right host, then the
right origin, then the right token, then the right content type; what is behind it answers in its own way.
"""

import itertools
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest

from server.http.limits import AddressLimits
from tests.serving_helper import Served, ServeFactory

TOKEN = "0123456789abcdef-token"
SECRET = "a secret of more than thirty-two bytes"
SITE = "https://app.example"


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """``inside`` is the answer to who may come in with the right content type (None: it takes any)."""

    method: str
    path: str
    inside: int
    guarded: bool = True
    content_type: str | None = None


DOORS = (
    Door(method="GET", path="/", inside=200, guarded=False),
    Door(method="GET", path="/app.js", inside=200, guarded=False),
    Door(method="GET", path="/demo/portrait", inside=200, guarded=False),
    Door(method="GET", path="/healthz", inside=200, guarded=False),
    Door(method="GET", path="/readyz", inside=200, guarded=False),
    Door(method="GET", path="/nowhere", inside=404, guarded=False),
    Door(method="GET", path="/ice", inside=200),
    Door(method="GET", path="/metrics", inside=200),
    Door(method="GET", path="/ws", inside=400),
    Door(method="POST", path="/offer", inside=400, content_type="application/json"),
    Door(method="POST", path="/portraits", inside=400, content_type="image/jpeg"),
    Door(method="POST", path="/whep", inside=400, content_type="application/sdp"),
    Door(method="POST", path="/whep/nobody", inside=400, content_type="application/sdp"),
    Door(method="PATCH", path="/whep/viewers/nobody", inside=404),
    Door(method="DELETE", path="/whep/viewers/nobody", inside=404),
    Door(method="DELETE", path="/sessions/nobody", inside=404),
    Door(method="PUT", path="/offer", inside=405),
    Door(method="POST", path="/nowhere", inside=404),
)
BODIES = {"application/json": b"{}", "image/jpeg": b"\xff\xd8", "application/sdp": b"nonsense"}
TYPES = (
    "right",
    "application/jsonx",
    "application/x-www-form-urlencoded",
    "text/plain",
    "multipart/form-data",
    None,
)


def _signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    # Made when tests are collected, used when it is their turn.
    claims = {"exp": time.time() + 86_400, "aud": "gohd-live", **claims}
    return jwt.encode({k: v for k, v in claims.items() if v is not None}, secret, algorithm=algorithm)


# Name: the headers, and which locks they open.
KEYS: dict[str, tuple[dict[str, str], frozenset[str]]] = {
    "none": ({}, frozenset()),
    "shared": ({"Authorization": f"Bearer {TOKEN}"}, frozenset({"token"})),
    "shared as subprotocol": ({"Sec-WebSocket-Protocol": f"gohd, bearer.{TOKEN}"}, frozenset({"token"})),
    "shared by basic": ({"Authorization": f"Basic {TOKEN}"}, frozenset()),
    "shared as cookie": ({"Cookie": f"token={TOKEN}"}, frozenset()),
    "no ascii": ({"Authorization": "Bearer é"}, frozenset()),
    "without a scheme": ({"Authorization": TOKEN}, frozenset()),
    "almost shared": ({"Authorization": f"Bearer {TOKEN[:-1]}"}, frozenset()),
    "signed": ({"Authorization": f"Bearer {_signed()}"}, frozenset({"jwt"})),
    "expired": ({"Authorization": f"Bearer {_signed(exp=time.time() - 60)}"}, frozenset()),
    "without end": ({"Authorization": f"Bearer {_signed(exp=None)}"}, frozenset()),
    "for another": ({"Authorization": f"Bearer {_signed(aud='another')}"}, frozenset()),
    "for nobody": ({"Authorization": f"Bearer {_signed(aud=None)}"}, frozenset()),
    "by another": ({"Authorization": f"Bearer {_signed(secret='x' * 40)}"}, frozenset()),
    "unsigned": (
        {"Authorization": f"Bearer {jwt.encode({'exp': 2**40, 'aud': 'gohd-live'}, None, algorithm='none')}"},
        frozenset(),
    ),
}
LOCKS: dict[str, dict[str, Any]] = {
    "open": {},
    "token": {"token": TOKEN},
    "jwt": {"jwt_secret": SECRET},
    "token jwt": {"token": TOKEN, "jwt_secret": SECRET},
}
# PORT stands for the server's. The last says whether it may.
HOSTS = (
    ("127.0.0.1:PORT", True),
    ("localhost:PORT", True),
    ("LOCALHOST:PORT", True),
    ("[::1]:PORT", True),
    ("127.0.0.1", False),
    ("127.0.0.1:1", False),
    ("evil.example:PORT", False),
    ("127.0.0.1.evil.example:PORT", False),
    ("", False),
)
ORIGINS = (
    (None, True),
    ("http://127.0.0.1:PORT", True),
    ("http://localhost:PORT", True),
    (SITE, True),
    ("https://127.0.0.1", False),
    ("http://127.0.0.1:PORT.evil.example", False),
    ("http://evil.example", False),
    ("http://app.example", False),
    (f"{SITE}:444", False),
    (f"{SITE}.evil.example", False),
    ("null", False),
    ("file://", False),
    ("http://127.0.0.1:PORT/", False),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Knock:
    door: Door
    key: str = "none"
    host: tuple[str, bool] = HOSTS[0]
    origin: tuple[str | None, bool] = ORIGINS[0]
    content_type: str | None = "right"


def _knocks(locks: str) -> Iterator[Knock]:
    """All doors with all keys; all hosts with all origins (at one server, no lock changes them); all content types."""
    for door, key in itertools.product(DOORS, KEYS):
        yield Knock(door=door, key=key)
    for door, content_type, key in itertools.product(DOORS, TYPES, ("shared", "signed", "none")):
        yield Knock(door=door, content_type=content_type, key=key)
    if locks == "token jwt":
        for door, host, origin, key in itertools.product(DOORS, HOSTS, ORIGINS, ("shared", "none")):
            yield Knock(door=door, host=host, origin=origin, key=key)


def _expected(knock: Knock, locks: str) -> tuple[int, str | None]:
    """Status, and the code of the error where the rule names one."""
    if not knock.host[1]:
        return 403, "forbidden_host"
    if not knock.origin[1]:
        return 403, "forbidden_origin"
    opens = KEYS[knock.key][1] & set(locks.split())
    if knock.door.guarded and locks != "open" and not opens:
        return 401, "unauthorized"
    if knock.door.content_type is not None and knock.content_type not in ("right", _also(knock.door)):
        return 415, "unsupported_media_type"
    return knock.door.inside, None


def _also(door: Door) -> str:
    """Portraits come as forms, too."""
    return "multipart/form-data" if door.path == "/portraits" else "right"


async def _knock(served: Served, knock: Knock) -> tuple[int, str | None, Any]:
    port = str(served.server.port)
    headers = {**KEYS[knock.key][0], "Host": knock.host[0].replace("PORT", port)}
    if knock.origin[0] is not None:
        headers["Origin"] = knock.origin[0].replace("PORT", port)
    sent = knock.door.content_type if knock.content_type == "right" else knock.content_type
    data = None
    skipped = ["Content-Type"] if sent is None else []
    if knock.door.method in ("POST", "PUT", "PATCH"):
        data = BODIES.get(sent or "", b"x")
    if sent is not None:
        headers["Content-Type"] = sent
    async with served.http.request(
        knock.door.method, served.url + knock.door.path, headers=headers, data=data, skip_auto_headers=skipped
    ) as response:
        body = await response.read()
        code = json.loads(body)["error"]["code"] if response.status >= 400 else None
        return response.status, code, response.headers


@pytest.mark.parametrize("locks", LOCKS)
async def test_doors_open_for_those_who_may(serve_fake: ServeFactory, locks: str) -> None:
    served = await serve_fake(request_burst=10**6, allowed_origins=(SITE,), **LOCKS[locks])
    unlimited = AddressLimits(per_second=1e6, burst=10**6)
    served.server._security._guesses = served.server._portrait_rate = unlimited
    await served.server.wait_loaded()
    wrong = []
    for knock in _knocks(locks):
        status, code, headers = await _knock(served, knock)
        expected = _expected(knock, locks)
        if (status, code if expected[1] else None) != expected:
            wrong.append((knock, expected, status, code))
        shared_with = headers.get("Access-Control-Allow-Origin")
        assert shared_with == (SITE if knock.origin[0] == SITE and knock.host[1] else None), knock
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert ("WWW-Authenticate" in headers) == (status == 401)
    assert not wrong, wrong[:5]
    assert len(served.server.sessions) == 0
