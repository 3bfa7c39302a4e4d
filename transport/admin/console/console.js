// The operators' console. It holds one document, the server's state, which server-sent events keep up to date by JSON
// merge patches (RFC 7396), and writes what changed into the page. Text gets there by `textContent` alone.

const PAGE = 100; // sessions shown at first, and more with each "Show more"
const IN_TREE = 12; // sessions shown in the tree
const SILENT = 2; // seconds without a sign of life after which the loop is said to stand still
const LOST = 4; // seconds without a word from the server
const TROUBLE = { recovering: "warn", delayed: "bad", failed: "bad", client_gone: "idle" };
const STATES = { streaming: "good", connecting: "idle", completed: "idle", drained: "idle", taken_over: "idle", over: "idle", ...TROUBLE };
const LIVES = { running: "good", starting: "warn", restarting: "bad", stopping: "warn", stopped: "idle" };
const SEVERITIES = { CRITICAL: "bad", ERROR: "bad", WARNING: "warn", INFO: "idle" };

let state = null; // the document
let skew = 0; // seconds that the server's clock is ahead of ours
let heardAt = 0; // when the server last said anything, by performance.now
let silence = 0; // seconds without a sign of life from its event loop, as it said then
let refusal = ""; // why the server does not talk to us
let shown = PAGE;
let tale = { id: "", events: -1, moments: [] };
let detailOf = ""; // what the open detail is built for

const $ = (id) => document.getElementById(id);
const own = (object, key) => (object && Object.hasOwn(object, key) ? object[key] : undefined);
const now = () => Date.now() / 1000 + skew;
const text = (node, value) => { if (node.textContent !== value) node.textContent = value; };
const set = (node, name, value) => { if (node.getAttribute(name) !== value) node.setAttribute(name, value); };
const look = (node, value) => { if (node.className !== value) node.className = value; };

function make(tag, look, ...children) {
  const node = document.createElement(tag);
  if (look) node.className = look;
  node.append(...children);
  return node;
}

/** Make the children of a node be those of the keys, in order: kept, made, and removed as need be. */
function rows(parent, keys, create, update) {
  const known = (parent.rowsByKey ??= new Map());
  const wanted = new Set(keys);
  const focused = document.activeElement;
  for (const [key, node] of known) if (!wanted.has(key)) { node.remove(); known.delete(key); }
  let before = parent.firstElementChild;
  for (const key of keys) {
    let node = known.get(key);
    if (!node) known.set(key, (node = create(key)));
    if (node === before) before = before.nextElementSibling;
    else parent.insertBefore(node, before);
    update(node, key);
  }
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true }); // it was moved
}

// ---- the document

function merge(target, patch) {
  for (const [key, value] of Object.entries(patch)) {
    const before = own(target, key);
    if (value === null) delete target[key];
    else if (isObject(value) && isObject(before)) merge(before, value);
    else Object.defineProperty(target, key, { value, enumerable: true, writable: true, configurable: true }); // __proto__ is an id like others
  }
}
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

function listen() {
  const events = new EventSource("/events");
  const heard = (change) => (event) => {
    heardAt = performance.now();
    refusal = "";
    change(JSON.parse(event.data));
  };
  const stated = (data) => {
    skew = state.at - Date.now() / 1000;
    silence = 0;
    draw();
  };
  events.addEventListener("state", heard((data) => { state = data; stated(); }));
  events.addEventListener("patch", heard((data) => { merge(state, data); stated(); }));
  events.addEventListener("pulse", heard((data) => { silence = data.silence; drawLink(); }));
  events.onerror = () => {
    if (events.readyState === EventSource.CLOSED) { // it was refused, and does not try again by itself
      why().then((reason) => { refusal = reason; drawLink(); });
      setTimeout(listen, 5000);
    }
  };
}

async function why() {
  try {
    const answer = await fetch("/events", { method: "HEAD" });
    if (answer.status === 401) return "Not signed in. `voxtree observe --login` makes a login link.";
    return answer.ok ? "Eight consoles are open already. Close one; this one tries again." : `The server refuses: ${answer.status}.`;
  } catch {
    return "";
  }
}

// ---- words

