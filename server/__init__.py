"""Serving live avatars: one page, WebRTC, WHEP, a WebSocket and sessions, on one port or in one process."""

from server.config import ServerConfig
from server.http.app import AvatarServer
from server.live.session import LiveSession
from server.run import engine_loader, serve
from server.sessions.manager import SessionManager

__all__ = ["AvatarServer", "LiveSession", "ServerConfig", "SessionManager", "engine_loader", "serve"]
