"""Lips and voice together, by flash and beep through the whole chain; and the time from a voice to its frame.

    python -m benchmarks.live.lip_sync [--seconds 40] [--json OUT]

- ``flash``: a peer beeps; the fake engine turns each frame with a loud sample white; audio and frames come back
  through the real server, encoders and RTP. Audio minus video at each flash, by time stamps (as receivers play
  them) and by arrival. A frame shows 40 ms of audio from its own time on, so a beep lies 0 to 40 ms after its flash,
  20 in the mean.
- ``file``: the same flashes and beeps through ``Mp4Writer``, by the time stamps of the file.
- ``voice``: ``gohd serve`` with the default weights. From a sound at the microphone to the arrival of the frame of
  that moment, encoded, at a peer over loopback. Part of it is ``held_by_microphone_ms``, until its block of 20 ms is
  full; 13 ms are Opus's own, there and back.
"""

import argparse
import asyncio
import contextlib
import tempfile
from itertools import pairwise
from pathlib import Path

import aiohttp
import av
import numpy as np

from benchmarks.live.timed_peer import TimedPeer
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from benchmarks.signals import BEEP_RATE_HZ, beeping_wave, find_beeps
from engine.media import Mp4Writer
from tests.fake_engine import FakeEngine
from tests.server_process import ServerProcess
from tests.serving_helper import start_server
from tests.webrtc_peer import BLOCK, VoiceTrack

_WHITE = 110  # the mean of a frame of the fake engine is 45 to 90, or 127 to 255 where it flashes
_NEAR_S = 0.2
_BLOCK_S, _FRAME_S = 0.02, 0.04


async def measure_flash(seconds: float) -> Report:
    """Audio minus video at a peer of a server with the fake engine."""
    wave, onsets_s = beeping_wave(seconds)
    async with contextlib.AsyncExitStack() as stack:
        served = await start_server(stack)
        peer = TimedPeer(served.http, served.url, VoiceTrack(wave))
        stack.push_async_callback(peer.hang_up)
        await peer.connect()
        await asyncio.sleep(seconds + 1)
    seen, heard = peer.images(), peer.beeps()
    begun = [(before, after) for before, after in pairwise(seen) if before.level < _WHITE <= after.level]
    # Where the frame before was left out, it may have been white already.
    flashes = [after for before, after in begun if after.time_s - before.time_s < 1.5 * _FRAME_S]
    by_stamp, by_arrival = [], []
    for flash in flashes:
        beep = heard[int(np.argmin([abs(beep.time_s - flash.time_s) for beep in heard]))]
        if abs(beep.time_s - flash.time_s) < _NEAR_S:
            by_stamp.append(1e3 * (beep.time_s - flash.time_s))
            by_arrival.append(1e3 * (beep.arrived_s - flash.arrived_s))
    return {
        "beeps": len(onsets_s),
        "flashes": len(by_stamp),
        "flashes_after_a_missing_frame": len(begun) - len(flashes),
        "audio_minus_image_ms": _spread(by_stamp),
        "by_arrival_ms": _spread(by_arrival),
    }


def measure_file(seconds: float) -> Report:
    """Audio minus video in a file whose frames flash where the fake engine hears a beep."""
    wave, _ = beeping_wave(seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        session = FakeEngine().open_session(None)
        with Mp4Writer(path, (256, 256), BEEP_RATE_HZ, 1) as video:
            for begin in range(0, len(wave), BLOCK):
                block = wave[begin : begin + BLOCK]
                video.write_audio((block / 32768).astype(np.float32))
                for frame in session.push_pcm(block, BEEP_RATE_HZ):
                    video.write(frame.rgb, frame.pts_samples)
        with av.open(str(path)) as container:
            light = [(f.time, f.to_ndarray(format="gray").mean() > _WHITE) for f in container.decode(video=0)]
        with av.open(str(path)) as container:
            frames = list(container.decode(audio=0))
    rate_hz, start_s = frames[0].sample_rate, frames[0].time
    audio = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    beeps_s = np.array([start_s + at / rate_hz for at in find_beeps((32767 * audio).astype(np.int16))])
    flashes_s = [after[0] for before, after in pairwise(light) if after[1] and not before[1]]
    offsets = [1e3 * float(beeps_s[np.abs(beeps_s - at).argmin()] - at) for at in flashes_s]
    return {"flashes": len(offsets), "audio_minus_image_ms": _spread(offsets)}


async def measure_voice(seconds: float) -> Report:
    """Through a real ``gohd serve``: from the microphone to the frame and the audio of the same moment."""
    wave, onsets_s = beeping_wave(seconds)
    server = await asyncio.to_thread(ServerProcess, "serve", "--port", "0")
    try:
        async with aiohttp.ClientSession() as http:
            peer = TimedPeer(http, server.url, VoiceTrack(wave))
            await peer.connect()
            await asyncio.sleep(seconds + 1)
            await peer.hang_up()
    finally:
        await asyncio.to_thread(server.stop)
    told = [event for event in peer.events if event["type"] == "stats"]
    return latencies_ms(peer, onsets_s) | {
        # The server's own figures: voice that waits and delay on its media clock, and the cost of a frame.
        "server_delay_ms": float(np.median([event["latency_ms"] for event in told])),
        "render_ms": float(np.median([event["render_ms"] for event in told])),
        "frames_late": told[-1]["frames_late"],
    }


def latencies_ms(peer: TimedPeer, onsets_s: list[float]) -> Report:
    """From each beep at the microphone to its audio, and to the frame of its moment, at the same peer."""
    heard, seen = peer.beeps(), peer.images()
    times = np.array([image.time_s for image in seen])
    to_audio, to_image, held = [], [], []
    for onset_s in onsets_s:
        spoken_s = peer.voice.began_s + onset_s
        beeps = [beep for beep in heard if 0 < beep.arrived_s - spoken_s < 0.7]
        if not beeps:
            continue
        held.append(1e3 * (_BLOCK_S - onset_s % _BLOCK_S))
        to_audio.append(1e3 * (beeps[0].arrived_s - spoken_s))
        index = int(np.searchsorted(times, beeps[0].time_s, "right")) - 1
        if index >= 0 and beeps[0].time_s - times[index] < 0.05:
            to_image.append(1e3 * (seen[index].arrived_s - spoken_s))
    return {
        "beeps": len(onsets_s),
        "to_audio_ms": percentiles(to_audio),
        "to_image_ms": percentiles(to_image),
        "held_by_microphone_ms": percentiles(held),
    }


def _spread(values_ms: list[float]) -> dict[str, float]:
    values = np.array(values_ms)
    return {
        "least": round(float(values.min()), 1),
        "p50": round(float(np.median(values)), 1),
        "most": round(float(values.max()), 1),
    }


def _measure(args: argparse.Namespace) -> Report:
    return {
        "seconds": args.seconds,
        "flash": asyncio.run(measure_flash(args.seconds)),
        "file": measure_file(min(20.0, args.seconds)),
        "voice": asyncio.run(measure_voice(args.seconds)),
    }


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, lambda parser: parser.add_argument("--seconds", type=float, default=40.0))
