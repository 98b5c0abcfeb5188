"""From films to features: reading, tracking, audio-video alignment, stretching, shards."""

from train.data.manifest import ClipRecord, read_manifest
from train.data.shards import ClipFeatures, MelVariant

__all__ = ["ClipFeatures", "ClipRecord", "MelVariant", "read_manifest"]
