// The checks of a page whose origin is not the origin of the emulator. Each check returns a text
// about the result, or throws an error.
const TEXT = "Hello there. It costs $12.50, and it is worth it. Goodbye!";
const VOICE = { voiceId: "Ashley", modelId: "inworld-tts-2" };

function assert(condition, shown) {
  if (!condition) throw new Error(`unexpected: ${JSON.stringify(shown)}`);
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const base64Of = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer)));
// Subprotocols cannot have the padding of base64.
const bareKey = (server) => server.api_key.replace(/=+$/, "");

function joined(parts) {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

// Opens a WebSocket. Returns the socket and two functions. send sends a message as JSON. until
// waits for a message for which holds returns true, and returns all messages up to this message.
async function open(url, protocols = []) {
  const socket = new WebSocket(url, protocols);
  const messages = [];
  let changed = () => {};
  let ended = "";
  socket.onmessage = ({ data }) => {
    messages.push(JSON.parse(data));
    changed();
  };
  socket.onclose = ({ code }) => {
    ended = `closed with ${code}`;
    changed();
  };
  await new Promise((done, failed) => {
    socket.onopen = done;
    socket.onerror = () => failed(new Error("the WebSocket was refused"));
  });
  const until = async (holds) => {
    const found = [];
    for (;;) {
      while (messages.length) {
        found.push(messages.shift());
        if (holds(found.at(-1))) return found;
      }
      if (ended) throw new Error(`${ended}: ${JSON.stringify(found).slice(0, 500)}`);
      await new Promise((done) => { changed = done; });
    }
  };
  const send = (message) => socket.send(JSON.stringify(message));
  return { socket, send, until };
}

// Calls use with each 100 ms of the microphone's audio, as base64. Returns a function that stops
// the microphone.
async function listen(rate, use) {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: plain });
  const context = new AudioContext({ sampleRate: rate });
  await context.audioWorklet.addModule("recorder.js");
  const recorder = new AudioWorkletNode(context, "recorder");
  let pieces = [];
  let samples = 0;
  recorder.port.onmessage = ({ data }) => {
    pieces.push(new Uint8Array(data));
    samples += data.byteLength / 2;
    if (samples < rate / 10) return;
    use(base64Of(joined(pieces).buffer));
    pieces = [];
    samples = 0;
  };
  context.createMediaStreamSource(stream).connect(recorder).connect(context.destination);
  return async () => {
    stream.getTracks().forEach((track) => track.stop());
    await context.close();
  };
}

// Plays 16-bit samples to their end. Returns the duration in seconds.
async function play(pcm, rate) {
  const context = new AudioContext();
  const samples = Float32Array.from(new Int16Array(pcm.buffer), (sample) => sample / 32768);
  const buffer = context.createBuffer(1, samples.length, rate);
  buffer.copyToChannel(samples, 0);
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  const ended = new Promise((done) => { source.onended = done; });
  source.start();
  await ended;
  await context.close();
  return buffer.duration;
}

async function decodedSeconds(file) {
  const context = new OfflineAudioContext(1, 1, 48000);
  return (await context.decodeAudioData(file.buffer)).duration;
}

