/**
 * voxtree in the browser: speech to a voxtree server, its words back, over as many connections as it takes.
 *
 *     import { VoxtreeSession } from "https://HOST/client.js";
 *     const session = new VoxtreeSession({ url: "wss://HOST/transcribe", language: "en-US" });
 *     session.on("final", ({ text }) => console.log(text));
 *     await session.start();   // asks for the microphone
 *     await session.stop();    // when all words are there
 *
 * One module without dependencies. It may be its own audio worklet: read there, it only registers the processor.
 */

/**
 * @typedef {"idle"|"requesting-mic"|"connecting"|"live"|"reconnecting"|"degraded"|"delayed"|"draining"|"closed"} State
 * @typedef {"none"|"reconnect"|"retry"|"stop_recording"|"fix_config"|"new_session"|"new_token"|"help"|"secure"|"microphone"} Action
 * @typedef {{ text: string, startMs: number, endMs: number, confidence: number }} Word
 * @typedef {{ seq: number, text: string, startMs: number, endMs: number, words: Word[], confidence?: number,
 *   source: string, provisional: boolean }} Final
 * @typedef {{ text: string, startMs: number, endMs: number, stability?: number, source: string, similarity?: number }} Partial
 * @typedef {{ seq: number, startMs: number, endMs: number, code: string, message: string }} Gap
 * @typedef {{ state: State, code: string, message: string, attempt?: number, retryInMs?: number }} Status
 * @typedef {{ sessionId: string, resumed: boolean, durability: string }} Ready
 * @typedef {{ state: State, partial: Partial, final: Final, gap: Gap, status: Status, error: VoxtreeError, ready: Ready,
 *   level: number, problem: VoxtreeError | null }} Events
 *
 * @typedef {object} Options
 * @property {string} url where the server listens: `wss://HOST/transcribe`
 * @property {(options: { refresh: boolean }) => string | Promise<string>} [getToken] a token for each connection, sent as a
 *   subprotocol; `refresh`: the last one was refused
 * @property {string} [language] BCP-47; `en-US`
 * @property {Record<string, unknown>} [config] more of the protocol's `start` config
 * @property {MediaTrackConstraints} [constraints] for the microphone
 * @property {number} [keepSeconds] of audio that the server has not settled; the oldest goes when there is more
 * @property {"auto"|"always"} [resample] `always`: not by the browser, which is usual where it can
 * @property {Record<string, string>} [texts] sentences by code, and labels by name, in place of the English ones
 * @property {(error: VoxtreeError) => void} [onSettings] lets the user change what was refused, such as the language
 * @property {() => number} [random] numbers from 0 to 1
 */

export const SAMPLE_RATE = 16000;

// What codes say and what is to be done about them, from the server's catalogue: python -m transport.web
// <catalogue>
/** @type {Record<string, [string, Action, number]>} */
const CATALOGUE = {
  CONN_001: ["Connection closed", "reconnect", 0],
  CONN_002: ["Connection timed out. Please reconnect.", "reconnect", 4408],
  CONN_003: ["Invalid message format", "fix_config", 1008],
  CONN_004: ["You may not connect from here.", "fix_config", 4401],
  CONN_005: ["The service is busy. Please try again shortly.", "retry", 1013],
  CONN_006: ["The service is restarting. Please reconnect.", "reconnect", 1012],
  CONN_007: ["Your connection is too slow to receive the transcript.", "reconnect", 1013],
  CONN_008: ["Your session could not be resumed. What you have stays valid; please start a new one.", "new_session", 4404],
  CONN_009: ["This session is already open elsewhere.", "new_session", 4409],
  CONN_010: ["This session goes on in another connection.", "none", 4409],
  CONN_011: ["Please sign in again.", "new_token", 4401],
  CONN_012: ["There are too many connections from you. Please try again shortly.", "retry", 1013],
  RIVA_001: ["Service temporarily unavailable", "none", 1013],
  RIVA_002: ["Language not supported", "fix_config", 4404],
  RIVA_003: ["Service capacity reached. Please try again later.", "none", 1013],
  RIVA_004: ["Service temporarily unavailable", "none", 1011],
  RIVA_005: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_006: ["The speech service is slow. Keep talking, nothing is lost.", "none", 0],
  RIVA_007: ["The speech service is starting. Keep talking, nothing is lost.", "none", 1013],
  RIVA_008: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_009: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_010: ["The speech service does not support these settings.", "fix_config", 1008],
  RIVA_011: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_012: ["Service temporarily unavailable", "none", 1011],
  RIVA_013: ["Transcription is delayed. Keep talking, the words will follow.", "none", 1013],
  RIVA_014: ["The speech service is busy. Keep talking, nothing is lost.", "none", 0],
  RIVA_015: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_016: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  RIVA_099: ["Reconnecting to the speech service. Keep talking, nothing is lost.", "none", 0],
  AUDIO_001: ["Invalid audio format. Please use PCM16.", "fix_config", 1003],
  AUDIO_002: ["Audio chunk too large", "fix_config", 1009],
  AUDIO_003: ["Failed to process audio", "fix_config", 0],
  AUDIO_004: ["Part of the audio could not be transcribed.", "none", 0],
  AUDIO_006: ["Part of the audio could not be transcribed.", "none", 0],
  AUDIO_007: ["Part of the audio could not be transcribed.", "none", 0],
  JOURNAL_001: ["Transcription is delayed. Keep talking, the words will follow.", "none", 1013],
  JOURNAL_002: ["Transcription is delayed. Keep talking, the words will follow.", "none", 1013],
  JOURNAL_003: ["Service temporarily unavailable", "retry", 1013],
  SYS_001: ["An unexpected error occurred", "new_session", 1011],
  SYS_002: ["Service temporarily unavailable", "retry", 1013],
  SYS_003: ["Service temporarily unavailable", "reconnect", 1012],
  SYS_004: ["Service temporarily unavailable", "none", 0],
  SYS_005: ["The service is slow. Keep talking, nothing is lost.", "none", 0],
  SYS_006: ["Service temporarily unavailable", "none", 0],
  SYS_007: ["The connection was interrupted. Reconnecting.", "none", 0],
  ALERT_001: ["Service temporarily unavailable", "none", 0],
  UNKNOWN: ["An unexpected error occurred", "new_session", 1011],
};
// </catalogue>

