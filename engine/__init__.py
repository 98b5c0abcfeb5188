"""The live talking-avatar engine: one portrait and a live voice in, finished frames out.

    engine  = load_engine()
    avatar  = engine.enroll("portrait.jpg")
    session = engine.open_session(avatar, seed=0)
    frames  = session.push_pcm(chunk, sample_rate_hz)     # any chunk size, any usual rate
    frames += session.flush()

No asyncio, sockets, clocks or threads in here: time is counted in samples and frames.
"""

from engine.avatar import Avatar
from engine.drive import Drive
from engine.engine import Engine, load_engine
from engine.session import Frame, Session

__all__ = ["Avatar", "Drive", "Engine", "Frame", "Session", "load_engine"]