function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}
const ago = (when) => (now() - when < 1.5 ? "just now" : `${span(now() - when)} ago`);
const within = (when) => (when - now() <= 0 ? "now" : `in ${(when - now()).toFixed(1)} s`);
const count = (number, what) => `${number.toLocaleString("en")} ${what}${number === 1 ? "" : "s"}`;
const clock = (when) => new Date(when * 1000).toLocaleTimeString("en-GB") + "." + String(Math.floor((when * 1000) % 1000)).padStart(3, "0");
const plain = (word) => word.replaceAll("_", " ");
const link = (kind, name) => `#${kind}/${encodeURIComponent(name)}`;
const entries = (part) => Object.entries(state?.[part] ?? {});

function place() {
  let hash = location.hash.slice(1);
  try { hash = decodeURIComponent(hash); } catch { /* somebody wrote it by hand */ }
  const at = hash.indexOf("/");
  if (at > 0) return { kind: hash.slice(0, at), name: hash.slice(at + 1) };
  return /^[A-Z]+(_\d+)?$/.test(hash) ? { kind: "error", name: hash } : { kind: "", name: "" };
}

// ---- the page

function draw() {
  if (!state || document.hidden) return;
  drawLink();
  drawFacts();
  drawSessions();
  drawWorkers();
  drawBackends();
  drawErrors();
  drawTree();
  drawDetail();
}

function drawLink() {
  const quiet = heardAt ? (performance.now() - heardAt) / 1000 : 0;
  const stuck = silence + quiet;
  let [mood, word, banner] = ["good", "live", ""];
  if (refusal) [mood, word, banner] = ["bad", "refused", refusal];
  else if (!heardAt) [mood, word] = ["idle", "connecting"];
  else if (quiet > LOST) [mood, word, banner] = ["bad", "connection lost", `The connection to the server is lost since ${span(quiet)}; trying again. What you see is from then.`];
  else if (silence && stuck > SILENT) [mood, word, banner] = ["bad", `standstill ${stuck.toFixed(0)} s`, `The event loop stands still since ${stuck.toFixed(0)} s: nothing is recognised. The log says in which code. What you see is from before.`];
  else if (!state) [mood, word] = ["idle", "starting"];
  else {
    const failed = entries("checks").filter(([, check]) => !check.well);
    if (failed.length) {
      word = verdict();
      mood = word === "degraded" ? "warn" : "bad";
      banner = failed.map(([name, check]) => `${name}: ${check.text}`).join(" · ");
    }
  }
  text($("link"), word);
  look($("link"), `pill ${mood}`);
  text($("banner"), banner);
  look($("banner"), `banner ${mood}`);
  $("banner").hidden = !banner;
  document.body.classList.toggle("stale", word === "connection lost" || word.startsWith("standstill"));
  document.body.classList.toggle("live", word === "live");
}

function drawFacts() {
  const about = state.about;
  text($("about"), `${about.host} · ${about.version} · up ${span(now() - about.started)}`);
  document.title = `${about.host} · voxtree`;
  const live = entries("sessions").filter(([, session]) => !session.until);
  const alone = live.filter(([, session]) => !session.connected).length;
  text($("f-sessions"), live.length.toLocaleString("en"));
  text($("f-capacity"), `of ${(state.capacity ?? 0).toLocaleString("en")}`);
  text($("f-waiting"), state.waiting ? `${state.waiting} wait for a backend` : alone ? `${alone} without client` : live.length ? "all clients connected" : "");
  const backends = entries("backends");
  const up = backends.filter(([, backend]) => backend.health === "ready" && !backend.drained);
  text($("f-backends"), `${up.length} of ${backends.length}`);
  look($("f-backends"), up.length === backends.length ? "" : up.length ? "warn" : "bad");
  text($("f-streams"), count(backends.reduce((sum, [, backend]) => sum + backend.streams, 0), "stream"));
  const errors = entries("errors").map(([code, error]) => [code, rate(error)]).filter(([, number]) => number);
  const worst = errors.toSorted((a, b) => b[1] - a[1])[0];
  text($("f-errors"), errors.reduce((sum, [, number]) => sum + number, 0).toLocaleString("en"));
  text($("f-worst"), worst ? `mostly ${worst[0]}` : "");
  text($("f-ready"), verdict());
  look($("f-ready"), { "not ready": "bad", degraded: "warn" }[verdict()] ?? "");
  text($("f-journal"), state.checks?.journal ? `journal ${state.checks.journal.text}` : "");
  drawSpark(state.lags ?? []);
}

