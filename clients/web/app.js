// The page: what its buttons do and what it shows. One run at a time: idle -> starting -> live -> idle; a lost connection
// is made again with the same face and voice.

import { AvatarState } from "./avatar_state.js";
import { Connection } from "./connection.js";
import { Graph } from "./graph.js";
import { PortraitPicker } from "./portrait.js";
import { fetchIce, setToken, takeTokenFromAddress } from "./server.js";
import { openVoice } from "./voice.js";

const $ = (id) => document.getElementById(id);
const STATS_MS = 1000;
const RETRY_MS = [500, 1000, 2000, 4000, 8000];
const STATES = { speaking: "Speaking", listening: "Listening", thinking: "Thinking", idle: "Live" };
const IDLE = "Choose a face and a voice, then press Start.";

let run = null; // {connection, voice, portraitId, retries} while starting or live
let audioChosen = false; // whether the user has set the sound by hand

const portrait = new PortraitPicker(
  {
    faces: $("faces"),
    ownCard: $("own-card"),
    options: $("own-options"),
    file: $("portrait-file"),
    choose: $("portrait-choose"),
    thumb: $("own-thumb"),
    name: $("own-name"),
    hint: $("own-hint"),
    consent: $("consent"),
  },
  (url) => ($("poster").src = url),
  showProblem,
);

const avatarState = new AvatarState(
  {
    eyes: $("eyes"),
    intensity: $("intensity"),
    intensityValue: $("intensity-value"),
    head: $("head"),
    screen: $("screen"),
    target: $("target"),
  },
  (message) => run?.connection?.send(message),
);

const graphs = { fps: new Graph($("graph-fps")), delay: new Graph($("graph-delay")), kbps: new Graph($("graph-kbps")) };

function voiceKind() {
  return document.querySelector("input[name=voice]:checked").value;
}

async function start() {
  const mine = { connection: null, voice: null, portraitId: null, server: {}, retries: 0 };
  run = mine;
  showProblem(null);
  showRunning(true);
  try {
    if (voiceKind() === "file" && $("voice-file").files.length === 0) throw new Error("Choose an audio file first.");
    if (portrait.own) showStatus("Looking for the face…");
    mine.portraitId = await portrait.identify();
    if (run !== mine) return;
    showStatus(voiceKind() === "microphone" ? "Asking for the microphone…" : "Loading the voice…");
    const voice = await openVoice(voiceKind(), $("voice-file").files[0]);
    if (run !== mine) return void voice.stop();
    mine.voice = voice;
    drawMeter(mine);
    await connect(mine);
  } catch (error) {
    if (run === mine) startFailed(error);
  }
}

async function connect(mine) {
  const ice = await fetchIce();
  if (run !== mine) return;
  const connection = new Connection(
    {
      onState: (state) => mine.connection === connection && run === mine && connectionChanged(mine, state),
      onReady: () => run === mine && avatarState.begin(),
      onEvent: (event) => run === mine && handleEvent(mine, event),
      onStream: showStream,
    },
    ice,
  );
  mine.connection = connection;
  await connection.open(mine.voice.stream, mine.portraitId);
}

function startFailed(error) {
  if (error.code === "not_found") portrait.forget();
  if (error.code === "unauthorized") askForToken();
  showProblem(error.code === "unauthorized" ? "This server needs its access token." : error.message);
  stop(IDLE);
}

// The network went away: keep the voice and connect again, waiting longer after each failure.
async function reconnect(mine) {
  const wait = RETRY_MS[mine.retries];
  mine.retries += 1;
  clearInterval(mine.timer);
  avatarState.end();
  if (wait === undefined) {
    showProblem("The connection to the server was lost.");
    stop(IDLE);
    showConnection("failed", "Failed");
    return;
  }
  showConnection("connecting", "Reconnecting");
  showStatus("The connection was lost. Trying again…");
  mine.connection = null;
  await new Promise((resolve) => setTimeout(resolve, wait));
  if (run !== mine) return;
  try {
    await connect(mine);
  } catch (error) {
    if (run !== mine) return;
    if (error.code === "not_found" || error.code === "unauthorized") startFailed(error);
    else reconnect(mine);
  }
}

function stop(message = "Stopped.") {
  const ending = run;
  run = null;
  ending?.connection?.close();
  ending?.voice?.stop();
  clearInterval(ending?.timer);
  avatarState.end();
  for (const graph of Object.values(graphs)) graph.clear();
  $("avatar").srcObject = null;
  $("screen").classList.remove("live");
  showConnection("off", "Off");
  showRunning(false);
  showStatus(message);
  for (const id of ["stat-fps", "stat-latency", "stat-render", "stat-network"]) $(id).textContent = "–";
}

