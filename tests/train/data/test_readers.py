"""Readers of data sets: annotations parsed or refused with their line, folders found or shown as they should be."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InputError
from train.data.readers.folder import ClipFolder, read_clip_list
from train.data.readers.hdtf import Hdtf, read_subset
from train.data.readers.source_clip import Box, clip_name, side_of
from train.data.readers.voxceleb import VoxCeleb, read_utterance
from train.data.storage.provenance import Provenance

_HEAD = (
    "Identity  : \tid10001\nReference : \t1zcIwhmdeo4\nOffset    : \t-2\nFV Conf   : \t16.6\t(1)\nASD Conf  : \t3.7\n\n"
)
_TABLE = "FRAME \tX \tY \tW \tH \n\n"


def _utterance(rows: list[tuple[int, float, float, float, float]]) -> str:
    return _HEAD + _TABLE + "".join("{:06d} \t{} \t{} \t{} \t{} \n".format(*row) for row in rows)


_boxes = st.tuples(*[st.integers(0, 1900)] * 2, *[st.integers(3, 900)] * 2)


@given(st.lists(_boxes, min_size=1, max_size=30), st.integers(0, 90000))
def test_utterances_come_back_as_written(boxes: list[tuple[int, int, int, int]], first: int) -> None:
    read = read_utterance(_utterance([(first + i, *box) for i, box in enumerate(boxes)]))
    assert (read.identity, read.reference) == ("id10001", "1zcIwhmdeo4")
    assert read.frames == tuple(range(first, first + len(boxes)))
    assert [(b.left, b.top, b.width, b.height) for b in read.boxes] == boxes
    assert all(box.video_height_px == 360 for box in read.boxes)


def test_boxes_in_shares_are_told_from_pixels() -> None:
    share = read_utterance(_utterance([(1, 0.25, 0.1, 0.2, 0.3)])).boxes[0]
    assert share.in_video(1000, 500).tolist() == pytest.approx([250, 50, 450, 200])
    pixels = Box(100, 50, 60, 60, 360)
    assert pixels.in_video(1280, 720).tolist() == pytest.approx([200, 100, 320, 220])


@given(st.text(max_size=300))
def test_any_text_is_an_utterance_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        assert read_utterance(text).frames


@pytest.mark.parametrize(
    ("rows", "line"),
    [
        ("000001 1 2 3", "line 9"),
        ("000001 1 2 x 4", "line 9"),
        ("000001 1 2 nan 4", "line 9"),
        ("000001 1 2 0 4", "line 9"),
        ("000001 1 2 30 40\n000001 1 2 30 40", "line 10"),
    ],
)
def test_bad_row_is_named(rows: str, line: str) -> None:
    with pytest.raises(InputError, match=line):
        read_utterance(_HEAD + _TABLE + rows)


def test_voxceleb_folder_gives_utterances_with_videos(tmp_path: Path) -> None:
    for person, reference, number in (
        ("id10001", "abc", "00001"),
        ("id10270", "x-_y", "00002"),
        ("id10001", "gone", "1"),
    ):
        path = tmp_path / "txt" / person / reference / f"{number}.txt"
        path.parent.mkdir(parents=True)
        path.write_text(_utterance([(250 + i, 10, 20, 50, 60) for i in range(75)]))
    (tmp_path / "videos" / "some").mkdir(parents=True)
    for name in ("abc.mp4", "some/x-_y.mkv"):
        (tmp_path / "videos" / name).touch()
    clips = VoxCeleb(tmp_path).clips()
    assert [(c.clip, c.provenance.person, c.provenance.split) for c in clips] == [
        ("id10001-abc-00001", "id10001", "train"),
        ("id10270-x-_y-00002", "id10270", "held_out"),
    ]
    assert (clips[0].start_s, clips[0].end_s) == (10.0, 13.0)
    assert clips[0].window is not None
    assert clips[0].window.in_video(640, 360).tolist() == [-50, -40, 120, 140]
    assert [box.time_s for box in clips[0].face_boxes] == [0.0, 1.0, 2.0, 2.96]


def test_published_face_clips_need_no_annotation(tmp_path: Path) -> None:
    for path in ("mp4/id00012/ref/00001.mp4", "mp4/test/id00017/ref/00002.mp4"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    assert [(c.provenance.person, c.provenance.split) for c in VoxCeleb(tmp_path).clips()] == [
        ("id00012", "train"),
        ("id00017", "held_out"),
    ]


@pytest.mark.parametrize("source", [VoxCeleb, Hdtf, ClipFolder])
def test_wrong_folder_shows_the_layout(tmp_path: Path, source: type[VoxCeleb] | type[Hdtf] | type[ClipFolder]) -> None:
    with pytest.raises(InputError, match="expected as") as refusal:
        source(tmp_path).clips()
    assert str(tmp_path) in str(refusal.value)


_LISTS = {
    "video_url": "Radio11 https://www.youtube.com/watch?v=XtySvTwIOfw&t=6s\nAnn0 https://youtu.be/abcDEF12345\n",
    "annotion_time": "Radio11.mp4 00:30-01:00 01:30-02:30 \nAnn0.mp4 01:02:03-01:02:13\n",
    "crop_wh": "Radio11_0.mp4 412 599 0 599\nAnn0_0.mp4 10 100 5 100\n",
    "resolution": "Radio11.mp4 720\nAnn0.mp4 1080\n",
}


def test_hdtf_lists_are_read() -> None:
    radio, ann = read_subset(_LISTS, "RD")
    assert (radio.name, radio.youtube, radio.spans_s) == (
        "Radio11",
        "XtySvTwIOfw",
        {0: (30, 60), 1: (90, 150)},
    )
    assert radio.crops == {0: Box(412, 0, 599, 599, 720)}
    assert (ann.youtube, ann.spans_s) == ("abcDEF12345", {0: (3723, 3733)})


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("annotion_time", "Radio11.mp4 00:30-01:00\nAnn0.mp4 0030-0100", "RD_annotion_time.txt line 2"),
        ("annotion_time", "Radio11.mp4 01:00-00:30", "ends before it starts"),
        ("annotion_time", "Radio11.mp4", "RD_annotion_time.txt line 1"),
        ("crop_wh", "Radio11_0.mp4 412 599 0", "RD_crop_wh.txt line 1"),
        ("crop_wh", "Radio11_0.mp4 a b c d", "not whole numbers"),
        ("crop_wh", "Radio11_0.mp4 1 0 1 1", "without size"),
        ("resolution", "Ann0.mp4 1080", "not listed"),
    ],
)
def test_bad_hdtf_line_is_named(name: str, text: str, place: str) -> None:
    with pytest.raises(InputError, match=place):
        read_subset(_LISTS | {name: text}, "RD")


@given(st.fixed_dictionaries({name: st.text(max_size=80) for name in _LISTS}))
def test_any_lists_are_read_or_refused(texts: dict[str, str]) -> None:
    with contextlib.suppress(InputError):
        read_subset(texts, "WRA")


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 900)), min_size=1, max_size=5))
def test_time_spans_come_back(spans: list[tuple[int, int]]) -> None:
    words = [f"{s // 60:02d}:{s % 60:02d}-{(s + n) // 60:02d}:{(s + n) % 60:02d}" for s, n in spans]
    video = read_subset(_LISTS | {"annotion_time": f"Radio11.mp4 {' '.join(words)}"}, "RD")[0]
    assert list(video.spans_s.values()) == [(s, s + n) for s, n in spans]


def test_hdtf_folder_gives_cropped_clips_by_any_name_of_the_video(tmp_path: Path) -> None:
    (tmp_path / "HDTF_dataset").mkdir()
    (tmp_path / "videos").mkdir()
    for name, text in _LISTS.items():
        (tmp_path / "HDTF_dataset" / f"WRA_{name}.txt").write_text(text)
    (tmp_path / "videos" / "WRA_Radio11.mp4").touch()
    (tmp_path / "videos" / "abcDEF12345.webm").touch()
    clips = Hdtf(tmp_path).clips()
    assert [(c.clip, c.provenance.person, c.start_s, c.end_s) for c in clips] == [
        ("WRA-Radio11-0", "Radio", 30.0, 60.0),
        ("WRA-Ann0-0", "Ann", 3723.0, 3733.0),
    ]
    (tmp_path / "HDTF_dataset" / "WRA_crop_wh.txt").unlink()
    with pytest.raises(InputError, match=r"lacks WRA_crop_wh\.txt"):
        Hdtf(tmp_path).clips()


def test_folder_names_people_and_takes_a_list(tmp_path: Path) -> None:
    (tmp_path / "anna").mkdir()
    for name in ("talk.mp4", "anna/one.mp4", "anna/two.MOV", "notes.txt", "address-daines.mp4"):
        (tmp_path / name).touch()
    clips = {clip.clip: clip for clip in ClipFolder(tmp_path).clips()}
    assert {name: clip.provenance.person for name, clip in clips.items()} == {
        "address-daines": "daines",
        "anna-one": "anna",
        "anna-two": "anna",
        "talk": "talk",
    }
    assert clips["address-daines"].provenance.split == "held_out"
    assert "public domain" in clips["address-daines"].provenance.licence
    (tmp_path / "clips.csv").write_text(
        "clip,person,split,licence,credit,resynced_by\nanna/one,,held_out,CC0-1.0,Anna,\ntalk,bob,,,,beef\n"
    )
    listed = {clip.clip: clip for clip in ClipFolder(tmp_path).clips()}
    one, talk = listed["anna-one"], listed["talk"]
    assert one.provenance == Provenance(person="anna", split="held_out", licence="CC0-1.0", credit="Anna")
    assert (talk.provenance.person, talk.resynced_by, talk.offset_prior_frames) == ("bob", "beef", 0)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("film,person\na,b", "line 1"),
        ("", "line 1"),
        ("clip,person\na", "line 2"),
        ("clip,split\na,test", "line 2"),
        ("clip,person,split\na,p,train\nb,p,held_out", "line 3"),
    ],
)
def test_bad_list_is_named(text: str, place: str) -> None:
    with pytest.raises(InputError, match=place):
        read_clip_list(text)


@given(st.text(max_size=200))
def test_any_list_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InputError):
        read_clip_list(text)


@given(st.lists(st.text(max_size=20), min_size=1, max_size=4))
def test_clip_names_are_file_names(parts: list[str]) -> None:
    name = clip_name(*parts)
    assert name
    assert Path(name).name == name
    assert name not in (".", "..")


def test_share_of_people_is_held_out_the_same_everywhere() -> None:
    sides = [side_of(f"person {i}", 0.2) for i in range(2000)]
    assert sides.count("held_out") == pytest.approx(400, abs=60)
    assert {side_of("anyone", 0.0), side_of("anyone", 1.0)} == {"train", "held_out"}
    assert side_of("Ann", 0.5) == side_of("Ann", 0.5)