function verdict() {
  const failed = entries("checks").filter(([, check]) => !check.well);
  return failed.some(([, check]) => check.vital !== false) ? "not ready" : failed.length ? "degraded" : "ready";
}

/** Errors in the last minute; what the server counted then is over when its last one is older than that. */
const rate = (error) => (now() - error.last > 60 ? 0 : error.rate ?? 0);

function drawSpark(lags) {
  const top = Math.max(10, ...lags);
  const points = lags.map((lag, index) => `${240 - lags.length + index + 1},${(35 - (lag / top) * 32).toFixed(1)}`);
  text($("f-lag"), lags.length ? `${lags.at(-1).toFixed(lags.at(-1) < 10 ? 1 : 0)} ms` : "–");
  text($("f-lag-most"), lags.length ? `now, ${Math.max(...lags).toFixed(0)} at most` : "");
  const [area, line] = $("spark").children;
  set(line, "points", points.join(" "));
  set(area, "d", points.length ? `M${240 - lags.length + 1},36L${points.join("L")}L240,36Z` : "");
}

// ---- sessions

const FILTERS = {
  trouble: (session) => session.state in TROUBLE && session.state !== "client_gone",
  live: (session) => !session.until,
  alone: (session) => !session.until && !session.connected,
  ended: (session) => Boolean(session.until),
};
const weight = ([, session]) => (session.until ? 4 : { delayed: 0, recovering: 1, connecting: 2 }[session.state] ?? 3);
const ORDERS = {
  trouble: (a, b) => weight(a) - weight(b) || b[1].since - a[1].since || (a[0] < b[0] ? -1 : 1),
  new: (a, b) => b[1].since - a[1].since || (a[0] < b[0] ? -1 : 1),
  lag: (a, b) => (b[1].lag ?? 0) - (a[1].lag ?? 0) || (a[0] < b[0] ? -1 : 1),
  id: (a, b) => (a[0] < b[0] ? -1 : 1),
};

function drawSessions() {
  const wanted = $("search").value.trim().toLowerCase();
  const passes = FILTERS[$("filter").value] ?? (() => true);
  const all = entries("sessions");
  const found = all.filter(([id, session]) => passes(session) && (!wanted || id.toLowerCase().includes(wanted) || (session.backend ?? "").toLowerCase().includes(wanted)));
  found.sort(ORDERS[$("order").value]);
  const part = found.slice(0, shown);
  const here = place();
  rows($("rows"), part.map(([id]) => id), makeSession, (row, id) => drawSession(row, id, here.kind === "session" && here.name === id));
  $("none").hidden = part.length > 0;
  text($("none"), all.length ? "None that fits." : "No sessions yet.");
  text($("shown"), found.length > part.length ? `${part.length} of ${found.length.toLocaleString("en")} shown` : found.length < all.length ? `${found.length.toLocaleString("en")} of ${all.length.toLocaleString("en")}` : "");
  $("more").hidden = found.length <= part.length;
  $("rest").hidden = $("more").hidden && !$("shown").textContent;
}

function makeSession(id) {
  const name = make("a", "", id);
  name.href = link("session", id);
  const row = make("tr", "", make("td", "", name), make("td", "", make("span", "pill")));
  for (const look of ["", "n", "n", "n", "", "n", "n"]) row.append(make("td", look));
  return row;
}

function drawSession(row, id, here) {
  const session = state.sessions[id];
  const cells = row.cells;
  look(row, here ? "here" : "");
  text(cells[1].firstChild, plain(session.state));
  look(cells[1].firstChild, `pill ${STATES[session.state] ?? "idle"}`);
  text(cells[2], session.until ? "–" : session.connected ? "connected" : "away");
  look(cells[2], session.until || session.connected ? "quiet" : "warn");
  text(cells[3], span((session.until ?? now()) - session.since));
  text(cells[4], `${(session.received ?? 0).toFixed(1)} s`);
  text(cells[5], session.until ? "–" : `${(session.lag ?? 0).toFixed(1)} s`);
  look(cells[5], (session.lag ?? 0) > 20 ? "n warn" : "n");
  text(cells[6], session.worker ? `${session.backend || "–"} @${session.worker}` : session.backend || "–");
  text(cells[7], session.until ? "–" : String(session.finals ?? 0));
  text(cells[8], session.until ? "–" : String(session.resumes ?? 0));
}

// ---- workers