function connectionChanged(mine, state) {
  if (state === "connecting") {
    showConnection("connecting", "Connecting");
    showStatus("Connecting…");
  } else if (state === "live") {
    showConnection("live", "Live");
    showStatus(voiceKind() === "microphone" ? "Speak: the face speaks with you." : "The face speaks.");
    $("interrupt").disabled = false;
    clearInterval(mine.timer);
    mine.timer = setInterval(() => measure(mine), STATS_MS);
    if (mine.retries === 0) playVoice(mine);
    mine.retries = 0;
  } else if (state === "lost" || (state === "failed" && mine.retries > 0)) {
    reconnect(mine);
  } else if (state === "failed") {
    showProblem("The connection to the server could not be made.");
    stop(IDLE);
    showConnection("failed", "Failed");
  } else {
    stop("The session has ended.");
  }
}

function handleEvent(mine, event) {
  if (event.type === "stats") mine.server = event;
  if (event.type === "error") showProblem(event.message);
  if (event.type === "state" && event.state in STATES) {
    $("screen").dataset.state = event.state;
    showConnection("live", STATES[event.state]);
  }
}

function playVoice(mine) {
  $("again").hidden = true;
  mine.voice.play?.(() => {
    if (run !== mine) return;
    $("again").hidden = false;
    showStatus("The recording has ended. The face idles.");
  });
}

function interrupt() {
  run.connection.send({ type: "interrupt" });
  if (run.voice.pause) {
    run.voice.pause();
    $("again").hidden = false;
  }
  showStatus("Interrupted.");
}

function showStream(stream) {
  const video = $("avatar");
  if (video.srcObject === stream) return;
  video.srcObject = stream;
  video.muted = !audioOn();
  video.play().catch(() => {
    video.muted = true;
    press($("audio"), false);
    video.play().catch(() => {});
  });
  video.requestVideoFrameCallback?.(() => $("screen").classList.add("live"));
}

// A microphone's voice is not played back by default: hearing oneself late makes speaking hard.
function audioOn() {
  return $("audio").getAttribute("aria-pressed") === "true";
}

function applyAudioDefault() {
  if (!audioChosen) press($("audio"), voiceKind() !== "microphone");
}

async function measure(mine) {
  const { fps, bufferMs, roundTripMs, kbps } = await mine.connection.measure();
  if (run !== mine) return;
  const delay = (mine.server.latency_ms ?? NaN) + (bufferMs ?? 0) + (roundTripMs ?? 0);
  $("stat-fps").textContent = fps === null ? "–" : `${fps.toFixed(0)} fps`;
  $("stat-latency").textContent = Number.isNaN(delay) ? "–" : `≈ ${delay.toFixed(0)} ms`;
  $("stat-render").textContent = mine.server.render_ms ? `${mine.server.render_ms.toFixed(0)} ms` : "–";
  $("stat-network").textContent = kbps === null ? "–" : `${kbps.toFixed(0)} kbit/s`;
  graphs.fps.add(fps);
  graphs.delay.add(Number.isNaN(delay) ? null : delay);
  graphs.kbps.add(kbps);
}

function drawMeter(mine) {
  if (run !== mine) {
    $("meter-bar").style.transform = "scaleX(0)";
    return;
  }
  $("meter-bar").style.transform = `scaleX(${mine.voice.level().toFixed(3)})`;
  requestAnimationFrame(() => drawMeter(mine));
}

function showRunning(on) {
  $("start").textContent = on ? "Stop" : "Start";
  $("start").classList.toggle("on", on);
  $("faces").disabled = $("voices").disabled = on;
  if (!on) {
    $("interrupt").disabled = true;
    $("again").hidden = true;
  }
}

function showConnection(state, text) {
  $("connection").dataset.state = state;
  $("connection-text").textContent = text;
}

function showStatus(text) {
  $("status").textContent = text;
}

function showProblem(text) {
  $("problem").hidden = text === null;
  $("problem").textContent = text ?? "";
}

function askForToken() {
  $("token-form").hidden = false;
  $("token").focus();
}

function press(button, on) {
  button.setAttribute("aria-pressed", String(on));
}

$("start").addEventListener("click", () => (run ? stop() : start()));
$("interrupt").addEventListener("click", interrupt);
$("again").addEventListener("click", () => {
  playVoice(run);
  showStatus("The face speaks.");
});
$("audio").addEventListener("click", () => {
  audioChosen = true;
  press($("audio"), !audioOn());
  $("avatar").muted = !audioOn();
});
$("voices").addEventListener("change", (event) => {
  if (event.target.id === "voice-file" && event.target.files.length > 0) {
    $("voice-choose").textContent = event.target.files[0].name;
  }
  $("voice-options").hidden = voiceKind() !== "file";
  applyAudioDefault();
});
$("voice-choose").addEventListener("click", () => $("voice-file").click());
$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken($("token").value);
  $("token-form").hidden = true;
  showProblem(null);
  start();
});
window.addEventListener("pagehide", () => {
  if (run) stop();
});

takeTokenFromAddress();
applyAudioDefault();
