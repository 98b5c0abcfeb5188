"""Reading what is uploaded: a portrait and the consent to use it, within limits of size."""

from dataclasses import dataclass

from aiohttp import BodyPartReader, web

from server.http.limits import media_type
from server.live.messages import Refusal

_IMAGE = "image/"
# What programs call an image that have no better name for it, or old ones.
_ANY_BYTES = "application/octet-stream"
_MULTIPART = "multipart/form-data"
_YES = ("true", "yes", "on", "1")
_MAX_FIELD_BYTES = 16


@dataclass(frozen=True, slots=True)
class Upload:
    image: bytes
    consent: bool


async def read_upload(request: web.Request, max_bytes: int) -> Upload:
    """The image of a multipart form (fields ``portrait`` and ``consent``) or of a raw image body
    (``?consent=true``).

    Any type of image is taken, for programs call one format by many names: the bytes say what it is.

    Raises:
        Refusal: ``unsupported_media_type``, ``too_large`` or ``bad_message``.
    """
    header = request.headers.get("Content-Type")
    if media_type(header).startswith(_IMAGE) or media_type(header) == _ANY_BYTES:
        image = await read_limited(request, max_bytes)
        return Upload(image, consent=request.query.get("consent", "").lower() in _YES)
    if media_type(header) != _MULTIPART:
        raise Refusal("unsupported_media_type", f"The content type must be that of an image, or {_MULTIPART}.")
    image, consent = b"", False
    try:
        async for part in await request.multipart():
            if not isinstance(part, BodyPartReader):
                continue
            if part.name == "portrait":
                image = await _read_part(part, max_bytes)
            elif part.name == "consent":
                consent = (await _read_part(part, _MAX_FIELD_BYTES)).decode("ascii", "replace").lower() in _YES
    except (Refusal, ConnectionError):
        raise
    except Exception as error:  # the form parser raises whatever its parts raise
        raise Refusal("bad_message", "The form cannot be read.") from error
    if not image:
        raise Refusal("bad_message", "The form needs an image in its field 'portrait'.")
    return Upload(image, consent)


async def read_limited(request: web.Request, max_bytes: int) -> bytes:
    """The whole body; raises Refusal ``too_large`` before more than ``max_bytes`` are kept."""
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


async def _read_part(part: BodyPartReader, max_bytes: int) -> bytes:
    body = bytearray()
    while chunk := await part.read_chunk():
        body += chunk
        if len(body) > max_bytes:
            raise _too_large(max_bytes)
    return bytes(body)


def _too_large(max_bytes: int) -> Refusal:
    size = f"{max_bytes >> 20} MiB" if max_bytes >= 2**20 else f"{max_bytes >> 10} KiB"
    return Refusal("too_large", f"That is more than this server takes: at most {size}.")
