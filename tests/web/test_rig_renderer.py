"""The face drawn by WebGL2 in a real headless Chromium, held to the golden rig and to the CPU renderer."""

import base64
import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from engine.animator.mesh import topology
from engine.animator.mesh.build_rig import build_rig
from engine.animator.mesh.cpu_renderer import CpuRig, draw
from engine.animator.mesh.rig import Rig
from engine.animator.mesh.vertices import RigTables, move
from engine.motion.space.landmark_model import LandmarkModel
from engine.portrait import FaceLandmarker, crop_face, load_image
from tests.golden.make_rig import GOLDEN, motions

pytestmark = pytest.mark.browser

_ROOT = Path(__file__).resolve().parents[2]
_TYPES = {
    ".js": "text/javascript",
    ".json": "application/json",
    ".png": "image/png",
    ".bin": "application/octet-stream",
}
_SETUP = """async () => {
  const modules = await Promise.all(
    ["rig", "renderer", "vertices", "timeline", "topology"].map((name) => import(`/rig/${name}.js`)));
  window.face = Object.assign({}, ...modules);
  window.png = (canvas) => canvas.toDataURL("image/png");
  const opened = {};
  window.open_ = async (base) => {
    if (!(base in opened)) {
      const canvas = document.createElement("canvas");
      opened[base] = new face.RigRenderer(canvas, await face.fetchRig(new URL(base, location)));
    }
    window.renderer = opened[base];
    renderer.canvas.width = renderer.canvas.height = renderer.rig.sizePx;
  };
}"""
_DRAW = "(rows) => rows.map((row) => { renderer.draw(Float32Array.from(row)); return png(renderer.canvas); })"


@pytest.fixture(scope="module")
def large(portrait_path: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rig, Path]:
    """The demo portrait's rig of 512 px, and the folder it was saved in."""
    model = LandmarkModel.load(_ROOT / "engine" / "weights" / "default" / "motion_space.safetensors")
    rgb = load_image(portrait_path)
    crop = crop_face(rgb, FaceLandmarker().detect(rgb), 512)
    rig = build_rig(crop, model.fit(crop.landmarks_px, 512), model)
    folder = tmp_path_factory.mktemp("rig") / "large"
    rig.save(folder)
    return rig, folder


@pytest.fixture(scope="module")
def toothed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rig, Path]:
    """The golden rig with an open mouth of its own and one eye that counts as shut, and its folder."""
    golden = Rig.load(GOLDEN / "rig")
    across, down = np.meshgrid(np.arange(20), np.arange(12))
    alpha = np.where(abs(across - 9.5) < 8, 220, 90)
    own = np.stack([alpha * 0.9, alpha * across / 25, alpha * down / 15, alpha], -1).astype(np.uint8)
    mouth = dataclasses.replace(golden.mouth, own=own, own_origin_px=np.array([-10, -5], np.float32), own_stays=True)
    shut = dataclasses.replace(golden.eyes[1], sealed=True)
    rig = dataclasses.replace(golden, mouth=mouth, eyes=(golden.eyes[0], shut))
    folder = tmp_path_factory.mktemp("rig") / "toothed"
    rig.save(folder)
    return rig, folder


@pytest.fixture(scope="module")
def rigs(large: tuple[Rig, Path], toothed: tuple[Rig, Path]) -> dict[str, tuple[Rig, Path]]:
    return {"golden": (Rig.load(GOLDEN / "rig"), GOLDEN / "rig"), "large": large, "toothed": toothed}


def _motions(rig: Rig) -> npt.NDArray[np.float32]:
    """The golden motions, and faces pulled further than speech does: mouth wide open, eyes shut."""
    found = motions(rig.rest_descriptor)
    wide = found[6:8].copy()
    wide[:, :64] *= 3
    return np.concatenate([found, wide])


