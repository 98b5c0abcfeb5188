"""The frozen networks of other people that the paper's losses and metrics use: files, sources, licences, names.

None is shipped. A user puts the file in one folder (``pretrained=FOLDER``); it is found by name, its checksum is
compared with the published one where there is one, else with the one noted at first use.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from torch import Tensor, nn

from train.pretrained.architectures.arcface import ArcFace
from train.pretrained.architectures.bisenet import FaceParsing
from train.pretrained.architectures.face_features import ExpressionFeatures, GazeFeatures
from train.pretrained.architectures.head_pose import HeadPose, RepVggConfig
from train.pretrained.architectures.inception import FidInception
from train.pretrained.architectures.lip_reading import LipReadingFeatures
from train.pretrained.architectures.syncnet import SyncNet
from train.pretrained.architectures.vgg import Vgg19Features

PretrainedKind = Literal[
    "vgg19", "expression", "gaze", "parsing", "lip_reading", "syncnet", "arcface", "inception", "head_pose"
]

Rules = tuple[tuple[str, str | None], ...]
"""(pattern of the whole published name, our name; None for what is not used); the first match counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainedSource:
    """Where a pretrained network comes from and how its file is read.

    Attributes:
        files: published file names; ``KIND.safetensors`` and ``KIND.pth`` are found too.
        origin: project and file to look for.
        licence: what to know before use.
        needed_by: recipes and metrics.
        sha256_prefix: the first digits of the published checksum, "" where none is published.
        rules: published names to ours.
        build: the empty network for renamed tensors.
    """

    files: tuple[str, ...]
    origin: str
    licence: str
    needed_by: str
    rules: Rules
    build: Callable[[Mapping[str, Tensor]], nn.Module]
    sha256_prefix: str = ""


def _lip_reading(tensors: Mapping[str, Tensor]) -> nn.Module:
    return LipReadingFeatures("prelu" if "frontend3D.2.weight" in tensors else "swish")


def _arcface(tensors: Mapping[str, Tensor]) -> nn.Module:
    blocks = tuple(
        1 + max((int(name.split(".")[1]) for name in tensors if name.startswith(f"layer{stage}.")), default=0)
        for stage in (1, 2, 3, 4)
    )
    return ArcFace(blocks)


_FRONTEND = r"(?:model\.)?(?:encoder\.)?(?:frontend\.)?"