function drawWorkers() {
  const all = entries("workers");
  $("workers-card").hidden = !all.length;
  $("replace-all").hidden = !state.about.actions;
  rows($("workers"), all.map(([number]) => number), makeWorker, (card, number) => {
    const worker = state.workers[number];
    const [head, facts, more, buttons] = card.children;
    const late = (worker.beat ?? 0) > SILENT;
    text(head.children[1], worker.pid ? `pid ${worker.pid} · up ${span(now() - worker.since)}` : "");
    text(head.children[2], late ? "silent" : worker.state);
    look(head.children[2], `pill end ${late ? "bad" : { serving: "good", starting: "warn" }[worker.state] ?? "bad"}`);
    text(facts.children[0], count(worker.sessions ?? 0, "session"));
    text(facts.children[1], worker.beat === undefined ? "" : `heard of ${worker.beat.toFixed(1)} s ago · ${(worker.lag ?? 0).toFixed(0)} ms late`);
    text(more, [worker.lives > 1 ? `process number ${worker.lives}` : "", worker.retiring ? "the one before is on its way out" : ""].filter(Boolean).join(" · "));
    more.hidden = !more.textContent;
    buttons.hidden = !state.about.actions;
  });
}

function makeWorker(number) {
  const again = make("button", "", "Replace");
  again.onclick = () => act({ action: "restart", path: `voxtree/workers/worker:${number}` }, `Replace worker ${number}?`, "Another process takes its place; its clients go on there, and miss nothing.");
  return make("div", "backend", make("div", "line", make("span", "name", `worker ${number}`), make("span", "small"), make("span", "pill")), make("div", "line small", make("span"), make("span", "end")), make("div", "line small"), make("div", "buttons", again));
}

// ---- backends

function drawBackends() {
  const here = place();
  rows($("backends"), entries("backends").map(([name]) => name), makeBackend, (card, name) => {
    const backend = state.backends[name];
    const [head, gauge, facts, troubles, buttons] = card.children;
    look(card, here.kind === "backend" && here.name === name ? "backend here" : "backend");
    const [mood, word] = condition(backend);
    text(head.children[1], backend.tier);
    text(head.children[2], word);
    look(head.children[2], `pill end ${mood}`);
    const full = Math.min(1, backend.streams / Math.max(1, backend.cap));
    gauge.firstChild.style.width = `${100 * full}%`;
    set(gauge, "aria-valuenow", String(backend.streams));
    set(gauge, "aria-valuemax", String(backend.cap));
    const lowered = backend.cap < backend.most ? ` (lowered from ${backend.most})` : "";
    text(facts.children[0], `${backend.streams} of ${count(backend.cap, "stream")}${lowered}`);
    text(facts.children[1], backend.probe_at ? `asked again ${within(backend.probe_at)}` : "");
    const pause = backend.free_at && backend.free_at > now() ? ` · streams again ${within(backend.free_at)}` : "";
    text(troubles.children[0], backend.breaker === "closed" && !pause ? "" : `breaker ${plain(backend.breaker)}${pause}`);
    look(troubles.children[0], backend.breaker === "open" ? "bad" : "warn");
    text(troubles.children[1], backend.last_code ? `last error ${backend.last_code}, ${ago(backend.last_code_at)}` : "");
    if (backend.last_code) set(troubles.children[1], "href", link("error", backend.last_code));
    troubles.hidden = !troubles.textContent;
    buttons.hidden = !state.about.actions;
    text(buttons.children[0], backend.drained ? "Use again" : "Drain");
    text(buttons.children[1], backend.breaker === "closed" ? "Trip breaker" : "Close breaker");
  });
}

function condition(backend) {
  if (backend.leaving) return ["idle", "leaving"];
  if (backend.drained) return ["warn", "drained"];
  if (backend.health === "suspect") return ["bad", "down"];
  if (backend.health === "unknown") return ["idle", "unknown"];
  return backend.breaker === "closed" ? ["good", "ready"] : ["warn", plain(backend.breaker)];
}

