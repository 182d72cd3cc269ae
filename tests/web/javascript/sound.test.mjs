/** Tests of the parts of inworld.js that need no browser, such as the resampler and the player. */

import assert from "node:assert/strict";
import { test } from "node:test";

import {
  Backoff,
  HeardClock,
  MicrophoneBlocks,
  Player,
  Resampler,
  Timeline,
  toFloat32,
  toInt16,
  withTurns,
} from "../../../inworld_sync/web/static/inworld.js";

const RATES = [
  [48000, 24000],
  [44100, 24000],
  [24000, 48000],
  [24000, 44100],
  [16000, 24000],
  [22050, 24000],
];

function sine(hz, rateHz, count) {
  return Float32Array.from({ length: count }, (_, at) => Math.sin((2 * Math.PI * hz * at) / rateHz));
}

function joined(pieces) {
  return Float32Array.from(pieces.flatMap((piece) => [...piece]));
}

function converted(fromHz, toHz, samples) {
  const resampler = new Resampler(fromHz, toHz);
  return joined([resampler.process(samples), resampler.flush()]);
}

/** Return the root mean square without both ends, where the filter also uses silence. */
function middleLevel(samples) {
  const middle = samples.subarray(200, samples.length - 200);
  return Math.sqrt(middle.reduce((sum, sample) => sum + sample * sample, 0) / middle.length);
}

for (const [fromHz, toHz] of RATES) {
  test(`a tone keeps its shape and its time from ${fromHz} to ${toHz} Hz`, () => {
    const made = converted(fromHz, toHz, sine(1000, fromHz, fromHz));
    const expected = sine(1000, toHz, toHz);

    assert.equal(made.length, toHz);
    const difference = made.map((sample, at) => sample - expected[at]);
    assert.ok(middleLevel(difference) < 0.001, `error ${middleLevel(difference)}`);
  });
}

test("frequencies above the new rate are removed", () => {
  assert.ok(middleLevel(converted(48000, 24000, sine(15000, 48000, 48000))) < 0.001);
});

test("a constant keeps its value", () => {
  const made = converted(44100, 24000, new Float32Array(4410).fill(0.5));
  for (const sample of made.subarray(100, 2300)) assert.ok(Math.abs(sample - 0.5) < 1e-4);
});

test("pieces of any size give the same samples as the whole", () => {
  for (const [fromHz, toHz] of RATES) {
    const samples = sine(440, fromHz, 3001);
    const resampler = new Resampler(fromHz, toHz);
    const pieces = [];
    for (let at = 0, size = 1; at < samples.length; at += size, size = (size * 7) % 193) {
      pieces.push(resampler.process(samples.subarray(at, at + size)));
      size = Math.max(size, 1);
    }
    pieces.push(resampler.flush());
    assert.deepEqual(joined(pieces), converted(fromHz, toHz, samples));
  }
});

test("equal rates change nothing, and wrong rates are refused", () => {
  assert.deepEqual(converted(24000, 24000, sine(440, 24000, 500)), sine(440, 24000, 500));
  for (const wrong of [0, -1, 44100.5, NaN]) assert.throws(() => new Resampler(wrong, 24000));
});

test("samples beyond the range are clipped", () => {
  assert.deepEqual([...toInt16(Float32Array.of(-2, -1, 0, 0.5, 1, 2))], [
    -32768, -32768, 0, 16384, 32767, 32767,
  ]);
  assert.deepEqual([...toFloat32(Int16Array.of(-32768, 16384))], [-1, 0.5]);
});

test("the microphone gives blocks of 20 ms of the mean of its channels", () => {
  const blocks = new MicrophoneBlocks(24000, 24000);
  const made = [];
  for (let count = 0; count < 10; count++) {
    const channels = [new Float32Array(128).fill(0.5), new Float32Array(128).fill(0.25)];
    made.push(...blocks.add(channels));
  }

  assert.deepEqual(made.map((block) => block.length), [480, 480]);
  assert.equal(made[0][0], 0.375);
  assert.equal(blocks.flush().length, 1280 - 960);
  assert.equal(blocks.flush().length, 0);
});

