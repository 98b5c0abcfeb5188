"""Who may open sessions: whoever knows the token, or everyone when there is none."""

from __future__ import annotations

import hmac

from server.protocol import Refusal

__all__ = ["check_bearer"]


def check_bearer(authorization: str | None, token: str | None) -> None:
    """Compare an ``Authorization`` header (RFC 6750) with the server's token, in constant time.

    Raises:
        Refusal: 401 ``unauthorized`` when the server has a token and the header does not carry it.
    """
    if token is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode()):
        return
    raise Refusal("unauthorized", "This server needs its token: send 'Authorization: Bearer TOKEN'.")
