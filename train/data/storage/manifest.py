"""The manifest: one JSON line a clip, with its licence, its offset, and why it was refused if it was."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from train.data.storage.provenance import Provenance
from train.data.storage.records import read_records, write_records

_KEYS = {"video": "film", "has_audio": "has_sound", "without_images": "without_pictures"}
"""Keys of prepared folders that are older than the names of the fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipRecord:
    """What preparation learned about one clip.

    Attributes:
        clip: file name without suffix.
        provenance: who is in it, and under which licence.
        frames: length at 25 fps.
        has_audio: whether the clip serves the lip task.
        offset_frames: by how many frames the audio was late against the image, before it was corrected.
        offset_score: correlation of predicted and real mouth opening at that offset.
        refused: empty, or the reason why the clip is left out.
        video: path of the video within the data set; start_s: where in it the clip begins.
        rate_hz, variable: mean frame rate of the video before it was resampled to 25, and whether it changes.
        space: motion space of the numbers, "landmark" or "bfm".
        resynced_by: sha256 of the Wav2Lip checkpoint that made the video's mouth; empty for a video as it was shot.
        without_images: empty, or the reason why the clip has no images though they were asked for.
    """

    clip: str
    provenance: Provenance
    frames: int
    has_audio: bool
    offset_frames: int = 0
    offset_score: float = 0.0
    refused: str = ""
    video: str = ""
    start_s: float = 0.0
    rate_hz: float = 0.0
    variable: bool = False
    space: str = "landmark"
    resynced_by: str = ""
    without_images: str = ""


def write_manifest(path: Path, records: Iterable[ClipRecord]) -> None:
    """Write records, replacing the file in one step. Raises OutputUnwritable."""
    write_records(path, records, _KEYS)


def read_manifest(path: Path) -> list[ClipRecord]:
    """Read a manifest.

    Raises:
        FileNotFoundError: preparation has not been run; the message says how. InputError: a line is not a record.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"no manifest at {path}: run `python -m train prepare data=CLIPS out={path.parent}` first"
        )
    return read_records(path, ClipRecord, _KEYS)
