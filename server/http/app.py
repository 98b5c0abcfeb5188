"""The HTTP application: the page, signalling, WHEP, the WebSocket, portraits and health, on one port."""

import logging
from collections.abc import Callable

from aiohttp import web

from server.config import ServerConfig
from server.http.assets import Assets
from server.http.consent import ConsentRecord
from server.http.demo_voice import DemoVoice
from server.http.image_sandbox import ImageDecoder
from server.http.limits import AddressLimits, check_content_type
from server.http.security import SecurityMiddleware, add_security_headers
from server.http.uploads import read_limited, read_upload
from server.http.websocket import WebSocketEndpoint
from server.http.whep import WhepEndpoint
from server.live.clock import Clock
from server.live.messages import Answer, Refusal
from server.metrics import Metrics
from server.protocol import encode_answer, encode_ice_servers, encode_portrait, parse_offer
from server.sessions.engine_thread import EngineLike
from server.sessions.manager import SessionManager
from server.sessions.registry import SessionRegistry
from server.webrtc.aiortc_internals import limit_gathering
from server.webrtc.codecs import configure_codecs
from server.webrtc.ice import describe_ice_servers
from server.webrtc.sdp_validation import check_offer

log = logging.getLogger(__name__)


class AvatarServer:
    """Everything behind one port. ``load`` gives the engine; it runs on the engine's own thread."""

    def __init__(self, config: ServerConfig, load: Callable[[], EngineLike], clock: Clock | None = None) -> None:
        self.config = config
        self.port = config.port
        self.metrics = Metrics()
        self.manager = SessionManager(config, clock, self.metrics)
        self._load = load
        self._assets = Assets(config.portrait)
        self._portrait_rate = AddressLimits(per_second=0.5, burst=10)
        self._decoder = ImageDecoder()
        self._consents = ConsentRecord(config.consent_log)
        self._security = SecurityMiddleware(config, self.manager.clock, self.metrics)

    @property
    def sessions(self) -> SessionRegistry:
        return self.manager.sessions

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[self._security.middleware], client_max_size=self.config.max_portrait_bytes + 2**16
        )
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)
        app.on_response_prepare.append(add_security_headers)
        app.router.add_post("/offer", self._offer)
        app.router.add_post("/portraits", self._portrait)
        app.router.add_delete("/sessions/{id}", self._delete)
        app.router.add_get("/ice", self._ice)
        app.router.add_get("/ws", WebSocketEndpoint(self.manager).handle)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        WhepEndpoint(self.manager, DemoVoice(self._assets.demo_voice)).add_routes(app.router)
        for path in self._assets.paths:
            app.router.add_get(path, self._asset)
        return app

    def listening_on(self, port: int) -> None:
        """Tell the port that was really bound; hosts and origins are checked against it."""
        self.port = port
        self._security.listening_on(port)

    async def wait_loaded(self) -> None:
        """Return when the engine runs; raises what kept it from running."""
        await self.manager.wait_loaded()

    async def drain(self) -> None:
        """Take nobody in any more; return when all have left, or when their time is over."""
        await self.manager.drain()

    async def _start(self, app: web.Application) -> None:
        configure_codecs()
        limit_gathering(self.config.gather_timeout_s)
        self.listening_on(self.port)
        self.manager.start(self._load, self._assets.portrait_path)

    async def _stop(self, app: web.Application) -> None:
        await self.manager.close()
        await self._decoder.close()

    async def _offer(self, request: web.Request) -> web.Response:
        check_content_type(request.headers.get("Content-Type"), ("application/json",))
        offer = parse_offer(await read_limited(request, self.config.max_offer_bytes))
        watches = offer.session is not None
        description = check_offer(offer.sdp, needs_audio=not watches)
        if offer.session is not None:
            session = self.sessions.find(offer.session)
        else:
            session = await self.manager.open(offer.portrait, offer.size)
        viewer = self.manager.view(session, speaks=not watches, owns=not watches)
        answer = Answer(sdp=await viewer.accept(description), session_id=session.session_id, size=session.frame_size[0])
        return web.json_response(encode_answer(answer))

    async def _portrait(self, request: web.Request) -> web.Response:
        self._portrait_rate.check(self._security.address(request), self.manager.clock.now_s())
        upload = await read_upload(request, self.config.max_portrait_bytes)
        if not upload.consent:
            raise Refusal("consent_missing", "Confirm that you have the right to use this image (consent=true).")
        rgb = await self._decoder.decode(upload.image)
        consent = await self._consents.add(upload.image)
        portrait_id, warnings = await self.manager.enroll(rgb)
        log.info("portrait %s: taken, consent for %s", portrait_id[:6], consent.sha256[:12])
        return web.json_response(encode_portrait(portrait_id, warnings), status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        await self.sessions.end(request.match_info["id"], "ended by the client")
        return web.Response(status=204)

    async def _ice(self, request: web.Request) -> web.Response:
        return web.json_response(encode_ice_servers(describe_ice_servers(self.config), self.config.relay_only))

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        if self.sessions.draining:
            raise Refusal("draining", "This server is about to stop.", retry_after_s=5)
        if not self.manager.ready:
            raise Refusal("not_ready", "The engine is still loading.", retry_after_s=2)
        return web.json_response({"status": "ready", "free_sessions": self.sessions.free})

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(body=self.metrics.text(), headers={"Content-Type": self.metrics.content_type})

    async def _asset(self, request: web.Request) -> web.Response:
        return self._assets.paths[request.path].response(request)
