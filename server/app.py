"""The HTTP application: the page, signalling, portraits and health, on one port."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from server.assets import Assets
from server.clock import Clock, MonotonicClock
from server.codecs import configure_codecs
from server.config import ServerConfig
from server.consent import ConsentRecord
from server.decoder import PictureDecoder
from server.engine_host import EngineHost, EngineLike
from server.guard import Guard, add_security_headers
from server.limits import AddressLimits, check_content_type
from server.offer import check_offer
from server.portraits import PortraitStore, read_limited, read_upload
from server.protocol import Answer, Refusal, encode_answer, encode_portrait, parse_offer
from server.sessions import SessionRegister, SessionRunner

__all__ = ["AvatarServer"]

log = logging.getLogger(__name__)


class AvatarServer:
    """Everything behind one port. ``load`` gives the engine; it runs on the engine's own thread."""

    def __init__(
        self, config: ServerConfig, load: Callable[[], EngineLike], clock: Clock | None = None
    ) -> None:
        self.config = config
        self.sessions = SessionRegister(config.max_sessions)
        self.port = config.port
        self._load = load
        self._clock = clock or MonotonicClock()
        self._assets = Assets(config.portrait)
        self._portraits = PortraitStore(config.max_portraits)
        self._portrait_rate = AddressLimits(per_second=0.5, burst=10)
        self._decoder = PictureDecoder()
        self._consents = ConsentRecord(config.consent_log)
        self._guard = Guard(config, self._clock)
        self._host: EngineHost | None = None

    def application(self) -> web.Application:
        app = web.Application(
            middlewares=[self._guard.middleware], client_max_size=self.config.max_portrait_bytes + 2**16
        )
        app.on_startup.append(self._start)
        app.on_shutdown.append(self._stop)
        app.on_response_prepare.append(add_security_headers)
        app.router.add_post("/offer", self._offer)
        app.router.add_post("/portraits", self._portrait)
        app.router.add_delete("/sessions/{id}", self._delete)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        for path in self._assets.paths:
            app.router.add_get(path, self._asset)
        return app

    def listening_on(self, port: int) -> None:
        """Tell the port that was really bound; hosts and origins are checked against it."""
        self.port = port
        self._guard.listening_on(port)

    async def wait_loaded(self) -> None:
        """Return when the engine runs; raises what kept it from running."""
        assert self._host is not None
        await self._host.wait_loaded()

    async def _start(self, app: web.Application) -> None:
        configure_codecs()
        self.listening_on(self.port)
        self._host = EngineHost(self._load, self._assets.portrait_path)

    async def _stop(self, app: web.Application) -> None:
        await self.sessions.close_all("the server stops")
        await self._decoder.close()
        if self._host is not None:
            await self._host.close()

    async def _offer(self, request: web.Request) -> web.Response:
        check_content_type(request.headers.get("Content-Type"), ("application/json",))
        offer = parse_offer(await read_limited(request, self.config.max_offer_bytes))
        avatar = None if offer.portrait is None else self._portraits.get(offer.portrait)
        session_id = self.sessions.reserve()
        try:
            answer = await self._open(session_id, avatar, offer.sdp)
        except BaseException:
            self.sessions.release(session_id)
            raise
        return web.json_response(encode_answer(answer))

    async def _open(self, session_id: str, avatar: Any, sdp: str) -> Answer:
        description = check_offer(sdp)
        host = await self._loaded_host()
        engine_session = await host.open_session(avatar, self.config.seed)
        runner = SessionRunner(session_id, engine_session, self._clock, self.config, self._session_closed)
        self.sessions.fill(session_id, runner)
        return await runner.start(description)

    def _session_closed(self, runner: SessionRunner) -> None:
        self.sessions.release(runner.session_id)

    async def _portrait(self, request: web.Request) -> web.Response:
        self._portrait_rate.check(request.remote or "", self._clock.now_s())
        upload = await read_upload(request, self.config.max_portrait_bytes)
        if not upload.consent:
            raise Refusal(
                "consent_missing", "Confirm that you have the right to use this picture (consent=true)."
            )
        host = await self._loaded_host()
        rgb = await self._decoder.decode(upload.picture)
        consent = await self._consents.add(upload.picture)
        portrait_id = self._portraits.add(await host.enroll(rgb))
        log.info("portrait %s: taken, consent for %s", portrait_id[:6], consent.sha256[:12])
        return web.json_response(encode_portrait(portrait_id), status=201)

    async def _delete(self, request: web.Request) -> web.Response:
        await self.sessions.find(request.match_info["id"]).close("ended by the client")
        return web.Response(status=204)

    async def _healthz(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, request: web.Request) -> web.Response:
        if self._host is None or not self._host.ready:
            raise Refusal("not_ready", "The engine is still loading.", retry_after_s=2)
        free = self.config.max_sessions - len(self.sessions)
        return web.json_response({"status": "ready", "free_sessions": free})

    async def _asset(self, request: web.Request) -> web.Response:
        return self._assets.paths[request.path].response(request)

    async def _loaded_host(self) -> EngineHost:
        assert self._host is not None
        try:
            await asyncio.wait_for(self._host.wait_loaded(), self.config.load_timeout_s)
        except TimeoutError:
            raise Refusal("not_ready", "The engine is still loading.", retry_after_s=5) from None
        return self._host
