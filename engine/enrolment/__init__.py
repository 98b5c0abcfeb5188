"""From an image to the one face in it that is fit to be animated, or to a reason why there is none."""

from engine.enrolment.portrait_face import PortraitFace, find_portrait_face

__all__ = ["PortraitFace", "find_portrait_face"]
