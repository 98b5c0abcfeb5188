"""The page's modules under node, where it is there."""

import shutil
import subprocess
from pathlib import Path

import pytest

_HERE = Path(__file__).parent


def test_javascript_modules() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed: the JavaScript tests need node >= 20")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip("v\n").split(".")[0]) < 20:
        pytest.skip(f"node {version.strip()} is too old: the JavaScript tests need node >= 20")
    tests = sorted(str(path) for path in _HERE.glob("*.test.mjs"))
    result = subprocess.run([node, "--test", *tests], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
