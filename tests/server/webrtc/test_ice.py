"""STUN, TURN and their credentials; media through a real coturn, where there is one."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import time
from pathlib import Path

from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection
from aiortc.rtcconfiguration import RTCIceTransportPolicy

from server.webrtc.ice import turn_credential
from tests.serving_helper import Caller, ServeFactory, until
from tests.turn_helper import TURN_SECRET, running_coturn


def test_credentials_are_those_of_the_scheme() -> None:
    username, credential = turn_credential("secret", 1_700_000_000, "someone")
    assert username == "1700000000:someone"
    assert base64.b64decode(credential) == hmac.digest(b"secret", username.encode(), hashlib.sha1)


async def test_pages_get_servers_and_short_lived_credentials(serve_fake: ServeFactory) -> None:
    served = await serve_fake(
        stun_urls=("stun:192.0.2.1:3478",),
        turn_urls=("turn:192.0.2.1:3478", "turns:192.0.2.1:5349?transport=tcp"),
        turn_secret=TURN_SECRET,
        turn_ttl_s=600,
    )
    async with served.http.get(f"{served.url}/ice") as response:
        assert response.headers["Cache-Control"] == "no-store"
        body = await response.json()
    stun, turn = body["ice_servers"]
    assert stun == {"urls": ["stun:192.0.2.1:3478"]}
    assert len(turn["urls"]) == 2
    expires_s = int(turn["username"].split(":")[0])
    assert 590 <= expires_s - time.time() <= 610
    assert (turn["username"], turn["credential"]) == turn_credential(TURN_SECRET, expires_s)
    assert TURN_SECRET not in str(body)


async def test_servers_that_do_not_answer_cost_little(serve_fake: ServeFactory) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        served = await serve_fake(
            stun_urls=(f"stun:127.0.0.1:{port}",),
            turn_urls=(f"turn:127.0.0.1:{port}",),
            turn_secret=TURN_SECRET,
            gather_timeout_s=0.5,
        )
        await served.server.wait_loaded()
        began = time.monotonic()
        caller = await served.caller().connect()
        assert 0.4 < time.monotonic() - began < 3.0
        await until(lambda: caller.frames)


class RelayedCaller(Caller):
    """Sends and receives through a TURN server alone."""

    async def use(self, url: str) -> RelayedCaller:
        await self.pc.close()
        username, credential = turn_credential(TURN_SECRET, int(time.time()) + 60, "caller")
        servers = [RTCIceServer(urls=[url], username=username, credential=credential)]
        relay = RTCConfiguration(iceServers=servers, iceTransportPolicy=RTCIceTransportPolicy.RELAY)
        self.pc = RTCPeerConnection(relay)
        self.pc.addTrack(self.voice)
        self.pc.addTransceiver("video", direction="recvonly")
        self.channel = self.pc.createDataChannel("control")
        self.pc.on("track", self._on_track)
        return self


async def test_media_go_through_a_relay_alone(serve_fake: ServeFactory, tmp_path: Path) -> None:
    with running_coturn(tmp_path) as url:
        served = await serve_fake(turn_urls=(url,), turn_secret=TURN_SECRET, relay_only=True)
        caller = await RelayedCaller(served.http, served.url).use(url)
        served.callers.append(caller)
        await caller.connect()
        await until(lambda: len(caller.frames) > 10)
        for sdp in (caller.pc.localDescription.sdp, caller.pc.remoteDescription.sdp):
            candidates = [line for line in sdp.splitlines() if line.startswith("a=candidate")]
            assert candidates
            assert all(" typ relay" in line for line in candidates)
        await served.hang_up()
        served.callers.clear()
        await served.free_again()


async def test_a_wrong_secret_gives_no_relay(serve_fake: ServeFactory, tmp_path: Path) -> None:
    with running_coturn(tmp_path) as url:
        served = await serve_fake(turn_urls=(url,), turn_secret="another secret", relay_only=True)
        status, answer = await served.caller().post()
        assert status == 200
        assert "a=candidate" not in answer["sdp"]
