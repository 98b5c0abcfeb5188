"""The page and the demo files, read once at start: no path from a request ever reaches the disk."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

_ROOT = Path(__file__).resolve().parent.parent.parent
_WEB = _ROOT / "clients" / "web"
_DEMO = _ROOT / "engine" / "assets"
_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
}
_TEXT = {"text/html", "text/css", "text/javascript"}


@dataclass(frozen=True, slots=True)
class Asset:
    body: bytes
    content_type: str
    etag: str

    def response(self, request: web.Request) -> web.Response:
        headers = {"ETag": f'"{self.etag}"', "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        charset = "utf-8" if self.content_type in _TEXT else None
        return web.Response(body=self.body, content_type=self.content_type, charset=charset, headers=headers)


class Assets:
    """``paths`` maps a request's path to its file's content."""

    def __init__(self, portrait: Path | None = None) -> None:
        self.portrait_path = portrait or _DEMO / "portrait.jpg"
        files = {f"/{path.name}": path for path in sorted(_WEB.glob("*")) if path.suffix in _TYPES}
        files["/demo/portrait"] = self.portrait_path
        files["/demo/voice.wav"] = _DEMO / "voice.wav"
        self.demo_voice = files["/demo/voice.wav"].read_bytes()
        self.paths = {url: _load(path) for url, path in files.items() if path.is_file()}
        if "/index.html" in self.paths:
            self.paths["/"] = self.paths.pop("/index.html")


def _load(path: Path) -> Asset:
    body = path.read_bytes()
    content_type = _TYPES.get(path.suffix.lower(), "application/octet-stream")
    return Asset(body, content_type, hashlib.sha256(body).hexdigest()[:16])
