/** Tests of Conversation over WebRTC. Each test sends the messages of the service itself. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { devices, install, settle, site } from "./fakes.mjs";

const { Conversation } = await import("../../../inworld_sync/web/static/inworld.js");

const EVENTS = ["state", "user", "text", "words", "word", "finished", "interrupted", "error"];
const PLACE = { response_id: "r1", item_id: "i1" };

let Connection;

beforeEach(() => {
  ({ Connection } = install());
});

/** Start a conversation. The clock stands still until the test calls `pass`. */
async function started(t, mode = "open") {
  let now = 100000;
  t.mock.method(performance, "now", () => now);
  const conversation = new Conversation({ transport: "webrtc" });
  const events = [];
  for (const name of [...EVENTS, "microphone", "close"]) {
    conversation.addEventListener(name, ({ detail }) => events.push({ name, ...detail }));
  }
  await conversation.start(mode);
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const of = (name) => events.filter((event) => event.name === name);
  const pass = (ms) => {
    now += ms;
    t.mock.timers.tick(ms);
  };
  return { conversation, of, pass, connection: Connection.made[0] };
}

function speak(connection) {
  connection.receive({ type: "response.created", response: { id: "r1" } });
  const delta = "One two. Three.";
  connection.receive({ type: "response.output_audio_transcript.delta", ...PLACE, delta });
  for (const [words, starts, ends] of [
    [["One", " ", "two."], [0, 0.4, 0.4], [0.3, 0.4, 0.8]],
    [["Three."], [0.1], [0.5]],
  ]) {
    const word_alignment = {
      words,
      word_start_time_seconds: starts,
      word_end_time_seconds: ends,
    };
    const timestamp_info = { word_alignment };
    connection.receive({ type: "response.output_audio.delta", ...PLACE, timestamp_info });
  }
  connection.receive({ type: "output_audio_buffer.started", response_id: "r1" });
}

test("it connects with a token, and sends the settings of the server", async (t) => {
  const { conversation, connection, of } = await started(t);

  const [token, ice, offer] = site.requests;
  assert.equal(token.method, "POST");
  assert.equal(token.headers["Content-Type"], "application/json");
  assert.equal(ice.headers.Authorization, "Bearer t0ken");
  assert.equal(offer.headers.Authorization, "Bearer t0ken");
  assert.equal(offer.body, "the offer");
  assert.equal(connection.answer, "the answer");
  assert.equal(connection.channel.label, "oai-events");
  const [{ session }] = connection.of("session.update");
  assert.equal(session.instructions, "Be brief.");
  assert.deepEqual(session.audio.input.turn_detection, { type: "semantic_vad" });
  assert.deepEqual(connection.tracks, [devices.tracks[0]]);
  assert.deepEqual(of("state").map(({ state }) => state), ["connecting", "listening"]);
  assert.ok(conversation.levels.microphone > 0.4);
  await conversation.close();
  assert.equal(connection.isClosed, true);
  assert.equal(devices.tracks[0].isStopped, true);
});

test("words come when they sound, and their times continue over sentences", async (t) => {
  const { conversation, connection, of, pass } = await started(t);
  speak(connection);
  const texts = () => of("word").map(({ text }) => text);
  const starts = of("words").flatMap(({ words }) => words.map(({ startMs }) => startMs));

  assert.deepEqual(starts, [0, 400, 900]);
  assert.deepEqual(texts(), []);
  assert.equal(conversation.state, "speaking");
  pass(200);
  assert.deepEqual(texts(), ["One"]);
  pass(400);
  assert.deepEqual(texts(), ["One", "two."]);
  connection.receive({ type: "output_audio_buffer.stopped", response_id: "r1" });
  assert.deepEqual(texts(), ["One", "two.", "Three."]);
  assert.deepEqual(of("finished").map(({ item }) => item), [1]);
  assert.equal(of("text")[0].text, "One two. Three.");
  assert.equal(conversation.state, "listening");
  await conversation.close();
});

