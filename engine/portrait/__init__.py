"""From an image to the head crop and its landmarks."""

from engine.portrait.crop import CROP_SIZE, CROP_SIZES, FaceCrop, crop_face, largest_size
from engine.portrait.decode import load_image
from engine.portrait.landmarker import FaceLandmarker

__all__ = ["CROP_SIZE", "CROP_SIZES", "FaceCrop", "FaceLandmarker", "crop_face", "largest_size", "load_image"]
