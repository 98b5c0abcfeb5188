"""Frozen networks that losses and metrics use.

`load_pretrained` loads those of the paper, whose files the user brings; the others are open substitutes that need
nothing but this package or small optional ones. All are frozen, in evaluation mode, and pass gradients to the image.
"""

from train.pretrained.architectures.efficientnet import PerceptualBackbone
from train.pretrained.catalogue import PRETRAINED, PretrainedKind, PretrainedSource
from train.pretrained.face_cropped import FaceCropped
from train.pretrained.face_identity import FaceIdentity
from train.pretrained.loading import load_pretrained, pretrained_path
from train.pretrained.places import (
    cut_places,
    expression_places,
    face_places,
    from_places,
    lip_eye_mask,
    recognition_places,
)
from train.pretrained.region_parser import REGIONS, RegionParser
from train.pretrained.tflite.landmark_network import BlendshapeFeatures, LandmarkNetwork, iris_offsets

__all__ = [
    "PRETRAINED",
    "REGIONS",
    "BlendshapeFeatures",
    "FaceCropped",
    "FaceIdentity",
    "LandmarkNetwork",
    "PerceptualBackbone",
    "PretrainedKind",
    "PretrainedSource",
    "RegionParser",
    "cut_places",
    "expression_places",
    "face_places",
    "from_places",
    "iris_offsets",
    "lip_eye_mask",
    "load_pretrained",
    "pretrained_path",
    "recognition_places",
]
