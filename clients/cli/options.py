"""Options that several commands share, each written once. Importing this loads no network: ``--help`` stays fast."""

from pathlib import Path
from typing import Annotated

import typer

GENERATED = "generated"
SIZES = (256, 384, 512, 768, 1024)
"""As `engine.portrait.CROP_SIZES`, which would load networks for ``--help``; a test compares the two."""


def _known_size(size: int | None) -> int | None:
    if size is not None and size not in SIZES:
        raise typer.BadParameter(f"choose one of {', '.join(map(str, SIZES))}, not {size}")
    return size


Portrait = Annotated[Path, typer.Argument(metavar="PORTRAIT", help="Image with a face.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same motion.")]
Gaze = Annotated[
    str | None,
    typer.Option(
        metavar="PITCH,YAW",
        help=f"Where the eyes look, in radians, as 0.0,0.4; '{GENERATED}' lets the gaze network decide, where the "
        "weights have one.",
    ),
]
Intensity = Annotated[
    float, typer.Option(min=0.0, max=1.0, help="How much of the motion to show: 0 is a still, neutral face.")
]
Frame = Annotated[
    str,
    typer.Option(
        metavar="crop|full", help="crop: the head, square. full: the whole portrait, with the head moving in it."
    ),
]
Size = Annotated[
    int | None,
    typer.Option(
        metavar="256|384|512|768|1024",
        help="Side of the head in pixels, as far as the portrait has as many.",
        callback=_known_size,
    ),
]
Tag = Annotated[int, typer.Option(min=0, max=2**16 - 1, help="Number that the invisible watermark carries.")]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="Secret key of the watermark: only its holders can detect it. Without one, anyone can."
    ),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda", help="Where the networks run.")]
Backend = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        help="What runs the animator's network: auto, eager, compiled, graph, onnx or tensorrt. geometric leaves the "
        "network out.",
    ),
]
Weights = Annotated[str, typer.Option(metavar="NAME|DIR", help="Bundled weights, or a folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def parse_gaze(text: str | None) -> tuple[float, float] | None:
    """``PITCH,YAW`` in radians; None where no direction is given or it is to be generated.

    Raises:
        typer.BadParameter: it is something else.
    """
    if text is None or text == GENERATED:
        return None
    try:
        pitch, yaw = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"give two numbers in radians, for example --gaze 0.0,0.4, or --gaze {GENERATED}"
        ) from None
    return pitch, yaw
