"""The pretrained networks of the animator's losses: the paper's, or open substitutes."""

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from train.losses.animator import AnimatorLossWeights
from train.pretrained import (
    BlendshapeFeatures,
    FaceCropped,
    FaceIdentity,
    LandmarkNetwork,
    PerceptualBackbone,
    RegionParser,
    expression_places,
    face_places,
    iris_offsets,
    load_pretrained,
)
from train.tasks.animator_pretrained import PretrainedNetworks


def animator_networks(
    folder: Path | None, weights: AnimatorLossWeights, *, identity: bool = False
) -> PretrainedNetworks:
    """The paper's networks from ``folder``, or the open substitutes (None): those that ``weights`` give a weight.

    The landmark network comes always: it needs no file, and evaluation uses it.

    Args:
        identity: dlib's face recognition too, for evaluation.

    Raises:
        PretrainedNotFound: a file is missing; the message says which and from where. MissingDependency: a package is.
    """
    landmarks = LandmarkNetwork()
    terms = tuple(name for name in ("expression", "gaze", "parsing") if getattr(weights, name))
    networks: dict[str, nn.Module]
    networks = _open_networks(landmarks, terms) if folder is None else _paper_networks(folder, terms)
    if weights.perceptual or weights.mouth:
        networks["perceptual"] = PerceptualBackbone() if folder is None else load_pretrained("vgg19", folder)
    perceptual = networks.get("perceptual")

    def located(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> Tensor:
        found_BN3: Tensor = landmarks(rgb_B3HW, face_places(landmarks_BN3))
        return found_BN3

    def open_face(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> dict[str, Tensor]:
        seen: dict[str, Tensor] = {}
        if {"expression", "gaze"} & set(terms):
            found_BN3 = located(rgb_B3HW, landmarks_BN3)
            seen["gaze"] = iris_offsets(found_BN3)
            if "expression" in terms:
                seen["expression"] = networks["expression"](found_BN3)[0]
        if "parsing" in terms:
            seen["parsing"] = networks["parsing"](rgb_B3HW)
        return {name: seen[name] for name in terms}

    def paper_face(rgb_B3HW: Tensor, landmarks_BN3: Tensor) -> dict[str, Tensor]:
        return {
            name: networks[name](rgb_B3HW) if name == "parsing" else networks[name](rgb_B3HW, landmarks_BN3)
            for name in terms
        }

    return PretrainedNetworks(
        perceptual=None if perceptual is None else lambda rgb_B3HW: perceptual(rgb_B3HW)[:4],
        face=(open_face if folder is None else paper_face) if terms else None,
        terms=terms,
        landmarks=located,
        identity=FaceIdentity() if identity else None,
        networks=(landmarks, *networks.values()),
    )


def _open_networks(landmarks: LandmarkNetwork, terms: tuple[str, ...]) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {}
    if "expression" in terms:
        networks["expression"] = BlendshapeFeatures()
    if "parsing" in terms:
        networks["parsing"] = RegionParser(landmarks)
    return networks


def _paper_networks(folder: Path, terms: tuple[str, ...]) -> dict[str, nn.Module]:
    networks: dict[str, nn.Module] = {}
    if "expression" in terms:
        networks["expression"] = FaceCropped(load_pretrained("expression", folder), expression_places)
    if "gaze" in terms:
        upright = partial(face_places, scale=1.2, upright=True)
        networks["gaze"] = FaceCropped(load_pretrained("gaze", folder), upright)
    if "parsing" in terms:
        networks["parsing"] = load_pretrained("parsing", folder)
    return networks
