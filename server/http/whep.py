"""WHEP: any player that speaks WebRTC over HTTP can watch (draft-ietf-wish-whep).

    POST   /whep[?size=PX]   a new session of the demo face, which says the demo voice       201, Location, ETag
    POST   /whep/SESSION     a session that runs: whose voice comes from /offer or /ws       201, Location, ETag
    PATCH  /whep/viewers/ID  further candidates (trickle ICE), with If-Match                 204
    DELETE /whep/viewers/ID                                                                  200

A PATCH without If-Match gets 428, with another ETag 412, one that asks for an ICE restart 422 (aiortc has none). 406:
the player does not take SDP, or no codec fits. The header Frame-Size says how many pixels a side frames have. The first
viewer of a session from ``POST /whep`` owns it.
"""

import secrets

from aiohttp import web
from aiortc import RTCSessionDescription

from server.http.demo_voice import DemoVoice
from server.http.limits import check_content_type
from server.http.uploads import read_limited
from server.live.messages import Refusal
from server.live.session import LiveSession
from server.protocol import parse_size
from server.sessions.manager import SessionManager
from server.webrtc.ice import ice_links
from server.webrtc.sdp_validation import check_candidates, check_offer
from server.webrtc.viewer import Viewer

_SDP = "application/sdp"
_FRAGMENT = "application/trickle-ice-sdpfrag"
_MAX_FRAGMENT_BYTES = 16 * 2**10


class WhepEndpoint:
    """``demo_voice`` speaks to those who watch a session of their own."""

    def __init__(self, manager: SessionManager, demo_voice: DemoVoice) -> None:
        self._manager = manager
        self._demo_voice = demo_voice
        self._viewers: dict[str, tuple[Viewer, str]] = {}

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for path in ("/whep", "/whep/{session}"):
            router.add_post(path, self._post)
            router.add_get(path, _nothing)
            router.add_options(path, _describe)
        router.add_get("/whep/viewers/{id}", _nothing)
        router.add_patch("/whep/viewers/{id}", self._patch)
        router.add_delete("/whep/viewers/{id}", self._delete)

    async def _post(self, request: web.Request) -> web.Response:
        check_content_type(request.headers.get("Content-Type"), (_SDP,))
        _check_accept(request.headers.get("Accept"))
        body = await read_limited(request, self._manager.config.max_offer_bytes)
        offer = check_offer(body.decode("utf-8", "replace"), needs_audio=False)
        size = parse_size(request.query.get("size"))
        named = request.match_info.get("session")
        if named is not None:
            if size is not None:
                raise Refusal("bad_message", "A session has its size already: leave 'size' out.")
            return await self._watch(self._manager.sessions.find(named), offer, owns=False)
        session = await self._manager.open(size=size)
        self._demo_voice.speak(session, self._manager.clock)
        return await self._watch(session, offer, owns=True)

    async def _watch(self, session: LiveSession, offer: RTCSessionDescription, owns: bool) -> web.Response:
        viewer_id, etag = secrets.token_urlsafe(16), f'"{secrets.token_urlsafe(8)}"'

        def closed() -> None:
            self._viewers.pop(viewer_id, None)

        viewer = self._manager.view(session, speaks=False, owns=owns, on_closed=closed)
        self._viewers[viewer_id] = viewer, etag
        try:
            answer = await viewer.accept(offer)
        except Refusal as refusal:
            raise Refusal("not_acceptable", refusal.message) from refusal
        response = web.Response(status=201, text=answer, content_type=_SDP)
        response.headers["Location"] = f"/whep/viewers/{viewer_id}"
        response.headers["ETag"] = etag
        response.headers["Accept-Patch"] = _FRAGMENT
        response.headers["Frame-Size"] = str(session.frame_size[0])
        for link in ice_links(self._manager.config):
            response.headers.add("Link", link)
        return response

    async def _patch(self, request: web.Request) -> web.Response:
        viewer, etag = self._find(request)
        check_content_type(request.headers.get("Content-Type"), (_FRAGMENT,))
        wanted = request.headers.get("If-Match")
        if wanted is None:
            raise Refusal("precondition_required", "Say in If-Match which ICE session the candidates are for.")
        body = await read_limited(request, _MAX_FRAGMENT_BYTES)
        fragment = check_candidates(body.decode("utf-8", "replace"))
        # A restart comes with other credentials; players also send "*" with those that hold.
        if not viewer.peer.is_remote_ufrag(fragment.ufrag):
            raise Refusal("unsupported", "This server does not restart ICE: end this viewer and come anew.")
        if not {each.strip() for each in wanted.split(",")} & {"*", etag}:
            raise Refusal("precondition_failed", "That is not the ICE session that runs.")
        for mid, candidate in fragment.candidates:
            await viewer.peer.add_candidate(candidate, mid)
        return web.Response(status=204)

    async def _delete(self, request: web.Request) -> web.Response:
        viewer, _ = self._find(request)
        await viewer.leave("ended by the player")
        return web.Response(status=200)

    def _find(self, request: web.Request) -> tuple[Viewer, str]:
        found = self._viewers.get(request.match_info["id"])
        if found is None:
            raise Refusal("not_found", "There is no such viewer.")
        return found


def _check_accept(accept: str | None) -> None:
    if accept is None:
        return
    taken = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    if not taken & {_SDP, "application/*", "*/*"}:
        raise Refusal("not_acceptable", f"The answer is {_SDP}.")


async def _nothing(request: web.Request) -> web.Response:
    return web.Response(status=204)


async def _describe(request: web.Request) -> web.Response:
    return web.Response(status=200, headers={"Accept-Post": _SDP})