function makeBackend(name) {
  const title = make("a", "name", name);
  title.href = link("backend", name);
  const gauge = make("div", "gauge", make("i"));
  set(gauge, "role", "meter");
  set(gauge, "aria-label", `streams of ${name}`);
  const drain = make("button"), trip = make("button");
  drain.onclick = () => (state.backends[name].drained ? act({ action: "undrain", backend: name }, `Use ${name} again?`, "It gets new streams again.") : act({ action: "drain", backend: name }, `Drain ${name}?`, "It gets no new streams; those it has move on when their utterances end."));
  trip.onclick = () => (state.backends[name].breaker === "closed" ? act({ action: "trip", backend: name }, `Trip the breaker of ${name}?`, "It gets no new streams for a minute, then one that tries.") : act({ action: "close_breaker", backend: name }, `Close the breaker of ${name}?`, "It gets streams at once, whatever failed."));
  const card = make("div", "backend", make("div", "line", title, make("span", "small"), make("span", "pill")), gauge, make("div", "line small", make("span"), make("span", "end")), make("div", "line small", make("span"), make("a", "end")), make("div", "buttons", drain, trip));
  return card;
}

// ---- errors

function drawErrors() {
  const here = place();
  const all = entries("errors").sort((a, b) => b[1].last - a[1].last);
  $("well").hidden = all.length > 0;
  rows($("errors"), all.map(([code]) => code), makeError, (node, code) => {
    const error = state.errors[code];
    const [dot, name, what, times] = node.firstChild.firstChild.children;
    look(node, here.kind === "error" && here.name === code ? "error here" : "error");
    look(dot, `dot ${SEVERITIES[error.severity]}`);
    set(dot, "title", error.severity);
    text(name, code);
    text(what, plain(error.name.slice(error.name.indexOf("_") + 1)).toLowerCase());
    text(times, `${error.count.toLocaleString("en")} × · ${ago(error.last)}`);
    if (!node.open) return;
    const [meaning, remedy, said, facts] = node.lastChild.children;
    text(meaning, error.meaning);
    text(remedy.lastChild, error.remedy);
    text(said, error.detail ?? "");
    said.hidden = !error.detail;
    text(facts.children[0], `${error.severity.toLowerCase()} · ${rate(error)} in the last minute · first ${ago(error.first)}`);
    const live = own(state.sessions, error.where ?? "");
    text(facts.children[1], live ? `last in session ${error.where}` : error.where ? `last in ${error.where}` : "");
    if (live) set(facts.children[1], "href", link("session", error.where));
    else facts.children[1].removeAttribute("href");
  });
}

function makeError(code) {
  const head = make("summary", "", make("div", "line", make("span", "dot"), make("b", "mono"), make("span", "small"), make("span", "small end")));
  const remedy = make("p", "", make("b", "", "What to do: "), make("span"));
  const body = make("div", "", make("p"), remedy, make("p", "said"), make("div", "line small", make("span"), make("a")));
  const node = make("details", "error", head, body);
  node.ontoggle = () => drawErrors();
  return node;
}

// ---- the tree

function drawTree() {
  const below = new Map();
  for (const [path] of entries("tree")) {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf("/")));
    below.set(parent, [...(below.get(parent) ?? []), path]);
  }
  drawBranch($("tree"), below.get("") ?? [], below);
}

function drawBranch(parent, paths, below) {
  rows(parent, paths, (path) => makeNode(path, state.tree[path].strategy), (node, path) => {
    const facts = state.tree[path];
    drawNode(node.tagName === "DETAILS" ? node.firstChild : node, path.slice(path.lastIndexOf("/") + 1), facts, path);
    if (node.tagName !== "DETAILS" || !node.open) return;
    if (facts.strategy === "dynamic") drawSessionBranch(node.lastChild, path);
    else drawBranch(node.lastChild, below.get(path) ?? [], below);
  });
}

function drawSessionBranch(parent, above) {
  const worker = /\/worker:(\d+)\//.exec(above)?.[1];
  const here = ([, session]) => !session.until && session.worker === worker;
  const live = entries("sessions").filter(here).sort(ORDERS.trouble);
  const keys = live.slice(0, IN_TREE).map(([id]) => id);
  if (live.length > keys.length) keys.push(" more"); // no session has a space in its id
  rows(parent, keys, (id) => (id === " more" ? make("div", "leaf small") : makeNode(`${above}/session:${id}`, "rest_for_one", id)), (node, id) => {
    if (id === " more") return text(node, `… ${(live.length - IN_TREE).toLocaleString("en")} more; find them in the list`);
    const session = state.sessions[id];
    drawNode(node.firstChild, `session:${id}`, { state: "running", restarts: session.restarts, limit: session.limit }, "");
    if (node.open) drawParts(node.lastChild, id, `${above}/session:${id}`);
  });
}

