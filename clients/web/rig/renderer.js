// Draws a rig in any motion on a canvas, with WebGL2.
//
//   mesh --> colour and map of places --> folds softened, to the canvas --> eyes, mouth over it
//
// A lost context is rebuilt when the browser gives it back, and the last motion is drawn again.

import { boxAround, curve, writeEdges } from "./contours.js";
import * as shaders from "./shaders.js";
import { EYES, MOUTH_LOWER, MOUTH_UPPER } from "./topology.js";
import { DESIGN_SIZE_PX, prepare, vertices } from "./vertices.js";

// As the CPU renderer has them, in pixels of DESIGN_SIZE_PX or of the portrait.
const LID_SOFTNESS_PX = 0.45;
const LIP_SOFTNESS_PX = 0.6;
const FOLD_SOFTNESS_PX = 0.8;
const STILL_BORDER_PX = 8;
const FOLD_STRETCH = 3.5;
const LARGE_PX = 768;

// This browser has no WebGL2: ask the server for video instead.
export class WebGL2Missing extends Error {}

export class RigRenderer {
  // rig: as loadRig gives it. The canvas must not have another context yet. Raises WebGL2Missing.
  constructor(canvas, rig) {
    this.canvas = canvas;
    this.rig = rig;
    this.prepared = prepare(rig);
    this.texels = rig.sizePx < LARGE_PX ? 4 : 2;
    this.descriptor = rig.tables.rest_descriptor;
    const options = { alpha: false, antialias: false, depth: false, stencil: false };
    this.gl = canvas.getContext("webgl2", options);
    if (this.gl === null) throw new WebGL2Missing("This browser cannot draw the face: it has no WebGL2.");
    this.lost = (event) => event.preventDefault();
    this.restored = () => {
      this.#build();
      this.draw(this.descriptor);
    };
    canvas.addEventListener("webglcontextlost", this.lost);
    canvas.addEventListener("webglcontextrestored", this.restored);
    this.#build();
  }

  // Makes the canvas as sharp as its place on the page, in CSS pixels a side, and never larger than the portrait.
  fit(cssPx, pixelRatio = globalThis.devicePixelRatio ?? 1) {
    const side = Math.max(1, Math.min(this.rig.sizePx, Math.round(cssPx * pixelRatio)));
    if (this.canvas.width !== side || this.canvas.height !== side) {
      this.canvas.width = this.canvas.height = side;
      this.draw(this.descriptor);
    }
  }

  // Draws a descriptor of 72 numbers; the square canvas may have any size up to the portrait's.
  draw(descriptor) {
    this.descriptor = descriptor;
    const { gl } = this;
    if (gl.isContextLost()) return;
    const side = this.canvas.width;
    if (this.side !== side) this.#resize(side);
    const moved = vertices(this.prepared, descriptor);
    this.#drawMesh(moved, side);
    this.#drawFolds(side);
    this.#drawLayers(moved, side);
  }

  // Frees what the graphics card holds.
  close() {
    this.canvas.removeEventListener("webglcontextlost", this.lost);
    this.canvas.removeEventListener("webglcontextrestored", this.restored);
    this.gl.getExtension("WEBGL_lose_context")?.loseContext();
  }

