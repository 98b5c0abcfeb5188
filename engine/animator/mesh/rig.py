"""What a portrait becomes once: the textures and tables from which any renderer draws it in any motion.

    portrait --build_rig--> Rig --move--> positions, depths, layer transforms --a renderer--> frame
                             |
                        save, load: a folder of JSON, PNG and one binary

    rig.json      version, numbers, and for each table: shape, dtype and place in rig.bin
    rig.bin       little-endian arrays, one after another
    *.png         skin, and white, iris, residue of both eyes, teeth, mouth; 8 bits

A rig holds nothing of a renderer, and a renderer in any language draws from its folder. Coordinates are pixels of the
square crop, x right, y down, z away from the camera, with pixel centres at integers. Colours are RGB 0..255; textures
with four channels are RGBA, premultiplied.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from engine.errors import RigUnreadable

UInt8Array = npt.NDArray[np.uint8]
Int32Array = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]

DESIGN_SIZE_PX: Final = 256
"""Crop size at which lengths of the drawing that are no share of the face (soft edges, lash lines) were chosen."""

TEXELS_PER_PX: Final = 3
"""Of the teeth's textures: enough that an enlarged head still has edges between them."""

ZERO_RESIDUE: Final = 128
"""Value of `EyeRig.residue` that adds nothing."""

FOLDER_VERSION: Final = 1
"""Of what `Rig.save` writes."""

_JSON, _BINARY = "rig.json", "rig.bin"
_DTYPES = {"float32": np.dtype("<f4"), "int32": np.dtype("<i4")}
# More than a rig of 1 024 px asks for, many times; a file that wants more is damaged or hostile.
_MAX_TABLE_BYTES = 1 << 26
_MAX_SIDE_PX = 8192


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class EyeRig:
    """One eye. Its lids have 9 points each, image left to right, with both corners.

    Attributes:
        rest_gap_px, shut_gap_px: (9,) float32 opening of the lids in the portrait, and below which they touch.
        corners_px: (2, 2) float32, image left and right.
        down: (2,) float32 unit vector, the head's downward axis in the portrait.
        sealed: whether the portrait's eye is shut, so that its iris and white are invented.
        origin_px: (2,) int32 place of the first texel of white, iris and residue, which have one texel a pixel.
        white: (h, w, 3) uint8 the eyeball without its iris.
        iris: (h, w, 4) uint8 the whole iris, where it is in the portrait.
        residue: (h, w, 3) uint8 what the two miss of the portrait, plus 128.
        lash: (3,) float32 colour of the line where shut lids meet.
    """

    rest_gap_px: Float32Array
    shut_gap_px: Float32Array
    corners_px: Float32Array
    down: Float32Array
    sealed: bool
    origin_px: Int32Array
    white: UInt8Array
    iris: UInt8Array
    residue: UInt8Array
    lash: Float32Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class MouthRig:
    """The mouth. Its inner lips have 11 points each, image left to right, with both corners.

    Attributes:
        rest_gap_px, shut_gap_px: (11,) float32 gap between the lips in the portrait, and below which they touch.
        rest_gap_shown_px: (11,) float32 gap of the lips as drawn: 0 where the portrait's lips are closed.
        anchor_px: (3,) float32 middle of the teeth.
        chin_px: (6, 3) float32 points that follow the jaw.
        width_px: between the mouth corners.
        upper_teeth, lower_teeth: (h, w, 4) uint8, `TEXELS_PER_PX` texels a pixel.
        upper_origin_px, lower_origin_px: (2,) float32 place of their first texel from the anchor, in the frontal plane.
        own: (h, w, 4) uint8 the portrait's own open mouth, one texel a pixel; of size 0 where its lips are closed.
        own_origin_px: (2,) float32 place of its first texel from the anchor.
        own_stays: whether it shows teeth, and so stays as the lips move.
        light: (3,) float32 colour of a white thing in this portrait.
    """

    rest_gap_px: Float32Array
    shut_gap_px: Float32Array
    rest_gap_shown_px: Float32Array
    anchor_px: Float32Array
    chin_px: Float32Array
    width_px: float
    upper_teeth: UInt8Array
    lower_teeth: UInt8Array
    upper_origin_px: Float32Array
    lower_origin_px: Float32Array
    own: UInt8Array
    own_origin_px: Float32Array
    own_stays: bool
    light: Float32Array


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """One portrait, never changed, so any number of sessions share it. V vertices, F triangles, R ray points.

    Attributes:
        skin: (S, S, 3) uint8 the crop, with eyes and mouth grown over.
        source_px: (V, 2) float32 vertices in the crop: 468 landmarks, two rows of lashes, rays to the border.
        triangles: (F, 3) int32 vertices, clockwise as seen where the surface faces the camera.
        ray_follow_skull, ray_follow_outline: (R,) float32 how far each ray point goes with the skull as a rigid ball,
            and with the point of the face's outline that its ray starts from.
        ray_depth_px: (R,) float32; behind all of the face.
        skull_centre_px: (3,) float32 middle of the head, at the depth of the ears.
        neutral_shape: (478, 3) float32 the person's landmarks at expression 0, face units.
        expression_basis: (64, 478, 3) float32, face units; rigs of one model share it.
        rest_descriptor: (72,) float32 motion descriptor of the portrait itself.
        eyeball_radius_px: at the portrait's size.
        eyes: at image left and right.
        mouth: the mouth.
    """

    skin: UInt8Array
    source_px: Float32Array
    triangles: Int32Array
    ray_follow_skull: Float32Array
    ray_follow_outline: Float32Array
    ray_depth_px: Float32Array
    skull_centre_px: Float32Array
    neutral_shape: Float32Array
    expression_basis: Float32Array
    rest_descriptor: Float32Array
    eyeball_radius_px: float
    eyes: tuple[EyeRig, EyeRig]
    mouth: MouthRig

    @property
    def size_px(self) -> int:
        """Side of the crop, and of the frames drawn from it."""
        return int(self.skin.shape[0])

    def save(self, folder: Path) -> None:
        """Write it into a folder, which is made. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True)
        tables: dict[str, dict[str, Any]] = {}
        numbers: dict[str, float | bool] = {}
        textures: list[str] = []
        binary = bytearray()
        for name, value in _parts(self):
            if not isinstance(value, np.ndarray):
                numbers[name] = value
            elif value.dtype == np.uint8:
                if value.size:
                    Image.fromarray(value).save(folder / f"{name}.png", optimize=True)
                    textures.append(name)
            else:
                dtype = value.dtype.name
                tables[name] = {"shape": list(value.shape), "dtype": dtype, "offset": len(binary)}
                binary += np.ascontiguousarray(value, _DTYPES[dtype]).tobytes()
        (folder / _BINARY).write_bytes(bytes(binary))
        content = {
            "version": FOLDER_VERSION,
            "size_px": self.size_px,
            "numbers": numbers,
            "textures": textures,
            "tables": tables,
        }
        (folder / _JSON).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Rig:
        """Read what `save` wrote; frames of it are the same bytes.

        Raises:
            RigUnreadable: a file is missing or damaged, or of another version.
        """
        try:
            content = json.loads((folder / _JSON).read_text(encoding="utf-8"))
            if content["version"] != FOLDER_VERSION:
                raise RigUnreadable(
                    f"'{folder}' holds a rig of version {content['version']}; this program reads {FOLDER_VERSION}"
                )
            binary = (folder / _BINARY).read_bytes()
            parts: dict[str, Any] = dict(content["numbers"])
            for name, table in content["tables"].items():
                parts[name] = _table(binary, table)
            for name in content["textures"]:
                parts[name] = _texture(folder / f"{name}.png")
            rig: Rig = _assembled(cls, parts, "")
            size = int(content["size_px"])
        except RigUnreadable:
            raise
        except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            raise RigUnreadable(f"'{folder}' holds no rig that can be read ({error}); save it again") from error
        if rig.skin.shape != (size, size, 3):
            raise RigUnreadable(f"'{folder}': the skin is {rig.skin.shape}, not {size} px a side; save it again")
        return rig


def _parts(value: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Fields by dotted name, those of eyes and mouth as `eyes.0.white`."""
    found: list[tuple[str, Any]] = []
    for field in dataclasses.fields(value):
        part, name = getattr(value, field.name), prefix + field.name
        if isinstance(part, tuple):
            found += [item for side, eye in enumerate(part) for item in _parts(eye, f"{name}.{side}.")]
        elif dataclasses.is_dataclass(part):
            found += _parts(part, f"{name}.")
        else:
            found.append((name, part))
    return found


