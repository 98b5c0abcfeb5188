"""States and gaze, by hand."""

from server.live.avatar_state import AvatarState
from server.live.messages import Gaze, Look


def test_speaking_is_heard_and_held_through_short_pauses() -> None:
    conduct = AvatarState()
    assert conduct.state == "idle"
    conduct.note_block(True)
    assert conduct.state == "speaking"
    for _ in range(14):
        conduct.note_block(False)
    assert conduct.state == "speaking"
    conduct.note_block(False)
    assert conduct.state == "idle"


def test_what_is_told_shows_when_nobody_speaks() -> None:
    conduct = AvatarState()
    conduct.set_state("thinking")
    assert conduct.state == "thinking"
    conduct.note_block(True)
    assert conduct.state == "speaking"
    for _ in range(20):
        conduct.note_block(False)
    assert conduct.state == "thinking"


def test_gaze_follows_the_state_until_it_is_commanded() -> None:
    conduct = AvatarState()
    assert conduct.gaze is None
    conduct.set_state("listening")
    assert conduct.gaze == (0.0, 0.0)
    conduct.set_state("thinking")
    assert conduct.gaze is not None
    assert abs(conduct.gaze[1]) > 0.3
    conduct.set_look(Gaze(pitch=0.1, yaw=-0.2))
    assert conduct.gaze == (0.1, -0.2)
    conduct.set_look(Look(at="camera"))
    assert conduct.gaze == (0.0, 0.0)
    conduct.set_state("idle")
    conduct.set_look(Look(at="free"))
    assert conduct.gaze is None


def test_it_looks_aside_to_another_side_each_time() -> None:
    conduct = AvatarState()
    sides = []
    for _ in range(4):
        conduct.set_look(Look(at="away"))
        assert conduct.gaze is not None
        sides.append(conduct.gaze[1] > 0)
        conduct.set_look(Look(at="camera"))
    assert sides[0] != sides[1]
    assert sides == [sides[0], sides[1]] * 2