  #build() {
    const { gl, rig } = this;
    if (gl.isContextLost()) return;
    // Nothing that was made before the context was lost can be used, or freed, any more.
    this.side = 0;
    this.colour = this.map = this.edges = this.depth = this.frame = null;
    gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
    gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
    this.programs = {
      mesh: program(gl, shaders.MESH_VERTEX, shaders.MESH),
      folds: program(gl, shaders.EVERYWHERE, shaders.FOLDS),
      eye: program(gl, shaders.EVERYWHERE, shaders.EYE),
      mouth: program(gl, shaders.EVERYWHERE, shaders.MOUTH),
    };
    this.textures = Object.fromEntries(
      Object.entries(rig.textures).map(([name, image]) => [name, imageTexture(gl, image)]),
    );
    this.textures["mouth.own"] ??= emptyTexture(gl, 1, gl.RGBA8, 1);
    this.fineSkin = this.#enlargedSkin();
    this.#buildMesh();
  }

  #enlargedSkin() {
    const { gl, rig, texels } = this;
    const side = texels * rig.sizePx;
    const enlarge = program(gl, shaders.EVERYWHERE, shaders.ENLARGE);
    const fine = emptyTexture(gl, side, gl.RGBA8, side, gl.LINEAR);
    const target = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, target);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, fine, 0);
    gl.viewport(0, 0, side, side);
    enlarge.use({ texels }, { skin: this.textures.skin });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    gl.deleteFramebuffer(target);
    gl.deleteTexture(this.textures.skin);
    return fine;
  }

  // The rig's triangles, and behind them a square that shows the portrait as it is.
  #buildMesh() {
    const { gl, rig } = this;
    const count = rig.tables.source_px.length / 2;
    const [low, high] = [-0.5, rig.sizePx - 0.5];
    this.square = [low, low, high, low, high, high, low, high];
    this.mesh = gl.createVertexArray();
    gl.bindVertexArray(this.mesh);
    this.buffers = [2, 1, 2].map((width, location) => {
      const buffer = gl.createBuffer();
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.enableVertexAttribArray(location);
      gl.vertexAttribPointer(location, width, gl.FLOAT, false, 0, 0);
      return buffer;
    });
    gl.bufferData(gl.ARRAY_BUFFER, Float32Array.of(...rig.tables.source_px, ...this.square), gl.STATIC_DRAW);
    const square = [0, 1, 2, 0, 2, 3].map((corner) => count + corner);
    const triangles = Uint16Array.of(...rig.tables.triangles, ...square);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, triangles, gl.STATIC_DRAW);
    this.indices = triangles.length;
    gl.bindVertexArray(null);
  }

  #resize(side) {
    const { gl } = this;
    for (const texture of [this.colour, this.map, this.edges]) gl.deleteTexture(texture);
    gl.deleteRenderbuffer(this.depth);
    gl.deleteFramebuffer(this.frame);
    this.colour = emptyTexture(gl, side, gl.RGBA8, side);
    this.map = emptyTexture(gl, side, gl.RGBA8, side);
    this.edges = emptyTexture(gl, side, gl.RG32F, 3);
    this.heights = new Float32Array(2 * 3 * side);
    this.depth = gl.createRenderbuffer();
    gl.bindRenderbuffer(gl.RENDERBUFFER, this.depth);
    gl.renderbufferStorage(gl.RENDERBUFFER, gl.DEPTH_COMPONENT24, side, side);
    this.frame = gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.colour, 0);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT1, gl.TEXTURE_2D, this.map, 0);
    gl.framebufferRenderbuffer(gl.FRAMEBUFFER, gl.DEPTH_ATTACHMENT, gl.RENDERBUFFER, this.depth);
    gl.drawBuffers([gl.COLOR_ATTACHMENT0, gl.COLOR_ATTACHMENT1]);
    this.side = side;
  }

  #drawMesh({ positions, depths }, side) {
    const { gl, rig, texels, square } = this;
    const size = rig.sizePx;
    const zoom = side / size;
    const [positionBuffer, depthBuffer] = this.buffers;
    const far = 8 * size * (1 - 2 ** -20);
    for (const [buffer, values, more] of [
      [positionBuffer, positions, square],
      [depthBuffer, depths, [far, far, far, far]],
    ]) {
      const all = new Float32Array(values.length + more.length);
      all.set(values);
      all.set(more, values.length);
      gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
      gl.bufferData(gl.ARRAY_BUFFER, all, gl.STREAM_DRAW);
    }
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.frame);
    gl.viewport(0, 0, side, side);
    gl.clear(gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.depthFunc(gl.LESS);
    // The target's first row is the frame's: so triangles that face the camera run counter-clockwise in it.
    gl.enable(gl.CULL_FACE);
    const stillBorder = (STILL_BORDER_PX * side) / DESIGN_SIZE_PX;
    this.programs.mesh.use({ size, zoom, stillBorder, texels }, { fineSkin: this.fineSkin });
    gl.bindVertexArray(this.mesh);
    gl.drawElements(gl.TRIANGLES, this.indices, gl.UNSIGNED_SHORT, 0);
    gl.bindVertexArray(null);
    gl.disable(gl.CULL_FACE);
    gl.disable(gl.DEPTH_TEST);
  }

  #drawFolds(side) {
    const { gl, rig } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, side, side);
    const stretch = (FOLD_STRETCH * rig.sizePx) / side;
    const numbers = { canvas: side, ...blur(FOLD_SOFTNESS_PX, side), span: 1.5 * rig.sizePx, stretch };
    this.programs.folds.use(numbers, { frame: this.colour, map: this.map });
    gl.drawArrays(gl.TRIANGLES, 0, 3);
  }

  #drawLayers(moved, side) {
    const { gl, rig, textures } = this;
    const { numbers, tables } = rig;
    const zoom = side / rig.sizePx;
    const unit = side / DESIGN_SIZE_PX;
    const contours = [...EYES.map(({ upper, lower }) => [upper, lower]), [MOUTH_UPPER, MOUTH_LOWER]].map((pair) =>
      pair.map((indices) => curve(indices.map((index) =>
        [0, 1].map((axis) => (moved.positions[2 * index + axis] + 0.5) * zoom - 0.5)))));
    contours.forEach(([upper, lower], layer) =>
      writeEdges(upper, lower, side, this.heights.subarray(2 * side * layer, 2 * side * (layer + 1))));
    gl.bindTexture(gl.TEXTURE_2D, this.edges);
    gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, side, contours.length, gl.RG, gl.FLOAT, this.heights);
    gl.enable(gl.BLEND);
    gl.enable(gl.SCISSOR_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const drawLayer = (layer, kind, margin, values, images) => {
      const [upper, lower] = contours[layer];
      const box = boxAround([upper, lower], margin * unit, side);
      if (box.right <= box.left || box.bottom <= box.top) return;
      gl.scissor(box.left, side - box.bottom, box.right - box.left, box.bottom - box.top);
      const corners = [upper[0][0], upper.at(-1)[0]];
      this.programs[kind].use({ canvas: side, layer, unit, corners, ...values }, { edges: this.edges, ...images });
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    };
    for (const number of [0, 1]) {
      const eye = `eyes.${number}.`;
      drawLayer(number, "eye", 3, {
        ...blur(LID_SOFTNESS_PX, side),
        shut: moved.lidsShut[number],
        still: moved.still,
        eyeballRadius: numbers.eyeball_radius_px * zoom,
        lash: shares(tables[`${eye}lash`]),
        ballMatrix: fromCanvas(moved.balls[number], zoom),
        irisMatrix: fromCanvas(moved.irises[number], zoom),
      }, { white: textures[`${eye}white`], iris: textures[`${eye}iris`], residue: textures[`${eye}residue`] });
    }
    drawLayer(2, "mouth", 2, {
      ...blur(LIP_SOFTNESS_PX, side),
      shut: moved.lipsShut,
      ownShare: moved.ownShare,
      width: numbers["mouth.width_px"] * moved.grown * zoom,
      light: shares(tables["mouth.light"]),
      upperMatrix: fromCanvas(moved.teeth[0], zoom),
      lowerMatrix: fromCanvas(moved.teeth[1], zoom),
      ownMatrix: fromCanvas(moved.own, zoom),
    }, {
      upperTeeth: textures["mouth.upper_teeth"],
      lowerTeeth: textures["mouth.lower_teeth"],
      own: textures["mouth.own"],
    });
    gl.disable(gl.SCISSOR_TEST);
    gl.disable(gl.BLEND);
  }
}

