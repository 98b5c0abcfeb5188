"""The released checkpoints tensor by tensor: name and shape there, name here.

A layout is worked out from a config of ours, so that a small network has a small released layout too. Most tensors have
the same shape on both sides; the rest are marked where they are added.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from engine.animator import FaceAnimatorNetwork
from engine.motion.diffusion.denoiser import PoseDenoiser
from engine.motion.networks.eye_lstm import EyeMotionNetwork
from engine.motion.networks.lip import LipNetwork

Shapes = dict[str, tuple[int, ...]]
"""Shape of each tensor by its released name."""

_FIR_KERNEL = (4, 4)


class ReleasedLayout:
    """The released tensors of one network.

    Attributes:
        shapes: of all of them, those that have no place in ours included.
    """

    def __init__(self, network: nn.Module) -> None:
        """Empty, for ``network``, whose values do not matter (it may be on the meta device)."""
        self.shapes: Shapes = {}
        self._own_shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
        self._own_names: dict[str, str] = {}

    def add(self, released: str, own: str, *, before: int = 0, after: int = 0) -> None:
        """A tensor with ``before`` and ``after`` more axes of length one in the release."""
        self._own_names[released] = own
        self.shapes[released] = (*[1] * before, *self._own_shapes[own], *[1] * after)

    def layer(self, released: str, own: str, *, after: int = 0) -> None:
        """Weight, with ``after`` more axes, and bias."""
        self.add(f"{released}.weight", f"{own}.weight", after=after)
        self.add(f"{released}.bias", f"{own}.bias")

    def three_taps(self, released: str, own: str) -> None:
        """A convolution over time, whose weight is (out, in, tap) there and (out, tap * in) here."""
        self.layer(released, own)
        rows, columns = self._own_shapes[f"{own}.weight"]
        self.shapes[f"{released}.weight"] = (rows, columns // 3, 3)

    def unused(self, released: str, *shape: int) -> None:
        """A constant that our modules compute themselves, or a weight that the release carries and never uses."""
        self.shapes[released] = shape

    def state(self, released: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of these ``shapes`` as the state of our network."""
        state = {}
        for name, own in self._own_names.items():
            tensor, shape = released[name], self._own_shapes[own]
            if tensor.ndim == 3 and len(shape) == 2 and tensor.shape[2] > 1:
                tensor = tensor.permute(0, 2, 1)
            state[own] = tensor.reshape(shape)
        return state


def same_layout(network: nn.Module) -> ReleasedLayout:
    """Of a network that has the released names."""
    layout = ReleasedLayout(network)
    for name in network.state_dict():
        layout.add(name, name)
    return layout


def animator_layout(network: FaceAnimatorNetwork) -> ReleasedLayout:
    """What lies under ``gen_pose``."""
    layout, config = ReleasedLayout(network), network.config
    levels = len(config.widths) - 1
    encoder = "enc.net_app.convs"
    layout.add(f"{encoder}.0.0.weight", "encoder.stem.conv.weight")
    layout.add(f"{encoder}.0.1.bias", "encoder.stem.bias", before=1, after=2)
    for level in range(levels):
        block, own = f"{encoder}.{level + 1}", f"encoder.blocks.{level}"
        layout.add(f"{block}.conv1.0.weight", f"{own}.conv_1.conv.weight")
        layout.add(f"{block}.conv1.1.bias", f"{own}.conv_1.bias", before=1, after=2)
        layout.unused(f"{block}.conv2.0.kernel", *_FIR_KERNEL)
        layout.add(f"{block}.conv2.1.weight", f"{own}.conv_2.conv.weight")
        layout.add(f"{block}.conv2.2.bias", f"{own}.conv_2.bias", before=1, after=2)
        layout.unused(f"{block}.skip.0.kernel", *_FIR_KERNEL)
        layout.add(f"{block}.skip.1.weight", f"{own}.skip_conv.weight")
    layout.add(f"{encoder}.{levels + 1}.weight", "encoder.head.weight")
    layout.layer("enc.semantics_enc.first.0", "mapping.first")
    for index in range(len(config.mapping_dilations)):
        layout.layer(f"enc.semantics_enc.encoder{index}.1", f"mapping.layers.{index}")
    for index in range(config.head_layers):
        layout.layer(f"enc.fc.{index}", f"head.layers.{index}")
    layout.add("dec.direction.weight", "basis.weight_SM")
    layout.add("dec.input.input", "decoder.constant_CHW", before=1)
    _styled(layout, "dec.conv1", "decoder.first")
    # Colours of the 4x4 map, which the release computes and does not show.
    layout.unused("dec.to_rgb1.bias", 1, 3, 1, 1)
    layout.unused("dec.to_rgb1.conv.0.weight", 3, config.widths[0], 1, 1)
    layout.unused("dec.to_rgb1.conv.1.bias", 1, 3, 1, 1)
    for level in range(levels):
        own = f"decoder.levels.{level}"
        _styled(layout, f"dec.convs.{2 * level}", f"{own}.up")
        layout.unused(f"dec.convs.{2 * level}.conv.blur.kernel", *_FIR_KERNEL)
        _styled(layout, f"dec.convs.{2 * level + 1}", f"{own}.conv")
        layout.add(f"dec.to_rgbs.{level}.bias", f"{own}.to_rgb.bias", before=1, after=2)
        layout.add(f"dec.to_rgbs.{level}.conv.0.weight", f"{own}.to_rgb.conv.weight")
        layout.add(f"dec.to_rgbs.{level}.conv.1.bias", f"{own}.to_rgb.activation_bias", before=1, after=2)
        layout.unused(f"dec.to_rgbs.{level}.upsample.kernel", *_FIR_KERNEL)
        layout.add(f"dec.to_flows.{level}.bias", f"{own}.to_flow.bias", before=1, after=2)
        layout.unused(f"dec.to_flows.{level}.upsample.kernel", *_FIR_KERNEL)
        _modulated(layout, f"dec.to_flows.{level}.conv", f"{own}.to_flow.conv")
    transformed = [level for level in range(levels) if 8 << level in config.transform_sizes]
    for index, level in enumerate(transformed):
        for part in ("scale", "shift"):
            released, own = f"dec.sft.{index}.{part}", f"decoder.levels.{level}.transform.{part}"
            _styled(layout, f"{released}1", f"{own}_1")
            layout.layer(f"{released}2", f"{own}_2")
    return layout