test("a large block of the browser makes several blocks", () => {
  const blocks = new MicrophoneBlocks(48000, 24000);
  assert.equal(blocks.add([new Float32Array(4800)]).length, 4);
});

const RATE = 24000;
/** Samples of the value 0.25. */
const loud = (count) => new Int16Array(count).fill(8192);

/** Play blocks of 120 samples (5 ms), and return the samples. */
function play(player, ms, from = 0) {
  const output = new Float32Array((RATE * ms) / 1000);
  for (let at = 0; at < output.length; at += 120) {
    player.read(output.subarray(at, at + 120), from + at);
  }
  return output;
}

test("playback starts when 80 ms are queued", () => {
  const player = new Player(RATE);
  player.push(1, loud(1919));
  assert.ok(play(player, 20).every((sample) => sample === 0));
  player.push(1, loud(1));
  assert.ok(play(player, 20, 480).some((sample) => sample > 0));
});

test("a complete item starts at once, however short it is", () => {
  const player = new Player(RATE);
  player.push(1, loud(240));
  player.end(1);
  assert.equal(play(player, 20)[200], 0.25);
});

test("volume rises at the start and falls at the end within 3 ms", () => {
  const player = new Player(RATE);
  player.push(1, loud(2400));
  player.end(1);
  const output = play(player, 110);

  for (let at = 1; at < output.length; at++) {
    assert.ok(Math.abs(output[at] - output[at - 1]) <= 0.25 / 72 + 1e-6, `step at ${at}`);
  }
  assert.equal(output[71], 0.25);
  assert.equal(output[2399], 0.25);
  assert.equal(output[2400 + 72], 0);
});

test("every sample is played once and in order", () => {
  const player = new Player(RATE);
  const sent = Int16Array.from({ length: 5000 }, (_, at) => at);
  for (let at = 0; at < 5000; at += 333) player.push(1, sent.slice(at, at + 333));
  player.end(1);
  const output = play(player, 210);

  for (let at = 72; at < 5000; at++) assert.equal(output[at] * 32768, at);
  assert.equal(player.underruns, 0);
});

test("an underrun is counted once, plays silence, and waits for 80 ms again", () => {
  const player = new Player(RATE);
  player.push(1, loud(2400));
  play(player, 200);
  assert.equal(player.underruns, 1);
  player.push(1, loud(1000));
  assert.ok(play(player, 50, 4800).every((sample) => sample === 0));
  player.push(1, loud(1000));
  player.end(1);
  assert.equal(play(player, 50, 6000)[600], 0.25);
  play(player, 100, 7200);
  assert.equal(player.underruns, 1);
});

test("the end of an item is no underrun", () => {
  const player = new Player(RATE);
  player.push(1, loud(2400));
  player.end(1);
  play(player, 200);
  assert.equal(player.underruns, 0);
  assert.equal(player.isBusy, true);
  assert.deepEqual(player.finished(4800), [1]);
  assert.equal(player.isBusy, false);
});

test("the heard position is what was played minus the latency", () => {
  const player = new Player(RATE);
  player.push(1, loud(24000));
  play(player, 500);
  assert.deepEqual(player.heard(12000 - 960), { item: 1, ms: 460 });
});

test("an item is finished only when its last sample is heard", () => {
  const player = new Player(RATE);
  player.push(1, loud(2400));
  player.end(1);
  player.push(2, loud(2400));
  play(player, 150);

  assert.deepEqual(player.finished(2399), []);
  assert.deepEqual(player.heard(2399), { item: 1, ms: (2399 * 1000) / RATE });
  assert.deepEqual(player.finished(2400), [1]);
  assert.deepEqual(player.heard(3000), { item: 2, ms: 25 });
});

