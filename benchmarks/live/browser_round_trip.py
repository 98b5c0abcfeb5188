"""From a voice at a browser's microphone to its frame and audio in the page: a real Chromium and a real server.

    python -m benchmarks.live.browser_round_trip [--seconds 30] [--json OUT]

``gohd serve`` with the default weights; Chromium hears a file of beeps as its microphone. One audio clock in the page
hears both the microphone and what comes back, so no second clock is involved. The time contains Chromium's
capture, its encoder, the server, its jitter buffer and its mixer. The frame's time is the audio's plus the distance of
the two by Chromium's own estimate of what it plays of either.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.report.command import Report, run_benchmark
from benchmarks.report.timing import percentiles
from benchmarks.signals import beeping_wave
from tests.chromium import open_chromium, write_wav
from tests.server_process import ServerProcess

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


def measure(seconds: float) -> Report:
    """Beeps through a real ``gohd serve`` and back into the page."""
    with tempfile.TemporaryDirectory() as folder, ServerProcess("serve", "--port", "0") as server:
        voice = write_wav(Path(folder) / "voice.wav", beeping_wave(20.0)[0])
        with open_chromium(microphone=voice) as browser:
            page = browser.new_context(permissions=["microphone"]).new_page()
            page.goto(server.url)
            noted = page.evaluate(_LISTEN, seconds)
    # The first beeps meet buffers that are still finding their length.
    to_audio = pair_beeps([at for at in noted["spoken"] if at > noted["spoken"][0] + 5], noted["heard"])
    skew = float(np.median(noted["skews"][-20:])) if noted["skews"] else float("nan")
    return {
        "beeps": len(to_audio),
        "to_audio_ms": percentiles(to_audio),
        "audio_minus_image_ms": round(skew, 1),
        "to_image_ms": percentiles([time + skew for time in to_audio]),
        "jitter_buffer_ms": {kind: round(value, 1) for kind, value in noted["buffered"].items()},
    }


def _measure(args: argparse.Namespace) -> Report:
    return {"seconds": args.seconds, "browser": measure(args.seconds)}


if __name__ == "__main__":
    run_benchmark(__doc__, _measure, lambda parser: parser.add_argument("--seconds", type=float, default=30.0))
