"""The mesh's image and flow as one tensor, which a guided network takes for every frame."""

import cv2
import numpy as np
import numpy.typing as npt

_FURTHEST = 0.95
"""Bound of the flow in halves of the image, so that its arctanh stays finite; no head moves by so much."""


def frame_guide(rgb: npt.NDArray[np.uint8], source_map: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Guide (5, S, S) float32 of an image (S, S, 3) and where its pixels come from, (S, S, 2) px.

    Colours are in [-1, 1]; the flow is x, y in halves of the image, before the activation tanh, so that corrections
    add to it as one level's raw flow adds to another's.
    """
    size = rgb.shape[0]
    guide = np.empty((5, size, size), np.float32)
    cv2.split(rgb * np.float32(2 / 255) - np.float32(1), [*guide[:3]])
    across = np.arange(size, dtype=np.float32)
    halves = np.float32(2 / size)
    np.multiply(source_map[..., 0] - across, halves, out=guide[3])
    np.multiply(source_map[..., 1] - across[:, None], halves, out=guide[4])
    flow = guide[3:]
    np.clip(flow, -_FURTHEST, _FURTHEST, out=flow)
    np.arctanh(flow, out=flow)
    return guide
