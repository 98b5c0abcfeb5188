"""From videos to features: reading, tracking, audio-video alignment, augmentation, shards."""

from train.data.storage.manifest import ClipRecord, read_manifest
from train.data.storage.shards import ClipFeatures, MelVariant

__all__ = ["ClipFeatures", "ClipRecord", "MelVariant", "read_manifest"]
