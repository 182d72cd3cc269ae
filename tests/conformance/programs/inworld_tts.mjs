// Checks Inworld's client for Node, unmodified.
import { ApiError, InworldTTS } from "@inworld/tts";

import { assert, run, wordsOf } from "./checks.mjs";

const TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!";
const RATE_HZ = 24000;
const PCM = { encoding: "PCM", sampleRate: RATE_HZ };
const SPEECH = { text: TEXT, voice: "Ashley", model: "inworld-tts-2" };

const clientOf = (server, options = {}) =>
  InworldTTS({ apiKey: server.api_key, baseUrl: server.url, maxRetries: 0, ...options });
const secondsOf = (pcm) => pcm.length / 2 / RATE_HZ;

function checkSeconds(seconds) {
  assert(seconds > 3 && seconds < 8, seconds);
  return `${seconds.toFixed(2)} s`;
}

async function listVoices(server) {
  const tts = clientOf(server);
  const voices = await tts.listVoices();
  assert(voices.some((voice) => voice.voiceId === "Ashley"), voices);
  const english = await tts.listVoices({ lang: "EN_US" });
  assert(english.length > 0, english);
  const one = await tts.getVoice("Dennis");
  assert(one.voiceId === "Dennis", one);
  return `${voices.length} voices, ${english.length} of them English`;
}

async function clonedVoice(server) {
  const tts = clientOf(server);
  const sample = { audioSamples: [server.sentence], displayName: "Ada", tags: ["calm"] };
  const voice = (await tts.cloneVoice(sample)).voice.voiceId;
  await tts.updateVoice({ voice, description: "Reads aloud." });
  assert((await tts.getVoice(voice)).description === "Reads aloud.", voice);
  const seconds = checkSeconds(secondsOf(await tts.generate({ ...SPEECH, ...PCM, voice })));
  await tts.deleteVoice(voice);
  assert(!(await tts.listVoices()).some(({ voiceId }) => voiceId === voice), voice);
  return `${voice}, ${seconds}`;
}

async function designedVoice(server) {
  const tts = clientOf(server);
  const { previewVoices } = await tts.designVoice({
    designPrompt: "A calm voice that reads long stories to children.",
    previewText: "Once upon a time there was a voice.",
    numberOfSamples: 2,
  });
  assert(previewVoices.length === 2 && previewVoices[0].previewAudio.length > 5000, previewVoices);
  const published = { voice: previewVoices[0].voiceId, displayName: "Reader" };
  const voice = (await tts.publishVoice(published)).voiceId;
  const seconds = checkSeconds(secondsOf(await tts.generate({ ...SPEECH, ...PCM, voice })));
  return `${voice}, ${seconds}`;
}

async function generate(server) {
  return checkSeconds(secondsOf(await clientOf(server).generate({ ...SPEECH, ...PCM })));
}

async function generateLongText(server) {
  const text = "The museum opens at ten and closes at six in the evening. ".repeat(60);
  const seconds = secondsOf(await clientOf(server).generate({ ...SPEECH, ...PCM, text }));
  assert(seconds > 150 && seconds < 350, seconds);
  return `${text.length} characters in several requests: ${seconds.toFixed(0)} s`;
}

async function stream(server) {
  let seconds = 0;
  let chunks = 0;
  for await (const chunk of clientOf(server).stream({ ...SPEECH, ...PCM })) {
    seconds += secondsOf(chunk);
    chunks += 1;
  }
  assert(chunks > 3, chunks);
  return `${checkSeconds(seconds)} in ${chunks} chunks`;
}

async function wordTimes(server) {
  const { audio, timestamps } = await clientOf(server).generateWithTimestamps({
    ...SPEECH, ...PCM, timestampType: "WORD",
  });
  const found = timestamps.wordAlignment;
  assert(found.words.join("") === TEXT, found.words);
  assert(found.wordEndTimeSeconds.at(-1) <= secondsOf(audio) + 0.1, found);
  return `${found.words.length} tokens`;
}

async function characterTimes(server) {
  let text = "";
  const options = { ...SPEECH, ...PCM, timestampType: "CHARACTER" };
  for await (const { timestamps } of clientOf(server).streamWithTimestamps(options)) {
    text += (timestamps?.characterAlignment?.characters ?? []).join("");
  }
  assert(wordsOf(text).join(" ") === wordsOf(TEXT).join(" "), text);
  return `${text.length} characters`;
}

async function encodings(server) {
  // The first bytes of a file in each encoding.
  const marks = { LINEAR16: "RIFF", WAV: "RIFF", OGG_OPUS: "OggS", FLAC: "fLaC", MP3: "" };
  for (const [encoding, mark] of Object.entries(marks)) {
    const audio = await clientOf(server).generate({ ...SPEECH, encoding, sampleRate: RATE_HZ });
    assert(audio.length > 5000, [encoding, audio.length]);
    assert(Buffer.from(audio).toString("latin1", 0, mark.length) === mark, encoding);
  }
  for (const encoding of ["MULAW", "ALAW"]) {
    const audio = await clientOf(server).generate({ ...SPEECH, encoding, sampleRate: 8000 });
    checkSeconds(audio.length / 8000);
  }
  return Object.keys(marks).join(", ") + ", MULAW, ALAW";
}

async function manyAtOnce(server) {
  const tts = clientOf(server);
  const requests = Array.from({ length: 4 }, () => tts.generate({ ...SPEECH, ...PCM }));
  const lengths = new Set((await Promise.all(requests)).map((audio) => audio.length));
  assert(lengths.size === 1, [...lengths]);
  return "4 requests";
}

async function refusal(server, options, changes, code) {
  try {
    await clientOf(server, options).generate({ ...SPEECH, ...PCM, ...changes });
  } catch (error) {
    assert(error instanceof ApiError && error.code === code, String(error));
    return error.message;
  }
  throw new Error("the request was accepted");
}

const unknownVoice = (server) => refusal(server, {}, { voice: "Nobody" }, 404);
const badKey = (server) => refusal(server, { apiKey: "bad" }, {}, 403);

await run([
  ["voices", listVoices],
  ["own voices", clonedVoice],
  ["own voices", designedVoice],
  ["speech", generate],
  ["speech", generateLongText],
  ["stream", stream],
  ["word times", wordTimes],
  ["word times", characterTimes],
  ["encodings", encodings],
  ["at once", manyAtOnce],
  ["refusals", unknownVoice],
  ["refusals", badKey],
]);
