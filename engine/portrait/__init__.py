"""From an image to the head crop and its landmarks."""

from engine.portrait.crop import CROP_SIZE, CROP_SIZES, FaceCrop, crop_face, largest_size, shrink_crop
from engine.portrait.decode import load_image, read_image_file
from engine.portrait.face_follower import follow_face
from engine.portrait.landmarker import MIN_FACE_PX, FaceLandmarker
from engine.portrait.second_look import SecondLook

__all__ = [
    "CROP_SIZE",
    "CROP_SIZES",
    "MIN_FACE_PX",
    "FaceCrop",
    "FaceLandmarker",
    "SecondLook",
    "crop_face",
    "follow_face",
    "largest_size",
    "load_image",
    "read_image_file",
    "shrink_crop",
]
