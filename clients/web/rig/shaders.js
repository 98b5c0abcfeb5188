// The shaders of renderer.js (GLSL ES 3.00). They repeat engine/animator/mesh/{cpu_renderer,layers,raster}.py, which
// explain the constants. Coordinates are pixels of the canvas from its upper left, centres at integers.

const HEAD = `#version 300 es
precision highp float;
precision highp int;
precision highp sampler2D;
`;

// The whole target, without a buffer.
export const EVERYWHERE = `${HEAD}
void main() {
  gl_Position = vec4(4.0 * float(gl_VertexID & 1) - 1.0, 4.0 * float(gl_VertexID >> 1) - 1.0, 0.0, 1.0);
}`;

// The skin enlarged by Lanczos over 8 x 8 texels; texel n x is pixel x.
export const ENLARGE = `${HEAD}
uniform sampler2D skin;
uniform int texels;
out vec4 colour;
const float PI = 3.14159265358979;
float weight(float x) {
  if (abs(x) < 1e-5) return 1.0;
  return abs(x) >= 4.0 ? 0.0 : 4.0 * sin(PI * x) * sin(PI * x / 4.0) / (PI * PI * x * x);
}
void main() {
  ivec2 target = ivec2(gl_FragCoord.xy);
  ivec2 base = target / texels;
  vec2 part = vec2(target - base * texels) / float(texels);
  ivec2 last = textureSize(skin, 0) - 1;
  vec3 total = vec3(0.0);
  float weights = 0.0;
  for (int j = -3; j <= 4; j++) {
    float down = weight(float(j) - part.y);
    for (int i = -3; i <= 4; i++) {
      float share = down * weight(float(i) - part.x);
      total += share * texelFetch(skin, clamp(base + ivec2(i, j), ivec2(0), last), 0).rgb;
      weights += share;
    }
  }
  colour = vec4(total / weights, 1.0);
}`;

export const MESH_VERTEX = `${HEAD}
layout(location = 0) in vec2 position;
layout(location = 1) in float depth;
layout(location = 2) in vec2 source;
uniform float size;
out vec2 place;
void main() {
  place = source;
  // Depths are some sizes of the crop at most, before or behind the face.
  gl_Position = vec4((2.0 * position + 1.0) / size - 1.0, clamp(depth / (8.0 * size), -1.0, 1.0), 1.0);
}`;

// Colour, and the place in the portrait as two numbers of 16 bits, which any device can draw into.
export const MESH = `${HEAD}
in vec2 place;
uniform sampler2D fineSkin;
uniform float size, zoom, stillBorder;
uniform int texels;
layout(location = 0) out vec4 colour;
layout(location = 1) out vec4 map;
vec2 bytes(float value) {
  float whole = floor(clamp(value, 0.0, 1.0) * 65535.0 + 0.5);
  float high = floor(whole / 256.0);
  return vec2(high, whole - 256.0 * high) / 255.0;
}
void main() {
  vec2 pixel = gl_FragCoord.xy - 0.5;
  vec2 edge = min(pixel, size * zoom - 1.0 - pixel);
  float share = min(min(edge.x, edge.y) / stillBorder, 1.0);
  vec2 still = (pixel + 0.5) / zoom - 0.5;
  vec2 from = mix(still, place, share);
  colour = vec4(texture(fineSkin, (float(texels) * from + 0.5) / (float(texels) * size)).rgb, 1.0);
  map = vec4(bytes((from.x + 0.25 * size) / (1.5 * size)), bytes((from.y + 0.25 * size) / (1.5 * size)));
}`;

