"""The page in a real headless Chromium, against a fake engine."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_engine import FakeEngine
from tests.serving_helper import Served, image_bytes

pytestmark = pytest.mark.browser

DESKTOP = {"width": 1280, "height": 860}
PHONE = {"width": 390, "height": 844}

FRAMES = "() => document.querySelector('#avatar').getVideoPlaybackQuality().totalVideoFrames"
BRIGHTNESS = """() => {
  const video = document.querySelector('#avatar');
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 16;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0, 16, 16);
  const pixels = context.getImageData(14, 2, 1, 1).data;
  return pixels[0];
}"""


@pytest.fixture(scope="module")
def served(serve_in_thread: Callable[..., Served]) -> Served:
    return serve_in_thread(FakeEngine(render_s=0.01))


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    context = browser.new_context(viewport=DESKTOP, permissions=["microphone"])
    page = context.new_page()
    page.problems = []
    page.on("console", lambda m: page.problems.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: page.problems.append(str(error)))
    page.goto(served.url)
    yield page
    context.close()
    _wait(lambda: len(served.server.sessions) == 0)


def _wait(condition: Callable[[], Any], timeout_s: float = 10.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def _start(page: Any, voice: str = "microphone") -> None:
    page.locator(f"input[name=voice][value={voice}] + span").click()
    page.click("#start")
    page.wait_for_selector("#connection[data-state=live]", timeout=15_000)


def _stop(page: Any) -> None:
    """Press Stop; the server hears of it and agrees."""
    with page.expect_response(lambda response: response.request.method == "DELETE") as told:
        page.click("#start")
    assert told.value.status == 204
    page.wait_for_selector("#connection[data-state=off]")


def _brightest(page: Any, seconds: float) -> int:
    levels, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        levels.append(page.evaluate(BRIGHTNESS))
        page.wait_for_timeout(40)
    return max(levels)


def test_loads_without_a_complaint(page: Any) -> None:
    assert page.title() == "gohd-live"
    assert page.is_visible(".notice")
    assert "AI-generated" in page.inner_text(".notice")
    page.wait_for_load_state("networkidle")
    assert page.problems == []


@pytest.mark.realtime
def test_microphone_moves_the_avatar(page: Any, tmp_path: Path) -> None:
    _start(page)
    _wait(lambda: page.evaluate(FRAMES) > 10)
    for _ in range(3):  # somebody else's work on the machine must not decide
        before, began = page.evaluate(FRAMES), time.monotonic()
        levels = []
        while time.monotonic() < began + 3:
            levels.append(page.evaluate(BRIGHTNESS))
            page.wait_for_timeout(40)
        fps = (page.evaluate(FRAMES) - before) / (time.monotonic() - began)
        if fps > 15:
            break
    assert fps > 15
    assert max(levels) - min(levels) > 80, "the image must change with the microphone's sound"
    _wait(lambda: "fps" in page.inner_text("#stat-fps"))
    page.screenshot(path=tmp_path / "live.png")
    _stop(page)
    assert page.inner_text("#start") == "Start"
    assert page.problems == []


def test_sample_voice_speaks_and_can_be_interrupted(page: Any, served: Served) -> None:
    _start(page, "sample")
    page.wait_for_selector("#screen[data-state=speaking]", timeout=10_000)
    _wait(lambda: page.evaluate(BRIGHTNESS) > 200)
    page.click("#interrupt")
    _wait(lambda: served.engine.sessions[-1].interrupts == 1)
    # Longer than any pause in the voice, sooner than its end: what was to be said is shown no more.
    _wait(lambda: _brightest(page, 0.6) < 130, 4.0)
    page.wait_for_selector("#again:not([hidden])")
    page.click("#again")
    page.wait_for_selector("#screen[data-state=speaking]", timeout=10_000)
    _stop(page)
    assert page.problems == []


def _eyes(page: Any, where: str) -> None:
    page.locator(f"input[name=eyes][value={where}] + span").click()


def test_eyes_follow_pointer_and_keys(page: Any, served: Served) -> None:
    _start(page)
    _eyes(page, "follow")
    box = page.locator("#screen").bounding_box()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 0.2 * box["height"])
    session = served.engine.sessions[-1]
    _wait(lambda: session.gaze is not None and session.gaze[0] > 0.1 and session.gaze[1] > 0.3)
    page.mouse.move(2, 2)
    _wait(lambda: session.gaze is None)
    page.focus("#screen")
    page.keyboard.press("ArrowLeft")
    _wait(lambda: session.gaze is not None and session.gaze[1] < 0)
    _eyes(page, "camera")
    _wait(lambda: session.gaze == (0.0, 0.0))
    _eyes(page, "away")
    _wait(lambda: session.gaze is not None and abs(session.gaze[1]) > 0.3)
    _eyes(page, "free")
    _wait(lambda: session.gaze is None)


def test_liveliness_and_head_are_told_now_and_after_a_new_start(page: Any, served: Served) -> None:
    _start(page)
    page.focus("#intensity")
    for _ in range(4):
        page.keyboard.press("ArrowLeft")
    page.uncheck("#head")
    assert page.inner_text("#intensity-value") == "80 %"
    _wait(lambda: served.engine.sessions[-1].intensity == 0.8)
    _wait(lambda: not served.engine.sessions[-1].pose_moves)
    _stop(page)
    _start(page)
    _wait(lambda: served.engine.sessions[-1].intensity == 0.8)
    _wait(lambda: not served.engine.sessions[-1].pose_moves)
    assert page.problems == []


def test_a_lost_connection_is_made_again(page: Any, served: Served) -> None:
    _start(page)
    _wait(lambda: page.evaluate(FRAMES) > 10)
    first = next(iter(served.server.sessions._places))
    served.in_loop(_drop(served))
    page.wait_for_selector("#connection-text:text('Reconnecting')", timeout=30_000)
    page.wait_for_selector("#connection[data-state=live]", timeout=30_000)
    assert first not in served.server.sessions._places
    assert page.inner_text("#start") == "Stop"
    page.click("#start")


def test_a_session_that_the_server_ended_ends_without_a_complaint(page: Any, served: Served) -> None:
    """The page's own word then comes too late, as it may whenever both go at once."""
    _start(page)
    _wait(lambda: "ms" in page.inner_text("#stat-latency"))  # the server can speak to the page
    session = next(iter(served.server.sessions._places.values()))
    assert session is not None
    with page.expect_response(lambda response: response.request.method == "DELETE") as told:
        served.in_loop(session.close("the server ends it"))
    assert told.value.status == 204
    page.wait_for_selector("#connection[data-state=off]")
    assert page.inner_text("#status") == "The session has ended."
    assert page.problems == []


