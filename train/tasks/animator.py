"""The face animator: source image and motion around the target to the target image (section 3.3, App. B.1).

    source ----------------------------> animator --> generated <--> target     Eq. 11-15, and terms of ours
    window of descriptors at target ---->                 |
                                                     discriminator              Eq. 16, R1 now and then

Shape suffixes: B rows, T frames, D descriptor (72), N landmarks (478), H and W pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.animator import FaceAnimatorConfig, FaceAnimatorNetwork
from engine.motion.space.coefficients import DESCRIPTOR_SIZE
from engine.motion.space.landmark_basis import BUNDLED_MOTION_SPACE
from engine.motion.space.landmark_model import LandmarkModel
from train.data.faces.face_clips import FACE_SIZE, FaceClip
from train.datasets.batch_rng import BatchRng
from train.datasets.descriptor_scale import descriptor_scale, fold_descriptor_scale, unfold_descriptor_scale
from train.datasets.face_augmentation import FaceAugmentation
from train.datasets.face_pairs import FaceBatch, FacePairs
from train.datasets.frame_guides import FrameGuides
from train.images import shrink, to_bytes, to_network
from train.losses.adversarial import adversarial_loss, discriminator_loss, r1_penalty
from train.losses.animator import (
    AnimatorLossWeights,
    enlarged_mouths,
    feature_loss,
    landmark_loss,
    parsing_loss,
    perceptual_loss,
    reconstruction_loss,
)
from train.networks.image_discriminator import ImageDiscriminator
from train.pretrained import lip_eye_mask
from train.tasks.animator_figures import (
    EvaluationPair,
    Render,
    animator_figures,
    contact_sheet,
    evaluation_pairs,
)
from train.tasks.animator_pretrained import PretrainedNetworks
from train.tasks.animator_start import start_as_guide
from train.tasks.protocol import Update


@dataclass(frozen=True, slots=True, kw_only=True)
class AnimatorTaskConfig:
    """The animator's training.

    Attributes:
        rows: batch size over all processes.
        learning_rate, discriminator_rate: of Adam; betas, discriminator_betas: its decays.
        adversarial_from_step: where Eq. 16 and the discriminator begin.
        r1_gamma, r1_every: weight gamma / 2 of R1, added (times ``r1_every``) once every ``r1_every`` steps.
        hold_share: see `FacePairs`; scaled_descriptors: see `train.datasets.descriptor_scale` (landmark space only).
        landmarks_every: steps at which the landmark term is computed, and weighs as much more; its network costs
            half of all the rest.
        perceptual_window: side in px of the part of the images that Eq. 12 looks at, drawn anew for every batch; 0 is
            all of them. Half of the side costs a quarter.
        cache_mib, readers: memory for decoded images, threads that decode.
        evaluation_targets: frames of each held-out clip that are shown and measured.
    """

    network: FaceAnimatorConfig
    rows: int = 16
    learning_rate: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    losses: AnimatorLossWeights = field(default_factory=AnimatorLossWeights)
    discriminator_widths: tuple[int, ...] = (512, 512, 512, 512, 256, 128, 64)
    discriminator_rate: float = 1e-4
    discriminator_betas: tuple[float, float] = (0.0, 0.99)
    adversarial_from_step: int = 0
    r1_gamma: float = 10.0
    r1_every: int = 16
    augmentation: FaceAugmentation = field(default_factory=FaceAugmentation)
    hold_share: float = 0.0
    scaled_descriptors: bool = False
    landmarks_every: int = 1
    perceptual_window: int = 0
    cache_mib: int = 1024
    readers: int = 2
    evaluation_targets: int = 4

    def __post_init__(self) -> None:
        if self.network.guided and self.network.image_size != FACE_SIZE:
            raise ValueError(f"guides are made of {FACE_SIZE} px: widths needs 6 numbers")
        if min(self.rows, self.r1_every, self.landmarks_every, self.evaluation_targets) < 1:
            raise ValueError("rows, r1_every, landmarks_every and evaluation_targets must be at least 1")
        if len(self.discriminator_widths) < self.discriminator_levels:
            raise ValueError(f"discriminator_widths needs {self.discriminator_levels} numbers for {self.size} px")

    @property
    def size(self) -> int:
        """Pixels of the compared images."""
        return self.network.image_size

    @property
    def discriminator_levels(self) -> int:
        """Resolutions of the discriminator, from the compared images down to 4 px."""
        return self.size.bit_length() - 2


class ScaledAnimator(nn.Module):
    """The animator as it is trained: descriptors in training units."""

    scale_D: Tensor

    def __init__(self, network: FaceAnimatorNetwork, scale_D: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("scale_D", scale_D, persistent=False)

    def forward(self, source_B3HW: Tensor, window_BTD: Tensor, guide_B6HW: Tensor | None = None) -> Tensor:
        """Generated images (B, 3, H, W); a guided network needs the guide."""
        identity_code_BS, features = self.network.encode(source_B3HW)
        guide = () if guide_B6HW is None else (guide_B6HW,)
        return self.network.animate(identity_code_BS, (*features, *guide), window_BTD / self.scale_D)


class AnimatorTask:
    """Training and evaluation of the animator, and of its discriminator if Eq. 16 has a weight."""

    averaged = ("animator",)

    def __init__(
        self,
        config: AnimatorTaskConfig,
        groups: Sequence[tuple[float, Sequence[FaceClip]]],
        pretrained: PretrainedNetworks,
        *,
        mirror_sign_E: Tensor | None = None,
        seed: int = 0,
    ) -> None:
        """Args:
            groups: (share of the rows, clips of both splits); shares are those among training clips.
            mirror_sign_E: `LandmarkModel.expression_mirror_sign`; needed if the augmentation moves images.

        Raises:
            ValueError: a loss has a weight but no pretrained network, or there is no training clip.
        """
        _check_pretrained(config.losses, pretrained)
        torch.manual_seed(seed)
        self.config, self.pretrained = config, pretrained
        network = FaceAnimatorNetwork(config.network)
        self._guides: FrameGuides | None = None
        if config.network.guided:
            self._guides = FrameGuides(LandmarkModel.load(BUNDLED_MOTION_SPACE))
            start_as_guide(network)
        scale_D = descriptor_scale() if config.scaled_descriptors else torch.ones(DESCRIPTOR_SIZE)
        self.modules = nn.ModuleDict({"animator": ScaledAnimator(network, scale_D)})
        self.optimisers: dict[str, torch.optim.Optimizer] = {
            "animator": torch.optim.Adam(
                self.modules["animator"].parameters(), config.learning_rate, betas=config.betas
            )
        }
        if config.losses.adversarial:
            discriminator = ImageDiscriminator(config.discriminator_widths[: config.discriminator_levels])
            self.modules["discriminator"] = discriminator
            self.optimisers["discriminator"] = torch.optim.Adam(
                discriminator.parameters(), config.discriminator_rate, betas=config.discriminator_betas
            )
        self._pairs = FacePairs(
            [(share, [clip for clip in clips if clip.split == "train"]) for share, clips in groups],
            past_frames=config.network.past_frames,
            future_frames=config.network.future_frames,
            hold_share=config.hold_share,
            augmentation=config.augmentation,
            mirror_sign_E=mirror_sign_E,
            size=config.network.image_size,
            cache_mib=config.cache_mib,
            readers=config.readers,
        )
        self.held_out = [clip for _, clips in groups for clip in clips if clip.split == "held_out"]
        self._evaluated = evaluation_pairs(
            self.held_out,
            config.evaluation_targets,
            config.network.past_frames,
            config.network.future_frames,
        )

    def start_from(self, network: FaceAnimatorNetwork) -> None:
        """Begin with the weights of an exported network, which takes plain descriptors."""
        animator = self._animator(self.modules)
        unfolded = unfold_descriptor_scale(network, animator.scale_D)
        animator.network.load_state_dict(unfolded.state_dict())

    def exported(self, modules: Mapping[str, nn.Module]) -> FaceAnimatorNetwork:
        """The network as the engine loads it: on the CPU, plain descriptors."""
        animator = self._animator(modules)
        return fold_descriptor_scale(animator.network, animator.scale_D).cpu()

    def to(self, device: torch.device) -> None:
        """Move the frozen networks."""
        self.pretrained.to(device)

    def updates(self, rng: BatchRng, step: int) -> Iterator[Update]:
        """The animator's step (Eq. 17) and, once Eq. 16 has begun, the discriminator's on the same images."""
        cfg = self.config
        batch = self._pairs.draw(rng, cfg.rows)
        names = ", ".join(batch.names)
        target_B3HW = batch.target_B3HW
        guide = self._guide(batch.source_B3HW, batch.source_landmarks_BN3, batch.source_descriptor_BD, batch.window_BTD)
        generated_B3HW = self.modules["animator"].train()(batch.source_B3HW, batch.window_BTD, guide).float()
        terms = self._terms(generated_B3HW, target_B3HW, batch, rng.generator)
        if cfg.losses.landmarks and step % cfg.landmarks_every == 0:
            terms["landmarks"] = cfg.landmarks_every * self._landmark_term(generated_B3HW, target_B3HW, batch)
        adversarial = "discriminator" in self.modules and step >= cfg.adversarial_from_step
        if adversarial:
            discriminator = self.modules["discriminator"]
            terms["adversarial"] = adversarial_loss(discriminator(generated_B3HW).float())
        total = sum(
            (getattr(cfg.losses, name) * term for name, term in terms.items()),
            torch.zeros(()).to(target_B3HW),
        )
        yield Update("animator", total, {name: term.detach() for name, term in terms.items()}, names)
        if adversarial:
            yield self._discriminator_update(target_B3HW, generated_B3HW.detach(), step, names)

    def _terms(
        self,
        generated_B3HW: Tensor,
        target_B3HW: Tensor,
        batch: FaceBatch,
        generator: torch.Generator,
    ) -> dict[str, Tensor]:
        """Eq. 11 to 15 and the term of the enlarged mouth, each where it has a weight, by the name of its weight."""
        weights, pretrained, size = self.config.losses, self.pretrained, self.config.size
        landmarks_BN3 = batch.target_landmarks_BN3 * (size / FACE_SIZE)
        mask_B1HW = 1 + weights.mask * lip_eye_mask(landmarks_BN3, size).to(target_B3HW)
        terms = {"reconstruction": reconstruction_loss(generated_B3HW, target_B3HW, mask_B1HW)}
        if weights.perceptual and pretrained.perceptual is not None:
            seen = self._perceptual_part(generator)
            with torch.no_grad():
                maps = pretrained.perceptual(target_B3HW[seen])
            terms["perceptual"] = perceptual_loss(pretrained.perceptual(generated_B3HW[seen]), maps, mask_B1HW[seen])
        if weights.mouth and pretrained.perceptual is not None:
            with torch.no_grad():
                maps = pretrained.perceptual(enlarged_mouths(target_B3HW, landmarks_BN3))
            mouths_B3HW = enlarged_mouths(generated_B3HW, landmarks_BN3)
            everywhere_B1HW = torch.ones_like(mouths_B3HW[:, :1])
            terms["mouth"] = perceptual_loss(pretrained.perceptual(mouths_B3HW), maps, everywhere_B1HW)
        if pretrained.face is not None and any(getattr(weights, name) for name in pretrained.terms):
            with torch.no_grad():
                truth = pretrained.face(target_B3HW, landmarks_BN3)
            for name, found in pretrained.face(generated_B3HW, landmarks_BN3).items():
                terms[name] = (parsing_loss if name == "parsing" else feature_loss)(found, truth[name])
        return terms

    def _landmark_term(self, generated_B3HW: Tensor, target_B3HW: Tensor, batch: FaceBatch) -> Tensor:
        locate = self.pretrained.landmarks
        assert locate is not None
        places_BN3 = batch.target_landmarks_BN3 * (self.config.size / FACE_SIZE)
        with torch.no_grad():
            truth_BN3 = locate(target_B3HW, places_BN3)
        return landmark_loss(locate(generated_B3HW, places_BN3), truth_BN3)

    def _perceptual_part(self, generator: torch.Generator) -> tuple[slice, ...]:
        """Rows, channels, and the window of the images."""
        side, size = self.config.perceptual_window, self.config.size
        if not 0 < side < size:
            return (slice(None),)
        top, left = torch.randint(size - side + 1, (2,), generator=generator).tolist()
        return (slice(None), slice(None), slice(top, top + side), slice(left, left + side))

    def _discriminator_update(self, real_B3HW: Tensor, generated_B3HW: Tensor, step: int, names: str) -> Update:
        cfg, discriminator = self.config, self.modules["discriminator"]
        real_B, generated_B = discriminator(real_B3HW).float(), discriminator(generated_B3HW).float()
        loss = discriminator_loss(real_B, generated_B)
        log = {"real": real_B.detach().mean(), "generated": generated_B.detach().mean()}
        if step % cfg.r1_every == 0:
            with torch.autocast(real_B3HW.device.type, enabled=False):
                seen_B3HW = real_B3HW.detach().requires_grad_()
                penalty = r1_penalty(discriminator(seen_B3HW), seen_B3HW)
            loss = loss + cfg.r1_gamma / 2 * cfg.r1_every * penalty
            log["r1"] = penalty.detach()
        return Update("discriminator", loss, log, names)

    def evaluate(self, modules: Mapping[str, nn.Module]) -> dict[str, float]:
        """Held-out figures (see `animator_figures`); none without held-out clips."""
        return self.figures(self._render(self._animator(modules)))

    def figures(self, render: Render) -> dict[str, float]:
        """Figures of any animator on the held-out pairs, at the size that is trained."""
        if not self._evaluated:
            return {}
        return animator_figures(render, self._evaluated, self.config.size, self.pretrained)

    def images(self, modules: Mapping[str, nn.Module]) -> dict[str, NDArray[np.uint8]]:
        """One sheet of held-out pairs: source, target, generated."""
        if not self._evaluated:
            return {}
        render = self._render(self._animator(modules))
        return {"held_out": contact_sheet(render, self._evaluated, self.config.size)}

    def _guide(
        self, source_B3HW: Tensor, landmarks_BN3: Tensor, descriptor_BD: Tensor, window_BTD: Tensor
    ) -> Tensor | None:
        """What the mesh makes of sources, if the layout is guided by it."""
        if self._guides is None:
            return None
        shown_BD = window_BTD[:, self.config.network.past_frames]
        return self._guides.batch(source_B3HW, landmarks_BN3, descriptor_BD, shown_BD)

    def _animator(self, modules: Mapping[str, nn.Module] | nn.ModuleDict) -> ScaledAnimator:
        animator = modules["animator"]
        assert isinstance(animator, ScaledAnimator)
        return animator

    def _render(self, animator: ScaledAnimator) -> Render:
        @torch.no_grad()
        def render(pairs: Sequence[EvaluationPair]) -> NDArray[np.uint8]:
            device = animator.scale_D.device
            size = self.config.network.image_size
            sources = np.stack([shrink(pair.clip.rgb(pair.source), size) for pair in pairs])
            source_B3HW = to_network(torch.from_numpy(sources).to(device))
            window_BTD = torch.from_numpy(np.stack([pair.window_TD for pair in pairs])).to(device)
            landmarks_BN3 = torch.from_numpy(np.stack([p.clip.landmarks_px[p.source] for p in pairs]))
            descriptor_BD = torch.from_numpy(np.stack([p.clip.descriptors[p.source] for p in pairs]))
            guide = self._guide(source_B3HW, landmarks_BN3, descriptor_BD, window_BTD)
            rgb_B3HW = animator(source_B3HW, window_BTD, guide)
            images: NDArray[np.uint8] = to_bytes(rgb_B3HW).cpu().numpy()
            return images

        return render


def _check_pretrained(weights: AnimatorLossWeights, pretrained: PretrainedNetworks) -> None:
    given = {*pretrained.terms, *(name for name in ("perceptual", "landmarks") if getattr(pretrained, name))}
    for name in ("perceptual", "mouth", "expression", "gaze", "parsing", "landmarks"):
        if getattr(weights, name) and {"mouth": "perceptual"}.get(name, name) not in given:
            raise ValueError(
                f"the {name} loss has a weight but no pretrained network: set task.losses.{name}=0 or give one"
            )
