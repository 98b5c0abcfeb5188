"""What is done to aiortc and aioice from outside finds what it looks for."""

import aioice
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from server.webrtc.aiortc_internals import VoicePackets, limit_gathering, shorten_jitter_buffer


def _heard(packets: VoicePackets, *sequence: int) -> list[int]:
    """The numbers of the packets that came out, each when it came in."""
    out = []
    for number in sequence:
        packet = RtpPacket(sequence_number=number & 0xFFFF, timestamp=(number * 960) & 0xFFFFFFFF)
        packet._data = b"sound"
        wants_image, frame = packets.add(packet)
        assert not wants_image
        if frame is not None:
            assert (frame.data, frame.timestamp) == (b"sound", packet.timestamp)
            out.append(number)
    return out


def test_each_packet_leaves_at_once() -> None:
    packets = VoicePackets()
    for number in range(65_530, 65_545):
        assert _heard(packets, number) == [number], "across the wrap of sequence numbers, too"


def test_a_lost_packet_holds_nothing_back() -> None:
    assert _heard(VoicePackets(), 1, 2, 5, 6, 7) == [1, 2, 5, 6, 7]


def test_what_was_overtaken_and_what_comes_twice_is_left_out() -> None:
    packets = VoicePackets()
    assert _heard(packets, 1, 3, 2, 3, 4) == [1, 3, 4]
    assert packets.overtaken == 2


def test_a_sender_that_begins_anew_is_heard() -> None:
    assert _heard(VoicePackets(), 30_000, 30_001, 12, 13) == [30_000, 30_001, 12, 13]


async def test_it_is_where_aiortc_looks_for_it() -> None:
    connection = RTCPeerConnection()
    receiver = connection.addTransceiver("audio").receiver
    assert shorten_jitter_buffer(receiver)
    assert any(isinstance(value, VoicePackets) for value in vars(receiver).values())
    await connection.close()


def test_the_time_limit_is_where_it_is_looked_for() -> None:
    assert limit_gathering(3.0)
    assert aioice.Connection.get_component_candidates.__defaults__ == (3.0,)
