"""Serving live avatars: one page, WebRTC, WHEP, a WebSocket and sessions, on one port or in one process.

The names below are imported when they are first asked for: a camera or an agent, which need ``server.live`` alone, load
no web server.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.config import ServerConfig
    from server.http.app import AvatarServer
    from server.live.session import LiveSession
    from server.run import engine_loader, serve
    from server.sessions.manager import SessionManager

__all__ = ["AvatarServer", "LiveSession", "ServerConfig", "SessionManager", "engine_loader", "serve"]

_HOMES = {
    "AvatarServer": "server.http.app",
    "LiveSession": "server.live.session",
    "ServerConfig": "server.config",
    "SessionManager": "server.sessions.manager",
    "engine_loader": "server.run",
    "serve": "server.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'server' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found
