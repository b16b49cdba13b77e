// Talking to the server: JSON calls with a session, errors as sentences, events.

import { known as text } from "./texts.js";

/** An answer other than the one hoped for; `message` is a sentence for people, `code` a word for programs. */
export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** Time after which a server that does not answer is asked again. */
const BACK_MS = 1000;

let session = null;
let source = null;
/** Called when a session has begun in place of one that had ended; the promise while that is so. */
let revive = null;
let reviving = null;

/** Sends a request and gives the response, or throws an ApiError. A session that has ended is replaced, unless `final`. */
async function send(method, path, options = {}) {
  const used = session;
  try {
    return await sendOnce(method, path, options);
  } catch (error) {
    if (error.code !== "no_session" || !revive || options.keepalive || options.final) throw error;
    // Another request may have begun a session meanwhile.
    if (used === session) await again();
    return sendOnce(method, path, options);
  }
}

/** One new session, however many ask for it. */
function again() {
  reviving ??= (async () => {
    try {
      await startSession();
      connect();
      await revive();
    } finally {
      reviving = null;
    }
  })();
  return reviving;
}

async function sendOnce(method, path, { body, kind, signal, keepalive } = {}) {
  const headers = {};
  if (session) headers["x-session"] = session;
  if (kind) headers["content-type"] = kind;
  let response;
  try {
    response = await fetch(path, { method, headers, body, signal, keepalive });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "offline", text("status.offline", "The server does not answer. Is it still running?"));
  }
  if (response.ok) return response;
  let answer = {};
  try {
    answer = await response.json();
  } catch {
    // Not JSON: the status has to do.
  }
  throw new ApiError(
    response.status,
    answer.code ?? "failed",
    answer.error ?? `The server answered ${response.status}.`,
  );
}

/** Calls the server with a JSON body, gives its JSON. */
export async function call(method, path, body, options = {}) {
  const more = body === undefined ? {} : { body: JSON.stringify(body), kind: "application/json" };
  const response = await send(method, path, { ...more, ...options });
  return response.json();
}

/** Gives the bytes at an address. */
export async function bytes(path, options) {
  return (await send("GET", path, options)).arrayBuffer();
}

/** Sends a file. */
export async function put(path, file) {
  const response = await send("PUT", path, { body: file, kind: "application/octet-stream" });
  return response.json();
}

/** Saves what an address gives under the name that the server gives it; the name, and what could not be kept. */
export async function download(path) {
  const response = await send("GET", path);
  const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "");
  const address = URL.createObjectURL(await response.blob());
  const link = document.createElement("a");
  link.href = address;
  link.download = named ? named[1] : "annotation";
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
  // A header's bytes are UTF-8, and come one by one.
  const raw = Uint8Array.from(response.headers.get("x-notes") ?? "", (c) => c.charCodeAt(0));
  return { name: link.download, notes: new TextDecoder().decode(raw) };
}

/** Starts a session, which ends when the page is left. */
export async function startSession() {
  const response = await sendOnce("POST", "/api/sessions", { body: "{}", kind: "application/json" });
  session = (await response.json()).session;
}

let listeners = {};

/** Begins another session as soon as the server answers. */
function comeBack() {
  again().catch((error) => {
    if (error.code === "offline") setTimeout(comeBack, BACK_MS);
  });
}

/** The stream of events; the browser takes it up again where it breaks off, as long as the session lasts. */
function connect() {
  source?.close();
  source = new EventSource(`/api/events?session=${session}`);
  for (const [kind, listener] of Object.entries(listeners)) {
    source.addEventListener(kind, (event) => listener(JSON.parse(event.data)));
  }
  source.addEventListener("error", (event) => {
    if (event.target.readyState !== EventSource.CLOSED || event.target !== source) return;
    setTimeout(comeBack, BACK_MS);
  });
}

/**
 * Keeps the session alive, and tells `known` (by kind of event) what happens. `begunAgain` is called where the session had
 * ended, for instance because this computer slept, and another one has begun.
 */
export function listen(known, begunAgain) {
  listeners = known;
  revive = begunAgain;
  connect();
  setInterval(() => call("POST", `/api/sessions/${session}`).catch(() => {}), 40_000);
  addEventListener("pagehide", () => {
    source.close();
    fetch(`/api/sessions/${session}`, { method: "DELETE", keepalive: true }).catch(() => {});
  });
  // The browser may bring the page back as it was, but its session is over.
  addEventListener("pageshow", (event) => {
    if (event.persisted) location.reload();
  });
}
