"""Makes mfcc.npz: a signal of 16-bit numbers and its cepstra by the python_speech_features package 0.6.

Run from the root of the repository, with that package installed: python tests/golden/make_mfcc.py
"""

from pathlib import Path

import numpy as np
from python_speech_features import mfcc

rng = np.random.default_rng(0)
signal = rng.integers(-9000, 9000, 3300).astype(np.int16)
signal[1200:1900] = 0
cepstra = mfcc(signal, 16000).T.astype(np.float32)
np.savez_compressed(Path(__file__).with_name("mfcc.npz"), signal=signal, cepstra=cepstra)
