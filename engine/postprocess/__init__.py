"""The last stage: every frame that leaves the engine passes through here."""

from engine.postprocess.label import VisibleLabel
from engine.postprocess.paste_back import PasteBack
from engine.postprocess.postprocess import Postprocess, WatermarkConfig
from engine.postprocess.spread_spectrum import PUBLIC_KEY, SMALLEST_SIDE_PX
from engine.postprocess.watermark import FOUND_SCORE, Watermark, WatermarkDetector, WatermarkReading

__all__ = [
    "FOUND_SCORE",
    "PUBLIC_KEY",
    "SMALLEST_SIDE_PX",
    "PasteBack",
    "Postprocess",
    "VisibleLabel",
    "Watermark",
    "WatermarkConfig",
    "WatermarkDetector",
    "WatermarkReading",
]
