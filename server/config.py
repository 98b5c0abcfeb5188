"""The settings of a server, checked once at its start."""

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path

from engine.postprocess import WatermarkConfig

_ICE_URL = re.compile(r"(stun|turns?):[A-Za-z0-9.\[\]:-]+(\?transport=(udp|tcp))?")
_ORIGIN = re.compile(r"https?://[a-z0-9.\[\]:-]+")


def is_loopback(host: str) -> bool:
    """Whether a listening address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerConfig:
    """Settings of one server.

    ``portrait`` is the demo face; None is the bundled one. ``token`` opens the server to whoever knows it,
    ``jwt_secret`` to whoever has a JSON Web Token signed with it for ``jwt_audience``. ``allowed_hosts`` are
    further names, each ``name`` or ``name:port``, under which a browser may reach the server (a proxy's, for
    instance); ``allowed_origins`` are other sites, each as ``https://name``, whose pages may use it. Requests from
    ``trusted_proxies`` (addresses) count for the client that the proxy names in ``X-Forwarded-For``.
    ``consent_log`` is a file to which consents are appended. ``stun_urls`` and ``turn_urls`` are empty by default:
    nothing outside the machine is asked for anything; ``turn_secret`` is what a TURN server shares with this one, and
    with ``relay_only`` media go through it alone. ``size`` is the side of the head's frames in pixels; None is the
    largest of 512, 384 and 256 that the start-up measurement allows. ``max_sessions`` bounds what that measurement
    allows; None leaves it at that. ``drain_timeout_s`` is how long sessions may go on after SIGTERM. ``engine_threads``
    is how many cores one frame may use: with one, a frame never waits for a core that something else holds (measured on
    two busy cores: 9 ms a frame, against 41 with two). ``watermark`` is what the invisible mark in
    every frame says. Secrets stay out of the text form.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    token: str | None = field(default=None, repr=False)
    jwt_secret: str | None = field(default=None, repr=False)
    jwt_audience: str = "gohd-live"
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    trusted_proxies: tuple[str, ...] = ()
    consent_log: Path | None = None
    portrait: Path | None = None
    weights: str = "default"
    device: str = "auto"
    backend: str = "auto"
    size: int | None = None
    seed: int = 0
    watermark: WatermarkConfig = field(default_factory=WatermarkConfig, repr=False)
    engine_threads: int = 1
    stun_urls: tuple[str, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str | None = field(default=None, repr=False)
    turn_ttl_s: int = 3600
    relay_only: bool = False
    gather_timeout_s: float = 3.0
    max_sessions: int | None = None
    max_viewers: int = 4
    drain_timeout_s: float = 10.0
    max_portraits: int = 8
    max_portrait_bytes: int = 16 * 2**20
    max_offer_bytes: int = 64 * 2**10
    requests_per_second: float = 5.0
    request_burst: int = 60
    connect_timeout_s: float = 10.0
    peer_timeout_s: float = 8.0
    load_timeout_s: float = 120.0

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"port {self.port}: must lie between 0 (any free port) and 65535")
        if self.max_sessions is not None and self.max_sessions < 1:
            raise ValueError("max_sessions: must be at least 1, or left out for as many as the machine can serve")
        if bool(self.turn_urls) != (self.turn_secret is not None):
            raise ValueError("turn: give both the server's address (--turn) and the shared secret (--turn-secret)")
        for url in (*self.stun_urls, *self.turn_urls):
            if not _ICE_URL.fullmatch(url):
                raise ValueError(f"{url!r} is no ICE server: write stun:HOST:PORT, turn:HOST:PORT or turns:HOST:PORT")
        if self.relay_only and not self.turn_urls:
            raise ValueError("relay_only: needs a TURN server (--turn)")
        if self.token is not None and len(self.token) < 16:
            raise ValueError("token: use at least 16 characters, for instance from `openssl rand -hex 16`")
        if self.jwt_secret is not None and len(self.jwt_secret.encode()) < 32:
            raise ValueError("jwt_secret: HS256 needs at least 32 bytes, as from `openssl rand -hex 32`")
        for origin in self.allowed_origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"allowed origin {origin!r}: write it as https://name or https://name:port")
        locked = self.token is not None or self.jwt_secret is not None
        if not is_loopback(self.host) and not locked and not self.insecure:
            raise ValueError(
                f"host {self.host} can be reached from other machines: give a token (--token), "
                "or --insecure if everyone who can reach it may use it"
            )
