// How a connection of the page ends, with a peer and a server that do nothing by themselves.

import assert from "node:assert/strict";
import test from "node:test";

import { Connection } from "../../clients/web/connection.js";

const SDP = { type: "answer", sdp: "v=0", session_id: "the session", size: 256 };
const SETTLED = () => new Promise((resolve) => setImmediate(resolve));

class Peer {
  iceGatheringState = "complete";
  connectionState = "new";
  localDescription = { sdp: "v=0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" };
  channel = { readyState: "open" };
  closed = false;
  createDataChannel = () => this.channel;
  addTrack() {}
  addTransceiver() {}
  async setLocalDescription() {}
  async setRemoteDescription() {}
  close() {
    this.closed = true;
  }
  become(state) {
    this.connectionState = state;
    this.onconnectionstatechange?.();
  }
}

// A page whose server answers an offer, and leaves each other request open until `answers[n]()` or `fails[n]()`.
function world(context) {
  const kept = new Map();
  const page = { asked: [], answers: [], fails: [], states: [], kept };
  globalThis.RTCPeerConnection = Peer;
  globalThis.MediaStream = class {};
  globalThis.sessionStorage = {
    getItem: (key) => kept.get(key) ?? null,
    setItem: (key, value) => kept.set(key, value),
    removeItem: (key) => kept.delete(key),
  };
  globalThis.fetch = (path, { method, keepalive }) => {
    page.asked.push(`${method} ${path}`);
    if (method === "POST") return Promise.resolve({ ok: true, headers: new Map(), json: async () => SDP });
    assert.ok(keepalive, "said while the page goes away, too");
    return new Promise((resolve, reject) => {
      page.answers.push(() => resolve({ ok: true }));
      page.fails.push(() => reject(new TypeError("Failed to fetch")));
    });
  };
  context.mock.timers.enable({ apis: ["setTimeout"] });
  page.connect = async () => {
    const connection = new Connection({ onState: (state) => page.states.push(state) }, {});
    await connection.open({ getAudioTracks: () => [] }, null);
    connection.peer.become("connected");
    return connection;
  };
  return page;
}

test("the server is told before the peer goes, once", async (context) => {
  const page = world(context);
  const connection = await page.connect();
  connection.close();
  connection.close();
  await SETTLED();
  assert.deepEqual(page.asked, ["POST /offer", "DELETE /sessions/the%20session"]);
  assert.equal(connection.peer.closed, false);
  page.answers[0]();
  await SETTLED();
  assert.equal(connection.peer.closed, true);
  assert.equal(page.kept.size, 0);
});

test("a server that does not answer keeps no peer open", async (context) => {
  const page = world(context);
  const connection = await page.connect();
  connection.close();
  context.mock.timers.tick(1000);
  await SETTLED();
  assert.equal(connection.peer.closed, true);
});

test("nothing is heard of a connection that has ended", async (context) => {
  const page = world(context);
  const { peer, ...connection } = await page.connect();
  peer.become("failed");
  peer.become("connected");
  connection.channel.onmessage?.({ data: '{"type":"state","state":"ended"}' });
  assert.deepEqual(page.states, ["connecting", "live", "lost"]);
});

test("a channel that the server closes is a connection lost", async (context) => {
  const page = world(context);
  const { channel } = await page.connect();
  channel.onclose();
  assert.deepEqual(page.states, ["connecting", "live", "lost"]);
});

test("a session that could not be ended is ended before the next begins", async (context) => {
  const page = world(context);
  (await page.connect()).peer.become("failed");
  page.fails[0]();
  await SETTLED();
  const again = page.connect();
  await SETTLED();
  const said = "DELETE /sessions/the%20session";
  assert.deepEqual(page.asked, ["POST /offer", said, said]);
  page.answers[1]();
  await again;
  assert.deepEqual(page.asked, ["POST /offer", said, said, "POST /offer"]);
});

test("a browser without a network interface is told so at once", async (context) => {
  const page = world(context);
  const connection = new Connection({ onState: (state) => page.states.push(state) }, {});
  connection.peer.localDescription = { sdp: "v=0" };
  await assert.rejects(connection.open({ getAudioTracks: () => [] }, null), /no network interface/);
  assert.deepEqual(page.asked, []);
});
