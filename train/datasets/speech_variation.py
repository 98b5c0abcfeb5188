"""Settings that all batches with audio share: what is heard, and how much it is varied."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechVariation:
    """How rows with audio are varied.

    Attributes:
        variants: take the augmented audio of the shards too, beside the audio as it is.
        lookahead_ms: how far a mel window reaches past its frame; 133 is the release's.
        silence_share: rows that hear silence instead of speech.
        style_share: rows whose expressions are shifted by another face's resting expression.
        mirror_share: rows with the mirrored face.
    """

    variants: bool = True
    lookahead_ms: int = 80
    silence_share: float = 0.0
    style_share: float = 0.5
    mirror_share: float = 0.5
