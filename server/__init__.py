"""Serving live avatars: one page, WebRTC signalling and sessions, on one port."""

from server.app import AvatarServer
from server.config import ServerConfig
from server.run import serve

__all__ = ["AvatarServer", "ServerConfig", "serve"]
