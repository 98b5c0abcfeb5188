"""WHEP with a real WebRTC peer: every method, every status."""

import numpy as np
from aiortc import RTCSessionDescription

from tests.serving_helper import Caller, Served, ServeFactory, until

SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}


class Player(Caller):
    """A WHEP player: receives only."""

    def __post_init__(self) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection

        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pc.addTransceiver("audio", direction="recvonly")
        self.pc.addTransceiver("video", direction="recvonly")
        self._tasks = []
        self.pc.on("track", self._on_track)

    async def play(self, path: str = "/whep") -> tuple[str, str]:
        """Location and ETag."""
        async with self.http.post(self.url + path, data=await self.offer(), headers=SDP) as response:
            answer = await response.text()
            assert response.status == 201, answer
            assert response.content_type == "application/sdp"
            location, etag = response.headers["Location"], response.headers["ETag"]
            assert response.headers["Accept-Patch"] == FRAGMENT["Content-Type"]
        assert "a=sendonly" in answer
        assert "a=sendrecv" not in answer
        await self.pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        return location, etag


def _player(served: Served) -> Player:
    player = Player(served.http, served.url)
    served.callers.append(player)
    return player


async def test_a_player_sees_the_demo_face_say_the_demo_voice(served: Served) -> None:
    player = _player(served)
    location, _ = await player.play()
    await until(lambda: len(player.frames) > 10)
    await until(lambda: any(np.abs(s.to_ndarray()).max() > 3000 for s in player.sounds))
    async with served.http.delete(served.url + location) as response:
        assert response.status == 200
    await served.free_again()
    async with served.http.delete(served.url + location) as response:
        assert response.status == 404


async def test_a_player_watches_a_session_of_another(served: Served) -> None:
    speaker = await served.caller().connect()
    player = _player(served)
    location, _ = await player.play(f"/whep/{speaker.session_id}")
    await until(lambda: player.frames and speaker.frames)
    assert len(served.server.sessions) == 1
    async with served.http.delete(served.url + location) as response:
        assert response.status == 200
    count = len(speaker.frames)
    await until(lambda: len(speaker.frames) > count + 5)


async def test_candidates_may_come_later(served: Served) -> None:
    player = _player(served)
    location, etag = await player.play()
    sdp = player.pc.localDescription.sdp
    ufrag = sdp.split("a=ice-ufrag:")[1].split()[0]
    good = f"a=ice-ufrag:{ufrag}\r\na=ice-pwd:x\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n"
    good += "a=candidate:1 1 udp 2113937151 127.0.0.1 50000 typ host\r\n"
    good += "a=candidate:2 1 udp 2113937151 name.local 50000 typ host\r\na=end-of-candidates\r\n"
    url = served.url + location
    for headers, body, expected in (
        ({**FRAGMENT, "If-Match": etag}, good, 204),
        ({**FRAGMENT, "If-Match": "*"}, good, 204),
        ({**FRAGMENT, "If-Match": f'"another", {etag}'}, good, 204),
        ({**FRAGMENT, "If-Match": etag}, good + "a=candidate:\r\n", 204),
        ({**FRAGMENT, "If-Match": "*"}, good.replace(ufrag, "new1"), 422),
        (FRAGMENT, good, 428),
        ({**FRAGMENT, "If-Match": '"another"'}, good, 412),
        ({**FRAGMENT, "If-Match": etag}, good.replace(ufrag, "anew"), 422),
        ({**FRAGMENT, "If-Match": etag}, "nonsense", 400),
        ({**FRAGMENT, "If-Match": etag}, "a=candidate:1 1 udp", 400),
        ({**FRAGMENT, "If-Match": etag}, "a=candidate:1 1 udp 1 127.0.0.1 9 typ host\r\n" * 100, 400),
        ({**FRAGMENT, "If-Match": etag}, "x" * 20_000, 413),
        ({"Content-Type": "application/sdp", "If-Match": etag}, good, 415),
    ):
        async with served.http.patch(url, data=body, headers=headers) as response:
            assert response.status == expected, (headers, body[:80])
            assert "ETag" not in response.headers
    async with served.http.patch(f"{served.url}/whep/viewers/nobody", data=good, headers=FRAGMENT) as response:
        assert response.status == 404
    await until(lambda: player.frames)


async def test_what_cannot_be_played_is_refused(served: Served) -> None:
    offer = await _player(served).offer()
    only_h261 = offer.replace("VP8", "H261").replace("H264", "H261")
    for headers, body, expected in (
        ({"Content-Type": "application/json"}, offer, 415),
        ({**SDP, "Accept": "text/html"}, offer, 406),
        (SDP, only_h261, 406),
        (SDP, "nonsense", 400),
        (SDP, offer.replace("recvonly", "inactive"), 400),
    ):
        async with served.http.post(f"{served.url}/whep", data=body, headers=headers) as response:
            assert response.status == expected, body[:60]
    async with served.http.post(f"{served.url}/whep/nobody", data=offer, headers=SDP) as response:
        assert response.status == 404
    await served.free_again()


async def test_reading_and_asking_give_nothing_away(served: Served) -> None:
    for path in ("/whep", "/whep/anything", "/whep/viewers/anybody"):
        async with served.http.get(served.url + path) as response:
            assert response.status == 204
    async with served.http.options(f"{served.url}/whep") as response:
        assert (response.status, response.headers["Accept-Post"]) == (200, "application/sdp")


async def test_players_are_told_of_ice_servers(serve_fake: ServeFactory) -> None:
    served = await serve_fake(stun_urls=("stun:127.0.0.1:9",), gather_timeout_s=0.3)
    player = _player(served)
    async with served.http.post(f"{served.url}/whep", data=await player.offer(), headers=SDP) as response:
        assert response.headers.getall("Link") == ['<stun:127.0.0.1:9>; rel="ice-server"']


async def test_only_so_many_watch_one_session(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_viewers=2)
    speaker = await served.caller().connect()
    await _player(served).play(f"/whep/{speaker.session_id}")
    offer = await _player(served).offer()
    async with served.http.post(f"{served.url}/whep/{speaker.session_id}", data=offer, headers=SDP) as response:
        assert response.status == 503
        assert int(response.headers["Retry-After"]) > 0
