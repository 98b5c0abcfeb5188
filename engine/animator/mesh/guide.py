"""Between the mesh's frame and a guided network: what the network takes of it, and what it changes in it."""

import cv2
import numpy as np

from engine.animator.mesh.rig import Float32Array, UInt8Array

_FURTHEST = 0.95
"""Bound of the flow in halves of the image, so that its arctanh stays finite; no head moves by so much."""


def frame_guide(rgb: UInt8Array, source_map: Float32Array, size: int | None = None) -> Float32Array:
    """Guide (5, size, size) float32 of a frame (S, S, 3) and where its pixels come from, (S, S, 2) px.

    Colours are in [-1, 1]; the flow is x, y in halves of the image, before the activation tanh, so that corrections
    add to it as one level's raw flow adds to another's.

    Args:
        size: of the network; None is S.
    """
    large = rgb.shape[0]
    size = large if size is None else size
    if size != large:
        method = cv2.INTER_AREA if size < large else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(rgb, (size, size), interpolation=method), np.uint8)
        # Pixel centres are at integers, so a half is added before the change of scale and taken off after it.
        shrunk = np.asarray(cv2.resize(source_map, (size, size), interpolation=method), np.float32)
        source_map = (shrunk + np.float32(0.5)) * np.float32(size / large) - np.float32(0.5)
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


def corrected_frame(rgb: UInt8Array, correction: Float32Array) -> UInt8Array:
    """The frame (S, S, 3) with a correction (5, size, size) of `FaceAnimatorNetwork.correct`, which is enlarged to it.

    Each pixel is fetched from where the flow says, bicubically: bilinearly, frames of 512 px lost four tenths of their
    sharpness. Then colour is added.
    """
    large = rgb.shape[0]
    whole = np.ascontiguousarray(correction.transpose(1, 2, 0))
    if whole.shape[0] != large:
        whole = np.asarray(cv2.resize(whole, (large, large), interpolation=cv2.INTER_LINEAR), np.float32)
    places = whole[..., :2] * np.float32(large / 2)
    across = np.arange(large, dtype=np.float32)
    places[..., 0] += across
    places[..., 1] += across[:, None]
    frame = cv2.remap(rgb, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.add(frame, np.ascontiguousarray(whole[..., 2:]), dtype=cv2.CV_8U), np.uint8)
