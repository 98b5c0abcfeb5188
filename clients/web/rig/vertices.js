// Where a motion takes a rig: vertices, their depths, and how each layer lies in the frame. The same function as
// engine/animator/mesh/vertices.py, which explains its steps and constants; held to tests/golden.

import { apply, eyeInHead, multiply, placeOf, transpose } from "./pose.js";
import { CHIN, EYES, FACE_OVAL, FACE_POINTS, LASH_VERTICES, MOUTH_LOWER, MOUTH_UPPER } from "./topology.js";

export const DESCRIPTOR_SIZE = 72;
export const DESIGN_SIZE_PX = 256;

const TEXELS_PER_PX = 3;
const EXPRESSIONS = 64;
const LID_FOLLOWS_DOWN = 0.85;
const LID_FOLLOWS_UP = 0.5;
const LOWER_LID_FOLLOWS = 0.25;
const UPPER_LID_SHARE = 0.85;
const LOWER_LID_SHARE = 0.15;
const FOLD_FOLLOWS = 0.4;
const GAZE_LIMIT_RAD = [0.45, 0.62];
const LOWER_TEETH_SHOW = 0.055;

// What does not change with the motion; call once for a rig.
export function prepare(rig) {
  const rest = placeOf(rig.tables.rest_descriptor, rig.sizePx);
  return { rig, rest, restIris: irisPlace(limitedGaze(eyeInHead(rig.tables.rest_descriptor, rest.rotation))) };
}

// Moves a prepared rig to a descriptor of 72 numbers: expression, pose, gaze. Returns
//   positions (2 V), depths (V)  in px of the rig, pixel centres at integers; larger depth is farther
//   balls, irises, teeth, own    matrices [a, b, c, d, e, f] from a pixel (x, y, 1) to a texel (a x + b y + c, ...)
//   still, lidsShut, lipsShut, ownShare, grown    as `MovedRig` says, grown being its scale
export function vertices(prepared, descriptor) {
  const { rig, rest, restIris } = prepared;
  const { tables, numbers, sizePx } = rig;
  const { scale, rotation, centre } = placeOf(descriptor, sizePx);
  const grown = scale / rest.scale;
  const linear = multiply(rotation, transpose(rest.rotation)).map((value) => grown * value);
  const down = unit([rotation[1], rotation[4]]);
  const fixedToHead = (x, y, z) => {
    const turned = apply(linear, [x - rest.centre[0], y - rest.centre[1], z - rest.centre[2]]);
    return turned.map((value, axis) => value + centre[axis]);
  };

  const count = tables.source_px.length / 2;
  const positions = new Float32Array(2 * count);
  const depths = new Float32Array(count);
  landmarks(tables, descriptor, scale, rotation, centre, positions, depths);
  const at = (index) => [positions[2 * index], positions[2 * index + 1]];
  const set = (index, [x, y]) => {
    positions[2 * index] = x;
    positions[2 * index + 1] = y;
  };
  const source = (index) => [tables.source_px[2 * index], tables.source_px[2 * index + 1]];

  moveRays(tables, linear, grown, fixedToHead(...tables.skull_centre_px), at, positions, depths);
  const chin = CHIN.map(at);
  const lips = closedLips(tables, MOUTH_UPPER.map(at), MOUTH_LOWER.map(at), down, grown);

  const gaze = irisPlace(limitedGaze(eyeInHead(descriptor, rotation)));
  const irisShift = gaze.map((value, axis) => numbers.eyeball_radius_px * (value - restIris[axis]));
  const shift = [0, 3].map((row) => grown * (rotation[row] * irisShift[0] + rotation[row + 1] * irisShift[1]));
  const turn = ([x, y]) => [linear[0] * x + linear[1] * y, linear[3] * x + linear[4] * y];
  const lids = EYES.map((eye, side) => {
    const depthsOfLid = eye.upper.slice(1, -1).map((index) => depths[index]);
    const [upper, lower] = closedLids(
      eyeTables(rig, side), eye.upper.map(at), eye.lower.map(at), down, grown, irisShift[1],
    );
    // The lashes ride with the lid, which carries the fold above it along a part of the way.
    eye.lashes.forEach((lash, index) => {
      const [lid, lidSource] = [upper[index + 1], source(eye.upper[index + 1])];
      set(lash, plus(lid, turn(minus(source(lash), lidSource))));
      depths[lash] = depthsOfLid[index];
      const crease = at(eye.crease[index]);
      const band = turn(minus(lidSource, source(eye.crease[index])));
      set(eye.crease[index], plus(crease, minus(minus(lid, crease), band), FOLD_FOLLOWS));
    });
    return [upper, lower];
  });
  lips.forEach((lip, side) => lip.forEach((point, index) => set((side ? MOUTH_LOWER : MOUTH_UPPER)[index], point)));
  lids.forEach(([upper, lower], side) => {
    upper.forEach((point, index) => set(EYES[side].upper[index], point));
    lower.forEach((point, index) => set(EYES[side].lower[index], point));
  });

  const design = DESIGN_SIZE_PX / sizePx;
  return {
    positions,
    depths,
    grown,
    still: Math.exp(-((shift[0] * design) ** 2 + (shift[1] * design) ** 2)),
    ...eyeLayers(rig, lids, linear, shift, grown),
    ...mouthLayers({ rig, lips, chin, rotation, linear, grown, down, fixedToHead }),
  };
}

