// Every message between the page and the server. The server's side is server/protocol.py; both read the same
// golden vectors. No network and no page here.

export const CONTROL_LABEL = "control";
export const GAZE_LIMIT_RAD = Math.PI / 2;

export class ProtocolError extends Error {}

export class ServerError extends Error {
  constructor(code, message, retryAfterS = null) {
    super(message);
    this.code = code;
    this.retryAfterS = retryAfterS;
  }
}

// With a session id: watch that session. With a portrait id: open a session that shows it. With neither: the demo face.
// The size is the side of the head's frames in pixels; null is the server's.
export function encodeOffer(sdp, portraitId = null, sessionId = null, size = null) {
  const offer = { sdp, type: "offer" };
  if (portraitId !== null) offer.portrait = portraitId;
  if (sessionId !== null) offer.session = sessionId;
  if (size !== null) offer.size = size;
  return JSON.stringify(offer);
}

// The configuration of an RTCPeerConnection.
export function parseIce(body) {
  if (!Array.isArray(body?.ice_servers)) throw new ProtocolError("The server's answer cannot be read.");
  return { iceServers: body.ice_servers, iceTransportPolicy: body.relay_only ? "relay" : "all" };
}

export function parseAnswer(body) {
  const { type, sdp, session_id: sessionId, size } = body ?? {};
  if (type !== "answer" || typeof sdp !== "string" || typeof sessionId !== "string" || typeof size !== "number") {
    throw new ProtocolError("The server's answer cannot be read.");
  }
  return { sdp, type, sessionId, size };
}

export function parsePortrait(body) {
  if (typeof body?.portrait_id !== "string") throw new ProtocolError("The server's answer cannot be read.");
  const warnings = Array.isArray(body.warnings) ? body.warnings.filter((text) => typeof text === "string") : [];
  return { portraitId: body.portrait_id, warnings };
}

// An Error for any failed response, whatever its body is.
export function parseError(status, body, retryAfter = null) {
  const { code, message } = body?.error ?? {};
  const retryAfterS = Number.parseInt(retryAfter, 10);
  return new ServerError(
    typeof code === "string" ? code : "unknown",
    typeof message === "string" ? message : `The server answered with status ${status}.`,
    Number.isNaN(retryAfterS) ? null : retryAfterS,
  );
}

const CONTROLS = {
  gaze: ({ pitch, yaw }) => ({ type: "gaze", pitch: angle(pitch), yaw: angle(yaw) }),
  look: ({ at }) => ({ type: "look", at }),
  intensity: ({ value }) => ({ type: "intensity", value: Math.max(0, Math.min(1, value)) }),
  pose: ({ on }) => ({ type: "pose", on: Boolean(on) }),
  state: ({ state }) => ({ type: "state", state }),
  interrupt: () => ({ type: "interrupt" }),
  ping: ({ id }) => ({ type: "ping", id }),
};

export function encodeControl(message) {
  const encode = CONTROLS[message.type];
  if (encode === undefined) throw new ProtocolError(`There is no control message '${message.type}'.`);
  return JSON.stringify(encode(message));
}

const EVENTS = {
  started: { session_id: "string", size: "number" },
  state: { state: "string" },
  stats: {
    fps: "number",
    latency_ms: "number",
    render_ms: "number",
    frames_sent: "number",
    frames_late: "number",
    frames_dropped: "number",
    voice_dropped_ms: "number",
  },
  interrupted: { generation: "number" },
  pong: { id: "number" },
  error: { code: "string", message: "string" },
};

// One message of the data channel; null for a kind that this page does not know (a newer server's).
export function parseEvent(text) {
  let event;
  try {
    event = JSON.parse(text);
  } catch {
    throw new ProtocolError("A message from the server is not JSON.");
  }
  const fields = EVENTS[event?.type];
  if (fields === undefined) return null;
  for (const [name, type] of Object.entries(fields)) {
    if (typeof event[name] !== type) throw new ProtocolError(`The field '${name}' of '${event.type}' is missing.`);
  }
  return event;
}

const MOTION_VERSION = 1;
const MOTION_HEADER_BYTES = 20;
const DESCRIPTOR_SIZE = 72;
const MOTION_STEPS = 32767;

// Largest value of each number of a descriptor: expression, rotation, place and size of the head, gaze.
const MOTION_RANGES = [...Array(64).fill(16), Math.PI, Math.PI, Math.PI, 4, 4, 2, Math.PI, Math.PI];

// The one or two frames of a motion message (an ArrayBuffer), in the order in which they are shown: what the face does
// at ptsSamples of the sound's clock of 48 kHz, after so many interrupts (generation).
export function parseMotion(message) {
  if (!(message instanceof ArrayBuffer) || message.byteLength < MOTION_HEADER_BYTES) {
    throw new ProtocolError("A motion message is binary, and has a header.");
  }
  const view = new DataView(message);
  const [version, count, step] = [view.getUint8(0), view.getUint8(1), view.getUint16(2, true)];
  const [generation, index] = [view.getUint32(4, true), view.getUint32(8, true)];
  const pts = Number(view.getBigUint64(12, true));
  if (version !== MOTION_VERSION) throw new ProtocolError(`The motion message is of version ${version}.`);
  if ((count !== 1 && count !== 2) || message.byteLength !== MOTION_HEADER_BYTES + 2 * DESCRIPTOR_SIZE * count) {
    throw new ProtocolError("The motion message does not hold one or two frames.");
  }
  if (!Number.isSafeInteger(pts) || (count === 1 && step !== 0)) {
    throw new ProtocolError("The times of the motion message make no sense.");
  }
  if (count === 2 && !(step > 0 && step <= pts && index > 0)) {
    throw new ProtocolError("The frame before in the motion message lies before the first one.");
  }
  const frame = (back) => ({
    index: index - back,
    ptsSamples: pts - back * step,
    generation,
    descriptor: Float32Array.from(MOTION_RANGES, (range, i) => {
      const value = view.getInt16(MOTION_HEADER_BYTES + 2 * (DESCRIPTOR_SIZE * back + i), true);
      return (value / MOTION_STEPS) * range;
    }),
  });
  return count === 2 ? [frame(1), frame(0)] : [frame(0)];
}

function angle(value) {
  return Math.max(-GAZE_LIMIT_RAD, Math.min(GAZE_LIMIT_RAD, value));
}