function drawParts(parent, id, above) {
  rows(parent, Object.keys(state.sessions[id].parts ?? {}), (name) => makeNode(`${above}/${name}`), (leaf, name) => {
    const facts = state.sessions[id].parts[name];
    drawNode(leaf, name, name === "session" ? { ...facts, mailbox: state.sessions[id].mailbox ?? 0 } : facts, `${above}/${name}`);
  });
}

function makeNode(path, strategy, session) {
  const line = [make("span", "dot"), make(session ? "a" : "span", "name"), make("span", "small")];
  if (session) line[1].href = link("session", session);
  if (!strategy) {
    const again = make("button", "", "Restart");
    set(again, "aria-label", `Restart ${path}`);
    again.onclick = () => act({ action: "restart", path }, `Restart ${path}?`, "It is stopped in order, and started again.");
    return make("div", "leaf", ...line, again);
  }
  const node = make("details", "", make("summary", "", ...line), make("div"));
  node.open = !session && !path.endsWith("/admin");
  node.ontoggle = () => drawTree();
  return node;
}

function drawNode(line, name, facts, path) {
  const [dot, title, about, again] = line.children;
  look(dot, `dot ${LIVES[facts.state] ?? "idle"}`);
  set(dot, "title", facts.state);
  text(title, name);
  const words = [];
  if (facts.state !== "running") words.push(facts.state);
  if (facts.number > 1) words.push(`life ${facts.number}`);
  if (facts.mailbox !== undefined) words.push(`mailbox ${facts.mailbox}`);
  if (facts.strategy) words.push(plain(facts.strategy));
  if (facts.limit !== undefined) words.push(`${facts.restarts ?? 0}/${facts.limit} restarts${facts.window ? ` in ${facts.window} s` : ""}`);
  if (facts.last_exit) words.push(`last: ${facts.last_exit}`);
  text(about, words.join(" · "));
  set(about, "title", words.join("\n"));
  look(about, facts.restarts || facts.state === "restarting" ? "small warn" : "small");
  if (again) again.hidden = !state.about.actions || path.includes("/admin/");
}

// ---- one session

function drawDetail() {
  const { kind, name } = place();
  const node = $("detail");
  const key = kind === "session" ? name : "";
  node.hidden = !key;
  if (key !== detailOf) {
    detailOf = key;
    tale = { id: key, events: -1, moments: [] };
    node.replaceChildren(...(key ? makeDetail(key) : []));
    if (key) node.focus({ preventScroll: true }), node.scrollIntoView({ block: "nearest" });
  }
  if (!key) return;
  const session = own(state.sessions, key);
  const [bar, facts, parts, list] = node.children;
  text(bar.children[1], session ? plain(session.state) : "gone");
  look(bar.children[1], `pill ${STATES[session?.state] ?? "idle"}`);
  bar.children[2].hidden = !state.about.actions || !session || Boolean(session.until);
  drawTale(list);
  if (!session) return;
  const live = !session.until;
  const known = {
    client: live ? (session.connected ? "connected" : "away") : "–",
    age: span((session.until ?? now()) - session.since),
    received: `${(session.received ?? 0).toFixed(1)} s`,
    ...(live && { durable: `${(session.durable ?? 0).toFixed(1)} s`, lag: `${(session.lag ?? 0).toFixed(1)} s`, "finals (acked)": `${session.finals ?? 0} (${session.acked ?? 0})`, backend: session.backend || "–", epoch: String(session.epoch ?? 1), resumes: String(session.resumes ?? 0), restarts: `${session.restarts ?? 0} of ${session.limit ?? 0}` }),
    ...(session.code && { error: session.code }),
  };
  rows(facts, Object.keys(known), (name) => make("div", "", make("dt", "", name), make("dd")), (pair, name) => text(pair.lastChild, known[name]));
  drawParts(parts, key, `voxtree/sessions/session:${key}`);
  if (tale.events !== (session.events ?? 0)) fetchTale(key, session.events ?? 0);
}

