// Head pose and gaze, as engine/motion/space/{pose,gaze}.py define them. Axes: x right, y down, z away from the camera.
// A 3x3 matrix is an array of 9, row by row.

// Scale in px per face unit at log scale 0, as a share of the crop.
const REFERENCE_SCALE = 0.35;

// Of a descriptor of 72 numbers: scale (px per face unit), rotation of the head, and its origin in px. The motion space
// counts from the corner of the image, a rig from the middle of its first pixel.
export function placeOf(descriptor, sizePx) {
  const half = sizePx / 2;
  return {
    scale: REFERENCE_SCALE * sizePx * Math.exp(descriptor[69]),
    rotation: rotationMatrix(descriptor[64], descriptor[65], descriptor[66]),
    centre: [descriptor[67] * half + half - 0.5, descriptor[68] * half + half - 0.5, 0],
  };
}

// Pitch and yaw of the eyes within a head, for the descriptor's gaze in the camera frame.
export function eyeInHead(descriptor, rotation) {
  const [pitch, yaw] = [descriptor[70], descriptor[71]];
  const level = Math.cos(pitch);
  const seen = [level * Math.sin(yaw), -Math.sin(pitch), -level * Math.cos(yaw)];
  const [x, y, z] = apply(transpose(rotation), seen);
  return [Math.asin(Math.max(-1, Math.min(1, -y))), Math.atan2(x, -z)];
}

// Rodrigues' formula.
function rotationMatrix(x, y, z) {
  const squared = x * x + y * y + z * z;
  const angle = Math.sqrt(squared);
  const first = squared < 1e-6 ? 1 - squared / 6 : Math.sin(angle) / angle;
  const second = squared < 1e-6 ? 0.5 - squared / 24 : (1 - Math.cos(angle)) / squared;
  const cross = [0, -z, y, z, 0, -x, -y, x, 0];
  const twice = multiply(cross, cross);
  return cross.map((value, index) => (index % 4 === 0 ? 1 : 0) + first * value + second * twice[index]);
}

export function multiply(a, b) {
  return a.map((_, index) => {
    const [row, column] = [3 * Math.floor(index / 3), index % 3];
    return a[row] * b[column] + a[row + 1] * b[column + 3] + a[row + 2] * b[column + 6];
  });
}

export function transpose(m) {
  return [m[0], m[3], m[6], m[1], m[4], m[7], m[2], m[5], m[8]];
}

export function apply(m, [x, y, z]) {
  return [
    m[0] * x + m[1] * y + m[2] * z,
    m[3] * x + m[4] * y + m[5] * z,
    m[6] * x + m[7] * y + m[8] * z,
  ];
}
