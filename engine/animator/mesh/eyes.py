"""Eyeballs under the lids: a white with the iris taken out, and the iris on a disc that the gaze slides over it.

The shares of eye height and the pixel widths below were chosen by eye on portraits of 256 px, for lids that neither
leave a slit when they shut nor swallow the iris when they follow it.
"""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from engine.animator.mesh.contours import Box, ContourMask, blend_into, box_around, contour_mask, smooth_step
from engine.animator.mesh.eye_textures import white_of_eye, whole_iris
from engine.animator.mesh.head_motion import HeadMotion, down_axis
from engine.animator.mesh.topology import Eye

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
ImageArray = npt.NDArray[np.uint8]

# Landmarks of shut eyes still gape by a fifth to a third of the open eye. A little above that, so that every
# blink shuts; the price is that eyes narrowed to a third are shown shut too.
_SHUT_SHARE = 0.36
# Of the iris's way, how much the upper lid goes along. Down nearly all of it, as real lids do: less leaves white above
# the iris. Up half: more lifts the lid off the eyeball into a stare.
_LID_FOLLOWS_DOWN = 0.85
_LID_FOLLOWS_UP = 0.5
# The lower lid hardly moves with the gaze.
_LOWER_LID_FOLLOWS = 0.25
# Shares of the gap that the lids take when they shut: real ones come down from above.
_UPPER_LID_SHARE, _LOWER_LID_SHARE = 0.85, 0.15
# Eyes turn no further in their sockets (36 and 26 degrees); commands approach that smoothly.
_YAW_LIMIT_RAD = 0.62
_PITCH_LIMIT_RAD = 0.45
# Around the lids, so that the white can be continued under them when they open wider than in the portrait.
_MARGIN_PX = 10
# Half a pixel of blur hides the steps of the lid's edge; more greys the lashes.
_EDGE_SOFTNESS_PX = 0.45
_LASH_STRENGTH = 0.6
# Fewer visible pixels than this are no iris to copy: the eye counts as shut, and one is invented.
_SEEN_IRIS_PIXELS = 12