/** What happens on this side of the line. @type {Record<string, [string, Action]>} */
const OWN = {
  MIC_DENIED: ["The microphone is blocked for this page.", "help"],
  MIC_NONE: ["No microphone was found. Plug one in, then try again.", "retry"],
  MIC_IN_USE: ["The microphone is used by another program. Close it, then try again.", "retry"],
  MIC_INSECURE: ["Browsers give the microphone to secure pages only.", "secure"],
  MIC_UNPLUGGED: ["The microphone was disconnected. What you said until then is safe.", "microphone"],
  MIC_FAILED: ["The microphone could not be started.", "retry"],
  NET_OFFLINE: ["You are offline. What you say is kept, and sent when you are back.", "reconnect"],
  NET_LOST: ["The connection was lost. Keep talking, what you say is kept.", "reconnect"],
  NET_UNREACHABLE: ["The server cannot be reached.", "retry"],
  NET_GAVE_UP: ["The connection could not be restored. What you have stays valid.", "new_session"],
  TOKEN_FAILED: ["Your sign-in could not be renewed. Please sign in again.", "retry"],
  FILE_UNREADABLE: ["This file holds no audio that the browser can read.", "none"],
  PROTOCOL: ["The server does not understand this page.", "none"],
};

/** @type {Record<string, string>} */
const LABELS = {
  reconnect: "Reconnect now",
  retry: "Try again",
  retry_in: "Try again ({s} s)",
  stop_recording: "Stop recording",
  fix_config: "Change the settings",
  new_session: "Start a new session",
  new_token: "Sign in again",
  help: "Show how to allow it",
  secure: "Open the secure page",
  microphone: "Use another microphone",
};

/** How to allow the microphone, by browser. */
const HELP = {
  firefox: "Click the crossed-out microphone left of the address, remove the block, and press record again.",
  ios: "Open Settings › Apps › Safari › Microphone, choose Allow, and reload this page.",
  safari: "Open Safari › Settings › Websites › Microphone, choose Allow for this page, and press record again.",
  chromium: "Click the icon left of the address, set Microphone to Allow, and press record again.",
};

/** Something a user should read. */
export class VoxtreeError extends Error {
  /**
   * @param {string} code the catalogue's, or one of this module's (`MIC_…`, `NET_…`)
   * @param {{ message?: string, action?: Action, detail?: string, retryAfterMs?: number, fatal?: boolean, ref?: string }} [more]
   */
  constructor(code, { message, action, detail = "", retryAfterMs, fatal = true, ref = "" } = {}) {
    const [known, todo] = described(code);
    super(message ?? known);
    this.name = "VoxtreeError";
    this.code = code;
    this.category = code.split("_")[0];
    /** What to do. @type {Action} */
    this.action = action ?? todo;
    /** For developers. */
    this.detail = detail;
    this.retryable = this.action === "retry" || this.action === "reconnect";
    /** When to come again, if somebody said so. */
    this.retryAfterMs = retryAfterMs;
    /** The session is over. */
    this.fatal = fatal;
    /** What finds it in the server's log. */
    this.ref = ref;
  }
}

/** Every code that a user may meet. */
export const codes = () => [...Object.keys(CATALOGUE), ...Object.keys(OWN)];

/** @param {string} code @returns {[string, Action]} */
const described = (code) =>
  /** @type {any} */ (OWN)[code] ?? /** @type {any} */ (CATALOGUE)[code] ?? /** @type {any} */ (CATALOGUE).UNKNOWN;

// ---- what is sent: audio that is kept until the server has settled it

const MESSAGE_SAMPLES = SAMPLE_RATE / 5;
const SLACK = 0.1; // of a full ring given up when coming back, so that it does not overflow again at once

/** Audio without a hole from sample `start` to `end`, read from `position`. */
export class Track {
  /** @param {number} keepSeconds */
  constructor(keepSeconds) {
    this.start = 0;
    this.end = 0;
    this.position = 0;
    this.stopped = false;
    this.capacity = Math.max(MESSAGE_SAMPLES, Math.round(keepSeconds * SAMPLE_RATE));
    this._ring = new Int16Array(this.capacity);
    /** @type {number[]} */
    this._marks = [];
    this._nextMark = 0;
    this._stopSent = false;
    this._durable = 0;
    this._catchUp = { from: 0, to: 0, began: 0, credit: 0 };
  }

  /** How many samples fit without losing any. */
  get room() {
    return this.capacity - (this.end - this.start);
  }

  /**
   * Keep audio that follows. `drops`: all of it, at the cost of the oldest; else what fits.
   * @param {Int16Array} samples
   * @param {boolean} drops
   * @returns {number} how many were taken
   */
  append(samples, drops) {
    const taken = drops ? samples.length : Math.min(samples.length, this.room);
    const kept = samples.subarray(Math.max(0, taken - this.capacity), taken);
    const at = (this.end + taken - kept.length) % this.capacity;
    const before = Math.min(kept.length, this.capacity - at);
    this._ring.set(kept.subarray(0, before), at);
    this._ring.set(kept.subarray(before), 0);
    this.end += taken;
    this._forget(this.end - this.capacity);
    return taken;
  }

  /** End an utterance at the last sample. */
  mark() {
    if (!(this._marks.at(-1) === this.end)) this._marks.push(this.end);
  }

  /** Nobody will ask for anything below. @param {number} durable */
  settle(durable) {
    this._durable = Math.max(this._durable, durable);
    this._forget(Math.min(durable, this.position));
    const settled = this._marks.filter((mark) => mark < this._durable).length;
    this._marks.splice(0, settled);
    this._nextMark = Math.max(0, this._nextMark - settled);
  }

  /** After an overflow: give up a little more. */
  makeRoom() {
    if (this.start > this._durable) this._forget(this.end - Math.round((1 - SLACK) * this.capacity));
  }

  /**
   * Go on from a position; what is there now goes at `credit` samples a second, 0: at once.
   * @param {number} position @param {number} now @param {number} credit
   */
  rewind(position, now, credit) {
    this.position = position;
    this._nextMark = this._marks.filter((mark) => mark < position).length;
    this._stopSent = false;
    this._catchUp = { from: position, to: this.end, began: now, credit };
  }

  /**
   * What to send; null: nothing yet.
   * @param {number} now
   * @returns {Int16Array | { event: string } | null}
   */
  nextMessage(now) {
    const mark = this._marks[this._nextMark];
    if (mark !== undefined && mark <= this.position) {
      this._nextMark += 1;
      return { event: "finalize" };
    }
    if (this.position < this.end) return this.pause(now) > 0 ? null : this._read(Math.min(this.end, mark ?? Infinity));
    if (!this.stopped || this._stopSent) return null;
    this._stopSent = true;
    return { event: "stop" };
  }

