"""Sound against image, by flash and beep through the whole chain; and how long it takes from a voice to its image.

    python benchmarks/live/lip_sync.py [--seconds 40] [--json OUT]

- ``flash``: a peer beeps; the engine makes white whatever frame holds a loud sample; audio and image come back
  through the real server, encoders and RTP. Audio minus image at each flash, by time stamps (as receivers play
  them) and by arrival. A frame shows 40 ms of audio from its own time on, so a beep lies 0 to 40 ms after its flash,
  20 in the mean.
- ``file``: the same flashes and beeps through ``Mp4Writer``, by the time stamps of the file.
- ``voice``: ``gohd serve`` with the default weights. From an audio at the microphone to the arrival of the image of
  that moment, encoded, at a peer over loopback. Part of it is ``held_by_microphone_ms``, until its block of 20 ms is
  full; 13 ms are Opus's own, there and back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import av
import numpy as np
import numpy.typing as npt
from aiohttp import web
from beeping_peer import RATE_HZ, BeepingPeer, beeping_wave, find_beeps
from flash_engine import FlashEngine
from latency import Percentiles, hardware, versions
from rich.console import Console

from engine.media import Mp4Writer
from server import AvatarServer, ServerConfig

_WHITE = 180
_NEAR_S = 0.2
_BLOCK_S, _FRAME_S = 0.02, 0.04
_GOHD = (sys.executable, "-u", "-c", "from clients.cli import main; main()")


async def measure_flash(seconds: float) -> dict[str, Any]:
    """Sound minus image at a peer of a server with ``FlashEngine``."""
    server = AvatarServer(ServerConfig(port=0), FlashEngine)
    server.sessions.core_count = 1000
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    server.listening_on(port)
    wave, onsets_s = beeping_wave(seconds)
    peer = BeepingPeer(wave)
    try:
        async with aiohttp.ClientSession() as http:
            await peer.connect(http, f"http://127.0.0.1:{port}")
            await asyncio.sleep(seconds + 1)
    finally:
        await peer.close()
        await runner.cleanup()
    seen, heard = peer.seen(), peer.heard()
    begun = [(before, after) for before, after in pairwise(seen) if before.level < _WHITE <= after.level]
    # Where the frame before was left out, nobody knows whether it was white.
    flashes = [after for before, after in begun if after.time_s - before.time_s < 1.5 * _FRAME_S]
    by_stamp, by_arrival = [], []
    for flash in flashes:
        beep = min(heard, key=lambda beep, flash=flash: abs(beep.time_s - flash.time_s))
        if abs(beep.time_s - flash.time_s) < _NEAR_S:
            by_stamp.append(1e3 * (beep.time_s - flash.time_s))
            by_arrival.append(1e3 * (beep.arrived_s - flash.arrived_s))
    return {
        "beeps": len(onsets_s),
        "flashes": len(by_stamp),
        "flashes_after_a_missing_frame": len(begun) - len(flashes),
        "sound_minus_picture_ms": _spread(by_stamp),
        "by_arrival_ms": _spread(by_arrival),
    }


def measure_file(seconds: float = 20.0) -> dict[str, Any]:
    """Sound minus image in a video whose frames flash where ``FlashEngine`` hears a beep."""
    wave, _ = beeping_wave(seconds)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        session = FlashEngine().open_session(None)
        with Mp4Writer(path, (256, 256), RATE_HZ, 1) as film:
            for begin in range(0, len(wave), 960):
                block = wave[begin : begin + 960]
                film.write_audio((block / 32768).astype(np.float32))
                for frame in session.push_pcm(block, RATE_HZ):
                    film.write(frame.rgb, frame.pts_samples)
        with av.open(str(path)) as container:
            light = [(f.time, f.to_ndarray(format="gray").mean() > _WHITE) for f in container.decode(video=0)]
        with av.open(str(path)) as container:
            frames = list(container.decode(audio=0))
    rate_hz, start_s = frames[0].sample_rate, frames[0].time
    sound = np.concatenate([frame.to_ndarray()[0] for frame in frames])
    beeps_s = [start_s + at / rate_hz for at in find_beeps((32767 * sound).astype(np.int16))]
    flashes_s = [after[0] for before, after in pairwise(light) if after[1] and not before[1]]
    offsets = [1e3 * (min(beeps_s, key=lambda beep, at=at: abs(beep - at)) - at) for at in flashes_s]
    return {"flashes": len(offsets), "sound_minus_picture_ms": _spread(offsets)}


async def measure_voice(seconds: float) -> dict[str, Any]:
    """Through a real ``gohd serve``: from microphone to the image and the audio of the same moment."""
    command = [*_GOHD, "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        url = next(word for word in process.stdout.readline().split() if word.startswith("http"))
        assert process.stdout.readline().startswith("Ready")
        wave, onsets_s = beeping_wave(seconds)
        peer = BeepingPeer(wave)
        async with aiohttp.ClientSession() as http:
            await peer.connect(http, url)
            await asyncio.sleep(seconds + 1)
        await peer.close()
    finally:
        process.terminate()
        process.wait(20)
    told = [event for event in peer.told if event["type"] == "stats"]
    return latencies_ms(peer, onsets_s) | {
        # What the server says of itself: the voice that waits and the delay on its media clock, and a frame's cost.
        "server_delay_ms": float(np.median([event["latency_ms"] for event in told])),
        "render_ms": float(np.median([event["render_ms"] for event in told])),
        "frames_late": told[-1]["frames_late"],
    }


def latencies_ms(peer: BeepingPeer, onsets_s: list[float]) -> dict[str, Any]:
    """From each beep at the microphone to its audio, and to the image of its moment, at the same peer."""
    assert peer.microphone.began_s is not None
    heard, seen = peer.heard(), peer.seen()
    times = np.array([image.time_s for image in seen])
    to_audio, to_image, held = [], [], []
    for onset_s in onsets_s:
        spoken_s = peer.microphone.began_s + onset_s
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
        "to_sound_ms": asdict(Percentiles.of(to_audio)),
        "to_picture_ms": asdict(Percentiles.of(to_image)),
        "held_by_microphone_ms": asdict(Percentiles.of(held)),
    }


def _spread(values_ms: list[float]) -> dict[str, float]:
    values: npt.NDArray[np.float64] = np.array(values_ms)
    return {
        "least": round(float(values.min()), 1),
        "p50": round(float(np.median(values)), 1),
        "most": round(float(values.max()), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--json", type=Path, help="where to write the report")
    args = parser.parse_args()
    report: dict[str, Any] = {"hardware": hardware("cpu"), "versions": versions(), "seconds": args.seconds}
    report["flash"] = asyncio.run(measure_flash(args.seconds))
    report["file"] = measure_file()
    report["voice"] = asyncio.run(measure_voice(args.seconds))
    report["date"] = time.strftime("%Y-%m-%d")
    Console().print_json(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
