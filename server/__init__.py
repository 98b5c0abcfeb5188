"""Serving live avatars: one page, WebRTC, WHEP, a WebSocket and sessions, on one port or in one process."""

from server.app import AvatarServer
from server.config import ServerConfig
from server.live_session import LiveSession
from server.lobby import Lobby
from server.run import engine_loader, serve

__all__ = ["AvatarServer", "LiveSession", "Lobby", "ServerConfig", "engine_loader", "serve"]
