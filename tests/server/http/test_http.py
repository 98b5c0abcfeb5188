"""The HTTP side: what is answered, what is refused, and in which words."""

import asyncio
import hashlib
import json
import logging
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import FormData

from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, ServeFactory, image_bytes, until

JPEG = image_bytes()
TOKEN = "0123456789abcdef-token"


async def _error(response: aiohttp.ClientResponse) -> tuple[int, str]:
    body = json.loads(await response.text())
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message"}
    assert body["error"]["message"]
    return response.status, body["error"]["code"]


async def test_health_and_readiness(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_sessions=3)
    async with served.http.get(f"{served.url}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ok"})
    await served.server.wait_loaded()
    async with served.http.get(f"{served.url}/readyz") as response:
        assert (response.status, await response.json()) == (200, {"status": "ready", "free_sessions": 3})


async def test_page_and_its_parts_are_served(served: Served) -> None:
    async with served.http.get(f"{served.url}/") as response:
        page = await response.text()
        assert response.status == 200
        assert response.content_type == "text/html"
    for path in ("/app.js", "/protocol.js", "/style.css", "/icon.svg", "/demo/portrait", "/demo/voice.wav"):
        async with served.http.get(served.url + path) as response:
            assert response.status == 200, path
            etag = response.headers["ETag"]
        async with served.http.get(served.url + path, headers={"If-None-Match": etag}) as response:
            assert response.status == 304
    assert "<script>" not in page
    assert " style=" not in page
    assert "onclick" not in page


async def test_security_headers_are_on_everything(served: Served) -> None:
    for path in ("/", "/healthz", "/nowhere"):
        async with served.http.get(served.url + path) as response:
            policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "script-src 'self';" in policy
            assert "unsafe" not in policy
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["X-Frame-Options"] == "DENY"
            assert "aiohttp" not in response.headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        "/../server/http/app.py",
        "/%2e%2e/pyproject.toml",
        "/demo/../../etc/passwd",
        "/package.json",
        "/demo/",
        "//etc/passwd",
    ],
)
async def test_no_other_file_is_served(served: Served, path: str) -> None:
    host, port = served.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
    status = (await reader.read()).split(b" ")[1]
    writer.close()
    await writer.wait_closed()
    assert status in (b"404", b"400")


async def test_bodies_have_limits(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_portrait_bytes=100_000)
    offer = json.dumps({"type": "offer", "sdp": "x" * 70_000}).encode()

    async def unannounced(body: bytes) -> Any:
        for start in range(0, len(body), 8192):
            yield body[start : start + 8192]

    for data in (offer, unannounced(offer)):
        headers = {"Content-Type": "application/json"}
        async with served.http.post(f"{served.url}/offer", data=data, headers=headers) as response:
            assert await _error(response) == (413, "too_large")
    picture = JPEG + bytes(150_000)
    for data in (picture, unannounced(picture)):
        headers = {"Content-Type": "image/jpeg"}
        async with served.http.post(f"{served.url}/portraits?consent=true", data=data, headers=headers) as response:
            assert await _error(response) == (413, "too_large")
    form = FormData()
    form.add_field("portrait", picture, filename="p.jpg", content_type="image/jpeg")
    async with served.http.post(f"{served.url}/portraits", data=form) as response:
        assert await _error(response) == (413, "too_large")


async def test_portrait_by_form_and_by_body(served: Served) -> None:
    form = FormData()
    form.add_field("consent", "true")
    form.add_field("portrait", JPEG, filename="../../etc/passwd", content_type="image/jpeg")
    async with served.http.post(f"{served.url}/portraits", data=form) as response:
        assert response.status == 201
        taken = await response.json()
    first = taken["portrait_id"]
    assert taken["warnings"] == ["the eyes are shut"]
    headers = {"Content-Type": "image/png"}
    async with served.http.post(
        f"{served.url}/portraits?consent=true", data=image_bytes(file_format="PNG"), headers=headers
    ) as response:
        second = (await response.json())["portrait_id"]
    assert first != second
    caller = await served.caller().connect(portrait=second)
    await until(lambda: caller.frames)