@pytest.fixture(scope="module")
def page(browser: Any, rigs: dict[str, tuple[Rig, Path]]) -> Iterator[Any]:
    """A page with the modules under ``/rig``, and each rig's folder under its name."""
    folders = {"rig": _ROOT / "clients" / "web" / "rig", **{name: folder for name, (_, folder) in rigs.items()}}

    def answer(route: Any) -> None:
        _, top, *rest = urlsplit(route.request.url).path.split("/")
        path = folders[top] / rest[0] if top in folders else None
        if path is not None and path.is_file():
            route.fulfill(body=path.read_bytes(), content_type=_TYPES[path.suffix])
        else:
            route.fulfill(status=200 if path is None else 404, body="", content_type="text/html")

    context = browser.new_context()
    page = context.new_page()
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.route("**/*", answer)
    page.goto("http://face.test/")
    page.evaluate(_SETUP)
    yield page
    context.close()
    assert problems == []


def _pictures(page: Any, descriptors: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint8]]:
    return [_decoded(url) for url in page.evaluate(_DRAW, descriptors.tolist())]


def _decoded(url: str) -> npt.NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))).convert("RGB"))


def _psnr_db(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / max(np.mean((one.astype(float) - other) ** 2), 1e-9)))


def _drawn(rig: Rig, descriptors: npt.NDArray[np.float32]) -> list[npt.NDArray[np.uint8]]:
    prepared = CpuRig.of(rig)
    return [draw(prepared, move(prepared.tables, torch.from_numpy(row[None]))) for row in descriptors]


def test_index_sets_are_those_of_the_engine(page: Any) -> None:
    names = ("FACE_POINTS", "LASH_VERTICES", "FACE_OVAL", "MOUTH_UPPER", "MOUTH_LOWER", "CHIN")
    found = page.evaluate("(names) => names.map((name) => face[name])", names)
    assert found == [np.asarray(getattr(topology, name)).tolist() for name in names]
    eyes = page.evaluate("face.EYES")
    for eye, expected in zip(eyes, topology.EYES, strict=True):
        assert eye == {name: getattr(expected, name).tolist() for name in ("upper", "lower", "crease", "lashes")}


@pytest.mark.parametrize("kind", ["golden", "large", "toothed"])
def test_vertices_are_those_of_the_engine(page: Any, rigs: dict[str, tuple[Rig, Path]], kind: str) -> None:
    rig = rigs[kind][0]
    descriptors = _motions(rig)
    expected = move(RigTables.stack([RigTables.of(rig)] * len(descriptors)), torch.from_numpy(descriptors))
    if kind == "golden":
        with np.load(GOLDEN / "rig_motion.npz") as recorded:
            np.testing.assert_allclose(recorded["positions_BV2"], expected.positions_BV2[:10], atol=5e-3)
    found = page.evaluate(
        """async ([base, rows]) => {
          const prepared = face.prepare(await face.fetchRig(new URL(base, location)));
          return rows.map((row) => {
            const moved = face.vertices(prepared, Float32Array.from(row));
            return JSON.stringify({...moved, positions: [...moved.positions], depths: [...moved.depths]});
          });
        }""",
        [f"/{kind}/", descriptors.tolist()],
    )
    for row, text in enumerate(found):
        moved = json.loads(text)
        apart = np.abs(np.array(moved["positions"]).reshape(-1, 2) - expected.positions_BV2[row].numpy())
        assert apart.max() < 0.01
        for name, values in (
            ("depths", expected.depth_BV),
            ("balls", expected.ball_BE23.flatten(-2)),
            ("irises", expected.iris_BE23.flatten(-2)),
            ("teeth", expected.teeth_BE23.flatten(-2)),
            ("own", expected.own_B23.flatten(-2)),
            ("still", expected.still_BE[:, 0]),
            ("lidsShut", expected.lids_shut_BE),
            ("lipsShut", expected.lips_shut_B),
            ("ownShare", expected.own_share_B),
            ("grown", expected.scale_B),
        ):
            np.testing.assert_allclose(moved[name], values[row].numpy(), rtol=1e-3, atol=0.02, err_msg=name)