// To the canvas; blurred where one part of the mesh passes in front of another.
export const FOLDS = `${HEAD}
uniform sampler2D frame, map;
uniform int canvas, radius;
uniform float sigma, span, stretch;
out vec4 colour;
vec2 from(ivec2 pixel) {
  vec4 parts = texelFetch(map, pixel, 0) * 255.0;
  return span * (256.0 * parts.xz + parts.yw) / 65535.0;
}
bool jump(ivec2 a, ivec2 b) {
  if (any(lessThan(a, ivec2(0))) || any(greaterThanEqual(b, ivec2(canvas)))) return false;
  vec2 apart = abs(from(b) - from(a));
  return apart.x + apart.y > stretch;
}
void main() {
  ivec2 pixel = ivec2(int(gl_FragCoord.x), canvas - 1 - int(gl_FragCoord.y));
  ivec2 right = ivec2(1, 0), below = ivec2(0, 1);
  bool marked = jump(pixel, pixel + right) || jump(pixel, pixel + below)
    || jump(pixel - right, pixel) || jump(pixel - below, pixel);
  if (!marked) {
    colour = texelFetch(frame, pixel, 0);
    return;
  }
  vec3 total = vec3(0.0);
  float weights = 0.0;
  for (int j = -radius; j <= radius; j++) {
    for (int i = -radius; i <= radius; i++) {
      float weight = exp(-float(i * i + j * j) / (2.0 * sigma * sigma));
      total += weight * texelFetch(frame, clamp(pixel + ivec2(i, j), ivec2(0), ivec2(canvas - 1)), 0).rgb;
      weights += weight;
    }
  }
  colour = vec4(total / weights, 1.0);
}`;

// What both layers need: how much of a pixel lies between two contours, whose heights in each column are in `edges`.
const LAYER = `${HEAD}
uniform sampler2D edges;
uniform int canvas, layer, radius;
uniform float unit, sigma, shut;
uniform vec2 corners;
out vec4 colour;
vec2 edgesAt(int column) {
  return texelFetch(edges, ivec2(clamp(column, 0, canvas - 1), layer), 0).rg;
}
float coverageAt(ivec2 pixel) {
  float total = 0.0, weights = 0.0;
  for (int i = -radius; i <= radius; i++) {
    int column = pixel.x + i;
    vec2 edge = edgesAt(column);
    float inside = clamp(min(float(column) - corners.x, corners.y - float(column)) + 0.5, 0.0, 1.0);
    for (int j = -radius; j <= radius; j++) {
      float weight = exp(-float(i * i + j * j) / (2.0 * sigma * sigma));
      float y = float(pixel.y + j);
      total += weight * inside * clamp(min(edge.y, y + 0.5) - max(edge.x, y - 0.5), 0.0, 1.0);
      weights += weight;
    }
  }
  return total / weights;
}
ivec2 pixelHere() {
  return ivec2(int(gl_FragCoord.x), canvas - 1 - int(gl_FragCoord.y));
}
vec2 texelOf(mat3 matrix, ivec2 pixel) {
  return (matrix * vec3(vec2(pixel), 1.0)).xy;
}
`;

export const EYE = `${LAYER}
uniform sampler2D white, iris, residue;
uniform mat3 ballMatrix, irisMatrix;
uniform float still, eyeballRadius;
uniform vec3 lash;
vec4 weightsOf(float t) {
  const float a = -0.75;
  float before = t + 1.0, after = 1.0 - t;
  float w0 = ((a * before - 5.0 * a) * before + 8.0 * a) * before - 4.0 * a;
  float w1 = ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0;
  float w2 = ((a + 2.0) * after - (a + 3.0)) * after * after + 1.0;
  return vec4(w0, w1, w2, 1.0 - w0 - w1 - w2);
}
vec4 cubic(sampler2D image, vec2 at) {
  ivec2 base = ivec2(floor(at));
  vec4 across = weightsOf(at.x - floor(at.x)), down = weightsOf(at.y - floor(at.y));
  ivec2 last = textureSize(image, 0) - 1;
  vec4 total = vec4(0.0);
  for (int j = 0; j < 4; j++) {
    for (int i = 0; i < 4; i++) {
      total += across[i] * down[j] * texelFetch(image, clamp(base + ivec2(i - 1, j - 1), ivec2(0), last), 0);
    }
  }
  return total;
}
void main() {
  ivec2 pixel = pixelHere();
  float belowUpper = float(pixel.y) - edgesAt(pixel.x).x;
  float coverage = coverageAt(pixel);
  vec3 ball = vec3(0.0);
  if (coverage > 0.0) {
    vec2 at = texelOf(ballMatrix, pixel);
    vec4 disc = cubic(iris, texelOf(irisMatrix, pixel));
    float reach = max(belowUpper, 0.0) / (0.22 * eyeballRadius);
    float light = 1.0 - 0.28 * (1.0 - still) * exp(-reach);
    ball = (cubic(white, at).rgb * (1.0 - clamp(disc.a, 0.0, 1.0)) + disc.rgb) * light;
    if (still > 0.01) ball += still * (cubic(residue, at).rgb - 128.0 / 255.0);
  }
  float line = 0.0;
  if (shut > 0.01) {
    float depth = (belowUpper / unit - 0.3) / 0.85;
    float halfWidth = max(0.5 * (corners.y - corners.x), 1e-6);
    float across = abs(float(pixel.x) - 0.5 * (corners.x + corners.y)) / halfWidth;
    line = 0.6 * shut * exp(-depth * depth) * clamp(4.0 - 4.0 * across, 0.0, 1.0);
  }
  colour = vec4(ball * coverage * (1.0 - line) + lash * line, 1.0 - (1.0 - coverage) * (1.0 - line));
}`;

