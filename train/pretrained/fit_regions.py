"""Fits the head of `RegionParser`: ``python -m train.pretrained.fit_regions PREPARED [OUT.safetensors]``.

PREPARED is a folder that ``prepare`` wrote with images. Labels are `region_masks` of each frame's landmarks; frames
are moved, turned, mirrored, scaled and lit at random. Writes the head and the agreement with the labels on people that
the fit did not see.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.checkpoint import save_tensors
from engine.motion.space.landmark_table import mirror_landmarks
from train.data.faces.face_clips import FACE_SIZE, FaceClip, load_face_clips
from train.pretrained.places import cut_places, into_places
from train.pretrained.region_parser import REGION_HEAD, RegionHead, RegionParser
from train.pretrained.regions import REGIONS, region_masks
from train.pretrained.tflite.landmark_network import LandmarkNetwork

_LABEL_PX = 128


def fit_region_head(
    clips: Sequence[FaceClip], *, steps: int = 400, rows: int = 8, rate: float = 4e-3, seed: int = 0
) -> RegionHead:
    """A head that tells the regions of training people.

    Minimises the cross-entropy with soft masks, each region weighed by the inverse root of its share of the pixels, so
    that lips count although they are small. The rate falls to zero along a cosine.
    """
    generator = torch.Generator().manual_seed(seed)
    landmarks = LandmarkNetwork()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = RegionHead()
    optimiser = torch.optim.Adam(head.parameters(), lr=rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    seen = [clip for clip in clips if clip.split == "train"]
    for _ in range(steps):
        rgb, points = _draw(seen, rows, generator)
        masks = region_masks(points, _LABEL_PX, crop_px=FACE_SIZE, softness_px=0.5)
        with torch.no_grad():
            maps = landmarks.maps(rgb, RegionParser.sizes)
        share = masks.mean((0, 2, 3)).clamp(min=1e-4)
        weights = (share.rsqrt() / share.rsqrt().mean())[:, None, None]
        loss = -(masks * weights * head(maps).log_softmax(1)).sum(1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return head.eval().requires_grad_(False)


@torch.inference_mode()
def agreement(head: RegionHead, clips: Sequence[FaceClip]) -> dict[str, float]:
    """Intersection over union with the landmarks' masks on held-out people, by region."""
    landmarks = LandmarkNetwork()
    both = torch.zeros(len(REGIONS))
    either = torch.zeros(len(REGIONS))
    for clip in clips:
        if clip.split == "train":
            continue
        for frame in clip.image_frames.tolist():
            rgb, points = _frame(clip, frame)
            label = region_masks(points, _LABEL_PX, crop_px=FACE_SIZE, softness_px=0).argmax(1)
            found = head(landmarks.maps(rgb, RegionParser.sizes)).argmax(1)
            for region in range(len(REGIONS)):
                one, other = label == region, found == region
                both[region] += (one & other).sum()
                either[region] += (one | other).sum()
    return {name: float(b / e) for name, b, e in zip(REGIONS, both.tolist(), either.tolist(), strict=True) if e}


def _frame(clip: FaceClip, frame: int) -> tuple[Tensor, Tensor]:
    rgb = torch.from_numpy(clip.rgb(frame).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return rgb, torch.from_numpy(np.array(clip.landmarks_px[frame]))[None]


def _draw(clips: Sequence[FaceClip], rows: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A batch of changed frames and their landmarks; clips count alike, however long."""
    images, points = [], []
    for _ in range(rows):
        clip = clips[_below(len(clips), generator)]
        rgb, landmarks = _frame(clip, int(clip.image_frames[_below(len(clip.image_frames), generator)]))
        if _below(2, generator):
            rgb = rgb.flip(3)
            landmarks = torch.from_numpy(mirror_landmarks(landmarks.numpy(), FACE_SIZE))
        shift, scale, roll, contrast, light = (torch.rand(5, generator=generator) * 2 - 1).tolist()
        side = FACE_SIZE * math.exp(0.25 * scale)
        place = torch.tensor([[FACE_SIZE * (0.5 + 0.06 * shift), FACE_SIZE * 0.5, side, 0.25 * roll]])
        tint = 1 + 0.15 * (torch.rand(3, generator=generator) * 2 - 1)[:, None, None]
        cut = cut_places(rgb, place, FACE_SIZE) * math.exp(0.3 * contrast) * tint + 0.2 * light
        images.append(cut.clamp(-1, 1))
        points.append(into_places(landmarks, place, FACE_SIZE))
    return torch.cat(images), torch.cat(points)


def _below(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (1,), generator=generator))


def main() -> None:
    """As the module says."""
    clips = load_face_clips(Path(sys.argv[1]))
    out = Path(sys.argv[2]) if len(sys.argv) > 2 else REGION_HEAD
    head = fit_region_head(clips)
    scores = agreement(head, clips)
    save_tensors(
        out,
        {name: value.half() for name, value in head.state_dict().items()},
        {"agreement": ", ".join(f"{name} {score:.3f}" for name, score in scores.items())},
    )
    sys.stdout.write("".join(f"{name:12}{score:.3f}\n" for name, score in scores.items()))


if __name__ == "__main__":
    main()
