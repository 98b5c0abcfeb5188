"""Bearer tokens: who has one that this server accepts may act here; everyone may when it asks for none.

One mechanism, ``Authorization: Bearer TOKEN`` (RFC 6750), and two kinds of token: the shared one that the server was
started with, and JSON Web Tokens (RFC 7519) that somebody signed with its secret: HS256 only, ``exp`` and ``aud``
required. A browser's WebSocket cannot send that header; there the token may come as a subprotocol, ``bearer.TOKEN``.
"""

import hmac

import jwt

from server.config import ServerConfig
from server.live.messages import Refusal

_ALGORITHM = "HS256"
_LEEWAY_S = 5
_MAX_TOKEN_BYTES = 4096
_SUBPROTOCOL = "bearer."


class TokenVerifier:
    """Checks tokens; a refusal tells no more than the token's owner needs to know."""

    def __init__(self, config: ServerConfig) -> None:
        self._shared = None if config.token is None else config.token.encode()
        self._secret = config.jwt_secret
        self._audience = config.jwt_audience

    def check(self, token: str | None) -> None:
        """Raises Refusal ``unauthorized`` (401) unless ``token`` opens this server, or it is open."""
        if self._shared is None and self._secret is None:
            return
        if token is None:
            raise _refused("This server needs a token: send 'Authorization: Bearer TOKEN'.")
        if len(token) > _MAX_TOKEN_BYTES:
            raise _refused("That token is not accepted here.")
        if self._shared is not None and hmac.compare_digest(token.encode(), self._shared):
            return
        if self._secret is None:
            raise _refused("That token is not accepted here.")
        try:
            jwt.decode(
                token,
                self._secret,
                algorithms=[_ALGORITHM],
                audience=self._audience,
                leeway=_LEEWAY_S,
                options={"require": ["exp", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _refused("That token has expired: ask for a new one.") from None
        except (jwt.InvalidTokenError, ValueError, TypeError):  # the library lets some errors of its parts through
            raise _refused("That token is not accepted here.") from None


def bearer_token(authorization: str | None, subprotocols: str | None = None) -> str | None:
    """The token of an ``Authorization`` header, else of a ``Sec-WebSocket-Protocol`` header; None without one."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    for offered in (subprotocols or "").split(","):
        if offered.strip().startswith(_SUBPROTOCOL):
            return offered.strip().removeprefix(_SUBPROTOCOL)
    return None


def _refused(message: str) -> Refusal:
    return Refusal("unauthorized", message)
