"""Between the mesh's frame and a guided network: what the network takes of it, and what it changes in it."""

import cv2
import numpy as np

from engine.animator.mesh.rig import Float32Array, UInt8Array

_FURTHEST = 0.95
"""Bound of the flow in halves of the image, so that its arctanh stays finite; no head moves by so much."""
_MARGIN, _RAMP = 24 / 256, 6 / 256
"""Of what is left to the mesh alone, in sides of the portrait: how far it reaches beyond the landmarks' outline, and
the deviation of the blur at its edge. The mesh knows a face better than the network does: of 13 people at 512 px, 11
of whom it never saw, landmarks were off by .0154 of the distance of the eyes when the face was corrected too, by .0143
without, as the mesh's own; perceptual distances were .991 and .980, the mesh's .991. Margins of 12 to 32 px differ by
.001.
"""


def outside_face(landmarks_px: Float32Array, portrait_size: int, size: int) -> Float32Array:
    """Where a network may correct the mesh, (size, size) in the portrait's place: 0 on the face, 1 away from it.

    Args:
        landmarks_px: (478, 3) in the portrait's crop, of ``portrait_size`` px.
        size: of the network.
    """
    outline = cv2.convexHull(landmarks_px[:, :2].astype(np.float32) * np.float32(size / portrait_size))
    face = np.zeros((size, size), np.float32)
    cv2.fillConvexPoly(face, outline.round().astype(np.int32), 1)
    width = 2 * round(_MARGIN * size) + 1
    face = cv2.dilate(face, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width)))
    return np.asarray(1 - cv2.GaussianBlur(face, (0, 0), max(_RAMP * size, 0.5)), np.float32)


def frame_guide(rgb: UInt8Array, source_map: Float32Array, outside: Float32Array) -> Float32Array:
    """Guide (6, size, size) float32 of a frame (S, S, 3) and where its pixels come from, (S, S, 2) px.

    Colours are in [-1, 1]; the flow is x, y in halves of the image, before the activation tanh, so that corrections
    add to it as one level's raw flow adds to another's; last is how far each pixel lies outside the face.

    Args:
        outside: `outside_face` of the portrait, (size, size) as the network's images.
    """
    large, size = rgb.shape[0], outside.shape[0]
    if size != large:
        method = cv2.INTER_AREA if size < large else cv2.INTER_LINEAR
        rgb = np.asarray(cv2.resize(rgb, (size, size), interpolation=method), np.uint8)
        # Pixel centres are at integers, so a half is added before the change of scale and taken off after it.
        shrunk = np.asarray(cv2.resize(source_map, (size, size), interpolation=method), np.float32)
        source_map = (shrunk + np.float32(0.5)) * np.float32(size / large) - np.float32(0.5)
    guide = np.empty((6, size, size), np.float32)
    cv2.split(rgb * np.float32(2 / 255) - np.float32(1), [*guide[:3]])
    across = np.arange(size, dtype=np.float32)
    halves = np.float32(2 / size)
    np.multiply(source_map[..., 0] - across, halves, out=guide[3])
    np.multiply(source_map[..., 1] - across[:, None], halves, out=guide[4])
    flow = guide[3:5]
    np.clip(flow, -_FURTHEST, _FURTHEST, out=flow)
    np.arctanh(flow, out=flow)
    cv2.remap(outside, source_map, None, cv2.INTER_LINEAR, dst=guide[5], borderMode=cv2.BORDER_REPLICATE)
    return guide


def corrected_frame(rgb: UInt8Array, flow: Float32Array) -> UInt8Array:
    """The frame (S, S, 3) moved by a flow (2, size, size) of `FaceAnimatorNetwork.correct`, which is enlarged to it.

    Each pixel is fetched bicubically: bilinearly, frames of 512 px lost four tenths of their sharpness.
    """
    large = rgb.shape[0]
    places = np.ascontiguousarray(flow.transpose(1, 2, 0))
    if places.shape[0] != large:
        places = np.asarray(cv2.resize(places, (large, large), interpolation=cv2.INTER_LINEAR), np.float32)
    places = places * np.float32(large / 2)
    across = np.arange(large, dtype=np.float32)
    places[..., 0] += across
    places[..., 1] += across[:, None]
    frame = cv2.remap(rgb, places, None, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(frame, np.uint8)