async function post(server, path, body, key = server.api_key) {
  const headers = { Authorization: `Basic ${key}`, "Content-Type": "application/json" };
  return fetch(server.url + path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function speakOn({ socket, send, until }, audioConfig) {
  const contextId = "one";
  send({ contextId, create: { ...VOICE, audioConfig } });
  send({ contextId, send_text: { text: TEXT } });
  send({ contextId, close_context: {} });
  const messages = await until(({ error, result }) => error || "contextClosed" in (result ?? {}));
  socket.close();
  const failed = messages.find(({ error, result }) => error || result?.status?.code);
  assert(!failed, failed);
  const chunks = messages.map(({ result }) => result.audioChunk?.audioContent).filter(Boolean);
  return joined(chunks.map(bytesOf));
}

const ttsUrl = (server) => `${server.ws_url}/tts/v1/voice:streamBidirectional`;
const authorized = (server) => `?authorization=${encodeURIComponent(`Basic ${server.api_key}`)}`;

async function voices(server) {
  const headers = { Authorization: `Basic ${server.api_key}` };
  const found = await (await fetch(`${server.url}/voices/v1/voices`, { headers })).json();
  assert(found.voices.some((voice) => voice.voiceId === "Ashley"), found);
  return `${found.voices.length} voices`;
}

async function fetchedSpeech(server) {
  const audioConfig = { audioEncoding: "MP3", sampleRateHertz: 24000 };
  const answer = await post(server, "/tts/v1/voice", { ...VOICE, text: TEXT, audioConfig });
  const seconds = await decodedSeconds(bytesOf((await answer.json()).audioContent));
  assert(seconds > 3 && seconds < 8, seconds);
  return `${seconds.toFixed(2)} s of MP3`;
}

async function streamedSpeech(server) {
  const audioConfig = { audioEncoding: "PCM", sampleRateHertz: 24000 };
  const answer = await post(server, "/tts/v1/voice:stream", { ...VOICE, text: TEXT, audioConfig });
  let text = "";
  let reads = 0;
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    text += part.value;
    reads += 1;
  }
  const lines = text.trim().split("\n").map((line) => JSON.parse(line).result);
  const seconds = joined(lines.map((line) => bytesOf(line.audioContent))).length / 48000;
  assert(seconds > 3 && seconds < 8, seconds);
  assert(reads > 1, reads);
  return `${seconds.toFixed(2)} s in ${lines.length} lines`;
}

async function socketWithToken(server) {
  const fields = { single_use: true, ttl: "60s", client_reference_id: "page" };
  const { accessToken } = await (await post(server, "/auth/v1/tokens", fields)).json();
  const connection = await open(ttsUrl(server), [`bearer_${accessToken}`]);
  assert(connection.socket.protocol === `bearer_${accessToken}`, connection.socket.protocol);
  const pcm = await speakOn(connection, { audioEncoding: "PCM", sampleRateHertz: 24000 });
  const seconds = await play(pcm, 24000);
  assert(seconds > 3 && seconds < 8, seconds);
  return `${seconds.toFixed(2)} s were played`;
}

async function socketWithQuery(server) {
  const connection = await open(ttsUrl(server) + authorized(server));
  const audio = await speakOn(connection, { audioEncoding: "MP3", sampleRateHertz: 48000 });
  const seconds = await decodedSeconds(audio);
  assert(seconds > 3 && seconds < 8, seconds);
  return `${seconds.toFixed(2)} s of MP3`;
}

async function encodings(server) {
  const shown = [];
  for (const audioEncoding of ["OGG_OPUS", "MP3", "FLAC"]) {
    const connection = await open(ttsUrl(server) + authorized(server));
    const audio = await speakOn(connection, { audioEncoding, sampleRateHertz: 48000 });
    const seconds = await decodedSeconds(audio);
    assert(seconds > 3 && seconds < 8, [audioEncoding, seconds]);
    shown.push(audioEncoding);
  }
  return shown.join(", ");
}

// TTS does not accept a credential in the query parameter key.
async function keyInQuery(server) {
  const connection = await open(`${ttsUrl(server)}?key=${encodeURIComponent(server.api_key)}`);
  connection.send({ contextId: "one", create: VOICE });
  const { error } = (await connection.until((message) => message.error)).at(-1);
  assert(error.code === 16, error);
  return error.message;
}

async function badKey(server) {
  const answer = await post(server, "/tts/v1/voice", { ...VOICE, text: TEXT }, "YmFkOmtleQ==");
  assert(answer.status === 403, answer.status);
  return (await answer.json()).message;
}

async function transcription(server) {
  const url = `${server.ws_url}/stt/v1/transcribe:streamBidirectional${authorized(server)}`;
  const { socket, send, until } = await open(url);
  const audio = { audioEncoding: "LINEAR16", sampleRateHertz: 16000, numberOfChannels: 1 };
  send({ transcribeConfig: { modelId: "inworld/inworld-stt-1", language: "en-US", ...audio } });
  const stop = await listen(16000, (content) => send({ audioChunk: { content } }));
  const messages = await until(({ error, result }) =>
    error || (result?.transcription?.isFinal && result.transcription.transcript));
  await stop();
  socket.close();
  const { transcript } = messages.at(-1).result.transcription;
  assert(/museum opens at (ten|10)/i.test(transcript), transcript);
  return transcript;
}

async function spokenTurnOn({ socket, send, until }) {
  await until(({ type }) => type === "session.created");
  const pcm = { type: "audio/pcm", rate: 24000 };
  const turn_detection = { type: "server_vad", silence_duration_ms: 500 };
  const input = { format: pcm, turn_detection, transcription: { model: "whisper-1" } };
  const session = { type: "realtime", audio: { input, output: { format: pcm } } };
  send({ type: "session.update", session });
  await until(({ type }) => type === "session.updated");
  const stop = await listen(24000, (audio) => send({ type: "input_audio_buffer.append", audio }));
  const events = await until(({ type }) => type === "response.done" || type === "error");
  await stop();
  const audio = events.filter(({ type }) => type === "response.output_audio.delta");
  const heard = events.find(({ type }) => type.endsWith("input_audio_transcription.completed"));
  assert(/weather in london/i.test(heard?.transcript), events.map(({ type }) => type));
  const seconds = await play(joined(audio.map(({ delta }) => bytesOf(delta))), 24000);
  assert(seconds > 1 && seconds < 6, seconds);
  socket.close();
  return `heard ${heard.transcript}, played ${seconds.toFixed(2)} s`;
}

async function spokenTurn(server) {
  const url = `${server.ws_url}/v1/realtime?model=gpt-realtime`;
  const protocols = ["realtime", `openai-insecure-api-key.${bareKey(server)}`];
  return spokenTurnOn(await open(url, protocols));
}

async function spokenTurnOfInworld(server) {
  const url = `${server.ws_url}/api/v1/realtime/session?key=page&protocol=realtime`;
  return spokenTurnOn(await open(url, [`basic_${bareKey(server)}`]));
}

async function writtenTurn(server) {
  const token = encodeURIComponent(server.api_key);
  const { socket, send, until } = await open(`${server.ws_url}/v1/realtime?token=${token}`);
  await until(({ type }) => type === "session.created");
  const content = [{ type: "input_text", text: "Say good morning, everybody." }];
  send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  send({ type: "response.create", response: { output_modalities: ["text"] } });
  const { response } = (await until(({ type }) => type === "response.done")).at(-1);
  socket.close();
  const { text } = response.output[0].content[0];
  assert(text === "good morning, everybody.", response);
  return text;
}

window.checks = {
  voices, fetchedSpeech, streamedSpeech, socketWithToken, socketWithQuery, encodings, keyInQuery,
  badKey, transcription, spokenTurn, spokenTurnOfInworld, writtenTurn,
};
