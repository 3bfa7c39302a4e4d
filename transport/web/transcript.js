/** What was said, as files. Pure. */

/**
 * @typedef {{ text: string, startMs: number, endMs: number }} Said
 */

/** @param {number} ms @param {string} mark between seconds and milliseconds */
function clock(ms, mark) {
  const two = (/** @type {number} */ n) => String(Math.floor(n)).padStart(2, "0");
  const rest = String(Math.floor(ms % 1000)).padStart(3, "0");
  return `${two(ms / 3600000)}:${two((ms / 60000) % 60)}:${two((ms / 1000) % 60)}${mark}${rest}`;
}

/** `1:05`, `1:02:03`. @param {number} ms */
export function brief(ms) {
  const seconds = Math.floor(ms / 1000);
  const [h, m, s] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, String(seconds % 60).padStart(2, "0")];
  return h ? `${h}:${String(m).padStart(2, "0")}:${s}` : `${m}:${s}`;
}

/** One cue is one line: a blank line would end it, and `-->` and `<` mean something to players. @param {string} text */
const cue = (text) => text.replaceAll(/\s+/g, " ").replaceAll("-->", "→");

/** @param {string} text */
const escaped = (text) => cue(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;");

/** @type {Record<string, { type: string, write: (lines: Said[]) => string }>} */
export const FORMATS = {
  txt: { type: "text/plain", write: (lines) => lines.map(({ text }) => `${text}\n`).join("") },
  srt: {
    type: "application/x-subrip",
    write: (lines) =>
      lines
        .map((line, i) => `${i + 1}\n${clock(line.startMs, ",")} --> ${clock(line.endMs, ",")}\n${cue(line.text)}\n`)
        .join("\n"),
  },
  vtt: {
    type: "text/vtt",
    write: (lines) =>
      `WEBVTT\n\n${lines.map((line) => `${clock(line.startMs, ".")} --> ${clock(line.endMs, ".")}\n${escaped(line.text)}\n`).join("\n")}`,
  },
  json: { type: "application/json", write: (lines) => `${JSON.stringify(lines, null, 2)}\n` },
};
