/** Tests of Conversation over the relay, with the real worklets in a simulated browser. */

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";

import { devices, install, settle } from "./fakes.mjs";

const { Conversation } = await import("../../../inworld_sync/web/static/inworld.js");

const EVENTS = [
  ...["state", "user", "item", "text", "words", "spoken", "word", "finished", "interrupted"],
  ...["microphone", "audio", "error", "close"],
];
const SECOND = new Int16Array(24000).fill(8192);

let Context;
let Socket;

beforeEach(() => {
  ({ Context, Socket } = install());
});

async function started(mode = "open", options = {}) {
  const conversation = new Conversation({ url: "/talk", ...options });
  const events = [];
  for (const name of EVENTS) {
    conversation.addEventListener(name, ({ detail }) => events.push({ name, ...detail }));
  }
  await conversation.start(mode);
  const of = (name) => events.filter((event) => event.name === name);
  const [context] = Context.made;
  return { conversation, events, of, context, socket: Socket.made[0] };
}

test("it sends start with the mode, to the address of the page's server", async () => {
  const { conversation, socket, of } = await started("push");

  assert.equal(socket.url, "wss://example.com/talk");
  assert.deepEqual(socket.sent[0], { type: "start", mode: "push" });
  assert.deepEqual(of("state").map(({ state }) => state), ["connecting", "listening"]);
  assert.deepEqual(of("microphone").map(({ state }) => state), ["on"]);
  await conversation.close();
});

test("an open microphone is sent in blocks of 20 ms", async () => {
  const { conversation, socket, context } = await started();
  context.render(200, () => 0.25);

  assert.ok(socket.samples >= 4320, `${socket.samples} samples`);
  const block = socket.sent.find((message) => ArrayBuffer.isView(message));
  assert.equal(block.length, 480);
  assert.equal(block[100], 8192);
  assert.ok(Math.abs(conversation.levels.microphone - 0.25) < 1e-3);
  await conversation.close();
});

test("a microphone of another rate is resampled", async () => {
  Context.microphoneNeedsDeviceRate = true;
  const { conversation, socket } = await started();
  assert.deepEqual(Context.made.map((context) => context.sampleRate), [24000, 48000]);
  Context.made[1].render(1000, () => 0.25);

  assert.ok(socket.samples > 23000 && socket.samples <= 24000, `${socket.samples} samples`);
  await conversation.close();
  assert.deepEqual(Context.made.map((context) => context.state), ["closed", "closed"]);
});