PRETRAINED: Final[Mapping[PretrainedKind, PretrainedSource]] = {
    "vgg19": PretrainedSource(
        files=("vgg19-dcbb9e9d.pth",),
        sha256_prefix="dcbb9e9d",
        origin="torchvision's VGG19 weights (IMAGENET1K_V1), pytorch.org",
        licence="trained on ImageNet; see pytorch.org",
        needed_by="paper_animator and table4_* (Eq. 12)",
        rules=(
            (r"features\.(?:2[1-9]|3\d)\..+", None),
            (r"classifier\..+", None),
            (r"(features\..+)", r"\1"),
        ),
        build=lambda _: Vgg19Features(),
    ),
    "expression": PretrainedSource(
        files=("deca_model.tar",),
        origin="DECA (Feng et al. 2021), deca.is.tue.mpg.de, after registration",
        licence="Max Planck licence for non-commercial research",
        needed_by="paper_animator and table4_* (Eq. 13)",
        rules=(
            (r"E_flame\.encoder\.fc\..+", None),
            (r"E_flame\.encoder\.(.+)", r"encoder.\1"),
            (r"(?:E_flame\.layers|E_detail|D_detail|opt)\..+", None),
            (r"(encoder\..+)", r"\1"),
        ),
        build=lambda _: ExpressionFeatures(),
    ),
    "gaze": PretrainedSource(
        files=("L2CSNet_gaze360.pkl",),
        origin="L2CS-Net (Abdelrahman et al. 2022), GitHub Ahmednull/L2CS-Net, model for Gaze360",
        licence="code MIT; the Gaze360 data is for research only",
        needed_by="paper_animator, table4_* (Eq. 14) and the bfm motion space",
        rules=((r"fc_finetune\..+", None), (r"(?:network\.)?(.+)", r"network.\1")),
        build=lambda _: GazeFeatures(),
    ),
    "parsing": PretrainedSource(
        files=("79999_iter.pth",),
        origin="face-parsing.PyTorch, GitHub zllrunning/face-parsing.PyTorch (BiSeNet on CelebAMask-HQ)",
        licence="code MIT; the CelebAMask-HQ data is for non-commercial research",
        needed_by="paper_animator and table4_* except table4_without_parsing (Eq. 15)",
        rules=(
            (r"conv_out(?:16|32)\..+", None),
            (r"cp\.resnet\.conv1\.(.+)", r"stem.\1"),
            (r"cp\.resnet\.bn1\.(.+)", r"stem_bn.\1"),
            (r"cp\.resnet\.(layer.+)", r"trunk.\1"),
            (r"cp\.arm(16|32)\.conv_atten\.(.+)", r"refine_\1.gate.\2"),
            (r"cp\.arm(16|32)\.bn_atten\.(.+)", r"refine_\1.gate_bn.\2"),
            (r"cp\.arm(16|32)\.conv\.(.+)", r"refine_\1.body.\2"),
            (r"cp\.conv_head(16|32)\.(.+)", r"head_\1.\2"),
            (r"cp\.conv_avg\.(.+)", r"pooled.\1"),
            (r"ffm\.convblk\.(.+)", r"fuse.\1"),
            (r"ffm\.conv1\.(.+)", r"gate_down.\1"),
            (r"ffm\.conv2\.(.+)", r"gate_up.\1"),
            (r"conv_out\.conv\.(.+)", r"classify.0.\1"),
            (r"conv_out\.conv_out\.(.+)", r"classify.1.\1"),
        ),
        build=lambda _: FaceParsing(),
    ),
    "lip_reading": PretrainedSource(
        files=(
            "lrw_resnet18_dctcn_video_boundary.pth",
            "lrw_resnet18_dctcn_video.pth",
            "lrw_resnet18_mstcn_video.pth",
        ),
        origin=(
            "Lipreading using Temporal Convolutional Networks (Ma et al. 2022), GitHub "
            "mpc001/Lipreading_using_Temporal_Convolutional_Networks, a ResNet-18 video model"
        ),
        licence="trained on LRW, which the BBC licenses for non-commercial research",
        needed_by="paper_expression_* and the rows of Tables 3, 5 and 6 but table5_without_read (Eq. 23)",
        rules=(
            (_FRONTEND + r"(frontend3D\..+)", r"\1"),
            (_FRONTEND + r"(trunk\.layer.+)", r"\1"),
            (r"(?:tcn|tcn_output)\..+", None),
            (r"(?:model\.)?(?:encoder|decoder|ctc|proj_encoder|proj_decoder)\..+", None),
        ),
        build=_lip_reading,
    ),
    "syncnet": PretrainedSource(
        files=("syncnet_v2.model",),
        origin="syncnet_python (Chung and Zisserman 2016), GitHub joonson/syncnet_python",
        licence="code MIT; see the project for the model",
        needed_by="gohd evaluate: LSE-C, LSE-D",
        rules=((r"(net(?:cnn|fc)(?:aud|lip)\..+)", r"\1"),),
        build=lambda _: SyncNet(),
    ),
    "arcface": PretrainedSource(
        files=("backbone.pth",),
        origin="ArcFace (Deng et al. 2019), GitHub deepinsight/insightface, arcface_torch, an iResNet backbone",
        licence="the models are for non-commercial research",
        needed_by="gohd evaluate: CSIM",
        rules=((r"((?:conv1|bn1|bn2|prelu|fc|features|layer[1-4])\..+)", r"\1"),),
        build=_arcface,
    ),
    "inception": PretrainedSource(
        files=("pt_inception-2015-12-05-6726825d.pth",),
        sha256_prefix="6726825d",
        origin="pytorch-fid, GitHub mseitzer/pytorch-fid, release fid_weights",
        licence="Apache-2.0",
        needed_by="gohd evaluate: FID",
        rules=((r"(?:fc|AuxLogits)\..+", None), (r"((?:Conv2d|Mixed)_.+)", r"\1")),
        build=lambda _: FidInception(),
    ),
    "head_pose": PretrainedSource(
        files=("cmu.pth",),
        origin="6DoF-HPE (Algabri et al. 2024), GitHub Redhwan-A/6DoFHPE, rotation network in deployed form",
        licence="see the project",
        needed_by=(
            "gohd evaluate: SSIM_p and Var_p as the paper measures them; without it the pose of the motion space "
            "is measured instead"
        ),
        rules=((r"((?:layer[0-4]|linear_reg)\..+)", r"\1"),),
        build=lambda tensors: HeadPose(RepVggConfig.of(tensors)),
    ),
}