test("an end that arrives late finishes the item at its last sample", () => {
  const player = new Player(RATE);
  player.push(1, loud(2400));
  play(player, 200);
  player.end(1);
  play(player, 5, 4800);
  assert.deepEqual(player.finished(2400), [1]);
});

test("an item without audio is finished", () => {
  const player = new Player(RATE);
  player.end(1);
  play(player, 5);
  assert.deepEqual(player.finished(120), [1]);
});

test("clear drops everything and returns what was heard", () => {
  const player = new Player(RATE);
  player.push(1, loud(24000));
  player.end(1);
  player.push(2, loud(24000));
  play(player, 300);

  assert.deepEqual(player.clear(7200 - 960), { item: 1, ms: 260 });
  const after = play(player, 50, 7200);
  assert.ok(after[0] > 0.24);
  assert.ok(after.subarray(72).every((sample) => sample === 0));
  assert.equal(player.heard(8400), null);
  assert.deepEqual(player.finished(100000), []);
  assert.equal(player.underruns, 0);
});

test("clear of audio that has not begun to sound gives 0 ms, and of nothing item 0", () => {
  const player = new Player(RATE);
  player.push(3, loud(100));
  assert.deepEqual(player.clear(0), { item: 3, ms: 0 });
  assert.deepEqual(player.clear(0), { item: 0, ms: 0 });
});

test("the queue is bounded", () => {
  const player = new Player(RATE);
  for (let second = 0; second < 60; second++) assert.ok(player.push(1, loud(RATE)));
  assert.equal(player.push(1, loud(1)), false);
});

test("the clock leaves out gaps", () => {
  const clock = new HeardClock();
  clock.played(100, 1, 0, 50);
  clock.played(150, 1, 50, 50);
  clock.played(500, 1, 100, 50);

  assert.deepEqual(clock.at(90), { item: 1, samples: 0 });
  assert.deepEqual(clock.at(175), { item: 1, samples: 75 });
  assert.deepEqual(clock.at(400), { item: 1, samples: 100 });
  assert.deepEqual(clock.at(510), { item: 1, samples: 110 });
  assert.equal(clock.endOf(1), 550);
  assert.equal(clock.endOf(2), null);
});

test("marks come in the order of their positions, and each once", () => {
  const timeline = new Timeline();
  timeline.add(1, 500, "word", { text: "late" });
  timeline.add(2, 0, "word", { text: "next" });
  timeline.add(1, 100, "word", { text: "early" });
  const texts = (item, ms) => timeline.reached(item, ms).map(({ detail }) => detail.text);

  assert.deepEqual(texts(1, 99), []);
  assert.deepEqual(texts(1, 100), ["early"]);
  assert.deepEqual(texts(2, 0), ["late", "next"]);
  assert.deepEqual(texts(9, 0), []);
});

test("the waits before attempts grow, are bounded, and end", () => {
  const backoff = new Backoff(6);
  const waits = Array.from({ length: 7 }, () => backoff.next(1));
  assert.deepEqual(waits, [500, 1000, 2000, 4000, 8000, 8000, null]);
  backoff.reset();
  assert.equal(backoff.next(0), 250);
});

test("only 1000 and 1008 are final", () => {
  const codes = [1000, 1001, 1006, 1008, 1011];
  assert.deepEqual(codes.filter(Backoff.isFinal), [1000, 1008]);
});

test("push-to-talk turns the turn detection of a session off", () => {
  const session = { audio: { output: { voice: "Dennis" }, input: { noise_reduction: null } } };
  assert.deepEqual(withTurns(session, "push"), {
    type: "realtime",
    audio: { output: { voice: "Dennis" }, input: { noise_reduction: null, turn_detection: null } },
  });
  assert.equal(withTurns({}, "open").audio.input.turn_detection.type, "semantic_vad");
  assert.deepEqual(session.audio.input, { noise_reduction: null });
});