async def _drop(served: Served) -> None:
    """Cut every path to the browser without a good-bye, as a dead network does."""
    session = next(iter(served.server.sessions._places.values()))
    assert session is not None
    viewer: Any = session._close_hooks[0].__self__  # type: ignore[attr-defined]
    for transceiver in viewer.peer._pc.getTransceivers():
        for protocol in transceiver.receiver.transport.transport._connection._protocols:
            protocol.transport.close()


def test_own_image_needs_consent(page: Any, served: Served) -> None:
    image = {"name": "me.jpg", "mimeType": "image/jpeg", "buffer": image_bytes()}
    page.set_input_files("#portrait-file", image)
    page.click("#start")
    page.wait_for_selector("#problem:not([hidden])")
    assert "right to use" in page.inner_text("#problem")
    assert page.locator("#consent").bounding_box()["width"] >= 18
    page.check("#consent")
    _start(page)
    assert page.inner_text("#problem") == "About your image: the eyes are shut."
    page.click("#start")


def test_faults_are_told_in_words(page: Any, served: Served) -> None:
    page.set_input_files(
        "#portrait-file", {"name": "wall.jpg", "mimeType": "image/jpeg", "buffer": image_bytes("black")}
    )
    page.check("#consent")
    page.click("#start")
    page.wait_for_selector("#problem:not([hidden])")
    assert "no face" in page.inner_text("#problem").lower()
    assert page.inner_text("#start") == "Start"


def test_two_tabs_speak_side_by_side(page: Any, browser: Any, served: Served) -> None:
    _start(page)
    context = browser.new_context(permissions=["microphone"])
    second = context.new_page()
    second.goto(served.url)
    _start(second, "sample")
    before = page.evaluate(FRAMES), second.evaluate(FRAMES)
    _wait(lambda: page.evaluate(FRAMES) > before[0] + 25 and second.evaluate(FRAMES) > before[1] + 25)
    assert len(served.server.sessions) == 2
    context.close()
    _wait(lambda: len(served.server.sessions) == 1)


def test_a_full_server_says_so(browser: Any, serve_in_thread: Callable[..., Served]) -> None:
    served = serve_in_thread(max_sessions=1)
    contexts = [browser.new_context(permissions=["microphone"]) for _ in range(2)]
    first, second = (context.new_page() for context in contexts)
    for page in (first, second):
        page.goto(served.url)
    _start(first)
    second.click("#start")
    second.wait_for_selector("#problem:not([hidden])", timeout=15_000)
    assert "places here are taken" in second.inner_text("#problem")
    for context in contexts:
        context.close()


def test_reload_storm_keeps_the_place(page: Any, served: Served) -> None:
    for _ in range(4):
        _start(page)
        page.reload()
    _start(page)
    _stop(page)
    assert page.problems == []


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_fits_the_screen(browser: Any, served: Served, size: Any, scheme: str, tmp_path: Path) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(served.url)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("#start").bounding_box()["height"] >= 40
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    context.close()


def test_keyboard_alone_can_start(page: Any) -> None:
    page.focus("input[name=voice][value=microphone]")
    page.keyboard.press("ArrowRight")
    assert page.is_checked("input[name=voice][value=sample]")
    page.focus("#start")
    page.keyboard.press("Enter")
    page.wait_for_selector("#connection[data-state=live]", timeout=15_000)
    page.keyboard.press("Enter")
    page.wait_for_selector("#connection[data-state=off]")
