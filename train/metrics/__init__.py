"""Figures by which trained networks and videos are judged."""

from train.metrics.blink import BlinkStatistics, blink_statistics
from train.metrics.frechet import FeatureStatistics, feature_statistics, frechet_distance
from train.metrics.identity import identity_similarity
from train.metrics.images import image_flicker, image_similarity, peak_signal_to_noise_db, perceptual_distance
from train.metrics.landmarks import (
    expression_landmarks,
    eye_brow_sequence,
    landmark_error,
    landmark_jitter,
    mouth_landmark_distance,
)
from train.metrics.lip_sync import LipSync, lip_sync, voice_windows
from train.metrics.mfcc import mfcc
from train.metrics.mouth import MouthAgreement, mouth_agreement, mouth_opening
from train.metrics.pose import PoseStatistics, motion_statistics, pose_statistics, rhythm
from train.metrics.structure import ROTATION_RANGE_RAD, average_variance, structural_similarity

__all__ = [
    "ROTATION_RANGE_RAD",
    "BlinkStatistics",
    "FeatureStatistics",
    "LipSync",
    "MouthAgreement",
    "PoseStatistics",
    "average_variance",
    "blink_statistics",
    "expression_landmarks",
    "eye_brow_sequence",
    "feature_statistics",
    "frechet_distance",
    "identity_similarity",
    "image_flicker",
    "image_similarity",
    "landmark_error",
    "landmark_jitter",
    "lip_sync",
    "mfcc",
    "motion_statistics",
    "mouth_agreement",
    "mouth_landmark_distance",
    "mouth_opening",
    "peak_signal_to_noise_db",
    "perceptual_distance",
    "pose_statistics",
    "rhythm",
    "structural_similarity",
    "voice_windows",
]
