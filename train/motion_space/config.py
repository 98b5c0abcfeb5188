"""What the fit of the motion space may choose."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MotionSpaceConfig:
    """What the fit may choose.

    lid_weight, lip_weight: how much more than a cheek point a lid or lip point counts; lids are few and small, and
        blinks would otherwise fall below the components kept.
    person_share, expression_share: how much each data set weighs in a basis, whatever its size; within a set each
        person weighs the same.
    eyeball_radius: face units; 12 mm against 90 mm between the outer corners.
    eyeball_depth: face units from the eye corners back to the centre of the eyeball.
    picture_noise, sequence_noise: face units; the larger, the smoother and the smaller the coefficients.
    max_rest_opening: face units; an image whose lips stay further apart than this after its expression is taken out
        does not count as a person.
    """

    lid_weight: float = 4.0
    lip_weight: float = 2.0
    person_share: tuple[tuple[str, float], ...] = (
        ("london", 0.25), ("canada", 0.15), ("lisa", 0.01), ("zoom", 0.01), ("clips", 0.15), ("small", 0.43),
    )  # fmt: skip
    expression_share: tuple[tuple[str, float], ...] = (
        ("grid", 0.35), ("address", 0.35), ("silent", 0.2), ("smile", 0.1),
    )  # fmt: skip
    eyeball_radius: float = 12 / 90
    eyeball_depth: float = 0.05
    picture_noise: float = 0.015
    sequence_noise: float = 0.006
    max_rest_opening: float = 0.02

    def __post_init__(self) -> None:
        if min(self.picture_noise, self.sequence_noise) <= 0:
            raise ValueError("noise must be above 0, or the coefficients of a single image are not determined")
