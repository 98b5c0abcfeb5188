"""From an image to the head crop and its landmarks."""

from engine.portrait.crop import CROP_SIZE, FaceCrop, crop_face
from engine.portrait.decode import load_image
from engine.portrait.landmarker import FaceLandmarker

__all__ = ["CROP_SIZE", "FaceCrop", "FaceLandmarker", "crop_face", "load_image"]