  /** Milliseconds until the credit allows for the next message. @param {number} now */
  pause(now) {
    const { from, to, began, credit } = this._catchUp;
    const left = to - this.position;
    if (left <= 0 || !credit) return 0;
    const due = this.position + Math.min(left, MESSAGE_SAMPLES) - from;
    return Math.max(0, began + (1000 * due) / credit - now);
  }

  /** @param {number} end */
  _read(end) {
    const samples = new Int16Array(Math.min(MESSAGE_SAMPLES, end - this.position));
    const at = this.position % this.capacity;
    const before = Math.min(samples.length, this.capacity - at);
    samples.set(this._ring.subarray(at, at + before), 0);
    samples.set(this._ring.subarray(0, samples.length - before), before);
    this.position += samples.length;
    return samples;
  }

  /** @param {number} position */
  _forget(position) {
    this.start = Math.max(this.start, Math.min(position, this.end));
  }
}

// ---- the rules of a session over its connections: no socket, no timer, time is an argument

const PING_MS = 2000; // without a word from the server until it is asked for one
const DEAD_MS = 5000; // … until the connection counts as lost: a host that is gone resets nothing
const READY_MS = 10000; // what opening it may take, and `ready`
const HELD_UP_MS = 60000; // the same for a recording that the server lets wait
const MARGIN_MS = 10000; // tried beyond the server's resume window: clocks and networks are not exact
const FIRST_MS = 5000; // a server that was never reached is tried for so long
/** What the server calls the session's states. @type {Record<string, State>} */
const STATES = { streaming: "live", recovering: "live", degraded: "degraded", delayed: "delayed" };
const PAUSES_MS = [250, 350]; // before another attempt, at most: drawn from 0 on, so that a crowd comes apart

/**
 * @typedef {object} Host what a Core has done
 * @property {(delay: number) => void} connect
 * @property {(abort: boolean) => void} hangUp
 * @property {(name: keyof Events, event: any) => void} deliver
 * @property {(error: VoxtreeError | null) => void} finish
 */

class Core {
  /**
   * @param {Host} host
   * @param {{ config: object, live: boolean, keepSeconds: number, canRefresh: boolean, random: () => number, now: number }} options
   */
  constructor(host, { config, live, keepSeconds, canRefresh, random, now }) {
    /** @type {"connecting"|"greeting"|"open"|"over"} */
    this.state = "connecting";
    this.sessionId = "";
    this.track = new Track(keepSeconds);
    this.refresh = false; // the next connection needs another token
    this._host = host;
    this._config = config;
    this._live = live;
    this._canRefresh = canRefresh;
    this._random = random;
    this._token = "";
    this._seq = 0; // the last final's or gap's
    this._end = 0; // … and where it ended
    this._seqSent = 0; // the last that we said we have
    this._received = 0; // samples that the server says it has
    /** @type {object[]} */
    this._outgoing = [];
    this._heardAt = 0;
    this._pinged = false;
    /** @type {number | null} */
    this._lostAt = now; // it is to be found
    this._patience = FIRST_MS;
    this._window = 0;
    this._attempt = 0;
  }

  // -- what the application says

  /** @param {Int16Array} samples @param {number} now */
  take(samples, now) {
    const taken = this.track.append(samples, this._live);
    if (this.state === "open" && this.track.start > this.track.position) this._drop("NET_LOST", now);
    return taken;
  }

  // -- what happens to the connection

  /** @param {number} now */
  connected(now) {
    this.state = "greeting";
    this._heardAt = now;
    this._pinged = false;
    this.track.makeRoom();
    const resume = { token: this._token, seq: this._seq, end: this._end, oldest: this.track.start };
    this._outgoing = [{ event: "start", config: this._config, ...(this._token && { resume }) }];
  }

  /** It ended, or could not be opened. @param {string} code @param {number} now */
  lost(code, now) {
    if (this.state !== "over") this._again(code, now);
  }

  /** To be called about twice a second while there is a connection. @param {number} now */
  tick(now) {
    if (this.state !== "greeting" && this.state !== "open") return;
    const silent = now - this._heardAt;
    const heldUp = !this._live && this._received < this.track.position;
    const patience = this.state === "greeting" ? READY_MS : heldUp ? HELD_UP_MS : DEAD_MS;
    if (silent > patience) {
      this._drop("NET_LOST", now, { abort: true });
    } else if (this.state === "open" && silent >= PING_MS && !this._pinged) {
      this._pinged = true;
      this._outgoing.push({ event: "ping" });
    }
  }

  /** @param {string} text @param {number} now */
  received(text, now) {
    if (this.state !== "greeting" && this.state !== "open") return;
    let message;
    try {
      message = JSON.parse(text);
    } catch {
      return this._finish(new VoxtreeError("PROTOCOL", { detail: "it does not speak voxtree.v1" }));
    }
    this._heardAt = now;
    this._pinged = false;
    if (message.event === "error") this._problem(message, now);
    else if (this.state === "open") this._heard(message, now);
    else if (message.event === "ready") this._ready(message, now);
  }

  // -- what is to be sent

  /** @param {number} now */
  nextMessage(now) {
    const first = this._outgoing.shift();
    if (first !== undefined) return first;
    if (this.state !== "open") return null;
    if (this._seqSent !== this._seq) {
      this._seqSent = this._seq;
      return { event: "ack", seq: this._seq };
    }
    return this.track.nextMessage(now);
  }

  // -- what the server says

  /** @param {any} message @param {number} now */
  _ready(message, now) {
    const resuming = this._token !== "";
    if (!resuming) this._lostAt = null;
    if (resuming && !message.resumed) return this._finish(new VoxtreeError("CONN_008"));
    if (message.position < this.track.start && this._live) return this._drop("NET_LOST", now);
    if (message.position < this.track.start || message.position > this.track.end) {
      return this._finish(new VoxtreeError("CONN_008", { detail: `it wants audio from sample ${message.position}` }));
    }
    this.state = "open";
    this.refresh = false;
    this.sessionId = message.session_id;
    this._token = message.resume_token;
    this._window = message.resume_window_ms + MARGIN_MS;
    this._received = message.position;
    this.track.rewind(message.position, now, resuming ? message.credit : 0);
    this._seqSent = resuming ? -1 : 0; // saying it also shows that this very message arrived
    this._host.deliver("ready", {
      sessionId: this.sessionId,
      resumed: message.resumed,
      durability: message.durability,
    });
  }

