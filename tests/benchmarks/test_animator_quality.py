"""The comparison of animators on made-up clips: the geometric one beats the source shown unmoved."""

import io

import numpy as np
import pytest
from rich.console import Console

from benchmarks.animator import quality as animator_quality
from benchmarks.animator.quality import compare, show
from train.data.faces.synthetic_faces import synthetic_face_clips


def test_the_geometric_animator_beats_the_unmoved_source_on_made_up_clips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clips = synthetic_face_clips(clips=3, frames=5)
    report, sheet = compare(clips, [], targets=2, speech_frames=4)
    unmoved, geometric = report["figures"]["unmoved"], report["figures"]["geometric"]
    assert report["held_out"] == ["face-2"]
    assert report["pairs"] == 2
    assert geometric["psnr_db"] > unmoved["psnr_db"] + 3
    assert geometric["ssim"] > unmoved["ssim"]
    assert geometric["landmark_error"] < 0.5 * unmoved["landmark_error"]
    assert geometric["gaze_spearman"] >= 0.95
    assert geometric["gaze_head_deg"] < 1
    assert geometric["still_levels"] == 0
    assert geometric["jitter"] > 0
    assert sheet.shape == (2 * 256, 3 * 256, 3)
    assert sheet.dtype == np.uint8

    shown = io.StringIO()
    monkeypatch.setattr(animator_quality, "Console", lambda **_: Console(file=shown, width=160))
    show(report)
    assert "PSNR" in shown.getvalue()
    assert "2 pairs, 1 people" in shown.getvalue()
