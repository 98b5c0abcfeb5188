"""The motion networks' state of many sessions, a row each, stepped in batches of any rows.

    rows of all sessions   | a | b | - | c | ... | - | spare |        allocated once, never moved
    a batch of a and c       gather -> step -> scatter                 a row that fails keeps what it had

On a GPU every step is a CUDA graph for each number of rows, row numbers among its inputs; batches are padded with the
spare row. So sessions join and leave and nothing is captured anew. Noise is drawn outside, from each session's own
generators, and kept until its step has succeeded.

Shape suffixes: B rows of the batch, F mel bands, W mel columns, Z noise, H hop, M prosody, C channels.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.avatar import Avatar
from engine.errors import CapacityExceeded
from engine.motion.diffusion.window import PoseWindow
from engine.motion.driver import MotionNetworks
from engine.runtime.card import Capture, to_host
from engine.runtime.cuda_graph import CapturedStep
from engine.timebase import MEL_BANDS

_F32 = npt.NDArray[np.float32]
_GAZE_STREAM = 0x6A2E
"""Added to a session's seed, so that its gaze is not drawn from the numbers of its pose."""


class MotionBatch:
    """Rows for at most ``capacity`` sessions. Belongs to one thread."""

    def __init__(
        self,
        networks: MotionNetworks,
        capacity: int = 1,
        *,
        buckets: Sequence[int] = (),
        capture: Capture | None = None,
        probe: Callable[[str], None] | None = None,
    ) -> None:
        """Allocate rows.

        Args:
            buckets: numbers of rows to capture steps for, rising; empty runs every batch as it is.
            capture: as `CapturedStep` takes it.
            probe: called with the name of each stage as it ends, where nothing is captured.
        """
        self._networks = networks
        self._capture = capture
        self._buckets = tuple(buckets)
        self._probe = probe or (lambda stage: None)
        self._free = list(range(capacity))[::-1]
        self._spare = capacity
        rows, device = capacity + 1, networks.device
        like = networks.lip.config
        self._expression0_BE = torch.zeros(rows, like.expression_size, device=device)
        self._feature0_BF = torch.zeros(rows, like.eye_feature_size, device=device)
        self._eye = None if networks.eye is None else networks.eye.init_state(rows, device)
        self._eye_noise = [torch.Generator() for _ in range(rows)]
        self._hops = {
            part: _HopRows(window, rows, device)
            for part, window in (("pose", networks.pose), ("gaze", networks.gaze))
            if window is not None
        }
        self._drawn: dict[tuple[str, int], Tensor] = {}
        self._captured: dict[tuple[str, int], CapturedStep] = {}

    @torch.inference_mode()
    def take(self, avatar: Avatar, seed: int, *, generate_gaze: bool) -> int:
        """Give a row to a session that has not begun.

        Raises:
            CapacityExceeded: all rows are taken.
        """
        if not self._free:
            raise CapacityExceeded(f"all {self._spare} rows of this device are taken")
        row, own = self._free.pop(), avatar.coefficients
        self._expression0_BE[row].copy_(torch.from_numpy(own.expression))
        if self._eye is not None:
            self._feature0_BF[row].copy_(torch.from_numpy(avatar.eye_feature))
            self._eye.reset([row])
        self._eye_noise[row].manual_seed(seed)
        self._hops["pose"].begin(row, own.pose, seed)
        if generate_gaze:
            self._hops["gaze"].begin(row, own.gaze, seed + _GAZE_STREAM)
        return row

    def give_back(self, row: int) -> None:
        """Free ``row``: its session has left."""
        for name in ("eye", *self._hops):
            self._drawn.pop((name, row), None)
        self._free.append(row)

    def prepare(self) -> None:
        """Capture every step for every number of rows now, which takes a while, so that no session waits for it."""
        like = self._networks.lip.config
        for size in self._buckets:
            rows = [self._spare] * size
            self.express(rows, np.zeros((size, MEL_BANDS, like.audio_columns), np.float32))
            for part, hops in self._hops.items():
                hop, prosody = hops.window.config.hop, hops.window.denoiser.config.prosody_size
                self.hop(part, rows, np.zeros((size, hop, prosody), np.float32))

    @torch.inference_mode()
    def express(self, rows: Sequence[int], mel_BFW: _F32) -> _F32:
        """Expressions (B, 64) of the next frame of ``rows``, from their mel windows (B, 80, columns)."""
        inputs = [torch.from_numpy(mel_BFW)]
        if self._networks.eye is not None:
            size = self._networks.eye.config.noise_size
            inputs.append(self._draws("eye", rows, lambda row: torch.randn(1, size, generator=self._eye_noise[row])))
        expression = self._run("eye", rows, self._express, inputs)
        self._probe("lip")
        return expression

    @torch.inference_mode()
    def hop(self, part: str, rows: Sequence[int], prosody_BHM: _F32) -> _F32:
        """Residuals (B, H, C) of the next hop of ``rows``; ``part`` is "pose" or "gaze"; prosody may reach further."""
        hops = self._hops[part]
        draws_BNHC = self._draws(part, rows, hops.draw)
        prosody = torch.from_numpy(prosody_BHM[:, : hops.window.config.hop])
        residual = self._run(part, rows, hops.step, [prosody, draws_BNHC])
        self._probe(part)
        return residual

    def _express(self, rows_B: Tensor, mel_BFW: Tensor, noise_BZ: Tensor | None = None) -> tuple[Tensor]:
        networks = self._networks
        expression0_BE = self._expression0_BE.index_select(0, rows_B)
        audio_BA = networks.lip.encode_audio(mel_BFW)
        self._probe("lip")
        if networks.eye is not None:
            assert self._eye is not None
            assert noise_BZ is not None
            state = self._eye.gather(rows_B)
            feature0_BF = self._feature0_BF.index_select(0, rows_B)
            feature_BF = networks.eye.step(audio_BA, expression0_BE, feature0_BF, noise_BZ, state)
            self._probe("eye")
            expression_BE = networks.lip(audio_BA, expression0_BE, feature_BF)
            self._eye.scatter(rows_B, state)
            return (expression_BE,)
        return (networks.lip(audio_BA, expression0_BE),)

    def _draws(self, name: str, rows: Sequence[int], draw: Callable[[int], Tensor]) -> Tensor:
        for row in rows:
            if (name, row) not in self._drawn:
                self._drawn[name, row] = draw(row)
        return torch.cat([self._drawn[name, row] for row in rows])

    def _run(
        self,
        name: str,
        rows: Sequence[int],
        step: Callable[..., tuple[Tensor]],
        inputs: Sequence[Tensor],
    ) -> _F32:
        """Run ``step`` for ``rows``; returns a copy, for the next run overwrites the output of a captured step."""
        count = len(rows)
        size = next((bucket for bucket in self._buckets if bucket >= count), count)
        rows_B = torch.tensor([*rows, *[self._spare] * (size - count)])
        given = [rows_B, *(_padded(tensor, size) for tensor in inputs)]
        given = [tensor.to(self._networks.device, non_blocking=True) for tensor in given]
        if size not in self._buckets:
            (output,) = step(*given)
        else:
            if (name, size) not in self._captured:
                self._captured[name, size] = self._new_capture(name, step, given)
            (output,) = self._captured[name, size](*given)
        for row in rows:
            self._drawn.pop((name, row), None)
        numbers: _F32 = to_host(output[:count]).numpy()
        return numbers

    def _new_capture(self, name: str, step: Callable[..., tuple[Tensor]], given: list[Tensor]) -> CapturedStep:
        state = self._eye if name == "eye" else self._hops[name].state
        return CapturedStep(step, given, state=() if state is None else tuple(state.tensors()), capture=self._capture)


