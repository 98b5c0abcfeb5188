"""Networks in OpenVINO: any number of them, made and freed in any order, leave signals as they were."""

import subprocess
import sys

_PROGRAM = """
import gc, os, signal
import numpy as np
from engine.portrait.face_networks import FaceNetworks
first, second = FaceNetworks(), FaceNetworks()
for each in (first, second):
    each.find(np.full((64, 64, 3), 90, np.uint8), 0.3, 1)
del each, first
gc.collect()
del second
gc.collect()
signal.signal(signal.SIGTERM, lambda *_: print("heard", flush=True))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_is_heard_after_networks_came_and_went() -> None:
    """A stack for signal handlers that was freed under the process would end it by SIGSEGV."""
    done = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "heard\n"), done.stderr
