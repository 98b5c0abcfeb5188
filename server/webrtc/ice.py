"""How the two ends find a way to each other: STUN and TURN servers, and credentials for them that soon expire.

TURN credentials follow the scheme that coturn calls ``use-auth-secret`` (draft-uberti-behave-turn-rest): the user name
is the moment of expiry, the password an HMAC-SHA1 of it under a secret that only the two servers share. Browsers get
them from ``GET /ice``; the server makes some for itself for every peer.
"""

import base64
import hashlib
import hmac
import time
from typing import Any

from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from server.config import ServerConfig


def turn_credential(secret: str, expires_unix_s: int, name: str = "gohd") -> tuple[str, str]:
    """User name and password for a TURN server that shares ``secret``, good until ``expires_unix_s``."""
    username = f"{expires_unix_s}:{name}"
    digest = hmac.new(secret.encode(), username.encode(), hashlib.sha1).digest()
    return username, base64.b64encode(digest).decode()


def describe_ice_servers(config: ServerConfig) -> list[dict[str, Any]]:
    """What a browser's ``RTCPeerConnection`` takes as ``iceServers``; empty where none are configured."""
    servers: list[dict[str, Any]] = []
    if config.stun_urls:
        servers.append({"urls": list(config.stun_urls)})
    if config.turn_urls:
        username, credential = _credential(config)
        servers.append({"urls": list(config.turn_urls), "username": username, "credential": credential})
    return servers


def ice_links(config: ServerConfig) -> list[str]:
    """The same as ``Link`` headers, as WHEP players read them."""
    links = []
    for server in describe_ice_servers(config):
        for url in server["urls"]:
            link = f'<{url}>; rel="ice-server"'
            if "username" in server:
                link += f'; username="{server["username"]}"; credential="{server["credential"]}"'
                link += '; credential-type="password"'
            links.append(link)
    return links


def ice_configuration(config: ServerConfig) -> RTCConfiguration:
    """The server's own end of a connection."""
    servers = [RTCIceServer(**server) for server in describe_ice_servers(config)]
    policy = RTCIceTransportPolicy.RELAY if config.relay_only else RTCIceTransportPolicy.ALL
    return RTCConfiguration(iceServers=servers, iceTransportPolicy=policy)


def _credential(config: ServerConfig) -> tuple[str, str]:
    assert config.turn_secret is not None
    return turn_credential(config.turn_secret, int(time.time() + config.turn_ttl_s))
