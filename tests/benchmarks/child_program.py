"""Stands in for a benchmark that the suite for graphics cards starts."""

import argparse
import json
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--device")
parser.add_argument("--json", type=Path)
parser.add_argument("--fail", action="store_true")
parser.add_argument("--hang", action="store_true")
args = parser.parse_args()
if args.hang:
    time.sleep(60)
if args.fail:
    sys.stderr.write("no such thing\n")
    sys.exit(3)
args.json.write_text(json.dumps({"device": args.device}))