test("speech is resampled if the browser refuses the rate", async () => {
  Context.refusesRate = true;
  const { conversation, socket, context, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.speak(1, SECOND);
  socket.speak(1, SECOND);
  socket.receive({ type: "item_end", item: 1, ms: 2000 });
  const played = context.render(2200);

  const heard = played.filter((sample) => Math.abs(sample - 0.25) < 0.001).length;
  assert.ok(heard > 95000 && heard <= 96000, `${heard} samples`);
  assert.deepEqual(of("finished").map(({ item }) => item), [1]);
  await conversation.close();
});

test("it reports what was heard about every 200 ms, and the end", async () => {
  const { conversation, socket, context, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.speak(1, SECOND);
  context.render(600);
  const heard = socket.of("heard");

  assert.ok(heard.length >= 2 && heard.length <= 4, `${heard.length} reports`);
  assert.ok(heard.at(-1).ms > 300 && heard.at(-1).ms < 600, `${heard.at(-1).ms} ms`);
  assert.deepEqual(socket.of("finished"), []);
  socket.receive({ type: "item_end", item: 1, ms: 1000 });
  context.render(600);
  assert.deepEqual(socket.of("finished"), [{ type: "finished", item: 1 }]);
  assert.equal(conversation.stats.underruns, 0);
  assert.equal(conversation.levels.speaker, 0);
  assert.deepEqual(of("item").map(({ item, itemId }) => [item, itemId]), [[1, "a"]]);
  await conversation.close();
});

test("words and text come when they sound", async () => {
  const { conversation, socket, context, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.receive({ type: "text", item: 1, delta: "One two " });
  const words = ["One", "two", "three"].map((text, at) => ({
    text,
    start_ms: 300 * at,
    end_ms: 300 * at + 250,
  }));
  socket.receive({ type: "words", item: 1, words });
  const spoken = () => of("word").map(({ text }) => text).join(" ");
  assert.equal(of("words")[0].words[1].startMs, 300);
  assert.equal(of("text")[0].text, "One two ");
  assert.equal(spoken(), "");
  assert.deepEqual(of("spoken"), []);

  socket.speak(1, SECOND);
  socket.receive({ type: "text", item: 1, delta: "three" });
  context.render(200);
  assert.equal(spoken(), "One");
  assert.deepEqual(of("spoken").map(({ delta }) => delta), ["One two "]);
  context.render(250);
  assert.equal(spoken(), "One two");
  socket.receive({ type: "item_end", item: 1, ms: 1000 });
  context.render(700);
  assert.equal(spoken(), "One two three");
  assert.equal(of("spoken").map(({ delta }) => delta).join(""), "One two three");
  await conversation.close();
});

test("clear stops the playback and is answered with what was heard", async () => {
  const { conversation, socket, context, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.receive({ type: "words", item: 1, words: [{ text: "late", start_ms: 900, end_ms: 950 }] });
  socket.speak(1, SECOND);
  context.render(500);
  socket.receive({ type: "clear", item: 1 });
  await settle();

  const [answer] = socket.of("interrupted");
  assert.equal(answer.item, 1);
  // 500 ms were played. The latency of 40 ms is subtracted, and the worklet learned the latency
  // after at most 20 ms.
  assert.ok(answer.ms >= 440 && answer.ms <= 470, `${answer.ms} ms`);
  assert.equal(of("interrupted").length, 1);
  // Late audio and text of the item are dropped.
  socket.speak(1, SECOND);
  socket.receive({ type: "text", item: 1, delta: "late" });
  assert.deepEqual(of("text"), []);
  socket.receive({ type: "item_end", item: 1, ms: 2000 });
  assert.ok(context.render(300).slice(100).every((sample) => sample === 0));
  assert.deepEqual(of("finished"), []);
  assert.deepEqual(of("word"), []);
  // The next item is played.
  socket.receive({ type: "item", item: 2, item_id: "b" });
  socket.speak(2, SECOND);
  assert.ok(context.render(200).some((sample) => sample === 0.25));
  assert.deepEqual(of("word"), []);
  await conversation.close();
});

test("clear of a silent player is answered with item 0", async () => {
  const { conversation, socket, of } = await started();
  socket.receive({ type: "clear", item: 0 });
  await settle();

  assert.deepEqual(socket.of("interrupted"), [{ type: "interrupted", item: 0, ms: 0 }]);
  assert.deepEqual(of("interrupted"), []);
  await conversation.close();
});

test("interrupt sends the position once, and nothing if nothing is played", async () => {
  const { conversation, socket, context } = await started();
  await conversation.interrupt();
  assert.deepEqual(socket.of("interrupted"), []);
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.speak(1, SECOND);
  context.render(300);
  await conversation.interrupt();
  assert.equal(socket.of("interrupted").length, 1);
  await conversation.close();
});

test("push-to-talk sends audio only while the button is pressed", async () => {
  const { conversation, socket, context } = await started("push");
  context.render(100, () => 0.25);
  assert.equal(socket.samples, 0);
  conversation.push(true);
  await settle();
  context.render(105, () => 0.25);
  conversation.push(false);
  await settle();
  context.render(100, () => 0.25);

  const kinds = socket.sent.map((message) => message.type ?? "audio");
  assert.equal(kinds[1], "push");
  assert.equal(kinds.at(-1), "push");
  assert.deepEqual(socket.of("push").map(({ down }) => down), [true, false]);
  // The last block is shorter, because everything before the release is sent.
  const blocks = socket.sent.filter((message) => ArrayBuffer.isView(message));
  assert.ok(blocks.at(-1).length < 480);
  assert.ok(socket.samples >= 2500 && socket.samples <= 3100, `${socket.samples} samples`);
  await conversation.close();
});

test("pressing the button stops the assistant", async () => {
  const { conversation, socket, context } = await started("push");
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.speak(1, SECOND);
  context.render(300);
  conversation.push(true);
  await settle();

  assert.equal(socket.of("interrupted")[0].item, 1);
  assert.ok(context.render(100).slice(100).every((sample) => sample === 0));
  await conversation.close();
});

test("a hidden page releases the button, since it gets no keyup", async () => {
  const { conversation, socket } = await started("push");
  conversation.push(true);
  await settle();
  document.setVisibility("hidden");
  await settle();
  assert.deepEqual(socket.of("push").map(({ down }) => down), [true, false]);
  await conversation.close();
});

test("mute makes the track silent, and survives a new microphone", async () => {
  const { conversation, of, context } = await started();
  conversation.muted = true;
  assert.equal(devices.tracks[0].enabled, false);
  // The new track must be silent before it is connected.
  const { createMediaStreamSource } = context;
  const connected = [];
  context.createMediaStreamSource = function (stream) {
    connected.push(stream.getTracks()[0].enabled);
    return createMediaStreamSource.call(this, stream);
  };
  await conversation.openMicrophone();
  assert.deepEqual(connected, [false]);
  assert.deepEqual(devices.tracks.map((track) => track.enabled), [false, false]);
  assert.equal(devices.tracks[0].isStopped, true);
  conversation.muted = false;
  assert.equal(devices.tracks[1].enabled, true);
  assert.equal(of("microphone").length, 2);
  await conversation.close();
});

test("without a microphone the user can type", async () => {
  devices.open = async () => {
    throw Object.assign(new Error("denied by the user"), { name: "NotAllowedError" });
  };
  const { conversation, socket, of } = await started();
  assert.deepEqual(of("microphone").map(({ state, message }) => [state, message]), [
    ["refused", "denied by the user"],
  ]);
  conversation.sendText("hello");
  assert.deepEqual(socket.of("text"), [{ type: "text", text: "hello" }]);
  for (const wrong of [" ", "a".repeat(4001)]) {
    assert.throws(() => conversation.sendText(wrong), /expected 1 to 4000 characters/);
  }
  await conversation.close();
});

test("an unplugged microphone releases the button and can be opened again", async () => {
  const { conversation, socket, of } = await started("push");
  conversation.push(true);
  await settle();
  devices.tracks[0].onended();
  await settle();
  assert.deepEqual(socket.of("push").map(({ down }) => down), [true, false]);
  assert.deepEqual(of("microphone").map(({ state }) => state), ["on", "ended"]);
  assert.equal(await conversation.openMicrophone(), true);
  await conversation.close();
});

test("a suspended AudioContext is reported", async () => {
  const { conversation, context, of } = await started();
  context.state = "interrupted";
  context.onstatechange();
  assert.deepEqual(of("audio").map(({ state }) => state), ["interrupted"]);
  document.setVisibility("visible");
  await settle();
  assert.equal(context.state, "running");
  await conversation.close();
});

test("a lost connection is opened again, and the items continue", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { conversation, socket, context, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  socket.speak(1, SECOND);
  context.render(300);
  socket.end(1001, "restarting");
  assert.equal(conversation.state, "reconnecting");
  conversation.sendText("typed meanwhile");
  t.mock.timers.tick(500);
  await settle();

  const next = Socket.made[1];
  assert.deepEqual(next.sent[0], { type: "start", mode: "open" });
  assert.deepEqual(next.of("text"), [{ type: "text", text: "typed meanwhile" }]);
  assert.equal(conversation.state, "listening");
  // The rest of the first item is played, but is not reported to the new connection.
  context.render(1000);
  assert.deepEqual(of("finished").map(({ item }) => item), [1]);
  assert.deepEqual(next.of("heard"), []);
  assert.deepEqual(next.of("finished"), []);
  next.receive({ type: "item", item: 1, item_id: "b" });
  next.speak(1, SECOND);
  context.render(500);
  assert.equal(of("item").at(-1).item, 2);
  assert.equal(next.of("heard")[0].item, 1);
  await conversation.close();
});

test("a button that is held while the connection is lost is pressed again", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { conversation, socket } = await started("push");
  conversation.push(true);
  await settle();
  socket.end(1006);
  t.mock.timers.tick(500);
  await settle();
  assert.deepEqual(Socket.made[1].of("push"), [{ type: "push", down: true }]);
  await conversation.close();
});

for (const code of [1000, 1008]) {
  test(`no attempt follows the close code ${code}`, async () => {
    const { conversation, socket, of } = await started();
    socket.end(code, "too many conversations");
    await settle();
    assert.equal(conversation.state, "closed");
    assert.deepEqual(of("close").map(({ code: found, reason }) => [found, reason]), [
      [code, "too many conversations"],
    ]);
    assert.equal(Socket.made.length, 1);
    assert.equal(devices.tracks[0].isStopped, true);
  });
}

test("attempts end after their limit, also if the server accepts and closes each time", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const { conversation, socket, of } = await started("open", { reconnectAttempts: 2 });
  socket.end(1011);
  for (const index of [1, 2]) {
    t.mock.timers.tick(8000);
    await settle();
    Socket.made[index].end(1011);
    await settle();
  }

  assert.equal(conversation.state, "closed");
  assert.equal(Socket.made.length, 3);
  assert.deepEqual(of("error").map(({ code, isFatal }) => [code, isFatal]), [
    ["not_reconnected", true],
  ]);
});

test("a network that takes no audio is a lost connection", async () => {
  const { conversation, socket, context } = await started();
  socket.bufferedAmount = 300000;
  context.render(100);
  assert.equal(conversation.state, "reconnecting");
  assert.ok(conversation.stats.dropped > 0);
  assert.equal(socket.samples, 0);
  await conversation.close();
});

test("typed messages wait in a bounded queue", async () => {
  const { conversation, socket } = await started();
  socket.end(1006);
  for (let count = 0; count < 16; count++) conversation.sendText("hello");
  assert.throws(() => conversation.sendText("one too many"), /16 messages wait/);
  await conversation.close();
  assert.throws(() => conversation.sendText("hello"), /closed/);
});

test("start throws if the relay refuses, and frees the microphone", async () => {
  Socket.answers = false;
  const conversation = new Conversation({ url: "/talk" });
  const starting = conversation.start();
  await settle();
  Socket.made[0].end(1008, "too many conversations");

  await assert.rejects(starting, /too many conversations/);
  assert.equal(conversation.state, "closed");
  assert.equal(devices.tracks[0].isStopped, true);
  assert.equal(Context.made[0].state, "closed");
});

test("start throws if the relay does not answer in time", async (t) => {
  Socket.answers = false;
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const starting = new Conversation({ url: "/talk" }).start();
  await settle();
  t.mock.timers.tick(15000);
  await assert.rejects(starting, /waited 15 s for the relay's message 'ready'/);
  assert.equal(Socket.made[0].closedWith, 1000);
});

test("close during start ends start", async () => {
  Socket.answers = false;
  const conversation = new Conversation({ url: "/talk" });
  const starting = conversation.start();
  await settle();
  await conversation.close();
  await assert.rejects(starting, /closed/);
});

test("close during the question for the microphone frees the microphone", async () => {
  let allow;
  const open = devices.open;
  devices.open = () => new Promise((resolve) => (allow = resolve));
  const conversation = new Conversation({ url: "/talk" });
  const starting = conversation.start();
  await settle();
  await conversation.close();
  allow(await open());
  await assert.rejects(starting, /closed/);
  assert.equal(devices.tracks[0].isStopped, true);
});

test("close frees everything and can be repeated", async () => {
  const { conversation, socket, context, of } = await started();
  await conversation.close();
  await conversation.close();

  assert.equal(socket.closedWith, 1000);
  assert.equal(devices.tracks[0].isStopped, true);
  assert.equal(context.state, "closed");
  context.render(10);
  assert.deepEqual(context.nodes.map(({ isRunning }) => isRunning), [false, false]);
  assert.deepEqual(of("close").map(({ code }) => code), [1000]);
  assert.equal(conversation.state, "closed");
  await assert.rejects(conversation.start(), /only once/);
});

test("a page that is left closes the conversation", async () => {
  const { conversation, socket } = await started();
  window.dispatchEvent(new Event("pagehide"));
  await settle();
  assert.equal(conversation.state, "closed");
  assert.equal(socket.closedWith, 1000);
});

test("invalid messages are errors, and the conversation continues", async () => {
  const { conversation, socket, of } = await started();
  const bodies = [
    null,
    { type: "ready", rate_hz: -1 },
    { type: "words", item: 1 },
    { type: "item", item: 0 },
    { type: "text", item: 1 },
    { type: "state", state: "closed" },
  ];
  for (const body of bodies) socket.receive(body);
  const wrong = ["no JSON", new ArrayBuffer(3), new ArrayBuffer(7)];
  for (const data of wrong) socket.onmessage({ data });
  socket.receive({ type: "something new" });

  assert.deepEqual(of("error").map(({ code }) => code), Array(9).fill("invalid_message"));
  socket.receive({ type: "user", item_id: "u", text: "hello", final: true });
  assert.deepEqual(of("user"), [{ name: "user", itemId: "u", text: "hello", final: true }]);
  socket.receive({ type: "error", code: "quota", message: "no time left", fatal: true });
  assert.deepEqual(of("error").at(-1), {
    name: "error",
    code: "quota",
    message: "no time left",
    isFatal: true,
  });
  await conversation.close();
});

test("too much audio is an error, once for each item", async () => {
  const { conversation, socket, of } = await started();
  socket.receive({ type: "item", item: 1, item_id: "a" });
  for (let second = 0; second < 63; second++) socket.speak(1, SECOND);
  assert.deepEqual(of("error").map(({ code }) => code), ["too_much_audio"]);
  await conversation.close();
});

test("wrong options are refused", async () => {
  assert.throws(() => new Conversation({}), /url: expected/);
  assert.throws(() => new Conversation({ url: "/", transport: "carrier pigeon" }), /transport:/);
  await assert.rejects(new Conversation({ url: "/talk" }).start("both"), /mode: expected/);
  await assert.rejects(new Conversation({ url: "ftp://a/" }).start(), /expected http/);
});
