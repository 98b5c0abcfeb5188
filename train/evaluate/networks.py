"""The frozen networks that metrics use, found once, or the reason why one is missing.

network     metrics           where its file is missing
syncnet     LSE-C, LSE-D      not computed
inception   FID               not computed
arcface     CSIM              the open identity network of `FaceIdentity`, said in the table
head_pose   SSIM_p, Var_p     the pose of the landmark fit, said in the table
perceptual  perceptual dist.  PerceptualBackbone (open; there is no file)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from engine.errors import GohdError, WeightsNotFound


@dataclass(slots=True)
class Networks:
    """What was found.

    ``identities``: by network, a text that changes with its file. ``missing`` and ``notes``: by network, why it is not
    there and what is used instead.
    """

    found: dict[str, Any] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def find_networks(names: Sequence[str], folder: Path | None) -> Networks:
    """Load the named networks from ``folder`` (None: only those that need no file)."""
    networks = Networks()
    for name in names:
        if name == "perceptual":
            _try(networks, name, _perceptual)
            continue
        _try(networks, name, lambda name=name: _load(networks, name, folder))  # type: ignore[misc]
        if name == "arcface" and name in networks.missing:
            _try(networks, "identity", _open_identity)
            if "identity" in networks.missing:
                networks.missing[name] += "; or, for the open identity network: " + networks.missing["identity"]
            else:
                networks.notes["arcface"] = (
                    "CSIM is that of the open identity network (dlib), not ArcFace's: one person's images are near "
                    "0.99, two people's at 0.76 to 0.91; " + networks.missing[name]
                )
        if name == "head_pose" and name in networks.missing:
            networks.notes["head_pose"] = "pose of the landmark fit: " + networks.missing[name]
    return networks


def _try(networks: Networks, name: str, load: Callable[[], Any]) -> None:
    try:
        networks.found[name] = load()
    except GohdError as error:
        networks.missing[name] = str(error)


def _load(networks: Networks, name: str, folder: Path | None) -> Any:
    if folder is None:
        raise WeightsNotFound(f"needs the frozen network '{name}': name the folder of its file with --pretrained")
    from train.pretrained import PretrainedKind, load_pretrained, pretrained_path

    kind = cast(PretrainedKind, name)
    state = (path := pretrained_path(kind, folder)).stat()
    networks.identities[name] = f"{path.name} {state.st_size} {state.st_mtime_ns}"
    return load_pretrained(kind, folder)


def _perceptual() -> Any:
    from train.pretrained import PerceptualBackbone

    return PerceptualBackbone()


def _open_identity() -> Any:
    from train.pretrained import FaceIdentity

    return FaceIdentity()