function makeDetail(id) {
  const title = make("h2", "mono", id);
  title.id = "detail-title";
  const end = make("button", "danger", "Close session");
  end.onclick = () => act({ action: "close_session", session: id }, `Close session ${id}?`, "No more of its audio is taken. Its client gets the last words, and that all was said.");
  const close = make("button", "", "✕");
  set(close, "aria-label", "Close the details");
  close.onclick = leave;
  return [make("div", "bar", title, make("span", "pill"), end, close), make("dl"), make("div", "tree"), make("ol", "tale")];
}

async function fetchTale(id, events) {
  tale.events = events; // not again for the same
  try {
    const answer = await fetch(`/debug/session.json?id=${encodeURIComponent(id)}`);
    if (answer.ok && tale.id === id) tale.moments = (await answer.json()).moments ?? [];
  } catch {
    tale.events = -1;
  }
  drawDetail();
}

const KINDS = { "stream lost": "bad", crashed: "bad", gap: "bad", "gave up": "bad", recovered: "good", resumed: "good", left: "warn", told: "warn", waits: "warn", moved: "warn" };

function drawTale(list) {
  if (list.told === tale.moments) return;
  list.told = tale.moments;
  const moments = new Map(tale.moments.toReversed().map((moment) => [`${moment.at} ${moment.what} ${moment.text}`, moment]));
  rows(list, [...moments.keys()], () => make("li", "", make("time"), make("span"), make("span", "text")), (item, key) => {
    const moment = moments.get(key);
    text(item.children[0], clock(moment.at));
    text(item.children[1], moment.what);
    look(item.children[1], `what ${KINDS[moment.what] ?? ""}`);
    if (item.children[2].childNodes.length) return;
    item.children[2].append(moment.text);
    if (moment.code) {
      const code = make("a", "mono", moment.code);
      code.href = link("error", moment.code);
      item.children[2].append(" ", code);
    }
  });
}

// ---- what there is to do

async function act(order, title, explanation) {
  const ask = $("ask");
  text($("ask-title"), title);
  text($("ask-text"), explanation);
  text($("ask-yes"), title.split(" ")[0]);
  $("ask-yes").hidden = false;
  ask.returnValue = "no";
  ask.showModal();
  await new Promise((closed) => ask.addEventListener("close", closed, { once: true }));
  if (ask.returnValue !== "yes") return;
  try {
    const answer = await fetch("/actions", { method: "POST", headers: { "X-Voxtree-Action": "console", "Content-Type": "application/json" }, body: JSON.stringify(order) });
    if (!answer.ok) tell("It was not done", await answer.text());
  } catch {
    tell("It is not known whether it was done", "The server did not answer.");
  }
}

function tell(title, explanation) {
  text($("ask-title"), title);
  text($("ask-text"), explanation);
  $("ask-yes").hidden = true;
  $("ask").showModal();
}

function leave() {
  const row = $("rows").rowsByKey?.get(place().name);
  history.pushState(null, "", location.pathname);
  draw();
  row?.querySelector("a").focus();
}

function go() {
  draw();
  const { kind, name } = place();
  if (kind === "error" || kind === "backend") {
    const node = $(kind === "error" ? "errors" : "backends").rowsByKey?.get(name);
    if (kind === "error" && node) node.open = true;
    node?.scrollIntoView({ block: "center" });
  }
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || $("ask").open) return;
  const typing = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key === "/" && !typing) {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "Escape") {
    if (event.target === $("search") && $("search").value) { $("search").value = ""; draw(); }
    else if (place().kind) leave();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && (event.target === $("search") || event.target.closest?.("#rows"))) {
    const all = [...$("rows").querySelectorAll("a")];
    const at = all.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
    event.preventDefault();
    (at < 0 ? $("search") : all[Math.min(at, all.length - 1)])?.focus();
  }
}

let drawnFor = "";
function first() { // what the address names can be shown only once there is a state
  if (state && drawnFor !== location.hash) { drawnFor = location.hash; go(); }
}

for (const id of ["search", "filter", "order"]) $(id).addEventListener("input", () => { shown = PAGE; draw(); });
$("replace-all").onclick = () => act({ action: "replace_workers" }, "Replace all workers?", "One after the other gets a successor; clients go on there, and miss nothing.");
$("more").onclick = () => { shown += PAGE; draw(); };
addEventListener("hashchange", go);
addEventListener("popstate", () => draw());
addEventListener("keydown", onKey);
document.addEventListener("visibilitychange", draw);
setInterval(() => { if (state) { draw(); first(); } else drawLink(); }, 250); // ages and countdowns tick
listen();