@pytest.mark.parametrize("kind", ["golden", "large", "toothed"])
def test_pictures_are_those_of_the_cpu_renderer(page: Any, rigs: dict[str, tuple[Rig, Path]], kind: str) -> None:
    rig = rigs[kind][0]
    descriptors = _motions(rig)
    page.evaluate("(base) => open_(base)", f"/{kind}/")
    pictures = _pictures(page, descriptors)
    assert min(map(_psnr_db, pictures, _drawn(rig, descriptors))) >= 40


def test_a_smaller_canvas_shows_the_same_face(page: Any, large: tuple[Rig, Path]) -> None:
    descriptors = motions(large[0].rest_descriptor)[[0, 2, 8]]
    page.evaluate("open_('/large/')")
    page.evaluate("renderer.fit(128, 2)")
    for small, big in zip(_pictures(page, descriptors), _drawn(large[0], descriptors), strict=True):
        assert small.shape == (256, 256, 3)
        halved = big.reshape(256, 2, 256, 2, 3).mean((1, 3))
        assert np.abs(halved - small).mean() < 2.5
    assert page.evaluate("renderer.fit(800, 2), renderer.canvas.width") == 512


def test_a_lost_context_comes_back(page: Any) -> None:
    page.evaluate("open_('/golden/')")
    row = motions(Rig.load(GOLDEN / "rig").rest_descriptor)[[8]]
    before = _pictures(page, row)[0]
    after = page.evaluate(
        """() => new Promise((done) => {
          const lose = renderer.gl.getExtension("WEBGL_lose_context");
          renderer.canvas.addEventListener("webglcontextlost", () => setTimeout(() => lose.restoreContext()));
          renderer.canvas.addEventListener("webglcontextrestored", () => done(png(renderer.canvas)));
          lose.loseContext();
        })"""
    )
    assert np.array_equal(_decoded(after), before)


def test_without_webgl2_the_page_is_told(page: Any) -> None:
    found = page.evaluate(
        """async () => {
          const canvas = document.createElement("canvas");
          canvas.getContext("2d");
          const rig = await face.fetchRig(new URL("/golden/", location));
          try { new face.RigRenderer(canvas, rig); } catch (error) { return error instanceof face.WebGL2Missing; }
        }"""
    )
    assert found is True


def _without_skin(content: dict[str, Any]) -> None:
    content["textures"].remove("skin")


def _past_the_end(content: dict[str, Any]) -> None:
    content["tables"]["triangles"]["offset"] = 1 << 30


def _negative(content: dict[str, Any]) -> None:
    content["tables"]["triangles"]["shape"] = [-1, 3]


def _newer(content: dict[str, Any]) -> None:
    content["version"] = 2


@pytest.mark.parametrize("damage", [_without_skin, _past_the_end, _negative, _newer])
def test_a_damaged_rig_is_refused(page: Any, damage: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((GOLDEN / "rig" / "rig.json").read_text())
    damage(content)
    found = page.evaluate(
        """async (json) => {
          const read = async (name) =>
            name === "rig.json" ? new Blob([json]) : (await fetch(`/golden/${name}`)).blob();
          try { await face.loadRig(read); } catch (error) { return error instanceof face.RigUnreadable; }
        }""",
        json.dumps(content),
    )
    assert found is True


def test_motion_between_descriptors_is_interpolated(page: Any) -> None:
    found = page.evaluate(
        """() => {
          const timeline = new face.Timeline();
          const none = timeline.at(0);
          for (const [time, value] of [[0.08, 8], [0, 0], [0.04, 4], [0.04, 5]]) {
            timeline.push(time, new Float32Array(72).fill(value));
          }
          return [none, ...[-1, 0, 0.01, 0.04, 0.07, 1].map((time) => timeline.at(time)[71])];
        }"""
    )
    assert found[0] is None
    np.testing.assert_allclose(found[1:], [0, 0, 1, 4, 7, 8], rtol=1e-5)