@dataclasses.dataclass(frozen=True, slots=True)
class EyeLayer:
    """Everything about one eye that depends on the portrait alone; lengths in crop pixels.

    Attributes:
        eye: point indices.
        rest_gap_px: (9,) lid opening in the portrait; below ``shut_gap_px`` the lids touch.
        corners_px: (2, 3) image left and right.
        down: (2,) the head's downward axis in the image.
        radius_px: of the eyeball, at the portrait's size.
        rest_gaze: eye-in-head pitch and yaw of the portrait, limited.
        white: (h, w, 3) eye without iris.
        iris: (h, w, 4) premultiplied RGBA.
        residue: (h, w, 3) what the two miss of the portrait at rest.
        box: place of these textures in the crop.
        lash: (3,) colour of the lash line.
        sealed: whether the portrait's eye is shut; then iris and white are invented.
    """

    eye: Eye
    rest_gap_px: Float64Array
    shut_gap_px: Float64Array
    corners_px: Float64Array
    down: Float64Array
    radius_px: float
    rest_gaze: tuple[float, float]
    white: Float32Array
    iris: Float32Array
    residue: Float32Array
    box: Box
    lash: Float32Array
    sealed: bool

    def iris_shift(self, gaze: tuple[float, float]) -> Float64Array:
        """Shift (2,) of the iris in the head's frontal plane, at the portrait's size, for an eye-in-head gaze."""
        return self.radius_px * (_iris_place(limited_gaze(gaze)) - _iris_place(self.rest_gaze))

    def close_lids(self, points_px: Float64Array, head: HeadMotion, gaze: tuple[float, float]) -> None:
        """Let the lids follow the gaze up and down and meet when nearly closed; changes ``points_px`` in place."""
        down = down_axis(head.target_rotation)
        upper, lower = points_px[self.eye.upper], points_px[self.eye.lower]
        gap = (lower - upper) @ down / head.scale
        rest, shut = self.rest_gap_px, self.shut_gap_px
        narrow = rest * (gap - shut) / np.maximum(rest - shut, 1e-6)
        shown = np.maximum(gap - rest if self.sealed else np.where(gap < rest, narrow, gap), 0.0)
        openness = np.clip(shown / np.maximum(rest, 1e-6), 0.0, 1.0)
        closing = gap - shown
        # The lids go with the iris, by as much as the expression has not moved them already; never so far that looking
        # down shuts the eye (0.6 of what is open) or looking up tears it open (0.3 of the rest).
        iris_drop = float(self.iris_shift(gaze)[1])
        lowered = rest - shown
        down_drop = np.clip(_LID_FOLLOWS_DOWN * iris_drop - np.maximum(lowered, 0.0), 0.0, 0.6 * shown)
        up_drop = np.clip(_LID_FOLLOWS_UP * iris_drop - np.minimum(lowered, 0.0), -0.3 * rest, 0.0)
        lower_follow = openness * np.clip(_LOWER_LID_FOLLOWS * iris_drop, -0.12 * rest, 0.15 * rest)
        upper_drop = _UPPER_LID_SHARE * closing + (down_drop if iris_drop > 0 else openness * up_drop)
        lower_rise = _LOWER_LID_SHARE * closing - lower_follow
        upper_drop[[0, -1]] = lower_rise[[0, -1]] = 0.0
        points_px[self.eye.upper] += (head.scale * upper_drop)[:, None] * down
        points_px[self.eye.lower] -= (head.scale * lower_rise)[:, None] * down

    def draw(self, frame: ImageArray, points_px: Float64Array, head: HeadMotion, gaze: tuple[float, float]) -> None:
        """Draw the eyeball into ``frame`` in place, between the lids of ``points_px`` (V, 2)."""
        upper, lower = points_px[self.eye.upper], points_px[self.eye.lower]
        box = box_around(np.concatenate([upper, lower]), 3.0, *frame.shape[:2])
        if box.empty:
            return
        seen = contour_mask(upper, lower, box, _EDGE_SOFTNESS_PX)
        if float(seen.coverage.max()) >= 1.0 / 255.0:
            self._draw_ball(frame, seen, upper, box, head, gaze)
        gap = float(np.linalg.norm(lower - upper, axis=1).max()) / head.scale
        shut = 1.0 - float(smooth_step(gap / max(0.4 * float(self.rest_gap_px.max()), 1e-6)))
        if shut > 0.01:
            self._draw_lash_line(frame, seen, box, shut)

    def turn(
        self,
        source_map: Float32Array,
        points_px: Float64Array,
        head: HeadMotion,
        gaze: tuple[float, float],
    ) -> None:
        """Let a map (H, W, 2) of source places, px, show the turned iris between the lids; in place."""
        upper, lower = points_px[self.eye.upper], points_px[self.eye.lower]
        box = box_around(np.concatenate([upper, lower]), 1.0, *source_map.shape[:2])
        if box.empty:
            return
        to_rest = self._to_rest(upper[-1] - upper[0], head)
        shift = head.scale * head.target_rotation[:2, :2] @ self.iris_shift(gaze)
        away = np.array([box.left, box.top]) - (0.5 * (upper[0] + upper[-1]) + shift)
        start = to_rest @ away + self.corners_px.mean(axis=0)[:2]
        size = (box.right - box.left, box.bottom - box.top)
        x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
        places = np.stack([x, y], -1) @ to_rest.T + start
        matrix = np.concatenate([to_rest, (start - [self.box.left, self.box.top])[:, None]], axis=1)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        iris = np.ascontiguousarray(self.iris[..., 3])
        share = np.clip(cv2.warpAffine(iris, matrix, size, flags=flags) / 255.0, 0.0, 1.0)
        share = (share * contour_mask(upper, lower, box, _EDGE_SOFTNESS_PX).coverage)[..., None]
        part = source_map[box.slices]
        part[...] += ((places - part) * share).astype(np.float32)

    def _draw_ball(
        self,
        frame: ImageArray,
        seen: ContourMask,
        upper: Float64Array,
        box: Box,
        head: HeadMotion,
        gaze: tuple[float, float],
    ) -> None:
        size = (box.right - box.left, box.bottom - box.top)
        centre = 0.5 * (upper[0] + upper[-1])
        rest_centre = self.corners_px.mean(axis=0)[:2]
        to_rest = self._to_rest(upper[-1] - upper[0], head)
        origin = np.array([box.left, box.top], dtype=np.float64)
        shift = head.scale * head.target_rotation[:2, :2] @ self.iris_shift(gaze)
        place = rest_centre - np.array([self.box.left, self.box.top])

        def sample(texture: Float32Array, centre_px: Float64Array) -> Float32Array:
            offset = to_rest @ (origin - centre_px) + place
            matrix = np.concatenate([to_rest, offset[:, None]], axis=1)
            flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
            border = cv2.BORDER_REPLICATE
            return np.asarray(cv2.warpAffine(texture, matrix, size, flags=flags, borderMode=border), np.float32)

        ball = sample(self.white, centre)
        iris = sample(self.iris, centre + shift)
        ball *= 1.0 - np.clip(iris[..., 3:] / 255.0, 0.0, 1.0)
        ball += iris[..., :3]
        # Within about a pixel of the rest the portrait's own eye is shown, lid shadow, reflections and all.
        stillness = float(np.exp(-float(shift @ shift)))
        # The portrait holds the shadow of its own lid; a moved eyeball gets one of its own, a quarter of the light deep
        # and fading within a fifth of the eyeball: without it, turned eyes look stuck on.
        shadow = 0.28 * (1.0 - stillness) * np.exp(-np.maximum(seen.below_upper, 0.0) / (0.22 * self.radius_px))
        ball *= 1.0 - shadow[..., None]
        if stillness > 0.01:
            ball += stillness * sample(self.residue, centre)
        blend_into(frame, box, ball, seen.coverage[..., None])

    def _draw_lash_line(self, frame: ImageArray, seen: ContourMask, box: Box, shut: float) -> None:
        """Dark line where the lids meet, so that shut eyes do not look sealed."""
        # Just below the upper lid, about two pixels wide, thinning out towards the corners.
        line = np.exp(-(((seen.below_upper - 0.3) / 0.85) ** 2)) * np.clip(4.0 - 4.0 * np.abs(seen.across), 0.0, 1.0)
        alpha = (_LASH_STRENGTH * shut * line).astype(np.float32)[..., None]
        blend_into(frame, box, self.lash, alpha)

    def _to_rest(self, corner_vector: Float64Array, head: HeadMotion) -> Float64Array:
        """Linear map (2, 2) from the image back to the portrait: corners onto corners, down onto down."""
        rest_vector = self.corners_px[1, :2] - self.corners_px[0, :2]
        rest = np.stack([rest_vector, self.down], axis=1)
        moved = np.stack([corner_vector, head.linear[:2, :2] @ self.down], axis=1)
        if abs(float(np.linalg.det(moved))) < 1e-3:
            return np.eye(2)
        return np.asarray(rest @ np.linalg.inv(moved))


