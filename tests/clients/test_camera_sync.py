"""The image of `gohd camera` follows the voice that is heard: flash and beep through the whole client, no devices."""

import numpy as np
import pytest

from engine.errors import DeviceLost
from tests.clients.camera_helper import BLOCK, LOUD, RATE_HZ, Bench, stopped_stream

AUDIO_LEAD_MS, AUDIO_LAG_MS = 15, 45
"""What is aimed at: how much later, and how much earlier than its audio, an image may leave."""

GATE_LEAD_MS, GATE_LAG_MS = 40, 60
"""EBU R37, for devices that are broken."""


def _in_sync(skews: list[float], lead_ms: int = AUDIO_LEAD_MS, lag_ms: int = AUDIO_LAG_MS) -> bool:
    return bool(skews) and min(skews) >= -lag_ms and max(skews) <= lead_ms


def _silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * RATE_HZ), np.int16)


@pytest.mark.parametrize("latency_s", [0.005, 0.030, 0.150])
def test_flash_and_beep_leave_together_whatever_the_audio_card_holds(latency_s: float) -> None:
    bench = Bench(seconds=8, speaker_latency_s=latency_s).run()
    skews = bench.skews_ms()
    assert len(skews) >= 6
    assert _in_sync(skews), skews
    assert bench.live.counters.overtaken == 0
    assert bench.live.counters.starved_ms == 0


def test_the_voice_is_held_back_no_longer_than_the_images_need() -> None:
    bench = Bench(seconds=5).run()
    held_back_ms = [held for passed, held in bench.held_ms if passed > 1]
    assert max(held_back_ms) < bench.session.lookahead_ms + 20 + 35 + 25


def test_a_card_that_holds_much_leaves_enough_here_for_its_blocks() -> None:
    bench = Bench(seconds=45, speaker_latency_s=0.3).run()
    assert bench.live.counters.delay_ms == 60
    assert bench.live.counters.starved_ms == 0


@pytest.mark.parametrize(("microphone", "speaker"), [(1.006, 0.998), (0.994, 1.002)])
def test_clocks_that_disagree_do_not_pull_voice_and_image_apart(microphone: float, speaker: float) -> None:
    bench = Bench(seconds=15, microphone_speed=microphone, speaker_speed=speaker).run()
    skews = bench.skews_ms()
    assert len(skews) >= 12
    assert _in_sync(skews), skews
    assert np.sign(bench.live.counters.spliced_ms) == np.sign(microphone - speaker)
    assert bench.live.counters.cut_ms == 0
    late = [held for passed, held in bench.held_ms if passed > 8]
    assert max(late) - min(late) < 60


def test_a_microphone_at_twice_real_time_costs_audio_not_time() -> None:
    bench = Bench(seconds=10, microphone_speed=2.0).run()
    assert bench.live.counters.cut_ms > 3000
    assert max(held for _, held in bench.held_ms) < 600
    assert _in_sync(bench.skews_ms(), GATE_LEAD_MS, GATE_LAG_MS)


def test_a_microphone_at_nine_tenths_is_filled_with_silence_and_stays_in_sync() -> None:
    bench = Bench(seconds=15, microphone_speed=0.9).run()
    assert bench.live.counters.starved_ms > 200
    assert bench.live.counters.delay_ms < 300
    skews = bench.skews_ms()
    assert _in_sync(skews, GATE_LEAD_MS, GATE_LAG_MS), skews


def test_after_a_gap_of_the_microphone_all_is_as_before() -> None:
    bench = Bench(seconds=12, silent_between_s=(4.0, 4.8)).run()
    assert bench.live.counters.starved_ms >= 600
    after = bench.skews_ms(after_s=6)
    assert len(after) >= 4
    assert _in_sync(after), after


def test_images_that_take_longer_hold_the_voice_back_longer() -> None:
    bench = Bench(seconds=10, render_s=lambda passed_s: 0.008 if passed_s < 4 else 0.0199).run()
    slow = Bench(seconds=10, render_s=lambda passed_s: 0.008).run()
    assert _in_sync(bench.skews_ms(after_s=6)), bench.skews_ms()
    assert bench.live.counters.delay_ms >= slow.live.counters.delay_ms