def _assembled(kind: type[Any], parts: dict[str, Any], prefix: str) -> Any:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = prefix + field.name
        if name == "eyes":
            values[name] = tuple(_assembled(EyeRig, parts, f"eyes.{side}.") for side in range(2))
        elif name == "mouth":
            values[name] = _assembled(MouthRig, parts, "mouth.")
        elif name == "mouth.own":
            values[field.name] = parts.get(name, np.zeros((0, 0, 4), np.uint8))
        else:
            values[field.name] = parts[name]
    return kind(**values)


def _table(binary: bytes, table: dict[str, Any]) -> npt.NDArray[Any]:
    dtype, shape = _DTYPES[table["dtype"]], tuple(int(side) for side in table["shape"])
    if any(side < 0 for side in shape) or np.prod(shape, dtype=np.float64) * dtype.itemsize > _MAX_TABLE_BYTES:
        raise ValueError(f"a table of shape {shape}")
    values = np.frombuffer(binary, dtype, int(np.prod(shape)), int(table["offset"]))
    return values.reshape(shape).astype(dtype.newbyteorder("="))


def _texture(path: Path) -> npt.NDArray[np.uint8]:
    with Image.open(path) as image:
        if image.format != "PNG" or image.mode not in ("RGB", "RGBA") or max(image.size) > _MAX_SIDE_PX:
            raise ValueError(f"{path.name} is no RGB or RGBA image of PNG")
        return np.array(image)
