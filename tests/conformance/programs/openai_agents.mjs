// Checks OpenAI's Agents SDK for Node, unmodified. Its realtime sessions use a WebSocket.
import { RealtimeAgent, RealtimeSession, OpenAIRealtimeWebSocket, tool } from "@openai/agents-realtime";
import { z } from "zod";

import { assert, pcmOf, run } from "./checks.mjs";

const SECOND = 48000;
const CHUNK_BYTES = 4800;

const getWeather = tool({
  name: "get_weather",
  description: "Weather for a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    assert(city === "London", city);
    return "sunny";
  },
});

// Opens a session, and calls use() with the session. An error of the session makes the check fail.
async function withSession(server, tools, use) {
  const agent = new RealtimeAgent({ name: "Assistant", instructions: "Be brief.", tools });
  const url = `${server.ws_url}/v1/realtime?model=gpt-realtime`;
  const session = new RealtimeSession(agent, {
    transport: new OpenAIRealtimeWebSocket({ url, useInsecureApiKey: true }),
    model: "gpt-realtime",
    tracingDisabled: true,
    config: { audio: { input: { turnDetection: { type: "server_vad", silenceDurationMs: 500 } } } },
  });
  const failed = new Promise((_, reject) => session.on("error", ({ error }) => reject(error)));
  failed.catch(() => {});
  try {
    await Promise.race([session.connect({ apiKey: server.api_key }), failed]);
    return await Promise.race([use(session), failed]);
  } finally {
    session.close();
  }
}

const textOf = (history, role) =>
  history.filter((item) => item.type === "message" && item.role === role).at(-1)
    ?.content.map((part) => part.transcript ?? part.text ?? "").join("") ?? "";

// Returns a promise of the text of the first reply that contains the part. The promise is resolved
// when the agent has ended this reply.
const replyOf = (session, part) =>
  new Promise((done) => {
    session.on("agent_end", (_context, _agent, text) => text.includes(part) && done(text));
  });

const writtenTurn = (server) =>
  withSession(server, [], async (session) => {
    let bytes = 0;
    session.on("audio", (event) => { bytes += event.data.byteLength; });
    const reply = replyOf(session, "");
    session.sendMessage("Say good morning, everybody.");
    const text = await reply;
    assert(text === "good morning, everybody.", text);
    assert(bytes / SECOND > 0.5, bytes);
    return `${text} in ${(bytes / SECOND).toFixed(2)} s`;
  });

const spokenTurn = (server) =>
  withSession(server, [], async (session) => {
    const reply = replyOf(session, "");
    const sound = Buffer.concat([pcmOf(server.question), Buffer.alloc(SECOND)]);
    for (let at = 0; at < sound.length; at += CHUNK_BYTES) {
      session.sendAudio(new Uint8Array(sound.subarray(at, at + CHUNK_BYTES)).buffer);
    }
    const text = await reply;
    assert(text.toLowerCase().includes("london"), text);
    const heard = textOf(session.history, "user");
    assert(heard.toLowerCase().includes("weather in london"), session.history);
    return `heard ${heard}, said ${text}`;
  });

const toolCall = (server) =>
  withSession(server, [getWeather], async (session) => {
    const reply = replyOf(session, "sunny");
    session.sendMessage("What is the weather in London?");
    const text = await reply;
    assert(text === "The weather says: sunny.", text);
    return text;
  });

const interruption = (server) =>
  withSession(server, [], async (session) => {
    const sound = new Promise((done) => session.once("audio", done));
    session.sendMessage("Count to 90.");
    await sound;
    session.interrupt();
    const reply = replyOf(session, "enough");
    session.sendMessage("Say enough.");
    const text = await reply;
    assert(text === "enough.", text);
    return text;
  });

async function badKey(server) {
  try {
    await withSession({ ...server, api_key: "bad" }, [], async () => {});
  } catch (error) {
    return String(error.message ?? error);
  }
  throw new Error("a bad key was accepted");
}

await run([
  ["written turn", writtenTurn],
  ["spoken turn", spokenTurn],
  ["tool call", toolCall],
  ["interruption", interruption],
  ["refusals", badKey],
]);