  /** @param {any} message @param {number} now */
  _heard(message, now) {
    this._lostAt = null; // so the connection works
    this._attempt = 0;
    const span = { startMs: ms(message.start), endMs: ms(message.end) };
    switch (message.event) {
      case "transcript": {
        const { text, confidence, stability, source, similarity, provisional = false, seq } = message;
        if (!message.is_final) return this._host.deliver("partial", { text, ...span, stability, source, similarity });
        const words = (message.words ?? []).map(wordOf);
        return this._settled(message, "final", { seq, text, ...span, words, confidence, source, provisional }, now);
      }
      case "gap": {
        const { seq, code } = message;
        return this._settled(message, "gap", { seq, ...span, code, message: described(code)[0] }, now);
      }
      case "ack":
        this._received = Math.max(this._received, message.received);
        return this.track.settle(message.durable);
      case "status":
        return this._host.deliver("status", {
          state: STATES[message.state],
          code: message.code ?? "",
          message: message.message,
        });
      case "done":
        if (message.seq > this._seq) return this._drop("NET_LOST", now);
        return this._finish(null);
    }
  }

  /** @param {any} message @param {"final"|"gap"} name @param {object} event @param {number} now */
  _settled({ seq, end }, name, event, now) {
    if (seq <= this._seq) return;
    if (seq > this._seq + 1) return this._drop("NET_LOST", now); // one is missing: it is sent again
    this._seq = seq;
    this._end = end;
    this._host.deliver(name, event);
  }

  /** @param {any} message @param {number} now */
  _problem({ code, message, action, detail, retry_after_ms: retryAfterMs, fatal, ref }, now) {
    const error = new VoxtreeError(code, { message, action, detail, retryAfterMs, fatal, ref });
    if (!fatal) return this._host.deliver("error", error);
    const refused = code in CATALOGUE && /** @type {any} */ (CATALOGUE)[code][2] === 4401;
    if (refused && this._canRefresh && !this.refresh) {
      this.refresh = true;
      return this._drop(code, now);
    }
    if (error.retryable && this._token) return this._drop(code, now, { retryAfterMs });
    this._finish(error);
  }

  // -- lost and found

  /** @param {string} code @param {number} now @param {{ abort?: boolean, retryAfterMs?: number }} [how] */
  _drop(code, now, { abort = false, retryAfterMs = 0 } = {}) {
    this._host.hangUp(abort);
    this._again(code, now, retryAfterMs);
  }

  /** @param {string} code @param {number} now @param {number} [retryAfterMs] */
  _again(code, now, retryAfterMs = 0) {
    this.state = "connecting";
    if (this._lostAt === null) {
      this._lostAt = now;
      this._patience = this._window;
    }
    const left = this._lostAt + this._patience - now;
    if (left <= 0) return this._finish(new VoxtreeError(this.sessionId ? "NET_GAVE_UP" : "NET_UNREACHABLE"));
    const pause = this._random() * PAUSES_MS[Math.min(this._attempt, PAUSES_MS.length - 1)];
    const retryInMs = Math.min(left, Math.max(retryAfterMs, pause));
    this._attempt += 1;
    if (this.sessionId) {
      const message = described(code)[0];
      this._host.deliver("status", { state: "reconnecting", code, message, attempt: this._attempt, retryInMs });
    }
    this._host.connect(retryInMs);
  }

  /** @param {VoxtreeError | null} error */
  _finish(error) {
    this.state = "over";
    this._host.hangUp(false);
    this._host.finish(error);
  }
}

/** @param {number} samples */
const ms = (samples) => Math.round((1000 * samples) / SAMPLE_RATE);

/** @param {any} word @returns {Word} */
const wordOf = ({ text, start_ms, end_ms, confidence }) => ({ text, startMs: start_ms, endMs: end_ms, confidence });

// ---- a session

const TICK_MS = 500;
const BUFFERED_BYTES = 2 * SAMPLE_RATE; // that may wait in the socket: a second of audio; the rest stays in the ring
const LATER_MS = 50;
const OFFLINE_MS = 2000; // between attempts while the browser says it is offline, which it may be wrong about

/** One speaker's session. It may be started again when it is closed. */
export class VoxtreeSession {
  /** @param {Options} options */
  constructor(options) {
    this._options = {
      language: "en-US",
      config: {},
      constraints: {},
      keepSeconds: 60,
      random: Math.random,
      ...options,
    };
    /** @type {Map<string, Set<Function>>} */
    this._listeners = new Map();
    /** @type {State} */
    this._state = "idle";
    /** @type {VoxtreeError | null} */
    this._problem = null;
    /** @type {Core | null} */
    this._core = null;
    /** @type {Microphone | null} */
    this._microphone = null;
    /** @type {WebSocket | null} */
    this._socket = null;
    /** @type {PromiseWithResolve | null} */
    this._opened = null;
    /** @type {PromiseWithResolve | null} */
    this._ended = null;
    /** @type {Set<() => void>} */
    this._waiting = new Set(); // for room
    this._dialTimer = this._pumpTimer = this._tickTimer = 0;
    this._away = false; // the page is frozen
    this._wakeLock = /** @type {WakeLockSentinel | null} */ (null);
    this._onPage = this._onPage.bind(this);
  }

  /** @returns {State} */
  get state() {
    return this._state;
  }

  /** What the user should know just now; null: nothing. */
  get problem() {
    return this._problem;
  }

  get sessionId() {
    return this._core?.sessionId ?? "";
  }

  /**
   * Be told: `state`, `partial`, `final`, `gap`, `status`, `error`, `ready`, `level` (0 to 1, of the microphone), `problem`.
   * @template {keyof Events} K
   * @param {K} name
   * @param {(event: Events[K]) => void} listener
   * @returns {() => void} ends it
   */
  on(name, listener) {
    if (!this._listeners.has(name)) this._listeners.set(name, new Set());
    this._listeners.get(name)?.add(listener);
    return () => void this._listeners.get(name)?.delete(listener);
  }

  /**
   * Begin; resolves when the server hears. Words may be spoken as soon as the state is `connecting`.
   * @param {{ microphone?: boolean }} [source] false: audio comes by `send`
   * @throws {VoxtreeError}
   */
  async start({ microphone = true } = {}) {
    this._requireRest();
    const { config, language, keepSeconds, getToken, random } = this._options;
    const opened = (this._opened = deferred());
    const ended = (this._ended = deferred());
    this._core = null;
    this._setProblem(null);
    if (microphone) {
      this._setState("requesting-mic");
      const mic = (this._microphone = new Microphone(this._options, {
        onAudio: (samples, level) => this._captured(samples, level),
        onLost: () => this._unplugged(),
        onDevices: () => void this.openMicrophone(),
      }));
      try {
        await mic.open();
      } catch (error) {
        this._finish(/** @type {VoxtreeError} */ (error));
        void this._noticePermission();
        throw error;
      }
      if (this._ended !== ended) return opened.promise; // stopped meanwhile
    }
    this._core = new Core(
      {
        connect: (delay) => this._connect(delay),
        hangUp: (abort) => this._hangUp(abort),
        deliver: (name, event) => this._deliver(name, event),
        finish: (error) => this._finish(error),
      },
      {
        config: { language, encoding: "pcm16", sample_rate: SAMPLE_RATE, channels: 1, ...config },
        live: microphone,
        keepSeconds: keepSeconds ?? 60,
        canRefresh: getToken !== undefined,
        random: random ?? Math.random,
        now: performance.now(),
      },
    );
    this._setState("connecting");
    this._watchPage(true);
    this._connect(0);
    return opened.promise;
  }

