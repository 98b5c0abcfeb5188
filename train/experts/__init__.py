"""Frozen networks that losses and metrics look through.

`expert` loads those of the paper, whose files the user brings; the others are open substitutes that need nothing but
this package or small optional ones. All are frozen, in evaluation mode, and pass gradients to the picture.
"""

from train.experts.catalogue import EXPERTS, ExpertKind, ExpertSource
from train.experts.identity import FaceIdentity
from train.experts.landmark_network import BlendshapeFeatures, IrisPlaces, LandmarkNetwork
from train.experts.loading import expert, expert_path
from train.experts.on_face import OnFace
from train.experts.perceptual import PerceptualBackbone
from train.experts.places import (
    cut_places,
    expression_places,
    face_places,
    from_places,
    into_places,
    mouth_places,
    recognition_places,
)
from train.experts.region_parser import RegionParser
from train.experts.regions import REGIONS, lip_eye_mask, region_masks

__all__ = [
    "EXPERTS",
    "REGIONS",
    "BlendshapeFeatures",
    "ExpertKind",
    "ExpertSource",
    "FaceIdentity",
    "IrisPlaces",
    "LandmarkNetwork",
    "OnFace",
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
