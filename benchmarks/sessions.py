"""How many sessions one machine serves at 25 frames a second: more and more of them, until frames come late.

    python benchmarks/sessions.py [--device cpu|cuda] [--backend NAME] [--preset NAME] [--size N] [--quick] [--json OUT]

Sessions run on the same threads as in the server: one a session and, where sessions share a device, one more that
renders their frames in batches. Each hears the demo voice in blocks of 20 ms by the clock, at a phase of its own.

    audio of the frame ....[look-ahead]|<--------- slot --------->|
                                    block comes              the frame is late from here on

A miss is a frame that is not finished (label, watermark) ``--slot-ms`` after the block that it waited for, or never.
``made_ms`` is counted from that block, ``latency_ms`` from the frame's audio, look-ahead included. ``--encode`` also
encodes each frame as the server does, on the session's thread. ``sessions`` is the most with fewer than 1 % of misses.
"""

import argparse
import math
import os
import sys
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt
import torch
from aiortc.codecs.h264 import H264Encoder
from rich.console import Console

if __package__ in (None, ""):  # started by its path
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.gpu.random_animator import weights_of
from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from benchmarks.signals import demo_portrait, demo_voice_int16
from engine import Avatar, Engine, load_engine
from engine.animator import PRESETS
from engine.batch.renderer import BUCKETS
from engine.portrait import CROP_SIZE, CROP_SIZES
from server.live.batching import sessions_that_fit
from server.live.block import BLOCK_S, BLOCK_SAMPLES, MEDIA_RATE_HZ, Block
from server.live.capacity import cores, measure_batches
from server.live.clock import MonotonicClock
from server.live.device_worker import DeviceWorker
from server.live.frame import LiveFrame
from server.live.worker import EngineWorker
from server.webrtc.codecs import configure_codecs
from server.webrtc.tracks import SAMPLES_PER_FRAME

_MOST_MISSES = 0.01
_PORTRAITS = 4
_MAX_SESSIONS = 256


