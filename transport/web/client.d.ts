// What `client.js` gives to TypeScript. Times are milliseconds since the session's start.

export type State =
  | "idle" | "requesting-mic" | "connecting" | "live" | "reconnecting" | "degraded" | "delayed" | "draining" | "closed";
export type Action =
  | "none" | "reconnect" | "retry" | "stop_recording" | "fix_config" | "new_session" | "new_token" | "help"
  | "secure" | "microphone";
export type Word = { text: string; startMs: number; endMs: number; confidence: number };
export type Final = {
  seq: number; text: string; startMs: number; endMs: number; words: Word[]; confidence?: number; source: string;
  provisional: boolean;
};
export type Partial = {
  text: string; startMs: number; endMs: number; stability?: number; source: string; similarity?: number;
};
/** Audio that could not be transcribed. */
export type Gap = { seq: number; startMs: number; endMs: number; code: string; message: string };
export type Status = { state: State; code: string; message: string; attempt?: number; retryInMs?: number };
export type Ready = { sessionId: string; resumed: boolean; durability: string };
export type Events = {
  state: State; partial: Partial; final: Final; gap: Gap; status: Status; error: VoxtreeError; ready: Ready;
  /** 0 to 1, of the microphone. */
  level: number;
  /** What the user should know just now. */
  problem: VoxtreeError | null;
};

export type Options = {
  /** Where the server listens: `wss://HOST/transcribe`. */
  url: string;
  /** A token for each connection, sent as a subprotocol; `refresh`: the last one was refused. */
  getToken?: (options: { refresh: boolean }) => string | Promise<string>;
  /** BCP-47; `en-US`. */
  language?: string;
  /** More of the protocol's `start` config. */
  config?: Record<string, unknown>;
  /** For the microphone. */
  constraints?: MediaTrackConstraints;
  /** Of audio that the server has not settled; the oldest goes when there is more. */
  keepSeconds?: number;
  /** `always`: not by the browser, which is usual where it can. */
  resample?: "auto" | "always";
  /** Sentences by code, and labels by name, in place of the English ones. */
  texts?: Record<string, string>;
  /** Lets the user change what was refused, such as the language. */
  onSettings?: (error: VoxtreeError) => void;
  /** Numbers from 0 to 1. */
  random?: () => number;
};

/** Something a user should read. */
export class VoxtreeError extends Error {
  constructor(
    code: string,
    more?: { message?: string; action?: Action; detail?: string; retryAfterMs?: number; fatal?: boolean; ref?: string },
  );
  /** The server's catalogue's, or one of this module's (`MIC_…`, `NET_…`). */
  code: string;
  category: string;
  /** What to do. */
  action: Action;
  /** For developers. */
  detail: string;
  retryable: boolean;
  retryAfterMs: number | undefined;
  /** The session is over. */
  fatal: boolean;
  /** What finds it in the server's log. */
  ref: string;
}

/** One speaker's session. It may be started again when it is closed. */
export class VoxtreeSession {
  constructor(options: Options);
  get state(): State;
  get problem(): VoxtreeError | null;
  get sessionId(): string;
  /** Be told; what it returns ends that. */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void;
  /** Begin; resolves when the server hears. `microphone: false`: audio comes by `send`. Rejects with a VoxtreeError. */
  start(source?: { microphone?: boolean }): Promise<void>;
  /** Have samples sent, 16 kHz and mono; waits while what the server has not settled fills the memory. After `stop`: left out. */
  send(samples: Int16Array): Promise<void>;
  /** Have a recording's words, from its beginning to its end; resolves when all are there. */
  transcribe(file: Blob): Promise<void>;
  /** End the utterance here, and have its final soon. */
  finalize(): void;
  /** No more audio; resolves when all words are there. */
  stop(): Promise<void>;
  /** Give the session up. */
  close(): void;
  /** Try now, whatever pause there is; a session of the microphone that has ended begins anew. */
  reconnect(): void;
  /** Take the microphone anew, after it was lost. */
  openMicrophone(): Promise<void>;
  /** Keep the present problem shown in an element: one sentence, one button. What it returns ends that. */
  renderError(element: HTMLElement): () => void;
  /** Do what the button of a problem promises. */
  resolve(problem: VoxtreeError): void;
}

/** Hz. */
export const SAMPLE_RATE: 16000;
/** Every code that a user may meet. */
export function codes(): string[];
/** A recording as it is sent: whatever the browser can read, mixed down, at 16 kHz. */
export function decodeAudio(file: ArrayBuffer): Promise<Int16Array>;
