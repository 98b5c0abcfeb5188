"""The page in a real Chromium whose media may take no other way than through a real coturn."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from tests.serving_helper import Served
from tests.turn_helper import TURN_SECRET, running_coturn

pytestmark = pytest.mark.browser

_PAIRS = """async () => {
  const kinds = [];
  for (const report of (await window.peer.getStats()).values())
    if (report.type === 'local-candidate' || report.type === 'remote-candidate') kinds.push(report.candidateType);
  return kinds;
}"""
_KEEP_PEER = """(() => {
  const Plain = window.RTCPeerConnection;
  window.RTCPeerConnection = function (...settings) { return (window.peer = new Plain(...settings)); };
})()"""


def test_the_page_speaks_through_a_relay_alone(
    browser: Any, serve_in_thread: Callable[..., Served], tmp_path: Path
) -> None:
    with running_coturn(tmp_path) as url:
        served = serve_in_thread(
            FakeEngine(), turn_urls=(url,), turn_secret=TURN_SECRET, relay_only=True, connect_timeout_s=20.0
        )
        context = browser.new_context(permissions=["microphone"])
        page = context.new_page()
        page.add_init_script(_KEEP_PEER)
        page.goto(served.url)
        page.click("#start")
        page.wait_for_selector("#connection[data-state=live]", timeout=30_000)
        end = time.monotonic() + 15
        while page.evaluate("document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames") < 10:
            assert time.monotonic() < end, "no image came through the relay"
            page.wait_for_timeout(200)
        kinds = page.evaluate(_PAIRS)
        assert kinds
        assert set(kinds) == {"relay"}
        page.click("#start")
        context.close()