  /**
   * Have samples sent (16 kHz, mono); waits while what the server has not settled fills the memory. What comes after
   * `stop` is left out.
   * @param {Int16Array} samples
   * @throws {VoxtreeError}
   */
  async send(samples) {
    let rest = samples;
    while (rest.length > 0) {
      const core = this._core;
      if (core === null || core.state === "over") throw this._problem ?? new Error("the session is closed");
      if (core.track.stopped) return;
      rest = rest.subarray(core.take(rest, performance.now()));
      this._pump();
      if (rest.length > 0) await new Promise((resolve) => this._waiting.add(() => resolve(undefined)));
    }
  }

  /**
   * Have a recording's words, from its beginning to its end; resolves when all are there.
   * @param {Blob} file whatever the browser can play
   * @throws {VoxtreeError}
   */
  async transcribe(file) {
    this._requireRest();
    let samples;
    try {
      samples = await decodeAudio(await file.arrayBuffer());
    } catch (error) {
      this._finish(/** @type {VoxtreeError} */ (error));
      throw error;
    }
    await this.start({ microphone: false });
    for (let at = 0; at < samples.length; at += SAMPLE_RATE) await this.send(samples.subarray(at, at + SAMPLE_RATE));
    await this.stop();
  }

  /** End the utterance here, and have its final soon. */
  finalize() {
    this._core?.track.mark();
    this._pump();
  }

  /**
   * No more audio; resolves when all words are there.
   * @throws {VoxtreeError} the session ended before
   */
  async stop() {
    const ended = this._ended;
    if (ended === null || this._state === "closed") return;
    if (this._core === null) return this._finish(null);
    this._closeMicrophone();
    this._core.track.stopped = true;
    this._setState("draining");
    this._pump();
    return ended.promise;
  }

  /** Give the session up. */
  close() {
    if (this._state !== "closed" && this._state !== "idle") this._finish(null);
  }

  /** Try now, whatever pause there is; a session of the microphone that has ended begins anew. */
  reconnect() {
    if (this._core?.state === "connecting" && this._socket === null) this._connect(0);
    else if (this._state === "closed" && this._core?._live !== false) this.start().catch(() => {});
  }

  /** Take the microphone anew, after it was lost. */
  async openMicrophone() {
    try {
      await this._microphone?.open();
      if (this._problem?.category === "MIC") this._setProblem(null);
    } catch (error) {
      const { code, action, retryable } = /** @type {VoxtreeError} */ (error);
      this._setProblem(new VoxtreeError(code, { fatal: false, action: retryable ? "microphone" : action }));
    }
  }

  /**
   * Keep the present problem shown in an element: one sentence, and one button that does what helps.
   * @param {HTMLElement} element
   * @returns {() => void} ends it
   */
  renderError(element) {
    const shown = new Shown(element, this, this._options.texts ?? {});
    shown.render(this._problem);
    const off = this.on("problem", (problem) => shown.render(problem));
    return () => {
      off();
      shown.render(null);
    };
  }

  /** Do what the button of a problem promises. @param {VoxtreeError} problem */
  resolve(problem) {
    switch (problem.action) {
      case "stop_recording":
        return void this.stop().catch(() => {});
      case "microphone":
        return void this.openMicrophone();
      case "secure":
        return void (location.protocol = "https:");
      case "fix_config":
        if (this._options.onSettings) return this._options.onSettings(problem);
    }
    this.reconnect();
  }

  _requireRest() {
    if (this._state !== "idle" && this._state !== "closed") throw new Error(`the session is ${this._state}`);
  }

  // -- the connection

  /** @param {number} delay */
  _connect(delay) {
    clearTimeout(this._dialTimer);
    const pause = navigator.onLine === false ? Math.max(delay, OFFLINE_MS) : delay;
    if (!this._away) this._dialTimer = setTimeout(() => void this._dial(), pause);
  }

  async _dial() {
    const core = this._core;
    if (core === null || core.state !== "connecting" || this._socket !== null) return;
    const protocols = ["voxtree.v1"];
    if (core.sessionId) protocols.push("voxtree.resumes"); // a busy server then lets us in before new ones
    if (this._options.getToken) {
      try {
        const token = await this._options.getToken({ refresh: core.refresh });
        protocols.push(`base64url.bearer.voxtree.${base64url(token)}`);
      } catch (error) {
        if (core.state === "connecting") core._finish(new VoxtreeError("TOKEN_FAILED", { detail: String(error) }));
        return;
      }
      if (this._core !== core || core.state !== "connecting" || this._socket !== null) return;
    }
    const socket = new WebSocket(addressed(this._options.url, core.sessionId), protocols);
    socket.binaryType = "arraybuffer";
    this._socket = socket;
    const mine = (/** @type {(event: any) => void} */ handle) => (/** @type {any} */ event) => {
      if (this._socket === socket) handle(event);
    };
    const late = setTimeout(
      mine(() => this._lost(core)),
      READY_MS,
    );
    socket.onopen = mine(() => {
      clearTimeout(late);
      core.connected(performance.now());
      this._pump();
    });
    socket.onmessage = mine(({ data }) => {
      core.received(data, performance.now());
      this._pump();
    });
    socket.onclose = mine(() => {
      clearTimeout(late);
      this._lost(core);
    });
  }

  /** @param {Core} core */
  _lost(core) {
    this._hangUp(true);
    core.lost(
      navigator.onLine === false ? "NET_OFFLINE" : core.sessionId ? "NET_LOST" : "NET_UNREACHABLE",
      performance.now(),
    );
  }

