// Reads the folder that the server's `Rig.save` writes (engine/animator/mesh/rig.py): rig.json, rig.bin and textures.

const VERSION = 1;
const TYPES = { float32: Float32Array, int32: Int32Array };
// More than a rig of 1024 px asks for, many times.
const MAX_TABLE_BYTES = 2 ** 26;

// The rig is missing, damaged or of another version.
export class RigUnreadable extends Error {}

// A rig: {sizePx, numbers, tables, textures}, all by the names of `Rig`'s fields, such as `eyes.0.white`. Tables are
// typed arrays; textures are ImageBitmaps whose alpha was left as it is stored.
//
// read(name) gives a Promise of the Blob of that file of the folder. Raises RigUnreadable.
export async function loadRig(read) {
  const content = parseContent(await text(read));
  const [binary, ...textures] = await Promise.all([
    read("rig.bin").then((blob) => blob.arrayBuffer()),
    ...content.textures.map((name) => read(`${name}.png`).then(bitmap)),
  ]).catch((error) => {
    throw new RigUnreadable(`A file of the face cannot be read: ${error.message}`);
  });
  const named = Object.entries(content.tables).map(([name, table]) => [name, parseTable(name, table, binary)]);
  const rig = {
    sizePx: content.size_px,
    numbers: content.numbers,
    tables: Object.fromEntries(named),
    textures: Object.fromEntries(content.textures.map((name, index) => [name, textures[index]])),
  };
  const skin = rig.textures.skin;
  if (skin?.width !== rig.sizePx || skin.height !== rig.sizePx) {
    throw new RigUnreadable(`The skin of the face is not ${rig.sizePx} px a side.`);
  }
  return rig;
}

// The same over HTTP: base is the folder's URL with a slash at its end, options are those of fetch.
export function fetchRig(base, options = {}) {
  return loadRig(async (name) => {
    const response = await fetch(new URL(name, base), options);
    if (!response.ok) throw new RigUnreadable(`The server answered ${response.status} for '${name}' of the face.`);
    return response.blob();
  });
}

async function text(read) {
  try {
    return await (await read("rig.json")).text();
  } catch (error) {
    throw new RigUnreadable(`'rig.json' of the face cannot be read: ${error.message}`);
  }
}

function parseContent(json) {
  let content;
  try {
    content = JSON.parse(json);
  } catch {
    throw new RigUnreadable("'rig.json' of the face is not JSON.");
  }
  if (content?.version !== VERSION) {
    throw new RigUnreadable(`The face is of version ${content?.version}; this page reads ${VERSION}.`);
  }
  const { size_px: size, numbers, tables, textures } = content;
  if (!Number.isInteger(size) || !isObject(numbers) || !isObject(tables) || !Array.isArray(textures)) {
    throw new RigUnreadable("'rig.json' of the face lacks its size, numbers, tables or textures.");
  }
  return content;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parseTable(name, table, binary) {
  const Type = TYPES[table?.dtype];
  const shape = Array.isArray(table?.shape) ? table.shape : [-1];
  const length = shape.reduce((product, side) => product * (Number.isInteger(side) && side >= 0 ? side : NaN), 1);
  const { offset } = table ?? {};
  const fits = Number.isInteger(offset) && offset >= 0 && offset + 4 * length <= binary.byteLength;
  if (Type === undefined || !fits || !(4 * length <= MAX_TABLE_BYTES)) {
    throw new RigUnreadable(`The table '${name}' of the face is damaged.`);
  }
  // Every machine with a browser is little-endian, as the file is; the copy aligns the table.
  return new Type(binary.slice(offset, offset + 4 * length));
}

// Textures with alpha are premultiplied already: the browser must neither divide nor multiply, nor correct colours.
function bitmap(blob) {
  return createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
}