// The first 468 landmarks, written into positions and depths.
function landmarks(tables, descriptor, scale, rotation, centre, positions, depths) {
  const shape = Float64Array.from(tables.neutral_shape);
  const basis = tables.expression_basis;
  for (let e = 0; e < EXPRESSIONS; e++) {
    const weight = descriptor[e];
    const start = e * shape.length;
    for (let i = 0; i < shape.length; i++) shape[i] += weight * basis[start + i];
  }
  for (let v = 0; v < FACE_POINTS; v++) {
    const [x, y, z] = apply(rotation, [shape[3 * v], shape[3 * v + 1], shape[3 * v + 2]]);
    positions[2 * v] = scale * x + centre[0];
    positions[2 * v + 1] = scale * y + centre[1];
    depths[v] = scale * z + centre[2];
  }
}

// The points between the face's outline and the border ride with the skull, a ball that rolls, grows and travels.
function moveRays(tables, linear, grown, movedSkull, at, positions, depths) {
  let [cos, sin] = [linear[0] + linear[4], linear[3] - linear[1]];
  const norm = grown / Math.max(Math.hypot(cos, sin), 1e-9);
  [cos, sin] = [cos * norm, sin * norm];
  const outline = FACE_OVAL.map((index) => minus(at(index), [tables.source_px[2 * index], tables.source_px[2 * index + 1]]));
  const first = FACE_POINTS + LASH_VERTICES;
  for (let ray = 0; ray < tables.ray_depth_px.length; ray++) {
    const index = first + ray;
    const [x, y] = [tables.source_px[2 * index], tables.source_px[2 * index + 1]];
    const [dx, dy] = [x - tables.skull_centre_px[0], y - tables.skull_centre_px[1]];
    const skull = [cos * dx - sin * dy + movedSkull[0] - x, sin * dx + cos * dy + movedSkull[1] - y];
    const start = outline[ray % FACE_OVAL.length];
    const [byOutline, bySkull] = [tables.ray_follow_outline[ray], tables.ray_follow_skull[ray]];
    positions[2 * index] = x + byOutline * start[0] + bySkull * skull[0];
    positions[2 * index + 1] = y + byOutline * start[1] + bySkull * skull[1];
    depths[index] = tables.ray_depth_px[ray];
  }
}

function closedLips(tables, upper, lower, down, grown) {
  upper.forEach((_, i) => {
    const gap = dot(minus(lower[i], upper[i]), down) / grown;
    const [rest, shut] = [tables["mouth.rest_gap_px"][i], tables["mouth.shut_gap_px"][i]];
    const shown = tables["mouth.rest_gap_shown_px"][i];
    const narrow = (shown * (gap - shut)) / Math.max(rest - shut, 1e-6);
    const wanted = Math.max(gap < rest ? narrow : gap - rest + shown, 0);
    const excess = 0.5 * grown * (gap - wanted);
    upper[i] = plus(upper[i], down, excess);
    lower[i] = plus(lower[i], down, -excess);
  });
  return [upper, lower];
}