function blur(softnessPx, side) {
  const unit = side / DESIGN_SIZE_PX;
  return { radius: Math.max(1, Math.round(unit)), sigma: softnessPx * unit };
}

function shares(colour) {
  return Array.from(colour, (value) => value / 255);
}

// A layer's matrix for pixels of the canvas instead of the rig's, column by column as GLSL wants it.
function fromCanvas([a, b, c, d, e, f], zoom) {
  const start = 0.5 / zoom - 0.5;
  return [a / zoom, d / zoom, 0, b / zoom, e / zoom, 0, (a + b) * start + c, (d + e) * start + f, 1];
}

function emptyTexture(gl, width, format, height, filter = gl.NEAREST) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texStorage2D(gl.TEXTURE_2D, 1, format, width, height);
  sampled(gl, filter);
  return texture;
}

function imageTexture(gl, image) {
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, gl.RGBA, gl.UNSIGNED_BYTE, image);
  sampled(gl, gl.NEAREST);
  return texture;
}

function sampled(gl, filter) {
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, filter);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
}

// A linked program; use(values, images) sets its uniforms by their GLSL types and makes it current.
function program(gl, vertex, fragment) {
  const linked = gl.createProgram();
  for (const [type, text] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(type);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    gl.attachShader(linked, shader);
  }
  gl.linkProgram(linked);
  if (!gl.getProgramParameter(linked, gl.LINK_STATUS) && !gl.isContextLost()) {
    const logs = gl.getAttachedShaders(linked).map((shader) => gl.getShaderInfoLog(shader)).join("\n");
    throw new Error(`A shader of the face does not compile: ${gl.getProgramInfoLog(linked)} ${logs}`);
  }
  const setters = {
    [gl.FLOAT]: (at, value) => gl.uniform1f(at, value),
    [gl.INT]: (at, value) => gl.uniform1i(at, value),
    [gl.FLOAT_VEC2]: (at, value) => gl.uniform2fv(at, value),
    [gl.FLOAT_VEC3]: (at, value) => gl.uniform3fv(at, value),
    [gl.FLOAT_MAT3]: (at, value) => gl.uniformMatrix3fv(at, false, value),
  };
  const uniforms = [];
  const found = gl.getProgramParameter(linked, gl.ACTIVE_UNIFORMS) ?? 0;
  for (let index = 0; index < found; index++) {
    const { name, type } = gl.getActiveUniform(linked, index);
    uniforms.push({ name, type, at: gl.getUniformLocation(linked, name) });
  }
  const use = (values, images) => {
    gl.useProgram(linked);
    let unit = 0;
    for (const { name, type, at } of uniforms) {
      if (type === gl.SAMPLER_2D) {
        gl.activeTexture(gl.TEXTURE0 + unit);
        gl.bindTexture(gl.TEXTURE_2D, images[name]);
        gl.uniform1i(at, unit++);
      } else {
        setters[type](at, values[name]);
      }
    }
    gl.activeTexture(gl.TEXTURE0);
  };
  return { use };
}
