// One WebRTC connection: the voice goes out, the avatar's video and the delayed voice come back.

import { CONTROL_LABEL, encodeControl, parseEvent } from "./protocol.js";
import { endSession, postOffer } from "./server.js";

const GATHER_TIMEOUT_MS = 1500;
const CONNECT_TIMEOUT_MS = 15000;
const DISCONNECTED_TIMEOUT_MS = 5000;
const GOODBYE_TIMEOUT_MS = 1000;
const NO_INTERFACE =
  "This browser has no network interface that it lets a call use. Connect this device to a network, or allow WebRTC.";

export class Connection {
  // handlers: onState("connecting" | "live" | "ended" | "failed" | "lost"), onReady() when messages can be sent,
  // onEvent(event), onStream(stream); ice: from fetchIce. "lost" is a failure after it was live. "ended", "failed" and
  // "lost" are final: no handler is called after them.
  constructor(handlers, ice) {
    this.handlers = handlers;
    this.sessionId = null;
    this.closed = false;
    this.live = false;
    this.stream = new MediaStream();
    this.peer = new RTCPeerConnection(ice);
    this.peer.ontrack = ({ track, receiver }) => this.#receive(track, receiver);
    this.peer.onconnectionstatechange = () => this.#stateChanged();
    this.channel = this.peer.createDataChannel(CONTROL_LABEL);
    this.channel.onopen = () => this.handlers.onReady();
    this.channel.onmessage = ({ data }) => this.#message(data);
    // When a server goes away, the channel closes at once; the connection's state changes many seconds later.
    this.channel.onclose = () => this.#break();
  }

  async open(voice, portraitId) {
    this.handlers.onState("connecting");
    for (const track of voice.getAudioTracks()) this.peer.addTrack(track, voice);
    this.peer.addTransceiver("video", { direction: "recvonly" });
    await this.peer.setLocalDescription();
    await this.#gathered();
    if (!this.peer.localDescription.sdp.includes("a=candidate:")) throw new Error(NO_INTERFACE);
    const answer = await postOffer(this.peer.localDescription.sdp, portraitId);
    this.sessionId = answer.sessionId;
    if (this.closed) return endSession(answer.sessionId);
    await this.peer.setRemoteDescription({ sdp: answer.sdp, type: answer.type });
    this.timer = setTimeout(() => this.#finish("failed"), CONNECT_TIMEOUT_MS);
    return undefined;
  }

  send(message) {
    if (this.channel.readyState === "open") this.channel.send(encodeControl(message));
  }

  // {fps, bufferMs, roundTripMs, kbps} since the last call; null where not known.
  async measure() {
    const figures = { fps: null, bufferMs: null, roundTripMs: null, kbps: null };
    for (const report of (await this.peer.getStats()).values()) {
      if (report.type === "inbound-rtp" && report.kind === "video") Object.assign(figures, this.#video(report));
      if (report.type === "candidate-pair" && report.nominated && report.currentRoundTripTime !== undefined) {
        figures.roundTripMs = 1000 * report.currentRoundTripTime;
      }
    }
    return figures;
  }

  close() {
    this.#finish("ended");
  }

  #break() {
    this.#finish(this.live ? "lost" : "failed");
  }

  #finish(state) {
    if (this.closed) return;
    this.closed = true;
    clearTimeout(this.timer);
    this.peer.ontrack = this.peer.onconnectionstatechange = null;
    this.channel.onopen = this.channel.onmessage = this.channel.onclose = null;
    const ended = this.sessionId ? endSession(this.sessionId) : Promise.resolve();
    // The server is told before the peer closes: to the server a closed peer alone looks like a lost connection.
    Promise.race([ended, pause(GOODBYE_TIMEOUT_MS)]).then(() => this.peer.close());
    this.handlers.onState(state);
  }

  #receive(track, receiver) {
    if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
    this.stream.addTrack(track);
    this.handlers.onStream(this.stream);
  }

  #stateChanged() {
    if (this.peer.connectionState === "connected") {
      clearTimeout(this.timer);
      this.live = true;
      this.handlers.onState("live");
    } else if (this.peer.connectionState === "failed") {
      this.#break();
    } else if (this.peer.connectionState === "disconnected") {
      this.timer = setTimeout(() => this.#finish("lost"), DISCONNECTED_TIMEOUT_MS);
    }
  }

  #message(data) {
    const event = parseEvent(data);
    if (event === null) return;
    this.handlers.onEvent(event);
    if (event.type === "state" && event.state === "ended") this.#finish("ended");
  }

  #gathered() {
    if (this.peer.iceGatheringState === "complete") return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, GATHER_TIMEOUT_MS);
      this.peer.addEventListener("icegatheringstatechange", () => {
        if (this.peer.iceGatheringState !== "complete") return;
        clearTimeout(timer);
        resolve();
      });
    });
  }

  #video(report) {
    const before = this.lastReport;
    this.lastReport = report;
    if (before === undefined) return {};
    const seconds = (report.timestamp - before.timestamp) / 1000;
    const emitted = report.jitterBufferEmittedCount - before.jitterBufferEmittedCount;
    const waited = report.jitterBufferDelay - before.jitterBufferDelay;
    return {
      fps: (report.framesDecoded - before.framesDecoded) / seconds,
      kbps: (8 * (report.bytesReceived - before.bytesReceived)) / seconds / 1000,
      bufferMs: emitted > 0 ? (1000 * waited) / emitted : null,
    };
  }
}

function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
