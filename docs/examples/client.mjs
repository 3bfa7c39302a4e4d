// node client.mjs speech.wav [ws://127.0.0.1:8600/transcribe]      Node 22 or later, or a browser's module without the file
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";

const [file, url = "ws://127.0.0.1:8600/transcribe"] = process.argv.slice(2);
const audio = readFileSync(file); // a WAV file as it is: its header says what it holds
const server = new WebSocket(url);

server.onopen = async () => {
  for (let start = 0; start < audio.length; start += 6400) {
    while (server.bufferedAmount > 1_000_000) await sleep(20);
    server.send(audio.subarray(start, start + 6400));
  }
  server.send(JSON.stringify({ event: "stop" }));
};

server.onmessage = ({ data }) => {
  const event = JSON.parse(data);
  if (event.event === "transcript" && event.is_final && event.text) console.log(event.text);
  else if (event.event === "error") console.error(event.message);
};

server.onerror = () => console.error(`no voxtree server answers at ${url}`);
