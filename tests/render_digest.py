"""Prints a digest of what one portrait, one voice and one seed render to, in each way that users render.

    python -m tests.render_digest              # before a change, and after it: the lines must be the same

A line is: the case, then SHA-256 (16 digits) of the frames, of the descriptors and of the audio, "-" where there is
none. Digests differ between machines and library versions, so none are stored; compare two checkouts on one machine.
"""

import hashlib
import subprocess
import sys
import tempfile
import wave
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import av
import numpy as np

from engine import load_engine
from engine.media import read_audio, read_video
from engine.release import import_release
from tests.release_helper import small_release, write_release

PORTRAIT = Path("engine/assets/portrait.jpg")
VOICE = Path("engine/assets/voice.wav")
SEED = 7
SECONDS = 3
SMALL_WIDTHS = (16, 16, 12, 8, 8, 8, 8)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(folder))


def _run(folder: Path) -> None:
    clip = folder / "voice.wav"
    _cut(VOICE, clip)
    video = folder / "video.mp4"
    for name, *arguments in (
        ("video",),
        ("video geometric", "--backend", "geometric"),
        ("video full frame", "--frame", "full"),
        ("video driven", "--drive-video", str(video)),
        ("video generated gaze", "--gaze", "generated"),
    ):
        output = video if name == "video" else folder / "other.mp4"
        _render(clip, output, *arguments)
        _print(name, *_decoded(output))

    engine = load_engine(device="cpu")
    avatar = engine.enroll(PORTRAIT)
    _print("session", *_session(engine.open_session(avatar, seed=SEED), clip))
    gaze = engine.open_session(avatar, seed=SEED, generate_gaze=True, frame="full", intensity=0.7)
    _print("session generated gaze", *_session(gaze, clip))
    motion = engine.read_motion(read_video(video))
    _print("session driven", *_session(engine.open_session(avatar, seed=SEED, drive=motion), clip))
    _print("session interrupted", *_session(engine.open_session(avatar, seed=SEED), clip, interrupt_at=20))
    mesh = load_engine(device="cpu", backend="geometric")
    _print("session geometric", *_session(mesh.open_session(mesh.enroll(PORTRAIT), seed=SEED), clip))

    values = np.random.default_rng(5).normal(scale=0.2, size=72).astype(np.float32)
    coefficients = type(avatar.coefficients).from_descriptor(values)
    for two_stage in (False, True):
        release = small_release(widths=SMALL_WIDTHS)
        weights = folder / f"weights-{two_stage}"
        weights.mkdir()
        import_release(write_release(weights, release, two_stage=two_stage), weights / "weights", release)
        imported = load_engine(weights / "weights", device="cpu")
        session = imported.open_session(
            imported.enroll(PORTRAIT, coefficients=coefficients), seed=SEED, generate_gaze=True
        )
        _print(f"imported {'two' if two_stage else 'one'} stage", *_session(session, clip))


def _cut(source: Path, target: Path) -> None:
    with wave.open(str(source)) as whole, wave.open(str(target), "wb") as part:
        part.setparams(whole.getparams())
        part.writeframes(whole.readframes(SECONDS * whole.getframerate()))


def _render(voice: Path, output: Path, *arguments: str) -> None:
    command = ["render", str(PORTRAIT), str(voice), "-o", str(output), "--seed", str(SEED), *arguments]
    code = "import sys; from clients.cli import main; sys.exit(main())"
    subprocess.run([sys.executable, "-c", code, *command], check=True, stderr=subprocess.PIPE)


def _session(session: Any, voice: Path, interrupt_at: int | None = None) -> tuple[str, str, str]:
    frames = []
    for chunk, rate_hz in read_audio(voice):
        for part in np.array_split(chunk, max(1, len(chunk) // 700)):
            frames += session.push_pcm(part, rate_hz)
            if interrupt_at is not None and len(frames) >= interrupt_at:
                session.interrupt()
                interrupt_at = None
    frames += session.flush()
    assert frames
    return _digest(frame.rgb for frame in frames), _digest(frame.descriptor for frame in frames), "-"


def _decoded(video: Path) -> tuple[str, str, str]:
    with av.open(video) as container:
        audio = [frame.to_ndarray() for frame in container.decode(audio=0)]
    with av.open(video) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert audio
    assert images
    return _digest(images), "-", _digest(audio)


def _digest(arrays: Iterable[Any]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def _print(name: str, frames: str, descriptors: str, audio: str) -> None:
    print(f"{name:24} frames {frames}  descriptors {descriptors}  audio {audio}", flush=True)


if __name__ == "__main__":
    main()
