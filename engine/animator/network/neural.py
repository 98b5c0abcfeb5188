"""The neural animator: `FaceAnimatorNetwork` behind the interface that sessions use."""

import dataclasses
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from engine.animator.mesh.cpu_renderer import CpuRig
from engine.animator.mesh.geometric import GeometricAnimator
from engine.animator.mesh.guide import corrected_frame, frame_guide, outside_face
from engine.animator.network.face_animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.animator.network.step import FrameInputs, FrameStep, corrects, eager_step
from engine.checkpoint import WeightsFolder, load_into
from engine.errors import CommandInvalid
from engine.motion.space.coefficients import DESCRIPTOR_SIZE, Coefficients
from engine.portrait import FaceCrop

_CONFIG_SECTION = "neural_animator"
_WEIGHTS_FILE = "animator.safetensors"


@dataclasses.dataclass(frozen=True, slots=True)
class NeuralPortrait:
    """What the animator keeps of one portrait; never changed, so any number of sessions share it.

    Attributes:
        identity_code: (1, S), z_R.
        features: feature maps (1, C, H, W) from 8x8 up.
        mesh, outside: the portrait cut into layers, and its `outside_face`, for a guided network.
    """

    identity_code: Tensor
    features: tuple[Tensor, ...]
    mesh: CpuRig | None = None
    outside: npt.NDArray[np.float32] | None = None