def _styled(layout: ReleasedLayout, released: str, own: str) -> None:
    _modulated(layout, f"{released}.conv", f"{own}.conv")
    layout.unused(f"{released}.noise.weight", 1)
    layout.add(f"{released}.activate.bias", f"{own}.bias", before=1, after=2)


def _modulated(layout: ReleasedLayout, released: str, own: str) -> None:
    layout.add(f"{released}.weight", f"{own}.weight", before=1)
    layout.layer(f"{released}.modulation", f"{own}.modulation")


def denoiser_layout(network: PoseDenoiser) -> ReleasedLayout:
    """Of poses or of gaze, what lies under ``model``."""
    layout, config = ReleasedLayout(network), network.config
    for side in ("input", "skip", "output"):
        layout.layer(f"{side}_projection.conv1d", f"{side}_proj", after=1)
    for index in (1, 2):
        layout.layer(f"diffusion_embedding.projection{index}", f"step_embedding.layer_{index}")
    for index in range(config.blocks):
        block, own = f"residual_layers.{index}", f"blocks.{index}"
        layout.layer(f"{block}.nn.in_proj", f"{own}.body_in")
        layout.layer(f"{block}.nn.out_proj", f"{own}.body_out")
        layout.layer(f"{block}.diffusion_projection", f"{own}.step_proj")
        layout.layer(f"{block}.local_cond_projection", f"{own}.condition_proj")
        layout.layer(f"{block}.output_projection.conv1d", f"{own}.out_proj", after=1)
        dilated = bool(config.dilations[index % len(config.dilations)])
        for part in range(config.attention_layers):
            _attention(layout, f"{block}.nn.attention_blocks.{part}", f"{own}.attention_blocks.{part}", dilated)
            layout.unused(f"{block}.nn.attention_blocks.{part}.attn.position_scorer.slopes", config.heads, 1, 1)
    return layout


def _attention(layout: ReleasedLayout, released: str, own: str, dilated: bool) -> None:
    layout.add(f"{released}.attn.in_proj.weight", f"{own}.attention.in_proj.weight")
    layout.layer(f"{released}.attn.gate", f"{own}.attention.gate")
    scorer, own_scorer = f"{released}.attn.position_scorer", f"{own}.attention.position_scorer"
    for parameter in ("offsets", "amplitudes", "sharpness"):
        layout.add(f"{scorer}.{parameter}", f"{own_scorer}.{parameter}_KH", before=1, after=2)
    layout.add(f"{scorer}.bias", f"{own_scorer}.bias_H", before=1, after=2)
    for index in (1, 2):
        own_layer = f"{own}.feed_forward.layer_{index}"
        if dilated:
            layout.three_taps(f"{released}.ff.conv_{index}", own_layer)
        else:
            layout.layer(f"{released}.ff.linear_{index}", own_layer)
        layout.layer(f"{released}.norm_{index}", f"{own}.norm_{index}")


def lip_layout(network: LipNetwork) -> ReleasedLayout:
    """What lies under ``state_dict_G`` of a one-stage network."""
    layout = ReleasedLayout(network)
    for index in range(len(network.audio_encoder.layers)):
        block, own = f"audio_encoder.{index}.conv_block", f"audio_encoder.layers.{index}"
        layout.layer(f"{block}.0", f"{own}.conv")
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            layout.add(f"{block}.1.{name}", f"{own}.norm.{name}")
    layout.layer("mapping1", "map.0")
    return layout


def eye_layout(network: EyeMotionNetwork) -> ReleasedLayout:
    """What a two-stage network has beside the lips'."""
    layout = ReleasedLayout(network)
    for index in (0, 2):
        layout.layer(f"control_encoder.{index}", f"feature_encoder.{index}")
        layout.layer(f"output.{index}", f"head.{index}")
    for name in network.lstm.state_dict():
        layout.add(f"lstm.{name}", f"lstm.{name}")
    return layout
