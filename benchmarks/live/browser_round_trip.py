"""From a voice at a browser's microphone to its image and audio in the page: a real Chromium and a real server.

    python benchmarks/live/browser_round_trip.py [--seconds 30] [--json OUT]

``gohd serve`` with the default weights; Chromium hears a file of beeps as its microphone. One audio clock in the page
hears both the microphone and what comes back, so the time between them needs nobody else's clock: Chromium's capture,
its encoder, the server, its jitter buffer and its mixer are all in it. The picture's time is the sound's plus the
distance of the two by Chromium's own estimate of what it plays of either.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import wave
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from beeping_peer import RATE_HZ, beeping_wave
from latency import Percentiles, hardware, versions
from rich.console import Console

_GOHD = (sys.executable, "-u", "-c", "from clients.cli import main; main()")
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
]

_LISTEN = """async (seconds) => {
  const raw = {echoCancellation: false, noiseSuppression: false, autoGainControl: false};
  const microphone = await navigator.mediaDevices.getUserMedia({audio: raw});
  const pc = new RTCPeerConnection();
  pc.addTrack(microphone.getAudioTracks()[0], microphone);
  pc.addTransceiver('video', {direction: 'recvonly'});
  const both = new MediaStream();
  const heard = new Promise((done) => { pc.ontrack = ({track}) => {
    both.addTrack(track);
    if (track.kind === 'audio') done(track);
  }; });
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== 'complete')
    await new Promise((done) => pc.addEventListener('icegatheringstatechange',
      () => pc.iceGatheringState === 'complete' && done()));
  const response = await fetch('/offer', {method: 'POST', headers: {'Content-Type': 'application/json'},
    body: JSON.stringify({sdp: pc.localDescription.sdp, type: 'offer'})});
  const answer = await response.json();
  await pc.setRemoteDescription({type: 'answer', sdp: answer.sdp});
  const back = new MediaStream([await heard]);
  const video = document.createElement('video');
  document.body.append(video);
  video.srcObject = both;
  await video.play();
  const context = new AudioContext({sampleRate: 48000, latencyHint: 'interactive'});
  await context.resume();
  const merger = context.createChannelMerger(2);
  context.createMediaStreamSource(microphone).connect(merger, 0, 0);
  context.createMediaStreamSource(back).connect(merger, 0, 1);
  const ears = context.createScriptProcessor(512, 2, 1);
  const onsets = [[], []];
  const last = [-1e9, -1e9];
  ears.onaudioprocess = ({inputBuffer, playbackTime}) => {
    for (const side of [0, 1]) {
      const data = inputBuffer.getChannelData(side);
      for (let index = 0; index < data.length; index += 1) {
        if (Math.abs(data[index]) < 0.2) continue;
        const at = playbackTime + index / context.sampleRate;
        if (at - last[side] > 0.2) onsets[side].push(at);
        last[side] = at;
      }
    }
  };
  merger.connect(ears).connect(context.destination);
  const skews = [];
  const ask = setInterval(async () => {
    const play = {};
    for (const entry of (await pc.getStats()).values())
      if (entry.type === 'inbound-rtp') play[entry.kind] = entry.estimatedPlayoutTimestamp;
    if (play.audio && play.video) skews.push(play.audio - play.video);
  }, 500);
  await new Promise((done) => setTimeout(done, seconds * 1000));
  clearInterval(ask);
  const buffered = {};
  for (const entry of (await pc.getStats()).values())
    if (entry.type === 'inbound-rtp')
      buffered[entry.kind] = 1000 * entry.jitterBufferDelay / entry.jitterBufferEmittedCount;
  pc.close();
  return {spoken: onsets[0], heard: onsets[1], skews, buffered};
}"""


def pair_beeps(spoken_s: list[float], heard_s: list[float]) -> list[float]:
    """Milliseconds from each spoken beep to the first one heard within 0.7 s."""
    times = []
    for at in spoken_s:
        later = [heard for heard in heard_s if 0 < heard - at < 0.7]
        if later:
            times.append(1e3 * (later[0] - at))
    return times


def measure(seconds: float) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("GOHD_CHROMIUM") or shutil.which("chromium")
    command = [*_GOHD, "serve", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        url = next(word for word in server.stdout.readline().split() if word.startswith("http"))
        assert server.stdout.readline().startswith("Ready")
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
            voice = Path(folder) / "voice.wav"
            with wave.open(str(voice), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(RATE_HZ)
                file.writeframes(beeping_wave(20.0)[0].astype("<i2").tobytes())
            flags = [*_FLAGS, f"--use-file-for-fake-audio-capture={voice}"]
            browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=flags)
            page = browser.new_context(permissions=["microphone"]).new_page()
            page.goto(url)
            noted = page.evaluate(_LISTEN, seconds)
            browser.close()
    finally:
        server.terminate()
        server.wait(20)
        server.stdout.close()
    # The first beeps meet buffers that are still finding their length.
    to_audio = pair_beeps([at for at in noted["spoken"] if at > noted["spoken"][0] + 5], noted["heard"])
    skew = float(np.median(noted["skews"][-20:])) if noted["skews"] else float("nan")
    return {
        "beeps": len(to_audio),
        "to_sound_ms": asdict(Percentiles.of(to_audio)),
        "sound_minus_picture_ms": round(skew, 1),
        "to_picture_ms": asdict(Percentiles.of([time + skew for time in to_audio])),
        "jitter_buffer_ms": {kind: round(value, 1) for kind, value in noted["buffered"].items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--json", type=Path, help="where to write the report")
    args = parser.parse_args()
    report: dict[str, Any] = {"hardware": hardware("cpu"), "versions": versions(), "seconds": args.seconds}
    report["browser"] = measure(args.seconds)
    Console().print_json(json.dumps(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
