"""Pairs of images to learn animation from: source and target out of one clip, and the motion around the target.

    clip          |..s...........................t......|
    window                               |<past>-t>|          past + 1 + future descriptors, edges clamped

Shape suffixes: B rows, T frames, D descriptor (72), N landmarks (478), H and W pixels.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.data.faces.face_clips import FACE_SIZE, FaceClip
from train.datasets.batch_rng import BatchRng
from train.datasets.face_augmentation import ColourChange, FaceAugmentation, FaceChange
from train.images import shrink, to_network


@dataclass(frozen=True, slots=True)
class FaceBatch:
    """Rows of source and target; images float32 in [-1, 1], landmarks in px of the 256 crop.

    source_descriptor_BD: the motion descriptor of the source itself; names: "clip:source>target".
    """

    source_B3HW: Tensor
    target_B3HW: Tensor
    window_BTD: Tensor
    source_landmarks_BN3: Tensor
    target_landmarks_BN3: Tensor
    source_descriptor_BD: Tensor
    names: tuple[str, ...]


def descriptor_window(clip: FaceClip, frame: int, past: int, future: int, *, hold: bool = False) -> NDArray[np.float32]:
    """Descriptors (past + 1 + future, 72) around a frame; beyond the clip's ends the first or last is repeated.

    ``hold`` repeats the frame's own descriptor instead; a clip shorter than the window, whose frames are no video, is
    always held.
    """
    offsets = np.arange(-past, future + 1)
    if hold or clip.frames < len(offsets):
        offsets[:] = 0
    return clip.descriptors[np.clip(frame + offsets, 0, clip.frames - 1)]


class FacePairs:
    """Draws batches from groups of clips."""

    def __init__(
        self,
        groups: Sequence[tuple[float, Sequence[FaceClip]]],
        *,
        past_frames: int,
        future_frames: int,
        hold_share: float = 0.0,
        augmentation: FaceAugmentation,
        mirror_sign_E: Tensor | None = None,
        size: int = FACE_SIZE,
        cache_mib: int = 512,
        readers: int = 2,
    ) -> None:
        """Args:
            groups: (share of the rows, clips); within a group people are drawn evenly, then their clips, then frames.
            hold_share: rows whose window holds the target's descriptor, so that stillness is known too.
            mirror_sign_E: needed as soon as ``augmentation`` moves anything (see `FaceChange.descriptors`).
            size: of the images in px, each the mean of what it covers of the 256 crop.
            cache_mib: decoded images kept; readers: threads that decode.

        Raises:
            ValueError: no clip at all, or none in a group that has a share; or an augmentation without the space.
        """
        if augmentation.moves and mirror_sign_E is None:
            raise ValueError("crops can be moved in the landmark motion space only: FaceAugmentation.none()")
        self._clips = [clip for _, clips in groups for clip in clips]
        if not self._clips:
            raise ValueError("no training clip with images")
        weights: list[float] = []
        for share, clips in groups:
            of_person = Counter(clip.person for clip in clips)
            weights += [share / (len(of_person) * of_person[clip.person]) for clip in clips]
        self._weights = torch.tensor(weights, dtype=torch.float64)
        if not self._weights.sum() > 0:
            raise ValueError("the groups that have clips have no share of the rows")
        self._image_frames = [clip.image_frames for clip in self._clips]
        self._counts = torch.tensor([len(frames) for frames in self._image_frames], dtype=torch.float64)
        self._past, self._future, self._hold_share = past_frames, future_frames, hold_share
        self._augmentation, self._mirror_sign_E = augmentation, mirror_sign_E
        self._cache = _ImageCache(self._clips, size, cache_mib * 2**20 // (size * size * 3), readers)

    def draw(self, rng: BatchRng, rows: int) -> FaceBatch:
        """This share's rows of a batch of ``rows``, on the device of the networks."""
        generator = rng.generator
        chosen_B = torch.multinomial(self._weights, rows, replacement=True, generator=generator)
        place_B2 = torch.rand(rows, 2, generator=generator, dtype=torch.float64)
        pick_B2 = (place_B2 * self._counts[chosen_B][:, None]).long()
        hold_B = torch.rand(rows, generator=generator) < self._hold_share
        change = FaceChange.draw(generator, rows, self._augmentation)
        colour = ColourChange.draw(generator, rows, self._augmentation)
        own = rng.own_rows(rows)
        change, colour = change.rows(own), colour.rows(own)
        picks = [
            (clip, *(int(frame) for frame in self._image_frames[clip][pair]))
            for clip, pair in zip(chosen_B[own].tolist(), pick_B2[own].numpy(), strict=True)
        ]
        window_BTD = torch.from_numpy(
            np.stack(
                [
                    descriptor_window(self._clips[clip], target, self._past, self._future, hold=bool(hold))
                    for (clip, _, target), hold in zip(picks, hold_B[own], strict=True)
                ]
            )
        )
        rest_B1D = torch.from_numpy(
            np.stack([self._clips[clip].descriptors[source] for clip, source, _ in picks])[:, None]
        )
        if self._mirror_sign_E is not None:
            window_BTD, rest_B1D = (change.descriptors(part, self._mirror_sign_E) for part in (window_BTD, rest_B1D))
        sources, targets = ([(pick[0], pick[side]) for pick in picks] for side in (1, 2))
        images = self._cache.images([*sources, *targets]).to(rng.device, non_blocking=True)
        source_B3HW, target_B3HW = (colour.images(change.images(to_network(part))) for part in images.chunk(2))
        return FaceBatch(
            source_B3HW,
            target_B3HW,
            window_BTD.to(rng.device),
            change.landmarks(self._landmarks(sources)).to(rng.device),
            change.landmarks(self._landmarks(targets)).to(rng.device),
            rest_B1D[:, 0],
            tuple(f"{self._clips[clip].clip}:{source}>{target}" for clip, source, target in picks),
        )

    def _landmarks(self, frames: Sequence[tuple[int, int]]) -> Tensor:
        return torch.from_numpy(np.stack([self._clips[clip].landmarks_px[frame] for clip, frame in frames]))


class _ImageCache:
    """Images by (clip, frame), decoded once while the budget lasts, oldest out first."""

    def __init__(self, clips: Sequence[FaceClip], size: int, capacity: int, readers: int) -> None:
        self._clips, self._size, self._capacity = clips, size, capacity
        self._kept: OrderedDict[tuple[int, int], NDArray[np.uint8]] = OrderedDict()
        self._readers = ThreadPoolExecutor(readers, thread_name_prefix="faces") if readers > 1 else None

    def images(self, frames: Sequence[tuple[int, int]]) -> Tensor:
        """uint8 (B, size, size, 3)."""
        missing = sorted({frame for frame in frames if frame not in self._kept})
        read = self._readers.map if self._readers is not None else map
        found = dict(zip(missing, read(self._read, missing), strict=True))
        images = [found[frame] if frame in found else self._kept[frame] for frame in frames]
        self._kept.update(found)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
        return torch.from_numpy(np.stack(images))

    def _read(self, frame: tuple[int, int]) -> NDArray[np.uint8]:
        clip, number = frame
        return shrink(self._clips[clip].rgb(number), self._size)
