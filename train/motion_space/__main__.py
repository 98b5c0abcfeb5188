"""``python -m train.motion_space``: fit the landmark motion space to a data folder."""

import argparse
import logging
import os
from pathlib import Path

from train.motion_space.build import build_motion_space


def main() -> None:
    """Read the arguments and build."""
    parser = argparse.ArgumentParser(prog="python -m train.motion_space", description=__doc__)
    parser.add_argument("--data", type=Path, default=os.environ.get("GOHD_DATA"), help="folder of portraits and clips")
    parser.add_argument("--cache", type=Path, default=Path("out/landmarks"), help="where landmarks are kept")
    parser.add_argument("--output", type=Path, default=Path("out/motion_space.safetensors"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    build_motion_space(arguments.output, arguments.cache, arguments.data and Path(arguments.data))


if __name__ == "__main__":
    main()