class _Speaker:
    """One session: hears the voice by the clock and notes when each frame was finished."""

    def __init__(
        self,
        engine: Engine,
        avatar: Avatar,
        number: int,
        start_s: float,
        *,
        lookahead_s: float,
        slot_s: float,
        renderer: Any,
        device: DeviceWorker | None,
        encode: bool,
    ) -> None:
        session = engine.open_session(avatar, seed=number, renderer=renderer)
        self.start_s = start_s
        self._lookahead_s = lookahead_s
        self._encoder = H264Encoder() if encode else None
        self._finished_s: dict[int, float] = {}
        self._error: BaseException | None = None
        self._ended = threading.Event()
        self.worker = EngineWorker(
            session,
            MonotonicClock(),
            on_frame=self._note,
            on_ended=self._note_end,
            departs_s=lambda sample: self.heard_s(sample) + slot_s,
            name=str(number),
            device=device,
        )
        self.worker.start()

    def heard_s(self, media_sample: int) -> float:
        """When the block comes with which a frame can be made."""
        needed_s = media_sample / MEDIA_RATE_HZ + self._lookahead_s
        return self.start_s + BLOCK_S * -int(-needed_s // BLOCK_S)

    def hear(self, index: int, wave: npt.NDArray[np.int16]) -> None:
        begin = index * BLOCK_SAMPLES % (len(wave) - BLOCK_SAMPLES)
        self.worker.put([Block(index * BLOCK_SAMPLES, wave[begin : begin + BLOCK_SAMPLES])])

    def end(self) -> None:
        self.worker.stop()
        self._ended.wait(10)
        if self._error is not None:
            raise self._error

    def frames(self, from_s: float, until_s: float) -> Iterator[tuple[float, float]]:
        """Seconds from block to finished frame, and from audio to it, of what should come in that time."""
        for number in range(int((until_s - self.start_s) * 25)):
            sample = number * SAMPLES_PER_FRAME
            if from_s <= self.heard_s(sample) < until_s:
                done_s = self._finished_s.get(number, float("inf"))
                yield done_s - self.heard_s(sample), done_s - self.start_s - sample / MEDIA_RATE_HZ

    def _note(self, frame: LiveFrame) -> None:
        if self._encoder is not None:
            image = av.VideoFrame.from_ndarray(frame.rgb, format="rgb24")
            image.pts, image.time_base = frame.place, Fraction(1, MEDIA_RATE_HZ)
            self._encoder.encode(image)
        # Voice that was left out moves the frames after it off the grid.
        self._finished_s[round(frame.place / SAMPLES_PER_FRAME)] = time.monotonic()

    def _note_end(self, error: BaseException | None) -> None:
        self._error = error
        self._ended.set()


class Ramp:
    """One engine, and levels of more and more sessions with frames of ``size`` pixels."""

    def __init__(self, engine: Engine, size: int, *, batches: bool, slot_ms: float, encode: bool) -> None:
        self._engine = engine
        portrait = demo_portrait(size)
        self._avatars = [engine.enroll(portrait, size=size) for _ in range(_PORTRAITS)]
        self._slot_s, self._encode = slot_ms / 1e3, encode
        self._wave = demo_voice_int16(20.0)
        self._renderer: Any = None
        self._device: DeviceWorker | None = None
        self.batch_ms: dict[int, float] = {}
        self.predicted = 0
        if batches:
            self._share()
        frontend = engine.open_session(self._avatars[0], renderer=self._renderer)
        frontend.listen(np.zeros(BLOCK_SAMPLES, np.int16), MEDIA_RATE_HZ)  # the resampler's delay counts, too
        self._lookahead_s = frontend.lookahead_ms / 1e3

    def _share(self) -> None:
        self._renderer = self._engine.open_renderer(_MAX_SESSIONS)
        sessions = [
            self._engine.open_session(self._avatars[number % _PORTRAITS], renderer=self._renderer)
            for number in range(max(BUCKETS))
        ]
        times, _, _ = measure_batches(sessions, self._renderer)
        for session in sessions:
            self._renderer.leave(session.row)
            session.close()
        self.batch_ms = {size: round(1e3 * times.of(size), 3) for size in times.buckets}
        self.predicted = sessions_that_fit(times)
        self._device = DeviceWorker(self._renderer, times, MonotonicClock())
        self._device.start()

    def level(self, count: int, seconds: float, warm_up_s: float) -> Report:
        """``count`` sessions for ``seconds``, after a warm-up."""
        device = self._device
        begin_s = time.monotonic() + 0.5
        speakers = [
            _Speaker(
                self._engine,
                self._avatars[number % _PORTRAITS],
                number,
                begin_s + 0.04 * number / count,
                lookahead_s=self._lookahead_s,
                slot_s=self._slot_s,
                renderer=self._renderer,
                device=device,
                encode=self._encode,
            )
            for number in range(count)
        ]
        before = (0, 0, 0) if device is None else (device.batches, device.frames, device.hidden)
        until_s = begin_s + warm_up_s + seconds
        try:
            self._speak(speakers, until_s + self._slot_s)
        finally:
            for speaker in speakers:
                speaker.end()
        frames = [list(speaker.frames(begin_s + warm_up_s, until_s)) for speaker in speakers]
        missed = [[made_s > self._slot_s for made_s, _ in mine] for mine in frames]
        done = [pair for mine in frames for pair in mine if np.isfinite(pair[0])]
        row: Report = {
            "sessions": count,
            "frames": sum(map(len, frames)),
            "misses": round(float(np.mean(np.concatenate(missed))), 5),
            "longest_run": max(map(_longest_run, missed)),
            "fps_least": round(min(_finished(mine) for mine in frames) / seconds, 2),
            "made_ms": percentiles([1e3 * made_s for made_s, _ in done]) if done else None,
            "latency_ms": percentiles([1e3 * latency_s for _, latency_s in done]) if done else None,
            "core_ms": round(float(np.mean([speaker.worker.core_ms for speaker in speakers])), 3),
        }
        if device is not None:
            batches, made, hidden = (
                now - then for now, then in zip((device.batches, device.frames, device.hidden), before, strict=True)
            )
            row |= {"rows_a_batch": round((made + hidden) / max(1, batches), 2), "hidden": hidden}
        return row

    def _speak(self, speakers: list[_Speaker], until_s: float) -> None:
        blocks = int((until_s - speakers[0].start_s) / BLOCK_S)
        for index in range(blocks):
            for speaker in speakers:
                due_s = speaker.start_s + (index + 1) * BLOCK_S
                if (wait_s := due_s - time.monotonic()) > 0:
                    time.sleep(wait_s)
                speaker.hear(index, self._wave)

    def close(self) -> None:
        if self._device is not None:
            self._device.stop()


def _measure(args: argparse.Namespace, weights: str) -> Report:
    """Levels until misses reach 1 %."""
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    configure_codecs()
    engine = load_engine(weights=weights, device=args.device, backend=args.backend, live_cores=cores())
    batches = {"auto": engine.batches, "on": True, "off": False}[args.batches]
    ramp = Ramp(engine, args.size, batches=batches, slot_ms=args.slot_ms, encode=args.encode)
    seconds, warm_up_s = (2.0, 1.0) if args.quick else (args.seconds, 2.0)
    levels: list[Report] = []
    began_s = time.monotonic()
    for count in _counts(args.levels, args.device, args.quick):
        if time.monotonic() - began_s > args.most_s:
            break
        levels.append(ramp.level(count, seconds, warm_up_s))
        Console(stderr=True).print(levels[-1], highlight=False)
        if levels[-1]["misses"] >= _MOST_MISSES:
            break
    ramp.close()
    good = [row for row in levels if row["misses"] < _MOST_MISSES]
    return {
        "sessions": good[-1]["sessions"] if good else 0,
        "misses": good[-1]["misses"] if good else None,
        "levels": levels,
        "batch_ms": ramp.batch_ms,
        "predicted_sessions": ramp.predicted if batches else None,
        "config": {
            "device": args.device,
            "backend": getattr(engine.animator, "backend", "geometric"),
            "weights": f"random {args.preset}" if args.preset else args.weights,
            "shared_device": batches,
            "slot_ms": args.slot_ms,
            "seconds": seconds,
            "encode": args.encode,
            "frame_px": [args.size, args.size],
            "portraits": _PORTRAITS,
        },
        "memory_mib": round(torch.cuda.max_memory_allocated() / 2**20) if args.device == "cuda" else None,
        "load_average": os.getloadavg(),
    }


def _counts(levels: str, device: str, quick: bool) -> list[int]:
    if levels:
        return [int(level) for level in levels.split(",")]
    if quick:
        return [1, 2]
    if device == "cpu":
        return list(range(1, 65))
    return [1, 8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256]


def _finished(frames: list[tuple[float, float]]) -> int:
    return sum(math.isfinite(made_s) for made_s, _ in frames)


def _longest_run(missed: list[bool]) -> int:
    longest = run = 0
    for miss in missed:
        run = run + 1 if miss else 0
        longest = max(longest, run)
    return longest


def measure(args: argparse.Namespace) -> Report:
    """Levels until misses reach 1 %, with the weights or the preset that were asked for."""
    with weights_of(args.preset, args.weights) as weights:
        return _measure(args, weights)


def _options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--backend", default="auto", help="of a neural animator")
    parser.add_argument("--size", type=int, default=CROP_SIZE, choices=CROP_SIZES, help="side of the frames in pixels")
    parser.add_argument("--weights", default="default")
    parser.add_argument("--preset", choices=tuple(PRESETS), help="an animator of this layout with random weights")
    parser.add_argument(
        "--batches", choices=("auto", "on", "off"), default="auto", help="whether sessions share one device"
    )
    parser.add_argument("--levels", default="", help="numbers of sessions to try, as 1,2,4")
    parser.add_argument("--slot-ms", type=float, default=40.0)
    parser.add_argument("--seconds", type=float, default=6.0, help="of each level, after two of warm-up")
    parser.add_argument("--most-s", type=float, default=120.0, help="after which no further level is begun")
    parser.add_argument("--encode", action="store_true", help="encode every frame as well")
    parser.add_argument("--threads", type=int, default=1, help="of torch for each frame")
    parser.add_argument("--quick", action="store_true", help="one and two sessions for two seconds")


if __name__ == "__main__":
    run_benchmark(__doc__, measure, _options, devices=("cpu", "cuda"), theme="sessions")
