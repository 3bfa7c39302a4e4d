// The handler of bench/naive.py in Node, with ws and @grpc/grpc-js: node relay.js DESCRIPTORS RIVA [RIVA]
//
// DESCRIPTORS is a file with the FileDescriptorSet of Riva's services. Each client's audio goes to the first Riva; when
// a call fails, the client gets an error, nothing is received for 1, 2, 4 … s, and a call to the other Riva is opened.
"use strict";

const fs = require("node:fs");
const grpc = require("@grpc/grpc-js");
const { loadFileDescriptorSetFromBuffer } = require("@grpc/proto-loader");
const { WebSocketServer } = require("ws");

const RETRIES = 6;
const NAMES = ["primary", "fallback"];

const [descriptors, ...addresses] = process.argv.slice(2);
const definition = loadFileDescriptorSetFromBuffer(fs.readFileSync(descriptors), { keepCase: true, longs: Number });
const { RivaSpeechRecognition } = grpc.loadPackageDefinition(definition).nvidia.riva.asr;
const rivas = addresses.map((address) => new RivaSpeechRecognition(address, grpc.credentials.createInsecure()));

class Relay {
  constructor(client) {
    this.client = client;
    this.attempt = 0;
    this.finals = 0;
    this.call = null;
    this.waiting = null;
    client.on("message", (data, isBinary) => this.hear(data, isBinary));
    client.on("error", () => client.terminate());
    client.on("close", () => this.leave());
  }

  hear(data, isBinary) {
    if (isBinary) {
      this.call.write({ audio_content: data });
    } else if (this.call === null) {
      this.config = JSON.parse(data).config;
      this.tell(ready(this.config));
      this.open();
    } else {
      this.call.end(); // stop
    }
  }

  open() {
    const source = NAMES[this.attempt % rivas.length];
    this.call = rivas[this.attempt % rivas.length].StreamingRecognize();
    this.call.write({
      streaming_config: {
        config: {
          encoding: "LINEAR_PCM",
          sample_rate_hertz: this.config.sample_rate,
          language_code: this.config.language ?? "en-US",
          enable_word_time_offsets: true,
        },
        interim_results: true,
      },
    });
    this.call.on("data", (response) => this.answer(response, source));
    this.call.on("error", (error) => this.failed(error));
    this.call.on("status", (status) => {
      if (status.code !== grpc.status.OK) return; // it has been told as an error
      this.tell({ event: "done", position: 0, seq: 0 });
      this.client.close();
    });
  }

  answer(response, source) {
    for (const result of response.results ?? []) {
      if (!result.alternatives?.length) continue;
      this.tell({
        event: "transcript",
        is_final: Boolean(result.is_final),
        seq: result.is_final ? ++this.finals : 0,
        start: 0,
        end: 0,
        text: result.alternatives[0].transcript.trim(),
        source,
      });
    }
  }

  failed(error) {
    if (this.client.readyState !== this.client.OPEN) return;
    this.tell(problem(grpc.status[error.code], error.details, false));
    if (this.attempt + 1 === RETRIES) {
      this.tell(problem("FAILED", "Speech recognition failed", true));
      this.client.close();
      return;
    }
    this.client.pause();
    this.waiting = setTimeout(() => {
      this.attempt += 1;
      this.open();
      this.client.resume();
    }, 1000 * 2 ** this.attempt);
  }

  leave() {
    clearTimeout(this.waiting);
    this.call?.cancel();
  }

  tell(message) {
    this.client.send(JSON.stringify(message));
  }
}

function ready(config) {
  return {
    event: "ready",
    session_id: "peer",
    resume_token: "",
    epoch: 1,
    position: 0,
    seq: 0,
    resumed: false,
    config: {
      language: config.language ?? "en-US",
      encoding: "pcm16",
      sample_rate: config.sample_rate,
      channels: 1,
      interim_results: true,
      word_times: false,
      punctuate: true,
      model: "",
    },
    limits: { max_chunk_bytes: 1 << 20, max_message_bytes: 1 << 22, idle_timeout_ms: 0 },
    credit: 0,
    resume_window_ms: 0,
    durability: "memory",
  };
}

function problem(code, message, fatal) {
  return {
    event: "error",
    code,
    name: code,
    category: "RIVA",
    severity: "ERROR",
    message,
    action: "none",
    fatal,
    ref: "",
  };
}

const server = new WebSocketServer({ host: "127.0.0.1", port: 0, perMessageDeflate: false }, () => {
  console.log(`listening on ws://127.0.0.1:${server.address().port}/transcribe`);
});
server.on("connection", (client) => new Relay(client));
