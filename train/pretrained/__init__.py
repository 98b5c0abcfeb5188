"""Frozen networks that losses and metrics look through.

`expert` loads those of the paper, whose files the user brings; the others are open substitutes that need nothing but
this package or small optional ones. All are frozen, in evaluation mode, and pass gradients to the image.
"""

from train.pretrained.architectures.identity import FaceIdentity
from train.pretrained.architectures.perceptual import PerceptualBackbone
from train.pretrained.catalogue import EXPERTS, ExpertKind, ExpertSource
from train.pretrained.face_cropped import FaceCropped
from train.pretrained.loading import expert, expert_path
from train.pretrained.places import (
    cut_places,
    expression_places,
    face_places,
    from_places,
    into_places,
    mouth_places,
    recognition_places,
)
from train.pretrained.region_parser import RegionParser
from train.pretrained.regions import REGIONS, lip_eye_mask, region_masks
from train.pretrained.tflite.landmark_network import BlendshapeFeatures, IrisPlaces, LandmarkNetwork

__all__ = [
    "EXPERTS",
    "REGIONS",
    "BlendshapeFeatures",
    "ExpertKind",
    "ExpertSource",
    "FaceCropped",
    "FaceIdentity",
    "IrisPlaces",
    "LandmarkNetwork",
    "PerceptualBackbone",
    "RegionParser",
    "cut_places",
    "expert",
    "expert_path",
    "expression_places",
    "face_places",
    "from_places",
    "into_places",
    "lip_eye_mask",
    "mouth_places",
    "recognition_places",
    "region_masks",
]
