/** The page: a button, the words, and what failed and healed on the way. All of it goes through `client.js`. */

import { VoxtreeError, VoxtreeSession } from "./client.js";
import { brief, FORMATS } from "./transcript.js";

/** @type {(id: string) => any} */
const $ = (id) => document.getElementById(id);
const MOST_EVENTS = 200;
const LIVE = ["requesting-mic", "connecting", "live", "reconnecting", "degraded", "delayed"];
const PILLS = {
  idle: ["idle", "ready"],
  "requesting-mic": ["idle", "asking for the microphone"],
  connecting: ["idle", "connecting"],
  live: ["live", "live"],
  reconnecting: ["warn", "reconnecting"],
  degraded: ["warn", "degraded"],
  delayed: ["warn", "delayed"],
  draining: ["idle", "finishing"],
  closed: ["idle", "ready"],
};

const lines = []; // what was said, all sessions together
let session = null;
let unrender = () => {};
let lostAt = 0;
let key = sessionStorage.getItem("voxtree-key") ?? ""; // for a server that asks who speaks; forgotten with the tab

// ---- a session

/** The key, which the speaker is asked for once a server wants one. @param {{ refresh: boolean }} why */
function asked({ refresh }) {
  if (refresh) {
    key = prompt("This server asks for your key:")?.trim() ?? "";
    sessionStorage.setItem("voxtree-key", key);
  }
  return key;
}

function begin() {
  let offset = 0; // milliseconds that were said before; a session that is started again counts from 0, too
  unrender();
  session = new VoxtreeSession({
    url: new URL("transcribe", location.href).href,
    language: $("language").value,
    onSettings: () => $("language").focus(),
    getToken: asked,
  });
  unrender = session.renderError($("problem"));
  session.on("state", show);
  session.on("partial", ({ text, source }) => showPartial(text, source === "cache"));
  session.on("final", ({ text, words, startMs, endMs }) => {
    if (text) addLine({ text, startMs: startMs + offset, endMs: endMs + offset, words });
    else showPartial("");
  });
  session.on("gap", ({ startMs, endMs, message }) => {
    addLine({
      gap: `${message} (${((endMs - startMs) / 1000).toFixed(1)} s)`,
      startMs: startMs + offset,
      endMs: endMs + offset,
    });
    note("failed", message);
  });
  session.on("level", (level) => $("level").style.setProperty("--level", Math.min(1, Math.sqrt(level)).toFixed(3)));
  session.on("status", told);
  session.on("ready", ({ resumed }) => {
    if (resumed) note("healed", "Connected again.", healed());
    else offset = lines.at(-1)?.endMs ?? 0;
  });
  session.on("error", (error) => note("failed", error.message, error.ref && `reference ${error.ref}`));
  return session;
}

async function record() {
  if (session !== null && LIVE.includes(session.state)) return finish();
  if (session?.state === "draining") return; // its last words are still to come
  try {
    await begin().start();
  } catch (error) {
    if (!(error instanceof VoxtreeError)) throw error; // the problem is shown
  }
}

async function finish() {
  try {
    await session.stop();
  } catch (error) {
    if (!(error instanceof VoxtreeError)) throw error;
  }
}

/** A recording: sent as fast as the server takes it. */
async function transcribe(file) {
  if (session !== null) await finish();
  addRule(file.name);
  try {
    await begin().transcribe(file);
  } catch (error) {
    if (!(error instanceof VoxtreeError)) throw error;
  }
}

// ---- what is shown

function show(state) {
  const [kind, text] = PILLS[state];
  $("state").className = `pill ${kind}`;
  $("state").textContent = text;
  const live = LIVE.includes(state);
  $("record").setAttribute("aria-pressed", String(live));
  $("record").setAttribute("aria-label", live ? "Stop" : "Record");
  $("record").disabled = state === "draining";
  $("language").disabled = live;
  document.body.dataset.state = state;
  if (state === "closed") showPartial("");
}

function told({ state, message, code, attempt }) {
  if (state === "reconnecting" && attempt > 1) return; // it is known already
  if (state === "live" && !code) return note("healed", message, healed());
  lostAt ||= performance.now();
  note("failed", message);
}

function healed() {
  const took = lostAt ? `after ${((performance.now() - lostAt) / 1000).toFixed(1)} s` : "";
  lostAt = 0;
  return took;
}

function showPartial(text, doubtful = false) {
  const partial = $("partial");
  partial.hidden = !text;
  partial.textContent = text;
  partial.classList.toggle("doubtful", doubtful);
  if (text) appeared();
}

function addLine(line) {
  lines.push(line);
  const item = document.createElement("li");
  item.className = line.gap ? "gap" : "new";
  item.append(element("time", brief(line.startMs)), element("p", line.gap ?? line.text));
  $("lines").append(item);
  showPartial("");
  appeared();
}

function addRule(name) {
  const item = element("li", name);
  item.className = "rule";
  $("lines").append(item);
  appeared();
}

/** Something new is at the end: who reads there stays there. */
function appeared() {
  $("hint").hidden = true;
  $("clear").hidden = lines.length === 0;
  const box = $("transcript");
  if (box.scrollHeight - box.scrollTop - box.clientHeight < 160) box.scrollTop = box.scrollHeight;
}

function note(kind, message, more = "") {
  const item = document.createElement("li");
  item.className = kind;
  item.append(
    element("time", new Date().toLocaleTimeString([], { hour12: false })),
    element("p", more ? `${message} (${more})` : message),
  );
  $("events").prepend(item);
  while ($("events").childElementCount > MOST_EVENTS) $("events").lastElementChild.remove();
  $("history").hidden = false;
  $("history-count").textContent = `(${$("events").childElementCount})`;
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function say(text) {
  $("said").textContent = text;
}

// ---- what is taken away

const said = () =>
  lines.filter((line) => line.text).map(({ text, startMs, endMs, words }) => ({ text, startMs, endMs, words }));

async function copy() {
  await navigator.clipboard.writeText(FORMATS.txt.write(said()));
  say("copied");
}

function save(kind) {
  const { type, write } = FORMATS[kind];
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([write(said())], { type }));
  link.download = `transcript.${kind}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  say(`saved as ${link.download}`);
}

function clear() {
  lines.length = 0;
  $("lines").replaceChildren();
  $("hint").hidden = false;
  $("clear").hidden = true;
}

// ---- what is pressed

$("record").onclick = () => void record();
$("clear").onclick = clear;
$("file").onchange = () => {
  const [file] = $("file").files;
  $("file").value = "";
  if (file) void transcribe(file);
};
$("save").onclick = ({ target }) => {
  if (target.dataset.copy !== undefined) void copy();
  else if (target.dataset.save) save(target.dataset.save);
  else return;
  $("save").open = false;
};
document.addEventListener("click", ({ target }) => {
  if (!$("save").contains(target)) $("save").open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") $("save").open = false;
  if (event.key !== " " || event.target.closest?.("button, select, input, summary, label")) return;
  event.preventDefault();
  void record();
});
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    document.body.classList.toggle("dropping", name === "dragover");
    if (name === "drop" && event.dataTransfer.files[0]) void transcribe(event.dataTransfer.files[0]);
  });
}
document.body.dataset.state = "idle";
