"""Hosts, origins, content types, rates and the settings themselves."""

import pytest

from server import ServerConfig
from server.config import is_loopback
from server.http.limits import (
    AddressLimits,
    allowed_hosts,
    check_content_type,
    check_host,
    check_origin,
    client_address,
)
from server.live.messages import Refusal
from server.rate_limit import RateLimit

LOCAL = allowed_hosts(ServerConfig(), 8080)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost:8080", "[::1]:8080", "LocalHost:8080"])
def test_own_hosts(host: str) -> None:
    check_host(host, LOCAL)
    check_origin(f"http://{host}", LOCAL)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "localhost",
        "127.0.0.1",
        "[::1]",
        "localhost:80800",
        "evil:8080",
        "127.0.0.1.evil:8080",
        "::1",
    ],
)
def test_other_hosts(host: str | None) -> None:
    with pytest.raises(Refusal):
        check_host(host, LOCAL)


def test_default_ports_may_be_left_out() -> None:
    allowed = allowed_hosts(ServerConfig(), 80)
    check_host("localhost", allowed)
    check_origin("http://localhost", allowed)
    with pytest.raises(Refusal):
        check_origin("https://localhost", allowed)


def test_a_proxys_name_can_be_allowed() -> None:
    allowed = allowed_hosts(ServerConfig(allowed_hosts=("avatar.example", "other.example:8443")), 8080)
    check_host("avatar.example:8080", allowed)
    check_origin("https://avatar.example", allowed)
    check_origin("https://other.example:8443", allowed)
    with pytest.raises(Refusal):
        check_origin("https://other.example", allowed)


def test_every_address_of_the_machine_is_allowed_when_listening_on_all() -> None:
    allowed = allowed_hosts(ServerConfig(host="0.0.0.0", insecure=True), 8080)
    assert "127.0.0.1:8080" in allowed
    assert "0.0.0.0:8080" in allowed
    assert not any("example" in host for host in allowed)


def test_content_types() -> None:
    assert check_content_type("Application/JSON; charset=utf-8", ("application/json",)) == "application/json"
    for header in (None, "", "application/json+x", "text/json"):
        with pytest.raises(Refusal):
            check_content_type(header, ("application/json",))


def test_rate_limit() -> None:
    limit = RateLimit(per_second=10, burst=5)
    assert [limit.allow(1.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert limit.allow(1.1)
    assert not limit.allow(1.1)
    assert sum(limit.allow(100.0) for _ in range(9)) == 5


def test_each_address_has_its_own_limit() -> None:
    limits = AddressLimits(per_second=0.5, burst=2)
    for _ in range(2):
        limits.check("192.0.2.1", 1.0)
    with pytest.raises(Refusal) as caught:
        limits.check("192.0.2.1", 1.0)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 2)
    limits.check("192.0.2.2", 1.0)
    limits.check("192.0.2.1", 3.1)


def test_addresses_without_number_need_no_memory_without_end() -> None:
    limits = AddressLimits(per_second=1, burst=1)
    for number in range(10_000):
        limits.check(f"host-{number}", 0.0)
    assert len(limits._buckets) <= 4096


def test_only_trusted_proxies_name_their_client() -> None:
    proxies = ("127.0.0.1",)
    assert client_address("127.0.0.1", "203.0.113.9, 198.51.100.7", proxies) == "198.51.100.7"
    assert client_address("127.0.0.1", None, proxies) == "127.0.0.1"
    assert client_address("192.0.2.1", "198.51.100.7", proxies) == "192.0.2.1"
    assert client_address("127.0.0.1", "198.51.100.7", ()) == "127.0.0.1"
    assert client_address(None, None, proxies) == ""


def test_other_sites_need_to_be_named_exactly() -> None:
    site = ("https://app.example",)
    assert check_origin("https://app.example", LOCAL, site)
    assert not check_origin("http://localhost:8080", LOCAL, site)
    for origin in ("http://app.example", "https://app.example:444", "https://app.example.evil", "null"):
        with pytest.raises(Refusal):
            check_origin(origin, LOCAL, site)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "avatar.example"])
def test_other_machines_need_a_token(host: str) -> None:
    with pytest.raises(ValueError, match="--token"):
        ServerConfig(host=host)
    ServerConfig(host=host, token="0123456789abcdef")
    ServerConfig(host=host, jwt_secret="x" * 32)
    ServerConfig(host=host, insecure=True)


def test_settings_are_checked() -> None:
    for wrong in (
        {"port": 70000},
        {"token": "short"},
        {"max_sessions": 0},
        {"turn_urls": ("turn:192.0.2.1",)},
        {"turn_secret": "x"},
        {"stun_urls": ("192.0.2.1",)},
        {"relay_only": True},
        {"jwt_secret": "short"},
        {"allowed_origins": ("app.example",)},
        {"allowed_origins": ("https://a/b",)},
    ):
        with pytest.raises(ValueError):
            ServerConfig(**wrong)  # type: ignore[arg-type]
    assert is_loopback("127.1.2.3")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("localhost.evil")
    assert not is_loopback("0.0.0.0")
