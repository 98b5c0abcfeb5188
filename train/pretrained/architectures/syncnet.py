"""The network behind LSE-C and LSE-D: SyncNet (Chung and Zisserman 2016), two streams into one space.

    MFCC (B, 1, 13, 20): 0.2 s of speech ----> conv x6 --> 2 linear --> (B, 1024)
    5 frames of 224 px, BGR in [0, 255] -----> conv x6 --> 2 linear --> (B, 1024)

Distances between the two say how well audio and lips belong together; the sliding search over offsets is in
``train.metrics``. Shape suffixes: B rows, T frames, H and W pixels.
"""

from collections.abc import Sequence

from torch import Tensor, nn


def _speech_net() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 1
    for width, kernel, padding, pool in (
        (64, (3, 3), 1, nn.MaxPool2d(1)),
        (192, (3, 3), 1, nn.MaxPool2d(3, (1, 2))),
        (384, (3, 3), 1, None),
        (256, (3, 3), 1, None),
        (256, (3, 3), 1, nn.MaxPool2d(3, 2)),
        (512, (5, 4), 0, None),
    ):
        layers += [nn.Conv2d(channels, width, kernel, padding=padding), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [] if pool is None else [pool]
        channels = width
    return nn.Sequential(*layers)


def _lip_net() -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = 3
    for width, kernel, stride, padding, pool in (
        (96, (5, 7, 7), 2, 0, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
        (256, (1, 5, 5), 2, 1, nn.MaxPool3d((1, 3, 3), (1, 2, 2), (0, 1, 1))),
        (256, (1, 3, 3), 1, 1, None),
        (256, (1, 3, 3), 1, 1, None),
        (256, (1, 3, 3), 1, 1, nn.MaxPool3d((1, 3, 3), (1, 2, 2))),
        (512, (1, 6, 6), 1, 0, None),
    ):
        conv = nn.Conv3d(channels, width, kernel, (1, stride, stride), (0, padding, padding))
        layers += [conv, nn.BatchNorm3d(width), nn.ReLU()]
        layers += [] if pool is None else [pool]
        channels = width
    return nn.Sequential(*layers)


def _head(sizes: Sequence[int]) -> nn.Sequential:
    size, hidden, out = sizes
    return nn.Sequential(nn.Linear(size, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, out))


class SyncNet(nn.Module):
    """Speech and lips to embeddings; names as in the published file (``netcnnaud.0.weight`` ...)."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud, self.netcnnlip = _speech_net(), _lip_net()
        self.netfcaud, self.netfclip = _head((512, 512, 1024)), _head((512, 512, 1024))

    def speech(self, mfcc_B1CT: Tensor) -> Tensor:
        """13 cepstral coefficients of 20 steps of 10 ms, (B, 1, 13, 20), to (B, 1024)."""
        features: Tensor = self.netfcaud(self.netcnnaud(mfcc_B1CT).flatten(1))
        return features

    def lips(self, bgr_B3THW: Tensor) -> Tensor:
        """5 frames at 25 a second, (B, 3, 5, 224, 224), blue first, in [0, 255], to (B, 1024).

        The face fills the frame as in the tracks of the authors' pipeline.
        """
        features: Tensor = self.netfclip(self.netcnnlip(bgr_B3THW).flatten(1))
        return features

    def forward(self, mfcc_B1CT: Tensor, bgr_B3THW: Tensor) -> tuple[Tensor, Tensor]:
        """Both embeddings."""
        return self.speech(mfcc_B1CT), self.lips(bgr_B3THW)
