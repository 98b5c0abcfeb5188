"""Whether a prepared folder holds the targets that a recipe of the expression predictor is about."""

from pathlib import Path

from engine.errors import CommandInvalid
from train.data.storage.manifest import read_manifest


def check_targets(prepared: Path, space: str, resynced: bool | None) -> None:
    """Compare the manifest of a prepared folder with what is wanted.

    Args:
        space: motion space, "landmark" or "bfm".
        resynced: videos resynchronised by Wav2Lip (distillation, App. C), or videos as they were shot; None takes
            either.

    Raises:
        CommandInvalid: it is in the other space, or its videos are of the other kind; the message names a clip.
        FileNotFoundError: there is no manifest.
    """
    for record in read_manifest(prepared / "manifest.jsonl"):
        if record.refused:
            continue
        if record.space != space:
            advice = "leave bfm unset" if record.space == "landmark" else "set bfm=BFM_model_front.mat"
            raise CommandInvalid(
                f"{record.clip} in {prepared} is in the {record.space} motion space, this run in the {space} one: "
                f"{advice}, or prepare the videos again"
            )
        if resynced is not None and record.has_audio and bool(record.resynced_by) != resynced:
            have, want = ("resynchronised", "as it was shot") if not resynced else ("as it was shot", "resynchronised")
            raise CommandInvalid(
                f"{record.clip} in {prepared} is {have}, this run learns from videos {want}: name another folder with "
                "prepared=FOLDER (`gohd train prepare_resync` makes one), or set resynced=none"
            )
