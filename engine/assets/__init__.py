"""The demo portrait (nobody real) and the demo voice (synthesised); see NOTICE.md."""

from pathlib import Path
from typing import Final

__all__ = ["PORTRAIT", "VOICE"]

_FOLDER = Path(__file__).resolve().parent
PORTRAIT: Final = _FOLDER / "portrait.jpg"
VOICE: Final = _FOLDER / "voice.wav"