  /** @param {boolean} abort */
  _hangUp(abort) {
    const socket = this._socket;
    this._socket = null;
    if (socket !== null) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close(abort ? 4000 : 1000);
    }
  }

  /** Send what may be sent. */
  _pump() {
    clearTimeout(this._pumpTimer);
    const core = this._core;
    const socket = this._socket;
    for (const wake of this._waiting) wake();
    this._waiting.clear();
    if (core === null || socket === null || socket.readyState !== WebSocket.OPEN) return;
    const now = performance.now();
    let message;
    while (
      socket === this._socket &&
      socket.bufferedAmount <= BUFFERED_BYTES &&
      (message = core.nextMessage(now)) !== null
    ) {
      socket.send(message instanceof Int16Array ? message : JSON.stringify(message));
    }
    const wait = socket.bufferedAmount > BUFFERED_BYTES ? LATER_MS : core.track.pause(now);
    if (wait > 0) this._pumpTimer = setTimeout(() => this._pump(), wait);
  }

  _tick() {
    this._core?.tick(performance.now());
    this._microphone?.look(performance.now());
    this._pump();
  }

  // -- what comes of it

  /** @param {keyof Events} name @param {any} event */
  _deliver(name, event) {
    if (name === "ready") {
      this._setState(this._core?.track.stopped ? "draining" : "live");
      this._clearProblem();
      this._opened?.resolve(undefined);
    } else if (name === "status") {
      const { state } = event;
      if (event.code) this._setProblem(new VoxtreeError(event.code, this._spoken(event)));
      else this._clearProblem();
      this._setState(this._core?.track.stopped && state !== "reconnecting" ? "draining" : state);
    } else if (name === "error") {
      this._setProblem(event);
    } else if (name === "final" && this._problem?.fatal === false && this._state === "live") {
      this._clearProblem();
    }
    this._emit(name, event);
  }

  /** How a status is told: a session that is cut off has a button, others take care of themselves. @param {Status} status */
  _spoken({ message, state, retryInMs }) {
    /** @type {Action} */
    const action = state === "reconnecting" ? "reconnect" : "none";
    return { message, action, fatal: false, ...(retryInMs && retryInMs > 1000 && { retryAfterMs: retryInMs }) };
  }

  /** @param {VoxtreeError | null} error */
  _finish(error) {
    const [opened, ended] = [this._opened, this._ended];
    this._opened = this._ended = null;
    this._watchPage(false);
    if (this._core !== null) this._core.state = "over";
    this._hangUp(false);
    this._closeMicrophone();
    clearTimeout(this._dialTimer);
    this._setProblem(error);
    this._setState("closed");
    for (const wake of this._waiting) wake();
    this._waiting.clear();
    if (error === null) {
      opened?.resolve(undefined);
      ended?.resolve(undefined);
    } else {
      this._emit("error", error);
      opened?.reject(error);
      ended?.reject(error);
    }
  }

  /** @param {VoxtreeError | null} problem */
  _setProblem(problem) {
    if (problem === null && this._problem === null) return;
    this._problem = problem;
    this._emit("problem", problem);
  }

  /** The server is well; the microphone may not be. */
  _clearProblem() {
    if (this._problem?.category !== "MIC") this._setProblem(null);
  }

  /** @param {State} state */
  _setState(state) {
    if (state === this._state) return;
    this._state = state;
    this._emit("state", state);
  }

  /** @param {string} name @param {unknown} event */
  _emit(name, event) {
    for (const listener of this._listeners.get(name) ?? []) {
      try {
        listener(event);
      } catch (error) {
        reportError(error); // the application's, and no reason to end the session
      }
    }
  }

  // -- the microphone and the page

  /** @param {Int16Array} samples @param {number} level */
  _captured(samples, level) {
    this._emit("level", level);
    if (this._core === null || this._core.state === "over" || this._core.track.stopped) return;
    this._core.take(samples, performance.now());
    this._pump();
  }

  _unplugged() {
    this._setProblem(new VoxtreeError("MIC_UNPLUGGED", { fatal: false }));
    this._emit("error", this._problem);
  }

  /** What kept the microphone from us may be changed in the browser's own dialogue. */
  async _noticePermission() {
    try {
      const permission = await navigator.permissions.query({ name: /** @type {any} */ ("microphone") });
      permission.onchange = () => {
        if (permission.state === "granted" && this._problem?.code === "MIC_DENIED") this._setProblem(null);
      };
    } catch {
      // not every browser tells
    }
  }

  _closeMicrophone() {
    this._microphone?.close();
    this._microphone = null;
    this._emit("level", 0);
  }

  /** @param {boolean} watched */
  _watchPage(watched) {
    clearInterval(this._tickTimer);
    const change = watched ? "addEventListener" : "removeEventListener";
    for (const name of ["online", "offline", "pagehide", "pageshow"]) window[change](name, this._onPage);
    document[change]("visibilitychange", this._onPage);
    if (watched) this._tickTimer = setInterval(() => this._tick(), TICK_MS);
    this._away = false;
    void this._keepAwake(watched);
  }

  /** @param {Event} event */
  _onPage(event) {
    const core = this._core;
    if (core === null) return;
    if (event.type === "pagehide") {
      this._away = true; // frozen, or gone: the server keeps the session for a while
      if (this._socket !== null) this._lost(core);
    } else if (event.type === "offline") {
      if (core.state === "open") core._drop("NET_OFFLINE", performance.now(), { abort: true });
    } else if (event.type === "online" || document.visibilityState === "visible") {
      this._away = false;
      void this._keepAwake(true);
      this._tick();
      if (core.state === "connecting") this.reconnect();
    }
  }

  /** The screen stays on while one speaks, where the browser allows it. @param {boolean} wanted */
  async _keepAwake(wanted) {
    const before = this._wakeLock;
    this._wakeLock = null;
    try {
      await before?.release();
      if (!wanted) return;
      const lock = await navigator.wakeLock.request("screen");
      if (this._core?.state === "over") await lock.release();
      else this._wakeLock = lock;
    } catch {
      // not here, or not now
    }
  }
}

/** @typedef {{ promise: Promise<any>, resolve: (value: any) => void, reject: (error: Error) => void }} PromiseWithResolve */

/** @returns {PromiseWithResolve} */
function deferred() {
  /** @type {any} */
  const made = {};
  made.promise = new Promise((resolve, reject) => Object.assign(made, { resolve, reject }));
  made.promise.catch(() => {}); // whoever does not wait for it has the event
  return made;
}

/** The address of a session, whatever session `url` names. @param {string} url @param {string} sessionId */
function addressed(url, sessionId) {
  const address = new URL(url, location.href);
  address.protocol = address.protocol.replace(/^http/, "ws");
  if (sessionId) address.pathname = address.pathname.replace(/(\/transcribe)(\/[^/]*)?\/?$/, `$1/${sessionId}`);
  return address.href;
}

