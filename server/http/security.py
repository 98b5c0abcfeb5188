"""What every request passes before its handler (host, origin, token, rate), and the one shape of all errors."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import hdrs, web

from engine.errors import (
    CapacityExceeded,
    GohdError,
    ImageTooLarge,
    ImageUnreadable,
    InputError,
    MissingDependency,
    NoFaceFound,
    OutputUnwritable,
)
from server.config import ServerConfig
from server.http.auth import TokenVerifier, bearer_token
from server.http.limits import AddressLimits, allowed_hosts, check_host, check_origin, client_address
from server.live.clock import Clock
from server.live.messages import Refusal
from server.metrics import Metrics
from server.protocol import encode_error

log = logging.getLogger(__name__)

Handler = Callable[[web.Request], Any]

_SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Server": "gohd-live",
}
_HTTP_CODES = {404: "not_found", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
_READING = (hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS)
_GUARDED_READING = ("/ws", "/ice", "/metrics")
_UNCACHED = ("/offer", "/portraits", "/sessions", "/whep", "/ice", "/metrics", "/ws")
_CORS_METHODS = "GET, POST, PATCH, DELETE"
_CORS_HEADERS = "Authorization, Content-Type, If-Match"
_CORS_EXPOSED = "ETag, Link, Location, Retry-After"


class SecurityMiddleware:
    """The application's one middleware. Requests that act, and those for secrets, need a token if the server has one.

    Each client address has a token bucket for what it does (``config.requests_per_second``) and a small one for
    tokens that it guesses at: 20 at once, 12 a minute.
    """

    def __init__(self, config: ServerConfig, clock: Clock, metrics: Metrics) -> None:
        self._config = config
        self._clock = clock
        self._metrics = metrics
        self._tokens = TokenVerifier(config)
        self._hosts: frozenset[str] = frozenset()
        self._acts = AddressLimits(config.requests_per_second, config.request_burst)
        self._guesses = AddressLimits(per_second=0.2, burst=20)

    def listening_on(self, port: int) -> None:
        self._hosts = allowed_hosts(self._config, port)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        other_site = False
        try:
            check_host(request.headers.get("Host"), self._hosts, request.scheme)
            other_site = check_origin(request.headers.get("Origin"), self._hosts, self._config.allowed_origins)
            if other_site and _is_preflight(request):
                response: web.StreamResponse = _preflight()
            else:
                self._admit(request)
                response = await handler(request)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            refusal = _refusal(request, error)
            self._metrics.refused(refusal.code)
            response = _error(refusal, error)
        if other_site and not response.prepared:
            _allow_origin(response, request.headers["Origin"])
        resource = request.match_info.route.resource
        self._metrics.answered("" if resource is None else resource.canonical, response.status)
        return response

    def address(self, request: web.Request) -> str:
        """The client address that limits count this request for."""
        forwarded_for = request.headers.get("X-Forwarded-For")
        return client_address(request.remote, forwarded_for, self._config.trusted_proxies)

    def _admit(self, request: web.Request) -> None:
        if request.method in _READING and request.path not in _GUARDED_READING:
            return
        address, now_s = self.address(request), self._clock.now_s()
        if request.path != "/metrics":
            self._acts.check(address, now_s)
        try:
            self._tokens.check(
                bearer_token(request.headers.get("Authorization"), request.headers.get("Sec-WebSocket-Protocol"))
            )
        except Refusal:
            self._guesses.check(address, now_s)
            raise


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """For the application's ``on_response_prepare``: on everything that leaves, errors included."""
    for name, value in _SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = _SECURITY_HEADERS["Server"]
    if request.path.startswith(_UNCACHED):
        response.headers["Cache-Control"] = "no-store"


def _refusal(request: web.Request, error: Exception) -> Refusal:
    match error:
        case Refusal():
            return error
        case web.HTTPException():
            return Refusal(_HTTP_CODES.get(error.status, "bad_message"), error.reason)
        case InputError():
            return _portrait_refusal(error)
        case MissingDependency():
            return Refusal("unsupported_media_type", str(error))
        case CapacityExceeded():
            return Refusal("busy", str(error), retry_after_s=5)
        case OutputUnwritable():
            log.error("%s %s: %s", request.method, request.path, error)
            return Refusal("unwritable", "This server cannot keep its records: its operator has to make room.")
        case GohdError():
            log.error("%s %s: %s", request.method, request.path, error)
            return Refusal("not_ready", str(error))
    log.error("%s %s failed", request.method, request.path, exc_info=error)
    return Refusal("internal", "Something failed inside the server; its log says what.")


def _error(refusal: Refusal, error: Exception) -> web.Response:
    status = error.status if isinstance(error, web.HTTPException) else refusal.status
    response = web.json_response(encode_error(refusal.code, refusal.message), status=status)
    if refusal.retry_after_s is not None:
        response.headers["Retry-After"] = str(refusal.retry_after_s)
    if refusal.code == "unauthorized":
        response.headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, web.HTTPMethodNotAllowed):
        response.headers["Allow"] = error.headers["Allow"]
    return response


def _portrait_refusal(error: InputError) -> Refusal:
    match error:
        case NoFaceFound():
            return Refusal("no_face", str(error))
        case ImageTooLarge():
            return Refusal("too_large", str(error))
        case ImageUnreadable():
            return Refusal("unsupported_media_type", str(error))
    return Refusal("bad_portrait", str(error))


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and "Access-Control-Request-Method" in request.headers


def _preflight() -> web.Response:
    headers = {
        "Access-Control-Allow-Methods": _CORS_METHODS,
        "Access-Control-Allow-Headers": _CORS_HEADERS,
        "Access-Control-Max-Age": "600",
    }
    return web.Response(status=204, headers=headers)


def _allow_origin(response: web.StreamResponse, origin: str) -> None:
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = _CORS_EXPOSED
    response.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    response.headers["Vary"] = "Origin"
