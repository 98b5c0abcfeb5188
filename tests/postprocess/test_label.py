"""The visible label is there, legible and nowhere else."""

import numpy as np
import pytest

from engine.postprocess import VisibleLabel


@pytest.mark.parametrize("size", [(256, 256), (512, 384), (64, 64)])
@pytest.mark.parametrize("level", [0, 128, 255])
def test_label_changes_its_area_only(size: tuple[int, int], level: int) -> None:
    frame = np.full((*size, 3), level, dtype=np.uint8)
    label = VisibleLabel(*size)
    marked = label.apply(frame)
    assert (frame == level).all()
    inside = marked[label.area].astype(int)
    assert inside.max() - inside.min() > 90
    marked[label.area] = level
    assert (marked == level).all()


def test_label_refuses_other_frames() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        VisibleLabel(256, 256).apply(np.zeros((128, 128, 3), np.uint8))
