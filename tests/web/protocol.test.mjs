// The page's side of the wire, against the vectors that the Python tests read too. Run: node --test tests/web/

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import test from "node:test";

import * as protocol from "../../clients/web/protocol.js";

const golden = JSON.parse(await readFile(new URL("../golden/protocol.json", import.meta.url), "utf8"));

test("offers are written", () => {
  for (const { sdp, portrait, session, size, wire } of golden.offers) {
    assert.equal(protocol.encodeOffer(sdp, portrait, session, size), wire);
  }
});

test("answers and portraits are read", () => {
  for (const { sdp, session_id: sessionId, size, wire } of golden.answers) {
    assert.deepEqual(protocol.parseAnswer(JSON.parse(wire)), { sdp, type: "answer", sessionId, size });
  }
  for (const { portrait_id: portraitId, warnings, wire } of golden.portraits) {
    assert.deepEqual(protocol.parsePortrait(JSON.parse(wire)), { portraitId, warnings });
  }
  assert.deepEqual(protocol.parsePortrait({ portrait_id: "p" }), { portraitId: "p", warnings: [] });
});

test("ICE servers are read", () => {
  for (const { servers, relay_only: relayOnly, wire } of golden.ice_servers) {
    const { iceServers, iceTransportPolicy } = protocol.parseIce(JSON.parse(wire));
    assert.deepEqual([iceServers, iceTransportPolicy], [servers, relayOnly ? "relay" : "all"]);
  }
  for (const body of [null, {}, { ice_servers: {} }]) {
    assert.throws(() => protocol.parseIce(body), protocol.ProtocolError);
  }
});

test("answers that cannot be used are errors", () => {
  for (const body of [null, {}, [], { type: "answer", sdp: 1, session_id: "a", size: 256 }, { type: "offer", sdp: "", session_id: "" }]) {
    assert.throws(() => protocol.parseAnswer(body), protocol.ProtocolError);
    assert.throws(() => protocol.parsePortrait(body), protocol.ProtocolError);
  }
});

test("errors are read, whatever the body holds", () => {
  for (const { code, status, message, wire } of golden.errors) {
    const error = protocol.parseError(status, JSON.parse(wire), "5");
    assert.deepEqual([error.code, error.message, error.retryAfterS], [code, message, 5]);
  }
  for (const body of [null, {}, { error: null }, { error: { code: 7 } }, "no"]) {
    const error = protocol.parseError(502, body);
    assert.equal(error.code, "unknown");
    assert.match(error.message, /502/);
    assert.equal(error.retryAfterS, null);
  }
});

test("controls are written", () => {
  for (const { message, wire } of golden.controls) assert.equal(protocol.encodeControl(message), wire);
  assert.throws(() => protocol.encodeControl({ type: "dance" }), protocol.ProtocolError);
});

test("gaze stays inside its limits", () => {
  const { pitch, yaw } = JSON.parse(protocol.encodeControl({ type: "gaze", pitch: 9, yaw: -9 }));
  assert.deepEqual([pitch, yaw], [protocol.GAZE_LIMIT_RAD, -protocol.GAZE_LIMIT_RAD]);
});

test("events are read", () => {
  for (const { event, wire } of golden.events) assert.deepEqual(protocol.parseEvent(wire), event);
  for (const wire of golden.unknown_events) assert.equal(protocol.parseEvent(wire), null);
  for (const wire of golden.bad_events) assert.throws(() => protocol.parseEvent(wire), protocol.ProtocolError);
});

const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)).buffer;

test("motion is read", () => {
  for (const { frames, wire } of golden.motions) {
    const found = protocol.parseMotion(bytes(wire));
    assert.equal(found.length, frames.length);
    frames.forEach(({ index, pts_samples: ptsSamples, generation, descriptor }, at) => {
      const { descriptor: values, ...rest } = found[at];
      assert.deepEqual(rest, { index, ptsSamples, generation });
      descriptor.forEach((value, i) => assert.ok(Math.abs(values[i] - value) < 1e-5));
    });
  }
});

test("bad motion is refused", () => {
  for (const { name, wire } of golden.bad_motions) {
    assert.throws(() => protocol.parseMotion(bytes(wire)), protocol.ProtocolError, name);
  }
  for (const message of ["text", null, undefined, {}]) {
    assert.throws(() => protocol.parseMotion(message), protocol.ProtocolError);
  }
});