/** @param {string} text */
const base64url = (text) =>
  btoa(String.fromCharCode(...new TextEncoder().encode(text)))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");

// ---- what users read

/** A problem, shown. */
class Shown {
  /** @param {HTMLElement} element @param {VoxtreeSession} session @param {Record<string, string>} texts */
  constructor(element, session, texts) {
    this._element = element;
    this._session = session;
    this._texts = texts;
    this._timer = 0;
  }

  /** @param {VoxtreeError | null} problem */
  render(problem) {
    clearInterval(this._timer);
    this._element.replaceChildren();
    if (problem === null) return;
    const box = made("div", "voxtree-problem", "");
    box.dataset.code = problem.code;
    box.setAttribute("role", problem.fatal ? "alert" : "status");
    box.append(made("p", "voxtree-text", this._texts[problem.code] ?? problem.message));
    if (problem.action === "help") box.append(this._help());
    else if (problem.action !== "none") box.append(this._button(problem, this._promise(problem)));
    this._element.append(box);
  }

  /** Where nobody can change the settings, all there is is another attempt. @param {VoxtreeError} problem */
  _promise({ action }) {
    return action === "fix_config" && !this._session._options.onSettings ? "retry" : action;
  }

  /** @param {VoxtreeError} problem @param {string} label */
  _button(problem, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = this._label(label);
    button.onclick = () => this._session.resolve(problem);
    if (problem.retryable && problem.retryAfterMs)
      this._countDown(button, problem, performance.now() + problem.retryAfterMs);
    return button;
  }

  /** @param {HTMLButtonElement} button @param {VoxtreeError} problem @param {number} due */
  _countDown(button, problem, due) {
    const look = () => {
      const left = Math.ceil((due - performance.now()) / 1000);
      button.textContent =
        left > 0 ? this._label("retry_in").replace("{s}", String(left)) : this._label(problem.action);
      if (left > 0) return;
      clearInterval(this._timer);
      if (problem.fatal) this._session.resolve(problem);
    };
    this._timer = setInterval(look, 250);
    look();
  }

  _help() {
    const help = document.createElement("details");
    help.append(made("summary", "", this._label("help")), made("p", "", this._texts.MIC_HELP ?? HELP[browser()]));
    return help;
  }

  /** @param {string} name */
  _label(name) {
    return this._texts[name] ?? LABELS[name];
  }
}

/** @param {string} tag @param {string} name @param {string} text */
function made(tag, name, text) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.textContent = text;
  return element;
}

/** @returns {keyof typeof HELP} */
function browser() {
  const { userAgent } = navigator;
  if (/iPhone|iPad/.test(userAgent)) return "ios";
  if (/Firefox/.test(userAgent)) return "firefox";
  return /Safari/.test(userAgent) && !/Chrom/.test(userAgent) ? "safari" : "chromium";
}

// ---- the microphone

const STILL_MS = 1000; // without a frame until the audio graph is built again
const FRAME_SAMPLES = 640; // 40 ms in one message of the worklet

/** Takes audio from the microphone until it is closed. While none comes, though it should, silence does: it is time. */
class Microphone {
  /**
   * @param {Options} options
   * @param {{ onAudio: (samples: Int16Array, level: number) => void, onLost: () => void, onDevices: () => void }} listeners
   */
  constructor(options, { onAudio, onLost, onDevices }) {
    this._options = options;
    this._onAudio = onAudio;
    this._onLost = onLost;
    /** @type {MediaStream | null} */
    this._stream = null;
    /** @type {AudioContext | null} */
    this._context = null;
    this._closed = false;
    this._opening = false;
    this._heardAt = 0;
    this._triedAt = 0;
    this._onDevices = () => {
      if (this._stream === null && !this._opening) onDevices();
    };
  }

  /** @throws {VoxtreeError} */
  async open() {
    if (!window.isSecureContext || !navigator.mediaDevices) throw new VoxtreeError("MIC_INSECURE");
    this._release();
    this._opening = true;
    try {
      const audio = { channelCount: 1, ...this._options.constraints };
      const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
        throw new VoxtreeError(micCode(error), { detail: String(error) });
      });
      this._stream = stream;
      if (this._closed) return this._release();
      for (const track of stream.getAudioTracks()) track.onended = () => this._ended(stream);
      await this._build(stream);
      navigator.mediaDevices.addEventListener("devicechange", this._onDevices);
    } catch (error) {
      this._release();
      throw error instanceof VoxtreeError ? error : new VoxtreeError("MIC_FAILED", { detail: String(error) });
    } finally {
      this._opening = false;
    }
  }

  close() {
    this._closed = true;
    navigator.mediaDevices?.removeEventListener("devicechange", this._onDevices);
    this._release();
  }

  /** To be called now and then. @param {number} now */
  look(now) {
    if (this._closed || this._heardAt === 0) return;
    const still = now - this._heardAt;
    if (still < STILL_MS) return;
    const samples = Math.min(Math.round((still * SAMPLE_RATE) / 1000), 10 * SAMPLE_RATE);
    this._heardAt = now;
    this._onAudio(new Int16Array(samples), 0);
    const state = /** @type {string | undefined} */ (this._context?.state);
    if (state === "suspended") void this._context?.resume().catch(() => {});
    else if (state !== "interrupted" && this._stream !== null && now - this._triedAt > 5 * STILL_MS) {
      this._triedAt = now;
      void this._build(this._stream).catch(() => {});
    }
  }

  /** @param {MediaStream} stream */
  _ended(stream) {
    if (this._stream !== stream || this._closed) return;
    this._release();
    this._onLost();
  }

  /** @param {MediaStream} stream */
  async _build(stream) {
    void this._context?.close().catch(() => {});
    let context = new AudioContext(this._options.resample === "always" ? {} : { sampleRate: SAMPLE_RATE });
    let source;
    try {
      source = context.createMediaStreamSource(stream);
    } catch {
      void context.close(); // Firefox connects contexts of the device's rate only
      context = new AudioContext();
      source = context.createMediaStreamSource(stream);
    }
    this._context = context;
    const node = await workletNode(context, this._options.resample === "always");
    node.port.onmessage = ({ data }) => {
      if (this._context !== context || this._closed) return;
      this._heardAt = performance.now();
      this._onAudio(new Int16Array(data.samples), data.level);
    };
    source.connect(node).connect(context.destination); // silent; what leads nowhere may not be run
    if (context.state === "suspended") await context.resume();
    this._heardAt = performance.now();
  }

  _release() {
    for (const track of this._stream?.getTracks() ?? []) {
      track.onended = null;
      track.stop();
    }
    void this._context?.close().catch(() => {});
    this._stream = this._context = null;
  }
}

