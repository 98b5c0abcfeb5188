"""The visible label that tells viewers what they see (paper, Ethical Considerations)."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

_Rgb = npt.NDArray[np.uint8]


class VisibleLabel:
    """Blends a small badge into the lower left corner of frames of one size.

    The badge is drawn once; a frame costs one blend of its few thousand pixels. It scales with the frame height
    so that it stays legible.

    Args:
        height_px, width_px: frame size.
        text: what the badge says.

    Attributes:
        keep, add: float32 (rows, columns, 1) and (..., 3) of the badge: a pixel becomes floor(pixel keep + add).
    """

    def __init__(self, height_px: int, width_px: int, text: str = "AI-generated") -> None:
        font_px = max(9, round(height_px * 0.043))
        margin_px, padding_px = max(3, font_px // 2), max(2, font_px // 3)
        font = ImageFont.load_default(size=font_px)
        left, top, right, bottom = font.getbbox(text)
        badge_width = min(round(right - left) + 2 * padding_px, width_px)
        badge_height = min(round(bottom - top) + 2 * padding_px, height_px)
        badge = Image.new("RGBA", (badge_width, badge_height), (0, 0, 0, 0))
        draw = ImageDraw.Draw(badge)
        draw.rounded_rectangle((0, 0, badge_width - 1, badge_height - 1), radius=padding_px, fill=(0, 0, 0, 120))
        draw.text((padding_px - left, padding_px - top), text, font=font, fill=(255, 255, 255, 230))
        pixels = np.asarray(badge, dtype=np.float32)
        alpha = pixels[:, :, 3:] / 255.0
        self.keep = 1.0 - alpha
        self.add = pixels[:, :, :3] * alpha + 0.5
        y0 = max(height_px - margin_px - badge_height, 0)
        x0 = min(margin_px, width_px - badge_width)
        self._area = (slice(y0, y0 + badge_height), slice(x0, x0 + badge_width))
        self._size = (height_px, width_px, 3)

    @property
    def area(self) -> tuple[slice, slice]:
        """Rows and columns that the badge covers."""
        return self._area

    def apply(self, rgb: _Rgb) -> _Rgb:
        """Return ``rgb`` (uint8, height x width x 3) with the badge; the input is not changed."""
        if rgb.shape != self._size or rgb.dtype != np.uint8:
            raise ValueError(f"expected uint8 {self._size}, got {rgb.dtype} {rgb.shape}")
        out = rgb.copy()
        out[self._area] = (rgb[self._area] * self.keep + self.add).astype(np.uint8)
        return out
