"""Figures by which trained networks are judged."""

from train.metrics.mouth import MouthAgreement, mouth_agreement, mouth_opening

__all__ = ["MouthAgreement", "mouth_agreement", "mouth_opening"]