class _HopRows:
    """The windows of all rows of one sampler, with each row's initial pose and source of noise."""

    def __init__(self, window: PoseWindow, rows: int, device: torch.device) -> None:
        self.window = window
        self.state = window.init_state(rows, device)
        self._initial_BC = torch.zeros(rows, window.denoiser.config.channels, device=device)
        self._noise = [torch.Generator() for _ in range(rows)]

    def begin(self, row: int, initial_C: _F32, seed: int) -> None:
        self._initial_BC[row].copy_(torch.from_numpy(initial_C))
        self.window.begin(row, self.window.draw_past(self._noise[row].manual_seed(seed)), self.state)

    def draw(self, row: int) -> Tensor:
        """Noise of the row's next hop, (1, N, H, C)."""
        return self.window.draw_hop(self._noise[row])[None]

    def step(self, rows_B: Tensor, prosody_BHM: Tensor, noise_BNHC: Tensor) -> tuple[Tensor]:
        part, initial_BC = self.state.gather(rows_B), self._initial_BC.index_select(0, rows_B)
        hop_BHC = self.window.step(prosody_BHM, initial_BC, noise_BNHC.transpose(0, 1), part)
        self.state.scatter(rows_B, part)
        return (hop_BHC,)


def _padded(tensor: Tensor, rows: int) -> Tensor:
    missing = rows - len(tensor)
    return tensor if not missing else torch.cat([tensor, tensor[-1:].expand(missing, *tensor.shape[1:])])