function closedLids({ restGap, shutGap, sealed }, upper, lower, down, grown, drop) {
  for (let i = 1; i < upper.length - 1; i++) {
    const gap = dot(minus(lower[i], upper[i]), down) / grown;
    const [rest, shut] = [restGap[i], shutGap[i]];
    const narrow = (rest * (gap - shut)) / Math.max(rest - shut, 1e-6);
    const shown = Math.max(sealed ? gap - rest : gap < rest ? narrow : gap, 0);
    const closing = gap - shown;
    const openness = clamp01(shown / Math.max(rest, 1e-6));
    const lowered = rest - shown;
    const goDown = Math.min(Math.max(LID_FOLLOWS_DOWN * drop - Math.max(lowered, 0), 0), 0.6 * shown);
    const goUp = Math.max(Math.min(LID_FOLLOWS_UP * drop - Math.min(lowered, 0), 0), -0.3 * rest);
    const follow = drop > 0 ? goDown : openness * goUp;
    const lowerFollow = openness * Math.min(Math.max(LOWER_LID_FOLLOWS * drop, -0.12 * rest), 0.15 * rest);
    upper[i] = plus(upper[i], down, grown * (UPPER_LID_SHARE * closing + follow));
    lower[i] = plus(lower[i], down, -grown * (LOWER_LID_SHARE * closing - lowerFollow));
  }
  return [upper, lower];
}

function eyeTables({ tables, numbers }, side) {
  return {
    restGap: tables[`eyes.${side}.rest_gap_px`],
    shutGap: tables[`eyes.${side}.shut_gap_px`],
    sealed: numbers[`eyes.${side}.sealed`],
  };
}

// Matrices of each eye's white and iris: corners onto corners, down onto down.
function eyeLayers({ tables }, lids, linear, shift, grown) {
  const [balls, irises, lidsShut] = [[], [], []];
  lids.forEach(([upper, lower], side) => {
    const [x0, y0, x1, y1] = tables[`eyes.${side}.corners_px`];
    const headDown = tables[`eyes.${side}.down`];
    const origin = tables[`eyes.${side}.origin_px`];
    const across = minus(upper.at(-1), upper[0]);
    const down = [0, 3].map((row) => linear[row] * headDown[0] + linear[row + 1] * headDown[1]);
    const axes = [x1 - x0, headDown[0], y1 - y0, headDown[1]];
    const toRest = multiply2(axes, inverse2([across[0], down[0], across[1], down[1]]));
    const centre = [0, 1].map((axis) => 0.5 * (upper[0][axis] + upper.at(-1)[axis]));
    const texel = [origin[0] - 0.5 * (x0 + x1), origin[1] - 0.5 * (y0 + y1)];
    balls.push(textureMatrix(toRest, centre, texel));
    irises.push(textureMatrix(toRest, plus(centre, shift), texel));
    const gap = Math.max(...upper.map((point, i) => Math.hypot(...minus(lower[i], point)))) / grown;
    const reach = Math.max(0.4 * Math.max(...tables[`eyes.${side}.rest_gap_px`]), 1e-6);
    lidsShut.push(1 - smoothStep(gap / reach));
  });
  return { balls, irises, lidsShut };
}