@pytest.mark.parametrize(
    ("declared", "file_format"),
    [
        ("image/jpg", "JPEG"),
        ("image/pjpeg", "JPEG"),
        ("IMAGE/JPEG; name=p.jpg", "JPEG"),
        ("image/x-png", "PNG"),
        ("image/tiff", "TIFF"),
        ("image/vnd.microsoft.icon", "PNG"),
        ("application/octet-stream", "WEBP"),
    ],
)
async def test_an_image_is_what_its_bytes_are(served: Served, declared: str, file_format: str) -> None:
    image, headers = image_bytes(file_format=file_format), {"Content-Type": declared}
    async with served.http.post(f"{served.url}/portraits?consent=true", data=image, headers=headers) as response:
        assert response.status == 201


@pytest.mark.parametrize(
    ("image", "consent", "expected"),
    [
        (JPEG, "false", (400, "consent_missing")),
        (JPEG, None, (400, "consent_missing")),
        (image_bytes("black"), "true", (400, "no_face")),
        (b"MZ not a picture", "true", (415, "unsupported_media_type")),
        (b"", "true", (400, "bad_message")),
    ],
)
async def test_portraits_that_cannot_be_used(
    served: Served, image: bytes, consent: str | None, expected: tuple[int, str]
) -> None:
    form = FormData()
    if consent is not None:
        form.add_field("consent", consent)
    form.add_field("portrait", image, filename="p.jpg", content_type="image/jpeg")
    async with served.http.post(f"{served.url}/portraits", data=form) as response:
        assert await _error(response) == expected


