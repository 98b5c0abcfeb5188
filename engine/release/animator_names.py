"""Names of the released animator checkpoint, mapped to ours; rules as in ``engine.release.motion_names``."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from engine.animator.network.face_animator import FaceAnimatorNetwork
from engine.release.motion_names import Rules, renamed_tensors

_ENCODER = r"enc\.net_app\.convs"
_STYLED = r"(conv\.weight|conv\.modulation\.weight|conv\.modulation\.bias)"


def _rules(levels: int, transformed: tuple[int, ...]) -> Rules:
    """Rules of a network of ``levels`` levels; ``transformed`` are the indices of those with SFT."""
    fixed: Rules = (
        (r".*\.kernel", None),
        (r".*\.noise\.weight", None),
        (r"dec\.to_rgb1\..*", None),
        (_ENCODER + r"\.0\.0\.weight", "encoder.stem.conv.weight"),
        (_ENCODER + r"\.0\.1\.bias", "encoder.stem.bias"),
        (_ENCODER + rf"\.{levels + 1}\.weight", "encoder.head.weight"),
        (r"enc\.semantics_enc\.first\.0\.(.+)", r"mapping.first.\1"),
        (r"enc\.semantics_enc\.encoder(\d+)\.1\.(.+)", r"mapping.layers.\1.\2"),
        (r"enc\.fc\.(.+)", r"head.layers.\1"),
        (r"dec\.direction\.weight", "basis.weight_SM"),
        (r"dec\.input\.input", "decoder.constant_CHW"),
        (r"dec\.conv1\." + _STYLED, r"decoder.first.\1"),
        (r"dec\.conv1\.activate\.bias", "decoder.first.bias"),
        (r"dec\.to_flows\.(\d+)\.(.+)", r"decoder.levels.\1.to_flow.\2"),
        (r"dec\.to_rgbs\.(\d+)\.conv\.0\.weight", r"decoder.levels.\1.to_rgb.conv.weight"),
        (r"dec\.to_rgbs\.(\d+)\.conv\.1\.bias", r"decoder.levels.\1.to_rgb.activation_bias"),
        (r"dec\.to_rgbs\.(\d+)\.bias", r"decoder.levels.\1.to_rgb.bias"),
    )
    counted: list[tuple[str, str | None]] = []
    for level in range(levels):
        released, ours = _ENCODER + rf"\.{level + 1}", f"encoder.blocks.{level}"
        counted += [
            (released + r"\.conv1\.0\.weight", f"{ours}.conv_1.conv.weight"),
            (released + r"\.conv1\.1\.bias", f"{ours}.conv_1.bias"),
            (released + r"\.conv2\.1\.weight", f"{ours}.conv_2.conv.weight"),
            (released + r"\.conv2\.2\.bias", f"{ours}.conv_2.bias"),
            (released + r"\.skip\.1\.weight", f"{ours}.skip_conv.weight"),
        ]
        for index, part in ((2 * level, "up"), (2 * level + 1, "conv")):
            counted += _styled(rf"dec\.convs\.{index}", f"decoder.levels.{level}.{part}")
    for index, level in enumerate(transformed):
        for part in ("scale", "shift"):
            released, ours = rf"dec\.sft\.{index}\.{part}", f"decoder.levels.{level}.transform.{part}"
            counted += _styled(released + "1", ours + "_1")
            counted.append((released + r"2\.(.+)", ours + r"_2.\1"))
    return (*fixed, *counted)


def _styled(released: str, ours: str) -> list[tuple[str, str | None]]:
    return [(rf"{released}\.{_STYLED}", rf"{ours}.\1"), (rf"{released}\.activate\.bias", f"{ours}.bias")]


def animator_tensors(released: Mapping[str, Tensor], network: FaceAnimatorNetwork) -> dict[str, Tensor]:
    """Released animator checkpoint (what lies under ``gen_pose``) as the state of ``network``.

    Raises:
        WeightsCorrupt: a name is unknown, or a tensor does not fit the network.
    """
    levels = len(network.config.widths) - 1
    transformed = tuple(level for level in range(levels) if 8 << level in network.config.transform_sizes)
    return renamed_tensors(released, _rules(levels, transformed), network)
