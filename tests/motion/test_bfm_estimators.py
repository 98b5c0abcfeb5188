"""The estimators of the bfm space: their layout, the alignment before them, and a portrait measured by them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.errors import CheckpointRefused
from engine.motion.space.bfm_estimators import FaceReconstruction, GazeEstimator, align_5_points, measure_bfm
from engine.motion.space.landmark_table import IBUG_68
from engine.motion.space.resnet import ResNetConfig
from engine.portrait import FaceCrop, FaceLandmarker, crop_face, load_image
from engine.release import ReleaseConfig, import_release
from engine.release.convert import convert, part_shapes
from tests.release_helper import filled, reader_in_this_process, small_release, write_release

SMALL = ResNetConfig(width=4, blocks=(1, 2, 1, 1))


@pytest.fixture(scope="module")
def crop(portrait_path: Path) -> FaceCrop:
    image = load_image(portrait_path)
    return crop_face(image, FaceLandmarker().detect(image))


def test_layouts_are_those_of_the_published_checkpoints() -> None:
    recon, gaze = (part_shapes(part, ReleaseConfig()) for part in ("recon", "l2cs"))
    assert recon["backbone.conv1.weight"] == (64, 3, 7, 7)
    assert recon["backbone.layer2.0.downsample.0.weight"] == (512, 256, 1, 1)
    assert recon["backbone.layer4.2.bn3.running_var"] == (2048,)
    heads = [recon[f"final_layers.{index}.weight"] for index in range(7)]
    assert heads == [(size, 2048, 1, 1) for size in (80, 64, 80, 3, 27, 2, 1)]
    assert gaze["layer3.5.conv2.weight"] == (256, 256, 3, 3)
    assert gaze["fc_yaw_gaze.weight"] == gaze["fc_pitch_gaze.weight"] == (90, 2048)
    # ResNet-50 without its classifier has 53 convolutions.
    for shapes in (recon, gaze):
        assert sum(len(shape) == 4 and "final" not in name for name, shape in shapes.items()) == 53


def test_alignment_puts_the_face_in_the_mean_faces_place(crop: FaceCrop) -> None:
    marked = np.zeros_like(crop.rgb)
    eyes = crop.landmarks_px[IBUG_68][[36, 39, 42, 45], :2].reshape(2, 2, 2).mean(axis=1)
    for x, y in eyes.astype(int):
        marked[y - 2 : y + 3, x - 2 : x + 3] = 255
    aligned = align_5_points(marked, crop.landmarks_px)[:, :, 0].astype(np.float64)
    assert aligned.shape == (224, 224)
    rows, columns = np.indices(aligned.shape)
    for half in (slice(0, 112), slice(112, 224)):
        weight = aligned[:, half]
        x, y = (float((places[:, half] * weight).sum() / weight.sum()) for places in (columns, rows))
        side = -0.31 if half.start == 0 else 0.31
        # 102 pixels a unit around the middle, y up.
        assert x == pytest.approx(112 + 102 * side, abs=8)
        assert y == pytest.approx(112 - 102 * 0.29, abs=8)


def test_gaze_bins_are_angles() -> None:
    network = GazeEstimator(SMALL).eval()
    with torch.no_grad():
        for head, bin_index in ((network.fc_yaw_gaze, 50), (network.fc_pitch_gaze, 40)):
            head.weight.zero_()
            head.bias.fill_(-50.0)
            head.bias[bin_index] = 50.0
        angles = network(torch.zeros(1, 3, 64, 64))
    assert torch.rad2deg(angles)[0].tolist() == pytest.approx([20.0, -20.0], abs=1e-3)


def test_a_portrait_is_measured_by_imported_estimators(crop: FaceCrop, tmp_path: Path) -> None:
    config = small_release()
    sources = write_release(tmp_path, config, "recon", "l2cs")
    with reader_in_this_process():
        import_release(sources, tmp_path / "weights", config)
    recon, gaze = FaceReconstruction(SMALL).eval(), GazeEstimator(SMALL).eval()
    recon.load_state_dict(filled(part_shapes("recon", config)))
    gaze.load_state_dict(filled(part_shapes("l2cs", config)))
    measured = measure_bfm(crop, recon, gaze)
    aligned = torch.from_numpy(align_5_points(crop.rgb, crop.landmarks_px)).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        numbers = recon(aligned)[0].numpy()
    assert numbers.shape == (257,)
    assert np.array_equal(measured.expression, numbers[80:144])
    assert np.array_equal(measured.pose, np.r_[numbers[224:227], numbers[254:257]])
    assert np.abs(measured.gaze).max() < np.pi


def test_the_unused_layer_of_l2cs_files_is_left_out_and_others_are_refused() -> None:
    config = small_release()
    state = filled(part_shapes("l2cs", config))
    unused = {"fc_finetune.weight": torch.zeros(3, 131), "fc_finetune.bias": torch.zeros(3)}
    converted = convert("l2cs", Path("L2CSNet_gaze360.pkl"), {**state, **unused}, config)
    assert set(converted.files["l2cs.safetensors"]) == set(state)
    with pytest.raises(CheckpointRefused, match="fc_roll"):
        convert("l2cs", Path("x.pkl"), {**state, "fc_roll.bias": torch.zeros(3)}, config)