test("an interruption truncates the item to what was heard", async (t) => {
  const { conversation, connection, of, pass } = await started(t);
  speak(connection);
  pass(500);
  await conversation.interrupt();
  assert.equal(connection.of("response.cancel").length, 1);
  assert.equal(connection.of("output_audio_buffer.clear").length, 1);
  connection.receive({ type: "output_audio_buffer.cleared", response_id: "r1" });

  assert.deepEqual(connection.of("conversation.item.truncate"), [
    { type: "conversation.item.truncate", item_id: "i1", content_index: 0, audio_end_ms: 500 },
  ]);
  assert.deepEqual(of("interrupted").map(({ item, ms }) => [item, ms]), [[1, 500]]);
  // A late message about the item is ignored.
  const late = { ...PLACE, delta: "late" };
  connection.receive({ type: "response.output_audio_transcript.delta", ...late });
  assert.equal(of("text").length, 1);
  pass(1000);
  assert.deepEqual(of("word").map(({ text }) => text), ["One", "two."]);
  await conversation.close();
});

test("push-to-talk sends silence until the button is pressed", async (t) => {
  const { conversation, connection, pass } = await started(t, "push");
  const [track] = devices.tracks;
  assert.equal(connection.of("session.update")[0].session.audio.input.turn_detection, null);
  assert.equal(track.enabled, false);
  conversation.push(true);
  await settle();
  assert.equal(track.enabled, true);
  conversation.push(false);
  await settle();
  assert.equal(track.enabled, false);
  assert.deepEqual(connection.of("input_audio_buffer.commit"), []);
  pass(300);
  await settle();

  assert.deepEqual(connection.events.map(({ type }) => type).slice(1), [
    "input_audio_buffer.clear",
    "input_audio_buffer.commit",
    "response.create",
  ]);
  await conversation.close();
});

test("typed text interrupts and asks for a response", async (t) => {
  const { conversation, connection } = await started(t);
  speak(connection);
  conversation.sendText("hello");
  assert.deepEqual(connection.events.map(({ type }) => type).slice(1), [
    "response.cancel",
    "output_audio_buffer.clear",
    "conversation.item.create",
    "response.create",
  ]);
  await conversation.close();
});

test("transcripts of the user and errors of the service arrive", async (t) => {
  const { conversation, connection, of } = await started(t);
  const kind = "conversation.item.input_audio_transcription";
  connection.receive({ type: `${kind}.delta`, item_id: "u", delta: "say" });
  connection.receive({ type: `${kind}.completed`, item_id: "u", transcript: "Say it." });
  connection.receive({ type: "error", error: { code: "quota", message: "no time left" } });
  connection.receive({ type: "error", error: { code: "response_cancel_not_active" } });

  assert.deepEqual(of("user").map(({ text, final }) => [text, final]), [
    ["say", false],
    ["Say it.", true],
  ]);
  assert.deepEqual(of("error").map(({ code, message }) => [code, message]), [
    ["quota", "no time left"],
  ]);
  await conversation.close();
});

test("a lost connection is opened again", async (t) => {
  const { conversation, connection, pass } = await started(t);
  connection.connectionState = "failed";
  connection.onconnectionstatechange();
  assert.equal(conversation.state, "reconnecting");
  assert.equal(connection.isClosed, true);
  pass(500);
  for (let turn = 0; turn < 20; turn++) await settle();
  assert.equal(Connection.made.length, 2);
  assert.equal(conversation.state, "listening");
  await conversation.close();
});

test("a refused token ends start", async () => {
  site.responses["/token"] = { status: 401, body: "log in first" };
  const conversation = new Conversation({ transport: "webrtc" });
  await assert.rejects(conversation.start(), /401 log in first/);
  assert.equal(conversation.state, "closed");
  assert.equal(devices.tracks[0].isStopped, true);
});

test("refused settings end start", async () => {
  Connection.opens = false;
  const conversation = new Conversation({ transport: "webrtc" });
  const starting = conversation.start();
  await settle();
  Connection.made[0].receive({ type: "error", error: { message: "unknown voice" } });
  await assert.rejects(starting, /unknown voice/);
  assert.equal(Connection.made[0].isClosed, true);
});

test("close during start ends start", async () => {
  Connection.opens = false;
  const conversation = new Conversation({ transport: "webrtc" });
  const starting = conversation.start();
  await settle();
  await conversation.close();
  await assert.rejects(starting, /closed/);
  assert.equal(Connection.made[0].isClosed, true);
});
