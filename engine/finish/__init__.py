"""The last stage: every frame that leaves the engine passes through here."""

from engine.finish.finish import Finish, Marking
from engine.finish.label import VisibleLabel
from engine.finish.paste_back import PasteBack
from engine.finish.spread_spectrum import PUBLIC_KEY, SMALLEST_SIDE_PX
from engine.finish.watermark import FOUND_SCORE, Watermark, WatermarkDetector, WatermarkReading

__all__ = [
    "FOUND_SCORE",
    "PUBLIC_KEY",
    "SMALLEST_SIDE_PX",
    "Finish",
    "Marking",
    "PasteBack",
    "VisibleLabel",
    "Watermark",
    "WatermarkDetector",
    "WatermarkReading",
]
