"""The demo voice, for viewers without a voice of their own: repeated with a pause in between."""

import asyncio
import io
import wave

import numpy as np
import numpy.typing as npt

from server.live.clock import Clock
from server.live.session import LiveSession

_PAUSE_S = 2.0


class DemoVoice:
    """``wav``: a RIFF file of 16-bit mono audio."""

    def __init__(self, wav: bytes) -> None:
        with wave.open(io.BytesIO(wav)) as file:
            self._rate_hz = file.getframerate()
            self._samples: npt.NDArray[np.int16] = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(
                np.int16
            )

    def speak(self, session: LiveSession, clock: Clock) -> None:
        """Speak in ``session`` until it ends."""
        task = asyncio.get_running_loop().create_task(self._run(session, clock))

        async def stop(reason: str) -> None:
            task.cancel()
            await asyncio.wait({task})

        session.add_close_hook(stop)

    async def _run(self, session: LiveSession, clock: Clock) -> None:
        voice = session.open_voice(live=False)
        while True:
            voice.push_pcm(self._samples, self._rate_hz)
            await clock.sleep_until(clock.now_s() + len(self._samples) / self._rate_hz + _PAUSE_S)
