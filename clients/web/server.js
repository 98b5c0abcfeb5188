// HTTP calls to the server that this page came from.

import { encodeOffer, parseAnswer, parseError, parseIce, parsePortrait } from "./protocol.js";

const TOKEN_KEY = "gohd-token";
const SESSION_KEY = "gohd-session";

// A link may carry the token behind '#', which browsers never send; it is removed from the address at once.
export function takeTokenFromAddress() {
  const match = /^#token=(.+)$/.exec(location.hash);
  if (match) {
    setToken(decodeURIComponent(match[1]));
    history.replaceState(null, "", location.pathname);
  }
}

export function setToken(token) {
  sessionStorage.setItem(TOKEN_KEY, token);
}

export async function uploadPortrait(file) {
  const form = new FormData();
  form.append("consent", "true");
  form.append("portrait", file);
  return parsePortrait(await call("/portraits", { method: "POST", body: form }));
}

// STUN and TURN servers, with credentials that soon expire.
export async function fetchIce() {
  return parseIce(await call("/ice", { method: "GET" }));
}

export async function postOffer(sdp, portraitId) {
  await endLeftover();
  const body = encodeOffer(sdp, portraitId);
  const answer = parseAnswer(
    await call("/offer", { method: "POST", body, headers: { "Content-Type": "application/json" } }),
  );
  sessionStorage.setItem(SESSION_KEY, answer.sessionId);
  return answer;
}

// Works while the page goes away, too. May be repeated: a session that has ended stays ended.
export async function endSession(sessionId) {
  try {
    await fetch(`/sessions/${encodeURIComponent(sessionId)}`, {
      method: "DELETE",
      headers: authorization(),
      keepalive: true,
    });
  } catch {
    return; // the network is away: postOffer tries again
  }
  if (sessionStorage.getItem(SESSION_KEY) === sessionId) sessionStorage.removeItem(SESSION_KEY);
}

// A reload or a lost network may have left this tab's session open, which would take up the only place.
async function endLeftover() {
  const leftover = sessionStorage.getItem(SESSION_KEY);
  if (leftover) await endSession(leftover);
}

function authorization() {
  const token = sessionStorage.getItem(TOKEN_KEY);
  return token ? { Authorization: `Bearer ${token}` } : {};
}

async function call(path, { headers = {}, ...options }) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...headers, ...authorization() } });
  } catch {
    throw new Error("The server cannot be reached. Is it still running?");
  }
  const body = await response.json().catch(() => null);
  if (!response.ok) throw parseError(response.status, body, response.headers.get("Retry-After"));
  return body;
}