class NeuralAnimator:
    """Animates portraits with trained weights; same prepared portrait and window give the same bytes.

    Attributes:
        past_frames, future_frames: descriptors needed before and after the shown one.
        network: the frozen network.
        step, backend: what runs for every frame, and the name of where it comes from.
        fixed_size: the network's, but for a guided network on a CPU, which corrects the mesh's frame of any size.
        batches, finishes: as `engine.animator.interface.Animator` says.
    """

    batches = True

    def __init__(
        self,
        network: FaceAnimatorNetwork,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        step: FrameStep | None = None,
        backend: str = "eager",
        finishes: bool = False,
        mesh: GeometricAnimator | None = None,
    ) -> None:
        """Take over ``network``: it is frozen and moved, and cannot be trained any more.

        Args:
            mesh: what guides it, if its layout is guided.
            dtype: float32, bfloat16 or float16 for weights and features; flow is sampled in float32 anyway.
            step: a backend's form of the per-frame step; None is eager.
            backend: name of where the step comes from.
            finishes: whether that step takes ``finished_B``.
        """
        if network.config.guided != (mesh is not None):
            raise ValueError("a guided network needs the geometric animator, and another has no use for it")
        # Frozen before it is narrowed: scales and Q are worked out in float32.
        self.network = network.freeze().to(device=device, dtype=dtype)
        self.past_frames = network.config.past_frames
        self.future_frames = network.config.future_frames
        self._device, self._dtype = torch.device(device), dtype
        self._corrects = corrects(network, device)
        self.fixed_size = None if self._corrects else network.config.image_size
        self.step = step or eager_step(self.network, device)
        self._last: dict[int, tuple[tuple[NeuralPortrait, ...], NeuralPortrait]] = {}
        self.backend = backend
        self.finishes = finishes
        self._mesh = mesh

    @torch.inference_mode()
    def prepare(self, crop: FaceCrop, coefficients: Coefficients) -> NeuralPortrait:
        """Encode a portrait, once.

        Args:
            crop: square image (S, S, 3) uint8 of ``fixed_size``, or of any where there is none.
            coefficients: of the portrait, for the mesh that guides the network, if there is one.

        Raises:
            ValueError: the image has another size than the network's.
        """
        size, rgb = self.network.config.image_size, crop.rgb
        if rgb.shape[0] != size:
            if self.fixed_size is not None:
                raise ValueError(f"the animator takes images of ({size}, {size}, 3), not {rgb.shape}")
            rgb = np.asarray(cv2.resize(rgb, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
        rgb_HW3 = torch.from_numpy(np.ascontiguousarray(rgb)).to(self._device)
        rgb_13HW = (rgb_HW3.float() / 127.5 - 1.0).permute(2, 0, 1)[None].contiguous()
        identity_code, features = self.network.encode(rgb_13HW.to(self._dtype))
        if self._mesh is None:
            return NeuralPortrait(identity_code, features)
        outside = outside_face(crop.landmarks_px, crop.rgb.shape[0], size)
        return NeuralPortrait(identity_code, features, self._mesh.prepare(crop, coefficients), outside)

    def render(
        self,
        prepared: NeuralPortrait,
        window_TD: npt.NDArray[np.floating],
        *,
        intensity: float = 1.0,
        finished: bool = False,
    ) -> npt.NDArray[np.uint8]:
        """Image (S, S, 3) uint8 RGB of the portrait in a motion, as large as its crop.

        Args:
            window_TD: (past + 1 + future, 72) motion descriptors around the shown frame.
            intensity: lambda of section 4.3 in [0, 1]: 0 is the canonical face, 1 the whole motion.
            finished: label and mark it, which only an animator that ``finishes`` can.

        Raises:
            ValueError: another shape, values that are not finite, or nothing here to finish images with.
            CommandInvalid: the intensity is out of range.
        """
        window_1TD = np.asarray(window_TD)[None]
        return self.render_batch([prepared], window_1TD, intensity=[intensity], finished=[finished])[0]

    @torch.inference_mode()
    def render_batch(
        self,
        prepared: Sequence[NeuralPortrait],
        window_BTD: npt.NDArray[np.floating],
        *,
        intensity: Sequence[float] | None = None,
        finished: Sequence[bool] | None = None,
    ) -> list[npt.NDArray[np.uint8]]:
        """Images (S, S, 3) of several sessions in one pass; arguments as `render`, one row each."""
        rows = len(prepared)
        expected = (rows, self.network.config.window_frames, DESCRIPTOR_SIZE)
        if window_BTD.shape != expected:
            raise ValueError(f"this animator takes windows of {expected}, not {window_BTD.shape}")
        if not np.isfinite(window_BTD).all():
            raise ValueError("the motion descriptor holds values that are not finite")
        lambdas = [1.0] * rows if intensity is None else intensity
        if len(lambdas) != rows or not all(0.0 <= value <= 1.0 for value in lambdas):
            raise CommandInvalid(f"intensity must be within 0..1 for each of {rows} rows, not {intensity}")
        flags = [False] * rows if finished is None else finished
        if len(flags) != rows or (any(flags) and not self.finishes):
            raise ValueError(f"backend '{self.backend}' cannot finish these {rows} images")
        intensity_B = torch.tensor(lambdas, dtype=self._dtype, device=self._device)
        finished_B = torch.tensor(flags, device=self._device).to(self._dtype) if self.finishes else None
        window = torch.from_numpy(np.ascontiguousarray(window_BTD)).to(self._device, self._dtype)
        together = self._together(prepared)
        guided = self._drawn(prepared, window_BTD, lambdas)
        features = (*together.features, *self._guide(prepared, guided))
        made = self.step(FrameInputs(together.identity_code, window, intensity_B, features, finished_B)).cpu().numpy()
        if self._corrects:
            return [corrected_frame(rgb, flow) for (rgb, _), flow in zip(guided, made, strict=True)]
        return list(made)

    def _drawn(
        self,
        prepared: Sequence[NeuralPortrait],
        window_BTD: npt.NDArray[np.floating],
        lambdas: Sequence[float],
    ) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]]:
        """The mesh's frame and map of each row for a guided network, drawn one after the other; else nothing."""
        if self._mesh is None:
            return []
        frames: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]] = []
        shown_BD = window_BTD[:, self.past_frames]
        for row, (portrait, intensity) in enumerate(zip(prepared, lambdas, strict=True)):
            assert portrait.mesh is not None
            # Batches are padded with their last row.
            same = row and portrait is prepared[row - 1] and intensity == lambdas[row - 1]
            if same and np.array_equal(shown_BD[row], shown_BD[row - 1]):
                frames.append(frames[-1])
            else:
                frames.append(self._mesh.render_with_map(portrait.mesh, shown_BD[row : row + 1], intensity=intensity))
        return frames

    def _guide(
        self,
        prepared: Sequence[NeuralPortrait],
        drawn: list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]],
    ) -> tuple[Tensor, ...]:
        if not drawn:
            return ()
        guides = []
        for portrait, (rgb, source_map) in zip(prepared, drawn, strict=True):
            assert portrait.outside is not None
            guides.append(frame_guide(rgb, source_map, portrait.outside))
        guide_B6HW = guides[0][None] if len(guides) == 1 else np.stack(guides)
        return (torch.from_numpy(guide_B6HW).to(self._device, self._dtype),)

    def _together(self, prepared: Sequence[NeuralPortrait]) -> NeuralPortrait:
        """Portraits as the rows of one: the same tensors as the last time while the same portraits come, so that a
        captured step has them already.
        """
        if len(prepared) == 1:
            return prepared[0]
        before, rows = self._last.get(len(prepared), (None, None))
        if before is None or rows is None or any(a is not b for a, b in zip(before, prepared, strict=True)):
            maps = zip(*(portrait.features for portrait in prepared), strict=True)
            rows = NeuralPortrait(
                identity_code=torch.cat([portrait.identity_code for portrait in prepared]),
                features=tuple(torch.cat(level) for level in maps),
            )
            self._last[len(prepared)] = tuple(prepared), rows
        return rows


def load_network(folder: WeightsFolder) -> tuple[FaceAnimatorNetwork, str]:
    """The network of ``animator.safetensors``, laid out as section ``neural_animator`` says, and its checksum.

    Raises:
        WeightsCorrupt: a key, name or shape is wrong.
    """
    config = FaceAnimatorConfig.from_section(folder.section(_CONFIG_SECTION), _CONFIG_SECTION)
    network = FaceAnimatorNetwork(config)
    load_into(network, folder.tensors(_WEIGHTS_FILE), _WEIGHTS_FILE)
    return network, folder.checksum(_WEIGHTS_FILE)
