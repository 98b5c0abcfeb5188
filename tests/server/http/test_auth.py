"""Bearer tokens: the shared one and JSON Web Tokens, the good and every kind of bad."""

import time
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server import ServerConfig
from server.http.auth import TokenVerifier, bearer_token
from server.live.messages import Refusal

TOKEN = "0123456789abcdef-token"
SECRET = "a secret of more than thirty-two bytes"
OPEN = TokenVerifier(ServerConfig())
SHARED = TokenVerifier(ServerConfig(token=TOKEN))
SIGNED = TokenVerifier(ServerConfig(jwt_secret=SECRET))
BOTH = TokenVerifier(ServerConfig(token=TOKEN, jwt_secret=SECRET))


def _signed(secret: str = SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    claims = {"exp": time.time() + 86_400, "aud": "gohd-live", **claims}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(kept, secret, algorithm=algorithm)


def test_an_open_server_asks_for_nothing() -> None:
    OPEN.check(None)
    OPEN.check("anything")


def test_the_shared_token_opens() -> None:
    SHARED.check(TOKEN)
    BOTH.check(TOKEN)


@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", "é", "x" * 5000])
def test_other_tokens_do_not(token: str | None) -> None:
    for door in (SHARED, SIGNED, BOTH):
        with pytest.raises(Refusal) as caught:
            door.check(token)
        assert caught.value.status == 401
        assert TOKEN not in caught.value.message
        assert SECRET not in caught.value.message


def test_signed_tokens_open() -> None:
    SIGNED.check(_signed())
    BOTH.check(_signed(aud=["other", "gohd-live"], sub="somebody"))
    SIGNED.check(_signed(exp=time.time() - 2))


UNSIGNED = jwt.encode({"exp": time.time() + 86_400, "aud": "gohd-live"}, None, algorithm="none")


@pytest.mark.parametrize(
    "token",
    [
        _signed(exp=time.time() - 60),
        _signed(exp=None),
        _signed(aud=None),
        _signed(aud="other"),
        _signed(aud=["other"]),
        _signed(nbf=time.time() + 600),
        _signed(secret="another secret of more than thirty-two bytes"),
        _signed(secret=SECRET * 2, algorithm="HS512"),
        UNSIGNED,
        UNSIGNED + _signed().rpartition(".")[2],
        _signed()[:-3],
        "a.b.c",
        "..",
    ],
    ids=[
        "expired",
        "without end",
        "for nobody",
        "for another",
        "for others",
        "not yet",
        "another secret",
        "another algorithm",
        "unsigned",
        "unsigned with a signature",
        "cut short",
        "no base64",
        "empty parts",
    ],
)
def test_bad_signed_tokens_do_not(token: str) -> None:
    with pytest.raises(Refusal) as caught:
        SIGNED.check(token)
    assert caught.value.code == "unauthorized"


def test_signed_tokens_open_no_server_without_the_secret() -> None:
    with pytest.raises(Refusal):
        SHARED.check(_signed())


@given(st.text(max_size=200))
def test_no_text_breaks_the_check(token: str) -> None:
    with pytest.raises(Refusal):
        BOTH.check(token)


def test_where_a_token_is_looked_for() -> None:
    assert bearer_token("Bearer abc") == "abc"
    assert bearer_token("bearer  abc ") == "abc"
    assert bearer_token(None, "gohd, bearer.abc") == "abc"
    for header in (None, "", "Bearer", "Bearer ", "Basic abc", "abc"):
        assert bearer_token(header) is None
    assert bearer_token(None, "gohd") is None
