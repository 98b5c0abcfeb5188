"""Embeddings of a video's frames by the pretrained networks, and the likeness of two videos' images."""

from collections import deque
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from engine.errors import InputError
from engine.motion.space.pose import matrix_to_rotation_vector
from train.data.readers.clips import read_audio
from train.evaluate.features import Arrays, Video, batches, to_tensor
from train.evaluate.videos import framed
from train.metrics import (
    image_similarity,
    mfcc,
    peak_signal_to_noise_db,
    perceptual_distance,
    voice_windows,
)
from train.metrics.lip_sync import SYNC_FRAMES, window_count

_SYNC_PX = 224
_HEAD_BOX_SCALE = 1.4
_TRACK_MARGIN, _TRACK_MEDIAN = 0.4, 13


@torch.inference_mode()
def inception_features(video: Video, network: Any, batch: int) -> Arrays:
    """Features (T, 2048) of every frame's face square."""
    images = framed(video.info.path, video.place)
    found = [network(to_tensor(group)).cpu().numpy() for group in batches(images, batch)]
    return {"features": np.concatenate(found).astype(np.float32)}


@torch.inference_mode()
def identity_features(video: Video, network: Any, batch: int) -> Arrays:
    """ArcFace embeddings (N, 512) of the N frames with a face, aligned by their landmarks."""
    from train.pretrained import cut_places, recognition_places

    found = []
    for group in batches(_with_face(video), batch):
        landmarks = torch.from_numpy(np.stack([points for _, points in group]))
        rgb = to_tensor([image for image, _ in group])
        cut = cut_places(rgb, recognition_places(landmarks), 112)
        found.append(network(cut).cpu().numpy())
    return {"features": np.concatenate(found).astype(np.float32)}


def open_identity_features(video: Video, network: Any, batch: int) -> Arrays:
    """Embeddings (N, 128) of the open identity network."""
    del batch
    found = [network(image, points) for image, points in _with_face(video)]
    return {"features": np.stack(found).astype(np.float32)}


@torch.inference_mode()
def head_pose_features(video: Video, network: Any, batch: int) -> Arrays:
    """Rotation vectors (T, 3) in radians and feature vectors (T, C) of the head pose network.

    A frame without a face is seen through the place of the last one that had one.
    """
    from train.pretrained import cut_places, face_places

    points = _held(video.landmarks_px)
    place = 0
    rotations, vectors = [], []
    for group in batches(framed(video.info.path, video.place), batch):
        landmarks = torch.from_numpy(points[place : place + len(group)])
        place += len(group)
        cut = cut_places(to_tensor(group), face_places(landmarks, scale=_HEAD_BOX_SCALE, upright=True), 224)
        rotations.append(network(cut).cpu().numpy())
        vectors.append(network.features(cut).cpu().numpy())
    rotation = matrix_to_rotation_vector(np.concatenate(rotations)).astype(np.float32)
    return {"rotation": rotation, "features": np.concatenate(vectors).astype(np.float32)}


@torch.inference_mode()
def sync_features(video: Video, network: Any, batch: int) -> Arrays:
    """Embeddings (N, 1024) of lips and voice, one a window of five frames.

    Raises:
        InputError: no audio, or less than 0.2 s of both.
    """
    wave = read_audio(video.info.path)
    if wave is None or not len(wave):
        raise InputError(f"{video.info.path} has no audio")
    cepstra = mfcc(wave)
    count = window_count(video.frames, cepstra.shape[1])
    if count < 1:
        raise InputError(f"{video.info.path} has less than 0.2 s of audio and images")
    voice = [
        network.speech(torch.from_numpy(np.stack(group))[:, None]).cpu().numpy()
        for group in batches(iter(voice_windows(cepstra, count)), batch)
    ]
    lips = [
        network.lips(torch.from_numpy(np.stack(group)).permute(0, 4, 1, 2, 3).float()).cpu().numpy()
        for group in batches(_lip_windows(video, count), batch)
    ]
    return {
        "lips": np.concatenate(lips).astype(np.float32),
        "voice": np.concatenate(voice).astype(np.float32),
    }


def image_figures(generated: Video, real: Video, backbone: Any, batch: int) -> Arrays:
    """PSNR, SSIM and, with a backbone, the perceptual distance of each frame that both videos have."""
    both = zip(framed(generated.info.path, generated.place), framed(real.info.path, real.place), strict=False)
    psnr, ssim, distance = [], [], []
    for group in batches(both, batch):
        psnr += [peak_signal_to_noise_db(a, b) for a, b in group]
        ssim += [image_similarity(a, b) for a, b in group]
        if backbone is not None:
            with torch.inference_mode():
                maps = [backbone(to_tensor(list(side))) for side in zip(*group, strict=True)]
                distance += perceptual_distance(maps[0], maps[1]).tolist()
    # A pair of equal images has no noise: 100 dB stands for it, so that averages stay finite.
    figures = {"psnr": np.minimum(psnr, 100.0), "ssim": np.array(ssim)}
    return figures | ({"perceptual": np.array(distance)} if backbone is not None else {})


def _with_face(video: Video) -> Any:
    images = framed(video.info.path, video.place)
    for image, points in zip(images, video.landmarks_px, strict=False):
        if np.isfinite(points[0, 0]):
            yield image, points


def _lip_windows(video: Video, count: int) -> Any:
    """Windows (5, 224, 224, 3) uint8, blue first, cut as the face tracks of SyncNet's evaluation."""
    window: deque[NDArray[np.uint8]] = deque(maxlen=SYNC_FRAMES)
    made = 0
    for image, (x, y, half) in zip(framed(video.info.path, video.place), _face_tracks(video), strict=False):
        scale = _SYNC_PX / (2 * half * (1 + _TRACK_MARGIN))
        corner = np.array([x - half * (1 + _TRACK_MARGIN), y - half])
        matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
        cut = cv2.warpAffine(image, matrix, (_SYNC_PX, _SYNC_PX), borderMode=cv2.BORDER_REPLICATE)
        window.append(np.asarray(cut[..., ::-1], np.uint8))
        if len(window) == SYNC_FRAMES and made < count:
            made += 1
            yield np.stack(window)


def _face_tracks(video: Video) -> NDArray[np.float64]:
    """Middle x, y and half size (T, 3) of the face's box, median-filtered over 13 frames."""
    points = _held(video.landmarks_px)[..., :2].astype(np.float64)
    low, high = points.min(1), points.max(1)
    boxes = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True) / 2], 1)
    padded = np.pad(boxes, ((_TRACK_MEDIAN // 2, _TRACK_MEDIAN // 2), (0, 0)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, _TRACK_MEDIAN, axis=0)
    return np.asarray(np.median(windows, axis=-1))


def _held(landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
    seen = np.isfinite(landmarks_px[:, 0, 0])
    index = np.where(seen, np.arange(len(seen)), -1)
    newest = np.maximum.accumulate(index)
    return landmarks_px[np.where(newest < 0, int(np.flatnonzero(seen)[0]), newest)]