/** @param {any} error */
function micCode({ name }) {
  if (name === "NotAllowedError" || name === "SecurityError") return "MIC_DENIED";
  if (name === "NotFoundError" || name === "OverconstrainedError") return "MIC_NONE";
  return name === "NotReadableError" || name === "AbortError" ? "MIC_IN_USE" : "MIC_FAILED";
}

const PROCESSOR = "voxtree-capture";

/**
 * The worklet is a copy of the parts it needs, which no network can keep away; where a page's policy forbids that, it is
 * this module.
 * @param {AudioContext} context
 * @param {boolean} resample
 */
async function workletNode(context, resample) {
  const source = `const Resampler = ${Resampler};\n(${registerCapture})("${PROCESSOR}", Resampler);`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  try {
    await context.audioWorklet.addModule(url);
  } catch {
    await context.audioWorklet.addModule(import.meta.url);
  } finally {
    URL.revokeObjectURL(url);
  }
  return new AudioWorkletNode(context, PROCESSOR, {
    outputChannelCount: [1],
    processorOptions: { rate: SAMPLE_RATE, frame: FRAME_SAMPLES, resample },
  });
}

/**
 * What runs in the audio thread: channels are mixed, resampled if need be, and handed over as PCM16.
 * @param {string} name
 * @param {typeof Resampler} Resampler
 */
function registerCapture(name, Resampler) {
  const { AudioWorkletProcessor, registerProcessor, sampleRate } = /** @type {any} */ (globalThis);
  registerProcessor(
    name,
    class extends AudioWorkletProcessor {
      constructor(/** @type {any} */ { processorOptions: { rate, frame, resample } }) {
        super();
        this._resampler = sampleRate === rate && !resample ? null : new Resampler(sampleRate, rate);
        this._frame = new Int16Array(frame);
        this._filled = 0;
        this._peak = 0;
      }

      process(/** @type {Float32Array[][]} */ [channels], /** @type {Float32Array[][]} */ [[out]]) {
        const mono = new Float32Array(out.length); // silence where there is no channel
        for (const channel of channels) for (let i = 0; i < mono.length; i++) mono[i] += channel[i] / channels.length;
        for (const sample of this._resampler ? this._resampler.process(mono) : mono) this._take(sample);
        return true;
      }

      _take(/** @type {number} */ sample) {
        const clipped = Math.max(-1, Math.min(1, sample));
        this._peak = Math.max(this._peak, Math.abs(clipped));
        this._frame[this._filled++] = Math.round(32767 * clipped);
        if (this._filled < this._frame.length) return;
        const samples = this._frame.buffer;
        this.port.postMessage({ samples, level: this._peak }, [samples]);
        this._frame = new Int16Array(this._filled);
        this._filled = this._peak = 0;
      }
    },
  );
}

/**
 * Changes a sampling rate: a polyphase filter, windowed by Kaiser's window, some 70 dB against what would fold over.
 */
export class Resampler {
  /** @param {number} from Hz @param {number} to Hz */
  constructor(from, to) {
    /** @type {(a: number, b: number) => number} */
    const gcd = (a, b) => (b ? gcd(b, a % b) : a);
    const common = gcd(from, to);
    this._up = to / common;
    this._down = from / common;
    const cutoff = 0.5 * Math.min(1, to / from) * 0.94; // cycles a sample
    this._half = Math.ceil(20 / cutoff / 2);
    /** @type {Float32Array[]} one filter for each place between two samples */
    this._filters = Array.from({ length: this._up }, (_, phase) => this._filter(phase / this._up, cutoff));
    this._buffer = new Float32Array(this._half - 1); // silence before the first sample
    this._at = this._half - 1; // of the next output, in the buffer, …
    this._phase = 0; // … and how far behind it
  }

  /** @param {Float32Array} samples @returns {Float32Array} what is due by now: `half` samples late */
  process(samples) {
    const buffer = new Float32Array(this._buffer.length + samples.length);
    buffer.set(this._buffer);
    buffer.set(samples, this._buffer.length);
    const half = this._half;
    const out = new Float32Array(Math.ceil(((samples.length + 2 * half) * this._up) / this._down) + 1);
    let count = 0;
    while (this._at + half < buffer.length) {
      const filter = this._filters[this._phase];
      const first = this._at - half + 1;
      let sum = 0;
      for (let i = 0; i < filter.length; i++) sum += buffer[first + i] * filter[i];
      out[count++] = sum;
      this._phase += this._down;
      this._at += Math.floor(this._phase / this._up);
      this._phase %= this._up;
    }
    const kept = Math.min(buffer.length, this._at - half + 1);
    this._buffer = buffer.slice(kept);
    this._at -= kept;
    return out.subarray(0, count);
  }

  /** @param {number} place @param {number} cutoff */
  _filter(place, cutoff) {
    const half = this._half;
    const bessel = (/** @type {number} */ x) => {
      let [sum, term] = [1, 1];
      for (let k = 1; term > 1e-9 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
      return sum;
    };
    const filter = Float32Array.from({ length: 2 * half }, (_, i) => {
      const t = i - half + 1 - place;
      const x = 2 * Math.PI * cutoff * t;
      const window = bessel(7 * Math.sqrt(Math.max(0, 1 - (t / half) ** 2))) / bessel(7);
      return 2 * cutoff * (x === 0 ? 1 : Math.sin(x) / x) * window;
    });
    const sum = filter.reduce((all, each) => all + each, 0);
    return filter.map((each) => each / sum);
  }
}

/**
 * A recording as it is sent: whatever the browser can read, mixed down, at 16 kHz.
 * @param {ArrayBuffer} file
 * @returns {Promise<Int16Array>}
 * @throws {VoxtreeError} FILE_UNREADABLE
 */
export async function decodeAudio(file) {
  let audio;
  try {
    audio = await new OfflineAudioContext(1, 1, SAMPLE_RATE).decodeAudioData(file);
  } catch (error) {
    throw new VoxtreeError("FILE_UNREADABLE", { detail: String(error) });
  }
  const samples = new Int16Array(audio.length);
  const channels = Array.from({ length: audio.numberOfChannels }, (_, i) => audio.getChannelData(i));
  for (let i = 0; i < samples.length; i++) {
    const mean = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
    samples[i] = Math.round(32767 * Math.max(-1, Math.min(1, mean)));
  }
  return samples;
}

if ("registerProcessor" in globalThis) registerCapture(PROCESSOR, Resampler);