export const MOUTH = `${LAYER}
uniform sampler2D upperTeeth, lowerTeeth, own;
uniform mat3 upperMatrix, lowerMatrix, ownMatrix;
uniform float ownShare, width;
uniform vec3 light;
vec4 texel(sampler2D image, ivec2 at) {
  ivec2 size = textureSize(image, 0);
  bool outside = any(lessThan(at, ivec2(0))) || any(greaterThanEqual(at, size));
  return outside ? vec4(0.0) : texelFetch(image, at, 0);
}
vec3 laidOver(sampler2D image, vec2 at, float share, vec3 below) {
  ivec2 base = ivec2(floor(at));
  vec2 part = at - floor(at);
  vec4 upper = mix(texel(image, base), texel(image, base + ivec2(1, 0)), part.x);
  vec4 lower = mix(texel(image, base + ivec2(0, 1)), texel(image, base + ivec2(1, 1)), part.x);
  vec4 value = share * mix(upper, lower, part.y);
  return below * (1.0 - value.a) + value.rgb;
}
void main() {
  ivec2 pixel = pixelHere();
  vec2 edge = edgesAt(pixel.x);
  float belowUpper = float(pixel.y) - edge.x, aboveLower = edge.y - float(pixel.y);
  float halfWidth = max(0.5 * (corners.y - corners.x), 1e-6);
  float across = (float(pixel.x) - 0.5 * (corners.x + corners.y)) / halfWidth;
  float line = 0.0;
  if (shut > 0.01) {
    float depth = belowUpper / unit;
    line = 0.5 * shut * exp(-depth * depth) * clamp(3.0 - 3.0 * abs(across), 0.0, 1.0);
  }
  float coverage = coverageAt(pixel);
  vec3 inside = vec3(0.0);
  if (coverage > 0.0) {
    float gap = max(belowUpper + aboveLower, 1e-3);
    float tongue = smoothstep(0.0, 1.0, (0.55 - aboveLower / gap) / 0.4)
      * smoothstep(0.0, 1.0, (gap / width - 0.10) / 0.25) * clamp(1.0 - across * across / 0.5625, 0.0, 1.0);
    inside = light * mix(vec3(0.17, 0.075, 0.07), vec3(0.50, 0.25, 0.24), tongue);
    inside = laidOver(lowerTeeth, texelOf(lowerMatrix, pixel), 1.0, inside);
    inside = laidOver(upperTeeth, texelOf(upperMatrix, pixel), 1.0, inside);
    float side = min(abs(across), 1.0);
    inside *= (0.72 + 0.28 * smoothstep(0.0, 1.0, belowUpper / (0.07 * width)))
      * (0.80 + 0.20 * smoothstep(0.0, 1.0, aboveLower / (0.06 * width))) * (1.0 - 0.65 * side * side * side);
    if (ownShare > 0.0) inside = laidOver(own, texelOf(ownMatrix, pixel), ownShare, inside);
  }
  vec3 seam = light * vec3(0.36, 0.17, 0.16);
  colour = vec4(seam * line * (1.0 - coverage) + inside * coverage, 1.0 - (1.0 - coverage) * (1.0 - line));
}`;