function mouthLayers({ rig, lips, chin, rotation, linear, grown, down, fixedToHead }) {
  const { tables, numbers, textures } = rig;
  const width = numbers["mouth.width_px"];
  const anchor = fixedToHead(...tables["mouth.anchor_px"]).slice(0, 2);
  const jaw = jawShift(tables["mouth.chin_px"], chin, lips[1], anchor, down, grown, width, fixedToHead);
  const plane = inverse2([rotation[0], rotation[1], rotation[3], rotation[4]].map((value) => grown * value));
  const toTexels = plane.map((value) => TEXELS_PER_PX * value);
  const origin = (row) => Array.from(tables[`mouth.${row}_origin_px`], (value) => TEXELS_PER_PX * value);
  const own = textureMatrix(
    inverse2([linear[0], linear[1], linear[3], linear[4]]), anchor, tables["mouth.own_origin_px"],
  );
  const apart = lips[0].map((point, i) => minus(lips[1][i], point));
  const shown = tables["mouth.rest_gap_shown_px"];
  const change = Math.max(...apart.map((gap, i) => Math.abs(dot(gap, down) / grown - shown[i]))) / (0.12 * width);
  const open = textures["mouth.own"] === undefined ? 0 : 1;
  const reach = Math.max(Math.min(0.08 * width, 0.5 * Math.max(...tables["mouth.rest_gap_px"])), 1e-6);
  const widest = Math.max(...apart.map((gap) => Math.hypot(...gap))) / grown;
  return {
    teeth: [
      textureMatrix(toTexels, anchor, origin("upper")),
      textureMatrix(toTexels, plus(anchor, jaw), origin("lower")),
    ],
    own,
    ownShare: open * Math.max(1 - smoothStep(change), numbers["mouth.own_stays"] ? 1 : 0),
    lipsShut: open * (1 - smoothStep(widest / reach)),
  };
}

// Of the lower teeth against the head: with the chin, but never far above the lower lip.
function jawShift(stillChin, chin, lowerLip, anchor, down, grown, width, fixedToHead) {
  const moved = [0, 0];
  chin.forEach((point, k) => {
    const still = fixedToHead(stillChin[3 * k], stillChin[3 * k + 1], stillChin[3 * k + 2]);
    moved[0] += (point[0] - still[0]) / chin.length;
    moved[1] += (point[1] - still[1]) / chin.length;
  });
  const chinDown = dot(moved, down);
  const lip = [0, 1].map((axis) => (lowerLip[4][axis] + lowerLip[5][axis] + lowerLip[6][axis]) / 3 - anchor[axis]);
  const highest = dot(lip, down) - LOWER_TEETH_SHOW * width * grown;
  const sideways = plus(moved, down, -chinDown);
  return plus(sideways.map((value) => 0.5 * value), down, Math.max(chinDown, highest));
}

function limitedGaze(gaze) {
  return gaze.map((angle, axis) => GAZE_LIMIT_RAD[axis] * Math.tanh(angle / GAZE_LIMIT_RAD[axis]));
}

// Place of the iris on a unit eyeball, in the head's frontal plane.
function irisPlace([pitch, yaw]) {
  return [Math.cos(pitch) * Math.sin(yaw), -Math.sin(pitch)];
}

// From frame to texels, for a texture whose first texel lies `origin` from `centre`.
function textureMatrix([a, b, c, d], centre, origin) {
  return [
    a, b, -(a * centre[0] + b * centre[1]) - origin[0],
    c, d, -(c * centre[0] + d * centre[1]) - origin[1],
  ];
}

// Of what is seen edge-on, and so not at all, some finite matrix.
function inverse2([a, b, c, d]) {
  const determinant = a * d - b * c;
  const safe = Math.abs(determinant) < 1e-3 ? 1 : determinant;
  return [d / safe, -b / safe, -c / safe, a / safe];
}

function multiply2([a, b, c, d], [e, f, g, h]) {
  return [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h];
}

function plus(a, b, share = 1) {
  return [a[0] + share * b[0], a[1] + share * b[1]];
}

function minus(a, b) {
  return [a[0] - b[0], a[1] - b[1]];
}

function dot(a, b) {
  return a[0] * b[0] + a[1] * b[1];
}

function unit(vector) {
  const length = Math.max(Math.hypot(...vector), 1e-6);
  return [vector[0] / length, vector[1] / length];
}

function clamp01(x) {
  return Math.max(0, Math.min(1, x));
}

function smoothStep(x) {
  const t = clamp01(x);
  return t * t * (3 - 2 * t);
}