def limited_gaze(gaze: tuple[float, float]) -> tuple[float, float]:
    """Eye-in-head pitch and yaw in radians, eased into the range of the eyes; strictly monotonic in both."""
    pitch, yaw = gaze
    return (
        float(_PITCH_LIMIT_RAD * np.tanh(pitch / _PITCH_LIMIT_RAD)),
        float(_YAW_LIMIT_RAD * np.tanh(yaw / _YAW_LIMIT_RAD)),
    )


def build_eye(
    rgb: ImageArray,
    landmarks_px: Float64Array,
    eye: Eye,
    rotation: Float64Array,
    radius_px: float,
    rest_gaze: tuple[float, float],
) -> EyeLayer:
    """Eye of a crop. ``rest_gaze``: eye-in-head pitch and yaw of the portrait in radians."""
    upper, lower = landmarks_px[eye.upper, :2], landmarks_px[eye.lower, :2]
    down = down_axis(rotation)
    rest_gap = np.maximum((lower - upper) @ down, 0.0)
    box = box_around(np.concatenate([upper, lower]), _MARGIN_PX, *rgb.shape[:2])
    corner = np.array([box.left, box.top], dtype=np.float64)
    centre = landmarks_px[eye.iris[0], :2] - corner
    ring = landmarks_px[eye.iris[1:], :2] - corner
    iris_radius = max(float(np.linalg.norm(ring - centre, axis=1).mean()), 1.5)
    seen = contour_mask(upper, lower, box)
    image = rgb[box.slices].astype(np.float32)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    distance = np.hypot(x - centre[0], y - centre[1]).astype(np.float32)
    visible = (seen.below_upper > 1.0) & (seen.above_lower > 0.6) & (np.abs(seen.across) < 0.97)
    # The iris ends in a darker ring that blurs into the white: a fifth further out the white is clean.
    white = white_of_eye(image, visible & (distance > 1.22 * iris_radius), seen.coverage)
    sealed = int((visible & (distance < iris_radius)).sum()) < _SEEN_IRIS_PIXELS
    iris = whole_iris(image, visible, distance, iris_radius, white, sealed)
    composite = white * (1.0 - iris[..., 3:] / 255.0) + iris[..., :3]
    # Beyond the contours the portrait shows lids, which must not come along when the eye opens wider.
    within = np.clip(np.minimum(seen.below_upper, seen.above_lower) + 1.5, 0.0, 1.0)
    if sealed:
        within *= 0.0
    residue = (image - composite) * within[..., None]
    near_upper = (np.abs(seen.below_upper) < 1.2) & (np.abs(seen.across) < 0.8)
    lash = np.quantile(image[near_upper], 0.2, axis=0) if near_upper.any() else np.array([60.0, 45.0, 40.0])
    return EyeLayer(
        eye=eye,
        rest_gap_px=rest_gap,
        shut_gap_px=_SHUT_SHARE * rest_gap,
        corners_px=landmarks_px[eye.upper[[0, -1]]].copy(),
        down=down,
        radius_px=radius_px,
        rest_gaze=limited_gaze(rest_gaze),
        white=white,
        iris=iris,
        residue=residue.astype(np.float32),
        box=box,
        lash=np.asarray(lash, np.float32),
        sealed=sealed,
    )


def _iris_place(gaze: tuple[float, float]) -> Float64Array:
    pitch, yaw = gaze
    return np.array([np.cos(pitch) * np.sin(yaw), -np.sin(pitch)])