def test_one_slow_moment_lengthens_the_delay_once_and_it_comes_back() -> None:
    bench = Bench(seconds=26, render_s=lambda passed_s: 0.250 if 5.0 < passed_s < 5.2 else 0.006).run()
    assert _in_sync(bench.skews_ms(after_s=7)), bench.skews_ms(after_s=7)
    held = dict(bench.held_ms)
    longest = max(ms for passed, ms in held.items() if passed < 10)
    assert 200 < longest < 500
    assert bench.live.counters.delay_ms < longest - 30


def test_an_engine_that_cannot_keep_up_loses_audio_and_never_gathers_it() -> None:
    bench = Bench(seconds=10, render_s=lambda _: 0.040).run()
    assert bench.live.counters.skipped_ms > 3000
    assert bench.live.counters.delay_ms <= 600
    assert bench.live.counters.sent > 50


def test_without_a_speaker_images_keep_the_pace_of_the_clock() -> None:
    bench = Bench(seconds=6, speaks=False).run()
    assert not bench.played
    moments = [now for now, _, _ in bench.camera.sent if now > 101]
    assert bench.live.counters.sent == pytest.approx(6 * 25 - 5, abs=4)
    assert np.median(np.diff(moments)) == pytest.approx(0.040, abs=0.003)


def test_speech_is_never_spliced_but_quiet_places_are() -> None:
    seconds = 12
    rng = np.random.default_rng(0)
    speech = (rng.standard_normal(seconds * RATE_HZ) * 4000).astype(np.int16)
    speaking = Bench(seconds=seconds - 1, microphone_speed=1.002, voice=speech).run()
    assert speaking.live.counters.spliced_ms == 0
    pauses = speech.reshape(-1, RATE_HZ)
    pauses[:, : RATE_HZ // 5] = 0
    pausing = Bench(seconds=seconds - 1, microphone_speed=1.002, voice=pauses.ravel()).run()
    assert pausing.live.counters.spliced_ms >= 20


def test_what_is_heard_is_what_was_said() -> None:
    bench = Bench(seconds=4).run()
    heard = np.concatenate([samples for _, samples in bench.played])
    said = bench._voice
    first = int(np.flatnonzero(np.abs(heard) > LOUD // 2)[0])
    origin = int(np.flatnonzero(np.abs(said) > LOUD // 2)[0])
    length = len(heard) - first
    np.testing.assert_array_equal(heard[first:], said[origin : origin + length])


@pytest.mark.parametrize("gone", ["microphone", "audio output"])
def test_a_device_that_goes_silent_is_named(gone: str) -> None:
    bench = Bench(seconds=20, silent_between_s=(2.0, 99.0) if gone == "microphone" else (0.0, 0.0))
    if gone == "audio output":
        bench.speaks = False
    with pytest.raises(DeviceLost, match=f"the {gone} went silent.*start again"):
        bench.run()
    assert bench.passed_s < 6


def test_a_stream_that_ends_ends_the_run() -> None:
    bench = Bench(seconds=1)
    bench.live.watch(microphone=stopped_stream())
    with pytest.raises(DeviceLost, match="microphone"):
        bench.live.turn()


def test_a_program_that_stood_still_does_not_take_its_devices_for_lost() -> None:
    bench = Bench(seconds=2).run()
    shown = bench.live.counters.sent
    bench.clock.advance(60.0)
    bench.live.turn()
    for _ in range(10):
        bench.clock.advance(0.1)
        bench.live.hear(np.ones(BLOCK, np.int16))
        bench.live.speak(BLOCK, 0.03)
        bench.live.turn()
    assert bench.live.counters.sent >= shown
    for _ in range(3):
        bench.clock.advance(0.8)
        bench.live.speak(BLOCK, 0.03)
        bench.live.turn()
    bench.clock.advance(0.8)
    bench.live.speak(BLOCK, 0.03)
    with pytest.raises(DeviceLost, match="microphone"):
        bench.live.turn()


def test_a_muted_microphone_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    Bench(seconds=12, voice=_silence(14)).run()
    told = [record for record in caplog.records if "nothing but zeros" in record.message]
    assert len(told) == 1
    assert "--list" in told[0].message


def test_a_fault_of_the_engine_reaches_the_user() -> None:
    bench = Bench(seconds=3)
    bench.session.fail = True
    bench.live.worker.start()
    bench.live.hear(np.zeros(BLOCK, np.int16))
    bench.live.worker.join(5)
    with pytest.raises(RuntimeError, match="told to fail"):
        bench.live.turn()
    assert bench.session.closed
