// Checks LiveKit's Inworld TTS plugin for Node, unmodified.
import { initializeLogger } from "@livekit/agents";
import { TTS } from "@livekit/agents-plugin-inworld";

import { assert, run, wordsOf } from "./checks.mjs";

const TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!";

initializeLogger({ pretty: false, level: "error" });

async function withTts(server, options, use) {
  const tts = new TTS({
    apiKey: server.api_key,
    baseURL: `${server.url}/`,
    wsURL: `${server.ws_url}/`,
    ...options,
  });
  // Without a handler, an error would end the process.
  tts.on("error", () => {});
  try {
    return await use(tts);
  } finally {
    await tts.close();
  }
}

async function collect(stream) {
  let seconds = 0;
  const words = [];
  for await (const audio of stream) {
    if (typeof audio === "symbol") continue;
    seconds += audio.frame.samplesPerChannel / audio.frame.sampleRate;
    words.push(...(audio.timedTranscripts ?? []));
  }
  return { seconds, words };
}

function speak(tts, text) {
  const stream = tts.stream();
  for (let at = 0; at < text.length; at += 4) stream.pushText(text.slice(at, at + 4));
  stream.endInput();
  return collect(stream);
}

function checkSeconds({ seconds }) {
  assert(seconds > 3 && seconds < 8, seconds);
  return `${seconds.toFixed(2)} s`;
}

const listVoices = (server) =>
  withTts(server, {}, async (tts) => {
    const voices = await tts.listVoices("en");
    assert(voices.some((voice) => voice.voiceId === "Ashley"), voices);
    return `${voices.length} voices`;
  });

const wholeText = (server) =>
  withTts(server, {}, async (tts) => checkSeconds(await collect(tts.synthesize(TEXT))));

const streamedText = (server) =>
  withTts(server, {}, async (tts) => checkSeconds(await speak(tts, TEXT)));

const wordTimes = (server) =>
  withTts(server, { timestampType: "WORD" }, async (tts) => {
    const { words, seconds } = await speak(tts, TEXT);
    const said = words.map((word) => word.text).join("");
    assert(wordsOf(said).join(" ") === wordsOf(TEXT).join(" "), said);
    assert(words.at(-1).endTime <= seconds + 0.1, words.at(-1));
    return `${words.length} tokens`;
  });

const encodings = (server) =>
  withTts(server, { encoding: "LINEAR16", sampleRate: 16000 }, async (tts) =>
    checkSeconds(await speak(tts, TEXT)));

const manyAtOnce = (server) =>
  withTts(server, {}, async (tts) => {
    const all = await Promise.all(Array.from({ length: 4 }, () => speak(tts, TEXT)));
    all.forEach(checkSeconds);
    return "4 streams on one connection";
  });

const interruption = (server) =>
  withTts(server, {}, async (tts) => {
    const stream = tts.stream();
    stream.pushText("A long story. ".repeat(60));
    stream.flush();
    await stream.next();
    stream.close();
    return `${checkSeconds(await speak(tts, TEXT))} after a closed stream`;
  });

const unknownVoice = (server) =>
  withTts(server, { voice: "Nobody" }, async (tts) => {
    let message = "";
    tts.on("error", ({ error }) => { message = String(error); });
    const once = { maxRetry: 0, retryIntervalMs: 0, timeoutMs: 10_000 };
    const { seconds } = await collect(tts.synthesize(TEXT, once)).catch(() => ({ seconds: 0 }));
    // The plugin shows the status of the response, but not the text of the response.
    assert(seconds === 0 && message.includes("404"), [seconds, message]);
    return message;
  });

await run([
  ["voices", listVoices],
  ["stream", wholeText],
  ["websocket", streamedText],
  ["word times", wordTimes],
  ["encodings", encodings],
  ["at once", manyAtOnce],
  ["interruption", interruption],
  ["refusals", unknownVoice],
]);