async def test_consent_is_recorded_without_the_image(
    serve_fake: ServeFactory, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    record = tmp_path / "consent.jsonl"
    served = await serve_fake(consent_log=record)
    headers = {"Content-Type": "image/jpeg"}
    for consent, status in (("false", 400), ("true", 201)):
        url = f"{served.url}/portraits?consent={consent}"
        async with served.http.post(url, data=JPEG, headers=headers) as response:
            assert response.status == status
    (line,) = record.read_text().splitlines()
    entry = json.loads(line)
    assert entry["sha256"] == hashlib.sha256(JPEG).hexdigest()
    assert abs((datetime.now(UTC) - datetime.fromisoformat(entry["time"])).total_seconds()) < 60
    assert "right to use" in entry["statement"]
    assert entry["sha256"] in caplog.text


async def test_an_image_whose_consent_cannot_be_recorded_is_not_used(serve_fake: ServeFactory, tmp_path: Path) -> None:
    served = await serve_fake(consent_log=tmp_path / "missing" / "consent.jsonl")
    headers = {"Content-Type": "image/jpeg"}
    async with served.http.post(f"{served.url}/portraits?consent=true", data=JPEG, headers=headers) as response:
        assert await _error(response) == (507, "unwritable")
    assert len(served.server.manager._portraits._avatars) == 0


async def test_logs_hold_no_secrets(serve_fake: ServeFactory, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="server")
    served = await serve_fake(token=TOKEN, jwt_secret=TOKEN * 2)
    right = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{served.url}/portraits?consent=true"
    async with served.http.post(url, data=JPEG, headers={**right, "Content-Type": "image/jpeg"}) as response:
        portrait = (await response.json())["portrait_id"]
    caller = served.caller()
    sdp = await caller.offer()
    ids = [portrait]
    for body in ({"type": "offer", "sdp": sdp}, {"type": "offer", "sdp": sdp.replace("opus", "soap")}):
        for headers in (right, {"Authorization": f"Bearer {TOKEN}x"}):
            async with served.http.post(f"{served.url}/offer", json=body, headers=headers) as response:
                answer = await response.json()
                ids += [answer["session_id"]] if response.status == 200 else []
    assert len(ids) == 3, "the portrait and two sessions: a voice may come in another codec"
    password = sdp.split("a=ice-pwd:")[1].split()[0]
    for secret in (TOKEN, password, *ids):
        assert secret not in caplog.text


async def test_requests_that_act_are_limited_by_address(serve_fake: ServeFactory) -> None:
    served = await serve_fake(request_burst=5, requests_per_second=0.01)
    statuses = []
    for _ in range(7):
        async with served.http.delete(f"{served.url}/sessions/nobody") as response:
            statuses.append((response.status, response.headers.get("Retry-After")))
    assert statuses == [(404, None)] * 5 + [(429, "100")] * 2
    async with served.http.get(f"{served.url}/healthz") as response:
        assert response.status == 200


async def test_guessing_tokens_is_slow(serve_fake: ServeFactory) -> None:
    served = await serve_fake(token=TOKEN)
    statuses = []
    for number in range(25):
        headers = {"Authorization": f"Bearer guess-{number}"}
        async with served.http.delete(f"{served.url}/sessions/nobody", headers=headers) as response:
            statuses.append(response.status)
    assert statuses == [401] * 20 + [429] * 5


async def test_a_site_that_was_allowed_may_use_it(serve_fake: ServeFactory) -> None:
    served = await serve_fake(allowed_origins=("https://app.example",))
    origin = {"Origin": "https://app.example"}
    asks = {**origin, "Access-Control-Request-Method": "POST"}
    async with served.http.options(f"{served.url}/offer", headers=asks) as response:
        assert response.status == 204
        assert "Authorization" in response.headers["Access-Control-Allow-Headers"]
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    async with served.http.post(f"{served.url}/offer", json={}, headers=origin) as response:
        assert await _error(response) == (400, "bad_message")
        assert response.headers["Access-Control-Allow-Origin"] == "https://app.example"
    async with served.http.options(
        f"{served.url}/offer", headers={**asks, "Origin": "https://evil.example"}
    ) as response:
        assert await _error(response) == (403, "forbidden_origin")
        assert "Access-Control-Allow-Origin" not in response.headers


async def test_broken_forms_are_refused(served: Served) -> None:
    for content_type, body in (
        ("multipart/form-data", b"x"),
        ("multipart/form-data; boundary=b", b"--b\r\nnonsense"),
        ("multipart/form-data; boundary=b", b""),
        ("multipart/form-data; boundary=" + "b" * 300, b"x"),
        (
            "multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="portrait"\r\n\r\nx',
        ),
        ("multipart/form-data; boundary=b", b"--b\r\nContent-Transfer-Encoding: moon\r\n\r\nx\r\n--b--\r\n"),
    ):
        headers = {"Content-Type": content_type}
        async with served.http.post(f"{served.url}/portraits", data=body, headers=headers) as response:
            assert (await _error(response))[0] in (400, 415), body
    async with served.http.get(f"{served.url}/healthz") as response:
        assert response.status == 200


async def test_images_are_taken_at_a_limited_rate(served: Served) -> None:
    statuses = []
    for _ in range(14):
        headers = {"Content-Type": "image/jpeg"}
        async with served.http.post(f"{served.url}/portraits", data=JPEG, headers=headers) as response:
            statuses.append(response.status)
            retry = response.headers.get("Retry-After")
    assert statuses[:10] == [400] * 10
    assert (statuses[-1], retry) == (429, "2")


async def test_only_a_few_portraits_are_kept(serve_fake: ServeFactory) -> None:
    served = await serve_fake(max_portraits=2)
    ids = []
    for _ in range(3):
        headers = {"Content-Type": "image/jpeg"}
        async with served.http.post(f"{served.url}/portraits?consent=1", data=JPEG, headers=headers) as response:
            ids.append((await response.json())["portrait_id"])
    status, body = await served.caller().post(portrait=ids[0])
    assert (status, body["error"]["code"]) == (404, "not_found")
    await served.caller().connect(portrait=ids[2])


async def test_unknown_paths_and_methods(served: Served) -> None:
    async with served.http.get(f"{served.url}/nowhere") as response:
        assert await _error(response) == (404, "not_found")
    async with served.http.get(f"{served.url}/offer") as response:
        assert await _error(response) == (405, "method_not_allowed")
        assert response.headers["Allow"] == "POST"
    async with served.http.delete(f"{served.url}/sessions/nobody") as response:
        assert await _error(response) == (404, "not_found")


async def test_an_offer_waits_for_the_engine(serve_fake: ServeFactory) -> None:
    loaded = threading.Event()

    class SlowEngine(FakeEngine):
        def enroll(self, image: Any, *, size: int = 256) -> Any:
            loaded.wait(30)
            return super().enroll(image, size=size)

    served = await serve_fake(engine=SlowEngine())
    async with served.http.get(f"{served.url}/readyz") as response:
        assert await _error(response) == (503, "not_ready")
    caller = served.caller()
    connecting = asyncio.ensure_future(caller.connect())
    await asyncio.sleep(0.1)
    assert not connecting.done()
    loaded.set()
    await connecting
    await until(lambda: caller.frames)
