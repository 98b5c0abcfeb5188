"""Make the golden rig: the demo portrait at 128 px, ten motions of it, and where they take it.

    python -m tests.golden.make_rig

Any renderer is held to ``rig/`` and ``rig_motion.npz``: vertices, depths and layer matrices of ten descriptors, and the
frames that the CPU renderer draws of them.
"""

from pathlib import Path

import numpy as np
import torch

from engine import load_engine
from engine.animator.mesh.build_rig import build_rig
from engine.animator.mesh.cpu_renderer import CpuRig, draw
from engine.animator.mesh.vertices import RigTables, move
from engine.assets import PORTRAIT
from engine.portrait import crop_face, load_image

GOLDEN = Path(__file__).parent
SIZE_PX = 128
ROTATION, PLACE, GAZE = slice(64, 67), slice(67, 70), slice(70, 72)


def motions(rest_D: np.ndarray) -> np.ndarray:
    """Ten descriptors (10, 72): rest, turns, gazes, expressions, and all of them at once."""
    rng = np.random.default_rng(7)
    found = np.tile(rest_D, (10, 1))
    found[1:4, ROTATION] += np.array([[0.15, 0, 0], [0, 0.3, 0], [0, 0, -0.25]], np.float32)
    found[4:6, GAZE] = [[0.3, -0.4], [-0.25, 0.5]]
    found[6:8, :64] = 1.2 * rng.standard_normal((2, 64))
    found[8:, :64] = 0.8 * rng.standard_normal((2, 64))
    found[8:, ROTATION] += rng.uniform(-0.3, 0.3, (2, 3))
    found[8:, PLACE] += rng.uniform(-0.1, 0.1, (2, 3))
    found[8:, GAZE] = rng.uniform(-0.5, 0.5, (2, 2))
    return found.astype(np.float32)


def main() -> None:
    engine = load_engine(backend="geometric")
    rgb = load_image(PORTRAIT)
    crop = crop_face(rgb, engine.landmarker.detect(rgb), SIZE_PX)
    rig = build_rig(crop, engine.model.fit(crop.landmarks_px, SIZE_PX), engine.model)
    rig.save(GOLDEN / "rig")
    prepared, tables = CpuRig.of(rig), RigTables.of(rig)
    descriptors = motions(rig.rest_descriptor)
    rows = [move(tables, torch.from_numpy(row[None])) for row in descriptors]
    moved = {name: torch.cat([getattr(row, name) for row in rows]).numpy() for name in rows[0]._fields}
    frames = np.stack([draw(prepared, row) for row in rows])
    np.savez_compressed(GOLDEN / "rig_motion.npz", descriptors=descriptors, frames=frames, **moved)


if __name__ == "__main__":
    main()
