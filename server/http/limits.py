"""Checks of a request before its body is read: host, origin, content type, rate.

A page elsewhere can make a browser send requests to this server (cross-site requests), or make its own name
resolve to this machine (DNS rebinding). Exact ``Origin`` and ``Host`` checks stop both.
"""

import ipaddress
from collections import OrderedDict
from collections.abc import Iterable
from urllib.parse import urlsplit

import ifaddr

from server.config import ServerConfig, is_loopback
from server.live.messages import Refusal
from server.rate_limit import RateLimit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_ADDRESSES = 4096


def allowed_hosts(config: ServerConfig, port: int) -> frozenset[str]:
    """Each ``name:port`` under which this server may be addressed."""
    names = {config.host}
    wildcard = config.host in ("0.0.0.0", "::")
    if wildcard or is_loopback(config.host):
        names |= {"127.0.0.1", "localhost", "::1"}
    if wildcard:
        names |= set(_interface_addresses())
    hosts = {f"{_bracketed(name)}:{port}" for name in names}
    for entry in config.allowed_hosts:
        split = urlsplit(f"//{entry}")
        ports = [split.port] if split.port else [port, 80, 443]
        hosts |= {f"{_bracketed(split.hostname or '')}:{p}" for p in ports}
    return frozenset(hosts)


def check_host(host: str | None, allowed: frozenset[str], scheme: str = "http") -> None:
    """Raises Refusal ``forbidden_host`` unless the ``Host`` header names this server."""
    if host is None or _with_port(host, scheme) not in allowed:
        raise Refusal("forbidden_host", "This server does not answer under that host name.")


def check_origin(origin: str | None, allowed: frozenset[str], other_sites: tuple[str, ...] = ()) -> bool:
    """Whether another site's page sent the request, one of ``other_sites`` (exact origins).

    No header means no browser: such a client could claim any origin, so nothing is won by refusing it.

    Raises:
        Refusal: ``forbidden_origin`` for a page of any further site.
    """
    if origin is None:
        return False
    scheme, separator, host = origin.partition("://")
    if separator and scheme in _DEFAULT_PORTS and _with_port(host, scheme) in allowed:
        return False
    if origin in other_sites:
        return True
    raise Refusal("forbidden_origin", "Requests from other sites are refused.")


def check_content_type(header: str | None, allowed: Iterable[str]) -> str:
    """The media type without parameters, in lower case; raises Refusal ``unsupported_media_type``."""
    found, allowed = media_type(header), tuple(allowed)
    if found not in allowed:
        raise Refusal("unsupported_media_type", f"The content type must be {' or '.join(allowed)}.")
    return found


def media_type(header: str | None) -> str:
    """The media type of a ``Content-Type`` header without parameters, in lower case; empty where there is none."""
    return (header or "").partition(";")[0].strip().lower()


def client_address(remote: str | None, forwarded_for: str | None, proxies: tuple[str, ...]) -> str:
    """The address of a request's sender: the peer, or the client that a trusted proxy names.

    Only the last entry of the header is the proxy's own; those before it can be forged.
    """
    if remote in proxies and forwarded_for:
        return forwarded_for.rpartition(",")[2].strip()
    return remote or ""


class AddressLimits:
    """One token bucket for each client address. The addresses that were silent longest are forgotten first."""

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = burst
        self._buckets: OrderedDict[str, RateLimit] = OrderedDict()

    def check(self, address: str, now_s: float) -> None:
        """Raises Refusal ``rate_limited`` with the time after which there is room again."""
        bucket = self._buckets.pop(address, None) or RateLimit(self._per_second, self._burst)
        self._buckets[address] = bucket
        while len(self._buckets) > _MAX_ADDRESSES:
            self._buckets.popitem(last=False)
        if not bucket.allow(now_s):
            wait_s = max(1, round(1 / self._per_second))
            raise Refusal("rate_limited", "Too many requests at once. Wait a moment.", retry_after_s=wait_s)


def _with_port(host: str, scheme: str) -> str:
    host = host.strip().lower()
    if host.rpartition(":")[2].isdigit() and not host.endswith("]"):
        return host
    return f"{host}:{_DEFAULT_PORTS[scheme]}"


def _bracketed(name: str) -> str:
    try:
        return f"[{name}]" if ipaddress.ip_address(name).version == 6 else name
    except ValueError:
        return name.lower()


def _interface_addresses() -> list[str]:
    addresses = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            addresses.append(ip.ip if isinstance(ip.ip, str) else ip.ip[0])
    return addresses
