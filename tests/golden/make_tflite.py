"""Writes tflite.npz: what Google's own runtime makes of the bundled face model's networks.

pip install ai-edge-litert
python tests/golden/make_tflite.py
"""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

_ROOT = Path(__file__).resolve().parent.parent.parent
_ASSETS = _ROOT / "engine" / "portrait" / "assets"
_LANDMARKS, _VALUES = 1434, 3


def _run(name: str, values: np.ndarray[Any, Any]) -> dict[int, np.ndarray[Any, Any]]:
    """Outputs by number of elements."""
    network = Interpreter(model_path=str(_ASSETS / f"{name}.tflite"), num_threads=1)
    network.allocate_tensors()
    network.set_tensor(network.get_input_details()[0]["index"], values)
    network.invoke()
    outputs = (network.get_tensor(detail["index"]) for detail in network.get_output_details())
    return {output.size: output.reshape(-1) for output in outputs}


def main() -> None:
    """As the module says."""
    image = np.asarray(
        Image.open(_ROOT / "engine" / "assets" / "portrait.jpg").convert("RGB").resize((512, 512)), np.float32
    )
    landmarks = _run("face_landmarks_detector", image[None, 96:352, 128:384] / 255)[_LANDMARKS]
    points = np.random.default_rng(0).uniform(0, 256, (1, 146, 2)).astype(np.float32)
    detector = _run("face_detector", image[None, ::4, ::4] / 127.5 - 1)
    np.savez_compressed(
        Path(__file__).parent / "tflite.npz",
        landmarks=landmarks,
        blendshapes=_run("face_blendshapes", points)[52],
        scores=detector[896],
    )


if __name__ == "__main__":
    main()
