"""A measuring viewer: headless Chromium watches a WHEP address and notes every frame it shows.

    python -m benchmarks.network.browser_viewer http://10.77.0.1:8080/whep --seconds 30

Prints ``watching`` when the first frame is there, and after that many seconds one line of JSON: ``frames``, each
[shown, received, RTP time stamp, width] with times in Unix seconds, and ``samples`` of Chromium's own statistics.
"""

import argparse
import contextlib
import json
import urllib.parse
import urllib.request
from typing import Any

from tests.chromium import open_chromium

_OFFER = """async () => {
  document.body.innerHTML = '<video id="v" autoplay playsinline style="width:256px"></video>';
  const pc = window.pc = new RTCPeerConnection();
  pc.addTransceiver('video', {direction: 'recvonly'});
  pc.addTransceiver('audio', {direction: 'recvonly'});
  const video = document.querySelector('#v');
  const both = new MediaStream();
  pc.ontrack = ({track, streams}) => { video.srcObject = streams[0] || (both.addTrack(track), both); };
  await pc.setLocalDescription();
  if (pc.iceGatheringState !== 'complete')
    await new Promise((done) => pc.addEventListener('icegatheringstatechange',
      () => pc.iceGatheringState === 'complete' && done()));
  return pc.localDescription.sdp;
}"""

_ANSWER = """async (sdp) => {
  const video = document.querySelector('#v');
  const begin = performance.timeOrigin / 1000;
  const shown = window.shown = [];
  const samples = window.samples = [];
  const first = new Promise((done) => {
    const look = (now, data) => {
      shown.push([begin + data.expectedDisplayTime / 1000, begin + (data.receiveTime ?? NaN) / 1000,
        data.rtpTimestamp ?? NaN, data.width]);
      done();
      video.requestVideoFrameCallback(look);
    };
    video.requestVideoFrameCallback(look);
  });
  await pc.setRemoteDescription({type: 'answer', sdp});
  setInterval(async () => {
    const sample = {time: begin + performance.now() / 1000};
    for (const entry of (await pc.getStats()).values())
      if (entry.type === 'inbound-rtp') sample[entry.kind] = entry;
    samples.push(sample);
  }, 500);
  await first;
}"""

_ENTRIES = (
    "estimatedPlayoutTimestamp",
    "framesDecoded",
    "framesDropped",
    "freezeCount",
    "totalFreezesDuration",
    "nackCount",
    "pliCount",
    "keyFramesDecoded",
    "packetsReceived",
    "packetsLost",
    "concealedSamples",
    "totalSamplesReceived",
)


def watch(page: Any, url: str, seconds: float) -> dict[str, Any]:
    """What ``page`` saw of the WHEP address ``url`` in so many seconds after the first frame."""
    offer = page.evaluate(_OFFER).encode()
    request = urllib.request.Request(url, offer, {"Content-Type": "application/sdp"})
    with urllib.request.urlopen(request, timeout=20) as response:
        answer, location = response.read().decode(), response.headers["Location"]
    page.evaluate(_ANSWER, answer)
    print("watching", flush=True)
    page.wait_for_timeout(1000 * seconds)
    samples = []
    for sample in page.evaluate("() => window.samples"):
        kept: dict[str, Any] = {"time": sample["time"]}
        for kind in ("audio", "video"):
            kept[kind] = {name: sample.get(kind, {}).get(name) for name in _ENTRIES}
        samples.append(kept)
    if location is not None:
        leave = urllib.request.Request(urllib.parse.urljoin(url, location), method="DELETE")
        with contextlib.suppress(OSError):  # the server ended this viewer itself
            urllib.request.urlopen(leave, timeout=5).close()
    return {"frames": page.evaluate("() => window.shown"), "samples": samples}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    with open_chromium("--disable-features=WebRtcHideLocalIpsWithMdns") as browser:
        print(json.dumps(watch(browser.new_page(), args.url, args.seconds)), flush=True)


if __name__ == "__main__":
    main()
