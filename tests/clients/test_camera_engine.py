"""`gohd camera` with the real engine: what it needs of the voice's future is what the voice is held back for."""

from pathlib import Path

import numpy as np
import pytest

from engine import load_engine
from engine.audio import to_mono_float
from engine.media import read_audio
from tests.clients.camera_helper import RATE_HZ, Bench


def _voice(path: Path, seconds: float) -> np.ndarray:
    """The start of an audio file at 48 kHz, int16."""
    chunks = list(read_audio(path))
    wave = np.concatenate([to_mono_float(chunk) for chunk, _ in chunks])
    wanted = np.arange(round(seconds * RATE_HZ)) * chunks[0][1] / RATE_HZ
    return np.rint(32767 * np.interp(wanted, np.arange(len(wave)), wave)).astype(np.int16)


@pytest.mark.parametrize("frame", ["crop", "full"])
def test_every_frame_of_the_real_engine_is_sent_in_time(portrait_path: Path, voice_path: Path, frame: str) -> None:
    engine = load_engine()
    session = engine.open_session(engine.enroll(portrait_path), seed=1, frame=frame)
    bench = Bench(seconds=2.5, session=session, voice=_voice(voice_path, 4.0), render_s=lambda _: 0.012).run()
    counters = bench.live.counters
    delay_s = counters.delay_ms / 1e3 + bench.speaker_latency_s
    assert counters.sent == pytest.approx((2.5 - delay_s) * 25, abs=3)
    assert counters.overtaken <= 1
    assert counters.skipped_ms == 0
    assert counters.delay_ms < session.lookahead_ms + 20 + 35 + 40
    moments = [now for now, _, _ in bench.camera.sent if now > 101]
    assert np.median(np.diff(moments)) == pytest.approx(0.040, abs=0.004)
