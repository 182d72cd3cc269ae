// Checks OpenAI's client for Node, unmodified. Its Realtime connection uses the package ws.
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";

import { assert, pcmOf, run } from "./checks.mjs";

const SECOND = 48000;
const CHUNK_BYTES = 4800;
const PCM = { type: "audio/pcm", rate: 24000 };
const WEATHER = {
  type: "function",
  name: "get_weather",
  description: "Weather for a city.",
  parameters: { type: "object", properties: { city: { type: "string" } } },
};
const AUDIO = {
  input: {
    format: PCM,
    turn_detection: { type: "server_vad", silence_duration_ms: 500 },
    transcription: { model: "whisper-1" },
  },
  output: { format: PCM, voice: "marin" },
};

// Opens a session, and calls use(realtime, until). until(type) waits for an event of this type, and
// returns all events up to this event.
async function withSession(server, settings, use) {
  const client = new OpenAI({ apiKey: server.api_key, baseURL: `${server.url}/v1` });
  const realtime = new OpenAIRealtimeWS({ model: "gpt-realtime" }, client);
  const events = [];
  let changed = () => {};
  let error;
  realtime.on("event", (event) => {
    events.push(event);
    changed();
  });
  realtime.on("error", (found) => {
    error = found;
    changed();
  });
  const until = async (type) => {
    const found = [];
    for (;;) {
      while (events.length) {
        found.push(events.shift());
        if (found.at(-1).type === type) return found;
      }
      if (error) throw error;
      await new Promise((done) => { changed = done; });
    }
  };
  try {
    await until("session.created");
    realtime.send({ type: "session.update", session: { type: "realtime", ...settings } });
    await until("session.updated");
    return await use(realtime, until);
  } finally {
    realtime.close();
  }
}

function write(realtime, text) {
  const content = [{ type: "input_text", text }];
  realtime.send({ type: "conversation.item.create", item: { type: "message", role: "user", content } });
  realtime.send({ type: "response.create" });
}

const deltasOf = (events, type) =>
  events.filter((event) => event.type === type).map((event) => event.delta).join("");

const writtenTurn = (server) =>
  withSession(server, { output_modalities: ["text"] }, async (realtime, until) => {
    write(realtime, "Say good morning, everybody.");
    const text = deltasOf(await until("response.done"), "response.output_text.delta");
    assert(text === "good morning, everybody.", text);
    return text;
  });

const spokenTurn = (server) =>
  withSession(server, { output_modalities: ["audio"], audio: AUDIO }, async (realtime, until) => {
    const sound = Buffer.concat([pcmOf(server.question), Buffer.alloc(SECOND)]);
    for (let at = 0; at < sound.length; at += CHUNK_BYTES) {
      const audio = sound.subarray(at, at + CHUNK_BYTES).toString("base64");
      realtime.send({ type: "input_audio_buffer.append", audio });
    }
    const events = await until("response.done");
    const kind = "conversation.item.input_audio_transcription.";
    const heard = events.find((event) => event.type === `${kind}completed`).transcript;
    assert(heard.toLowerCase().includes("weather in london"), heard);
    assert(["", heard].includes(deltasOf(events, `${kind}delta`)), events);
    const said = deltasOf(events, "response.output_audio_transcript.delta");
    assert(said.toLowerCase().includes("london"), said);
    const audio = events.filter((event) => event.type === "response.output_audio.delta");
    const bytes = audio.reduce((sum, event) => sum + Buffer.from(event.delta, "base64").length, 0);
    assert(bytes / SECOND > 1 && bytes / SECOND < 5, bytes);
    return `heard ${heard}, said ${said} in ${(bytes / SECOND).toFixed(2)} s`;
  });

const toolCall = (server) =>
  withSession(server, { output_modalities: ["text"], tools: [WEATHER] }, async (realtime, until) => {
    write(realtime, "What is the weather in London?");
    const call = (await until("response.done")).at(-1).response.output[0];
    assert(call.name === "get_weather" && JSON.parse(call.arguments).city === "London", call);
    const item = { type: "function_call_output", call_id: call.call_id, output: "sunny" };
    realtime.send({ type: "conversation.item.create", item });
    realtime.send({ type: "response.create" });
    const said = deltasOf(await until("response.done"), "response.output_text.delta");
    assert(said === "The weather says: sunny.", said);
    return said;
  });

const interruption = (server) =>
  withSession(server, { output_modalities: ["audio"] }, async (realtime, until) => {
    write(realtime, "Count to 90.");
    const { item_id } = (await until("response.output_audio.delta")).at(-1);
    realtime.send({ type: "response.cancel" });
    const { response } = (await until("response.done")).at(-1);
    assert(response.status === "cancelled", response);
    const truncation = { item_id, content_index: 0, audio_end_ms: 100 };
    realtime.send({ type: "conversation.item.truncate", ...truncation });
    await until("conversation.item.truncated");
    return response.status_details.reason;
  });

async function badKey(server) {
  try {
    await withSession({ ...server, api_key: "bad" }, {}, async () => {});
  } catch (error) {
    assert(String(error).includes("403"), String(error));
    return String(error);
  }
  throw new Error("a bad key was accepted");
}

const chatOf = (server) => new OpenAI({ apiKey: server.api_key, baseURL: `${server.url}/v1` });

async function wholeChat(server) {
  const messages = [{ role: "user", content: "Count to twenty." }];
  const answer = await chatOf(server).chat.completions.create({ model: "auto", messages });
  const text = answer.choices[0].message.content;
  assert(/twenty/i.test(text), answer);
  assert(answer.usage.total_tokens > 0, answer);
  return text;
}

async function streamedChat(server) {
  const messages = [{ role: "user", content: "Count to twenty." }];
  const request = { model: "auto", messages, stream: true };
  const pieces = [];
  for await (const { choices } of await chatOf(server).chat.completions.create(request)) {
    pieces.push(choices[0]?.delta.content ?? "");
  }
  assert(pieces.length > 5 && /twenty/i.test(pieces.join("")), pieces);
  return pieces.join("");
}

async function calledTool(server) {
  const { type, ...definition } = WEATHER;
  const tools = [{ type, function: definition }];
  const messages = [{ role: "user", content: "What is the weather in London?" }];
  const request = { model: "auto", messages, tools };
  const { message } = (await chatOf(server).chat.completions.create(request)).choices[0];
  const [call] = message.tool_calls;
  assert(JSON.parse(call.function.arguments).city === "London", message);
  const output = { role: "tool", tool_call_id: call.id, content: "sunny" };
  const next = { ...request, messages: [...messages, message, output] };
  const text = (await chatOf(server).chat.completions.create(next)).choices[0].message.content;
  assert(text === "The weather says: sunny.", text);
  return text;
}

await run([
  ["chat", wholeChat],
  ["chat", streamedChat],
  ["chat", calledTool],
  ["written turn", writtenTurn],
  ["spoken turn", spokenTurn],
  ["tool call", toolCall],
  ["interruption", interruption],
  ["refusals", badKey],
]);
