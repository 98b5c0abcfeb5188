"""The files of the release, and the layouts of the networks in them."""

from dataclasses import dataclass, field
from typing import Literal

from engine.animator import FaceAnimatorConfig
from engine.motion.diffusion.denoiser import DenoiserConfig
from engine.motion.networks.eye_lstm import EyeConfig
from engine.motion.networks.lip import LipConfig
from engine.motion.space.resnet import ResNetConfig

PartName = Literal["animator", "pose", "gaze", "expression", "recon", "l2cs"]


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One file that the release uses; without a ``key`` the tensors lie at its top.

    ``recon`` and ``l2cs`` are the estimators of its motion space, Deep3DFaceRecon and L2CS-Net, by other authors.
    """

    part: PartName
    file_name: str
    key: str


RELEASE_FILES: tuple[ReleaseFile, ...] = (
    ReleaseFile("animator", "FaceAnimator_GoHD.pt", "gen_pose"),
    ReleaseFile("pose", "audio2pose.pt", "model"),
    ReleaseFile("gaze", "audio2gaze.pt", "model"),
    ReleaseFile("expression", "audio2exp.pth", "state_dict_G"),
    ReleaseFile("recon", "epoch_20.pth", "net_recon"),
    ReleaseFile("l2cs", "L2CSNet_gaze360.pkl", ""),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """Layouts of the networks in a release; the defaults are the authors'."""

    animator: FaceAnimatorConfig = field(default_factory=FaceAnimatorConfig.paper)
    pose: DenoiserConfig = field(default_factory=DenoiserConfig.paper)
    gaze: DenoiserConfig = field(default_factory=lambda: DenoiserConfig.paper(channels=2))
    expression: LipConfig = field(default_factory=LipConfig.paper)
    two_stage_expression: LipConfig = field(default_factory=lambda: LipConfig.paper(eye_feature=True))
    eye: EyeConfig = field(default_factory=EyeConfig.paper)
    estimator: ResNetConfig = field(default_factory=ResNetConfig)
