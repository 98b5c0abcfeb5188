"""The live talking-avatar engine: one portrait and a live voice in, finished frames out.

    engine  = load_engine()
    avatar  = engine.enroll("portrait.jpg")
    session = engine.open_session(avatar, seed=0)
    frames  = session.push_pcm(chunk, sample_rate_hz)     # any chunk size, any usual rate
    frames += session.flush()

No asyncio, sockets, clocks or threads in here: time is counted in samples and frames.

The names below are imported when they are first used, so that ``import engine.errors`` alone, as the command's help and
the image sandbox need it, does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.avatar import Avatar
    from engine.engine import Engine, load_engine
    from engine.motion.driving_motion import DrivingMotion
    from engine.session import Frame, Session

__all__ = ["Avatar", "DrivingMotion", "Engine", "Frame", "Session", "load_engine"]

_HOMES = {
    "Avatar": "engine.avatar",
    "DrivingMotion": "engine.motion.driving_motion",
    "Engine": "engine.engine",
    "Frame": "engine.session",
    "Session": "engine.session",
    "load_engine": "engine.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
