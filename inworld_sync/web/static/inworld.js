// @ts-check
/**
 * Connects a web page with a realtime session. The module has the microphone, the playback, and
 * events for the words that the user hears.
 *
 * The page imports this file as a module. The file loads itself as the module of its AudioWorklets,
 * so a content security policy needs no `blob:`. There is no build step and no dependency.
 *
 *     import { Conversation } from "/inworld.js";
 *     const conversation = new Conversation({ url: "/talk" });
 *     conversation.addEventListener("word", ({ detail }) => console.log(detail.text));
 *     button.onclick = () => conversation.start("open");
 *
 * Order of the file: code for sound that needs no browser (Resampler, MicrophoneBlocks, HeardClock,
 * Player), other code that needs no browser (Timeline, Backoff), AudioWorklets, Sound, the two
 * transports, and Conversation.
 */

/** The player waits for this much audio before it starts, and again after an underrun. */
const START_MS = 80;
/** The volume rises and falls within this time, so that starts and stops do not click. */
const RAMP_MS = 3;
/** The duration of one block of the microphone. */
const BLOCK_MS = 20;
/** The worklet reports the playback position at this interval. */
const REPORT_MS = 20;
/** The page reports to the server how much was heard, at this interval. */
const HEARD_MS = 200;
/** The player buffers at most this much audio. Further audio is dropped, with an `error` event. */
const MAX_QUEUED_SECONDS = 60;
/** If more bytes than this (five seconds of audio) wait to be sent, the connection is replaced. */
const MAX_UNSENT_BYTES = 262144;
/** At most this many typed messages wait for a connection. */
const MAX_TYPED = 16;
/** The relay refuses longer messages. */
const MAX_TEXT_CHARACTERS = 4000;
const MAX_MARKS = 10000; // in a Timeline
/**
 * The longest wait for a connection. If the session cannot be opened, the server reports this
 * earlier.
 */
const CONNECT_MS = 15000;
/**
 * The longest wait for an answer of a worklet. A worklet answers within a few milliseconds, unless
 * its context is suspended.
 */
const WORKLET_MS = 250;
const GATHERING_MS = 2000; // the longest wait for ICE candidates
/** If a connection lasted this long, the count of failed attempts restarts at 0. */
const STABLE_MS = 10000;
/** Over WebRTC, the last audio of a turn may arrive this long after the button was released. */
const TRACK_DELAY_MS = 300;

/** @typedef {"open" | "push"} Mode Open microphone with turn detection, or push-to-talk. */
/**
 * @typedef {"idle" | "connecting" | "listening" | "thinking" | "speaking" | "reconnecting"
 *   | "closed"} State
 */
/** @typedef {{ item: number, ms: number }} Position How much of an item was heard. */
/** @typedef {{ text: string, startMs: number, endMs: number }} Word */

/**
 * @typedef {object} Options
 * @property {string} [url] The address of the relay, such as "/talk". The module replaces http by
 *   ws.
 * @property {"relay" | "webrtc"} [transport] The relay of your server, or WebRTC to the service.
 * @property {string} [tokenUrl] The address of the tokens for WebRTC, "/token" by default. Your
 *   server must answer a POST to this address with `{token, url, session}`. `session` has the
 *   settings of the session, and may be missing.
 * @property {MediaTrackConstraints | false} [microphone] Constraints, or false for typed text only.
 * @property {number} [contextRateHz] The sample rate of the AudioContext. The default is the
 *   relay's rate, or the rate of the device if the browser refuses the relay's rate.
 * @property {number} [reconnectAttempts] How many times in succession the module tries to open a
 *   lost connection again, 6 by default.
 */

/**
 * The functions with which a transport reports to its conversation.
 * @typedef {object} Host
 * @property {(name: string, detail: object) => void} emit
 * @property {(state: State) => void} setState
 * @property {(code: number, reason: string) => void} lost
 */

/**
 * The connection to the session, over the relay or over WebRTC. If the connection is lost,
 * `Conversation` calls `connect` again.
 * @typedef {object} Transport
 * @property {() => Promise<void>} prepare
 * @property {(stream: MediaStream | null) => Promise<void>} setMicrophone
 * @property {(mode: Mode) => Promise<void>} connect
 * @property {(isDown: boolean) => Promise<void>} push
 * @property {(text: string) => void} sendText
 * @property {() => Promise<void>} interrupt
 * @property {() => Promise<void>} resume
 * @property {() => void} disconnect
 * @property {() => Promise<void>} close
 * @property {() => { microphone: number, speaker: number }} levels
 * @property {() => { underruns: number, dropped: number }} stats
 */

/* ------------------------------------------------------------------ sound without a browser */

/**
 * Converts samples between two rates, piece by piece, with a windowed sinc.
 *
 * The time of an output sample equals the time of an input sample, or lies between the times of two
 * input samples. The table has one filter for each possible place of an output sample between two
 * input samples. So the two rates can be any integers, and no time is rounded.
 */
export class Resampler {
  #up;
  #down;
  #half;
  /** @type {Float32Array} */
  #table;
  /** The input samples that later output samples still need. @type {Float32Array} */
  #history;
  /** The index in the whole input of the first sample of the history. */
  #first;
  #received = 0;
  #made = 0;

  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    if (!(Number.isInteger(fromHz) && Number.isInteger(toHz) && fromHz > 0 && toHz > 0)) {
      throw new RangeError(`rates must be positive integers, got ${fromHz} and ${toHz}`);
    }
    let [divisor, rest] = [fromHz, toHz];
    while (rest) [divisor, rest] = [rest, divisor % rest];
    this.#up = toHz / divisor;
    this.#down = fromHz / divisor;
    // The filter cuts off below half of the lower rate, because its slope has a width.
    const cutoff = 0.92 * Math.min(1, toHz / fromHz);
    this.#half = Math.ceil(16 * Math.max(1, fromHz / toHz));
    const taps = 2 * this.#half;
    this.#table = new Float32Array(this.#up * taps);
    for (let place = 0; place < this.#up; place++) {
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) {
        const distance = tap - this.#half + 1 - place / this.#up;
        const angle = Math.PI * cutoff * distance;
        const turn = (Math.PI * distance) / this.#half;
        const blackman = 0.42 + 0.5 * Math.cos(turn) + 0.08 * Math.cos(2 * turn);
        const value = (angle ? Math.sin(angle) / angle : 1) * blackman;
        this.#table[place * taps + tap] = value;
        sum += value;
      }
      for (let tap = 0; tap < taps; tap++) this.#table[place * taps + tap] /= sum;
    }
    this.#first = 1 - this.#half;
    this.#history = new Float32Array(this.#half - 1);
  }

  /**
   * Convert a piece. An output sample that needs later input is returned by a later call.
   * @param {Float32Array} input
   * @returns {Float32Array}
   */
  process(input) {
    if (this.#up === this.#down) return input;
    this.#received += input.length;
    return this.#convert(input, Infinity);
  }

  /**
   * Return the remaining samples. All results together last as long as the whole input.
   * @returns {Float32Array}
   */
  flush() {
    if (this.#up === this.#down) return new Float32Array(0);
    const total = Math.round((this.#received * this.#up) / this.#down);
    return this.#convert(new Float32Array(this.#half), total);
  }

  /**
   * @param {Float32Array} input
   * @param {number} limit
   */
  #convert(input, limit) {
    const known = new Float32Array(this.#history.length + input.length);
    known.set(this.#history);
    known.set(input, this.#history.length);
    const taps = 2 * this.#half;
    const end = this.#first + known.length;
    // The number of outputs whose filters need only known samples.
    const count = Math.min(Math.ceil(((end - this.#half) * this.#up) / this.#down), limit);
    const output = new Float32Array(Math.max(count - this.#made, 0));
    for (let at = 0; at < output.length; at++) {
      const time = (this.#made + at) * this.#down;
      const begin = Math.floor(time / this.#up) - this.#half + 1 - this.#first;
      const row = (time % this.#up) * taps;
      let sum = 0;
      for (let tap = 0; tap < taps; tap++) sum += known[begin + tap] * this.#table[row + tap];
      output[at] = sum;
    }
    this.#made += output.length;
    const next = Math.floor((this.#made * this.#down) / this.#up) - this.#half + 1;
    const kept = Math.min(Math.max(next - this.#first, 0), known.length);
    this.#history = known.slice(kept);
    this.#first += kept;
    return output;
  }
}

/**
 * @param {Float32Array} samples
 * @returns {Int16Array}
 */
export function toInt16(samples) {
  const converted = new Int16Array(samples.length);
  for (let at = 0; at < samples.length; at++) {
    converted[at] = Math.max(-32768, Math.min(32767, Math.round(samples[at] * 32768)));
  }
  return converted;
}

/**
 * @param {Int16Array} samples
 * @returns {Float32Array}
 */
export function toFloat32(samples) {
  const converted = new Float32Array(samples.length);
  for (let at = 0; at < samples.length; at++) converted[at] = samples[at] / 32768;
  return converted;
}

/**
 * @param {Float32Array} samples
 * @returns {number} The root mean square, 0 to 1.
 */
export function levelOf(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** Converts the audio of a microphone to blocks of one channel at another rate. */
export class MicrophoneBlocks {
  #resampler;
  #block;
  #filled = 0;

  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    this.#resampler = new Resampler(fromHz, toHz);
    this.#block = new Float32Array(Math.round((toHz * BLOCK_MS) / 1000));
  }

  /**
   * @param {Float32Array[]} channels Samples of the same length.
   * @returns {Float32Array[]} The blocks that are full.
   */
  add(channels) {
    const mono = new Float32Array(channels[0].length);
    for (const channel of channels) {
      for (let at = 0; at < mono.length; at++) mono[at] += channel[at] / channels.length;
    }
    const blocks = [];
    let samples = this.#resampler.process(mono);
    while (samples.length) {
      const count = Math.min(samples.length, this.#block.length - this.#filled);
      this.#block.set(samples.subarray(0, count), this.#filled);
      this.#filled += count;
      samples = samples.subarray(count);
      if (this.#filled === this.#block.length) blocks.push(this.flush());
    }
    return blocks;
  }

  /** @returns {Float32Array} The samples of the block that is not full. The next block is empty. */
  flush() {
    const block = this.#block.slice(0, this.#filled);
    this.#filled = 0;
    return block;
  }
}

/**
 * Records which samples of which item are played at which frames of the output.
 *
 * An underrun makes a gap between two samples of an item. So the position in the item cannot be
 * computed from the frame alone.
 */
export class HeardClock {
  /** @type {{ frame: number, item: number, from: number, count: number }[]} */
  #runs = [];

  /**
   * Record that samples were given to the output.
   * @param {number} frame The frame of the output at which the first sample is played.
   * @param {number} item
   * @param {number} from The index of the first sample in its item.
   * @param {number} count
   */
  played(frame, item, from, count) {
    const last = this.#runs.at(-1);
    if (last && last.item === item && last.frame + last.count === frame) last.count += count;
    else this.#runs.push({ frame, item, from, count });
  }

  /**
   * Return the position at a frame. A later call must not pass an earlier frame.
   * @param {number} frame
   * @returns {{ item: number, samples: number } | null} Null if no item is played.
   */
  at(frame) {
    while (this.#runs.length > 1 && this.#runs[1].frame <= frame) this.#runs.shift();
    const run = this.#runs[0];
    if (!run) return null;
    const count = Math.max(0, Math.min(frame - run.frame, run.count));
    return { item: run.item, samples: run.from + count };
  }

  /**
   * @param {number} item
   * @returns {number | null} The frame after the last sample of the item; null if another item was
   *   played last, or none.
   */
  endOf(item) {
    const last = this.#runs.at(-1);
    return last && last.item === item ? last.frame + last.count : null;
  }

  /**
   * Forget an item that was heard to its end, unless a later item follows.
   * @param {number} item
   */
  forget(item) {
    if (this.#runs.every((run) => run.item === item)) this.#runs = [];
  }

  clear() {
    this.#runs = [];
  }
}

/**
 * Plays items in their order from a bounded queue.
 *
 * The player starts when `START_MS` of audio is queued or when an item is complete. If later audio
 * does not arrive in time, the player plays silence, counts an underrun, and waits for `START_MS`
 * of audio again.
 */
export class Player {
  /** Null is the end of an item. @type {{ item: number, samples: Int16Array | null }[]} */
  #queue = [];
  /** How many samples of the first entry were played. */
  #offset = 0;
  #queued = 0;
  #completeItems = 0;
  #isPlaying = false;
  /** The item that is played, and how many of its samples were played. */
  #item = 0;
  #played = 0;
  #isItemOpen = false;
  #rise = 0;
  #fall = 0;
  #last = 0;
  #clock = new HeardClock();
  /** @type {{ item: number, frame: number }[]} */
  #ends = [];
  #startSamples;
  #rampSamples;
  #maxSamples;
  underruns = 0;

  /** @param {number} rateHz The rate of the audio and of the output. */
  constructor(rateHz) {
    this.rateHz = rateHz;
    this.#startSamples = Math.round((rateHz * START_MS) / 1000);
    this.#rampSamples = Math.round((rateHz * RAMP_MS) / 1000);
    this.#maxSamples = rateHz * MAX_QUEUED_SECONDS;
  }

  /**
   * @param {number} item
   * @param {Int16Array} samples
   * @returns {boolean} False if the queue is full and the samples are dropped.
   */
  push(item, samples) {
    if (!samples.length) return true;
    if (this.#queued + samples.length > this.#maxSamples) return false;
    this.#queue.push({ item, samples });
    this.#queued += samples.length;
    return true;
  }

  /** @param {number} item The item of which no more audio will come. */
  end(item) {
    this.#queue.push({ item, samples: null });
    this.#completeItems++;
  }

  /** @returns {boolean} Whether audio is queued, or was played but is not heard yet. */
  get isBusy() {
    return this.#queue.length > 0 || this.#ends.length > 0 || this.#isPlaying || this.#isItemOpen;
  }

  /**
   * Fill a block of the output.
   * @param {Float32Array} output
   * @param {number} frame The frame of the first sample of the block.
   */
  read(output, frame) {
    let at = 0;
    while (at < output.length && this.#hasAudio(frame + at)) {
      const { item, samples } = this.#queue[0];
      if (!samples) break;
      if (item !== this.#item) [this.#item, this.#played] = [item, 0];
      this.#isItemOpen = true;
      const count = Math.min(output.length - at, samples.length - this.#offset);
      for (let index = 0; index < count; index++) {
        if (this.#rise < this.#rampSamples) this.#rise++;
        const gain = this.#rise / this.#rampSamples;
        output[at + index] = (samples[this.#offset + index] / 32768) * gain;
      }
      this.#clock.played(frame + at, item, this.#played, count);
      at += count;
      this.#played += count;
      this.#queued -= count;
      this.#offset += count;
      this.#last = output[at - 1];
      if (this.#offset === samples.length) {
        this.#queue.shift();
        this.#offset = 0;
      }
    }
    for (; at < output.length; at++) {
      output[at] = this.#fall ? (this.#last * this.#fall--) / this.#rampSamples : 0;
    }
  }

  /**
   * Handle the ends of items at the head of the queue. Then start or stop the playback.
   * @param {number} frame
   * @returns {boolean} Whether the first entry of the queue is audio that must be played now.
   */
  #hasAudio(frame) {
    while (this.#queue.length && !this.#queue[0].samples) {
      const { item } = this.#queue[0];
      this.#queue.shift();
      this.#completeItems--;
      this.#ends.push({ item, frame: this.#clock.endOf(item) ?? frame });
      if (item === this.#item) this.#isItemOpen = false;
    }
    if (!this.#queue.length) {
      if (this.#isPlaying) {
        if (this.#isItemOpen) this.underruns++;
        this.#stop();
      }
      return false;
    }
    if (!this.#isPlaying) {
      if (this.#queued < this.#startSamples && !this.#completeItems) return false;
      this.#isPlaying = true;
      this.#rise = 0;
      this.#fall = 0;
    }
    return true;
  }

  #stop() {
    this.#isPlaying = false;
    this.#fall = this.#rampSamples;
  }

  /**
   * Return the position that is heard.
   * @param {number} frame The frame of the output minus the latency of the output.
   * @returns {Position | null}
   */
  heard(frame) {
    const found = this.#clock.at(frame);
    return found && { item: found.item, ms: (found.samples * 1000) / this.rateHz };
  }

  /**
   * Return the items that were heard to their ends. Each item is returned only once.
   * @param {number} frame The frame of the output minus the latency of the output.
   * @returns {number[]}
   */
  finished(frame) {
    const items = [];
    while (this.#ends.length && this.#ends[0].frame <= frame) {
      const { item } = this.#ends[0];
      this.#ends.shift();
      this.#clock.forget(item);
      items.push(item);
    }
    return items;
  }

  /**
   * Stop the playback, and drop all audio that is queued.
   * @param {number} frame The frame of the output minus the latency of the output.
   * @returns {Position} The position that was heard; item 0 if there was nothing to play.
   */
  clear(frame) {
    const position = this.heard(frame) ?? { item: this.#queue[0]?.item ?? 0, ms: 0 };
    if (this.#isPlaying) this.#stop();
    this.#queue = [];
    this.#ends = [];
    this.#offset = this.#queued = this.#completeItems = 0;
    this.#item = this.#played = 0;
    this.#isItemOpen = false;
    this.#clock.clear();
    return position;
  }
}

/* ------------------------------------------------------------ other code without a browser */

/** Words and texts that wait until their audio is heard. */
export class Timeline {
  /** @type {{ item: number, ms: number, name: string, detail: object }[]} */
  #marks = [];

  /**
   * @param {number} item
   * @param {number} ms The position in the item.
   * @param {string} name The name of the event.
   * @param {object} detail
   */
  add(item, ms, name, detail) {
    if (this.#marks.length >= MAX_MARKS) this.#marks.shift();
    const isLater = (/** @type {{ item: number, ms: number }} */ mark) =>
      mark.item > item || (mark.item === item && mark.ms > ms);
    let at = this.#marks.length;
    while (at && isLater(this.#marks[at - 1])) at--;
    this.#marks.splice(at, 0, { item, ms, name, detail });
  }

  /**
   * Remove and return the marks up to a position of an item, and all marks of earlier items.
   * @param {number} item
   * @param {number} ms
   */
  reached(item, ms) {
    const end = this.#marks.findIndex(
      (mark) => mark.item > item || (mark.item === item && mark.ms > ms),
    );
    return this.#marks.splice(0, end < 0 ? this.#marks.length : end);
  }

  clear() {
    this.#marks = [];
  }
}

/** Decides whether and when a lost connection is opened again. */
export class Backoff {
  #attempts;
  #failed = 0;

  /** @param {number} attempts */
  constructor(attempts) {
    this.#attempts = attempts;
  }

  /** @param {number} code The close code of the WebSocket. */
  static isFinal(code) {
    return code === 1000 || code === 1008;
  }

  reset() {
    this.#failed = 0;
  }

  /**
   * @param {number} random From 0 to 1.
   * @returns {number | null} Milliseconds until the next attempt; null if no attempt is left.
   */
  next(random = Math.random()) {
    if (this.#failed >= this.#attempts) return null;
    const longest = Math.min(500 * 2 ** this.#failed++, 8000);
    return longest * (0.5 + random / 2);
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @param {string} expected
 * @returns {Promise<T>}
 */
function within(promise, ms, expected) {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Error(`waited ${ms / 1000} s for ${expected}`));
    const timer = setTimeout(failed, ms);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

/* ------------------------------------------------------------------------- AudioWorklets */

function registerProcessors() {
  class MicrophoneProcessor extends AudioWorkletProcessor {
    constructor() {
      super();
      /** @type {MicrophoneBlocks | null} */
      this.blocks = null;
      this.isRunning = true;
      this.port.onmessage = ({ data }) => {
        if (data.type === "rate") this.blocks = new MicrophoneBlocks(sampleRate, data.rateHz);
        else if (data.type === "flush") this.send(this.blocks?.flush(), data.id);
        else if (data.type === "stop") this.isRunning = false;
      };
    }

    /**
     * @param {Float32Array | undefined} block
     * @param {number} [id] The number of a request to flush.
     */
    send(block, id) {
      const samples = toInt16(block ?? new Float32Array(0));
      const level = levelOf(block ?? new Float32Array(0));
      this.port.postMessage({ samples, level, id }, [samples.buffer]);
    }

    /** @param {Float32Array[][]} inputs */
    process(inputs) {
      const channels = inputs[0];
      if (this.blocks && channels.length) {
        for (const block of this.blocks.add(channels)) this.send(block);
      }
      return this.isRunning;
    }
  }

  class PlayerProcessor extends AudioWorkletProcessor {
    constructor() {
      super();
      this.player = new Player(sampleRate);
      this.isRunning = true;
      this.latency = 0;
      this.reported = 0;
      this.level = 0;
      this.reportedLevel = 0;
      this.port.onmessage = ({ data }) => this.handle(data);
    }

    /** @param {any} data */
    handle(data) {
      if (data.type === "audio") {
        if (!this.player.push(data.item, data.samples)) {
          this.port.postMessage({ type: "full", item: data.item });
        }
      } else if (data.type === "end") {
        this.player.end(data.item);
      } else if (data.type === "clear") {
        const position = this.player.clear(currentFrame - this.latency);
        this.port.postMessage({ type: "cleared", id: data.id, position });
      } else if (data.type === "latency") {
        this.latency = Math.round(data.seconds * sampleRate);
      } else if (data.type === "stop") {
        this.isRunning = false;
      }
    }

    /**
     * @param {Float32Array[][]} _inputs
     * @param {Float32Array[][]} outputs
     */
    process(_inputs, outputs) {
      const wasBusy = this.player.isBusy;
      const [output, ...copies] = outputs[0];
      this.player.read(output, currentFrame);
      for (const copy of copies) copy.set(output);
      this.level = Math.max(this.level, levelOf(output));
      const finished = this.player.finished(currentFrame - this.latency);
      const isDue = currentFrame - this.reported >= (sampleRate * REPORT_MS) / 1000;
      const hasNews = wasBusy || this.level > 0 || this.reportedLevel > 0;
      if (finished.length || (isDue && hasNews)) {
        const position = this.player.heard(currentFrame - this.latency);
        const { underruns } = this.player;
        const report = { type: "position", position, finished, underruns, level: this.level };
        this.port.postMessage(report);
        this.reported = currentFrame;
        this.reportedLevel = this.level;
        this.level = 0;
      }
      return this.isRunning;
    }
  }

  registerProcessor("inworld-microphone", MicrophoneProcessor);
  registerProcessor("inworld-player", PlayerProcessor);
}

if ("registerProcessor" in globalThis) registerProcessors();

/* ------------------------------------------------------------------------------- in pages */

/**
 * The functions to which `Sound` reports.
 * @typedef {object} SoundHandlers
 * @property {(samples: Int16Array<ArrayBuffer>) => void} onBlock A block of the microphone.
 * @property {(position: Position | null, finished: number[]) => void} onPosition
 * @property {(item: number) => void} onFull The player has dropped audio of an item.
 * @property {(state: string) => void} onState The AudioContext was suspended or runs again.
 */

/** The microphone and the player of a page. */
class Sound {
  /** @type {AudioContext} */
  #context;
  /** A second context, if the microphone needs its own rate. @type {AudioContext | null} */
  #microphoneContext = null;
  /** @type {AudioWorkletNode | null} */
  #microphone = null;
  /** @type {MediaStreamAudioSourceNode | null} */
  #source = null;
  /** @type {AudioWorkletNode | null} */
  #player = null;
  #handlers;
  #rateHz;
  #latency = -1;
  /** @type {Resampler | null} */
  #resampler = null;
  #resampledItem = 0;
  #nextId = 1;
  /** The requests that the worklets have not answered. @type {Map<number, (data: any) => void>} */
  #waiting = new Map();
  levels = { microphone: 0, speaker: 0 };
  underruns = 0;

  /**
   * Make the context. Call this in the handler of a click, before the first `await`.
   * @param {number} rateHz The rate of the relay.
   * @param {number | undefined} contextRateHz
   * @param {SoundHandlers} handlers
   */
  constructor(rateHz, contextRateHz, handlers) {
    if (!globalThis.AudioContext || !globalThis.AudioWorkletNode) {
      throw new Error("no AudioWorklet: serve the page over https or from localhost");
    }
    this.#rateHz = rateHz;
    this.#handlers = handlers;
    try {
      this.#context = new AudioContext({ sampleRate: contextRateHz ?? rateHz });
    } catch {
      this.#context = new AudioContext();
    }
    this.#context.onstatechange = () => handlers.onState(this.#context.state);
    this.resume();
  }

  async open() {
    const context = this.#context;
    await within(context.audioWorklet.addModule(import.meta.url), CONNECT_MS, "the AudioWorklet");
    const player = new AudioWorkletNode(context, "inworld-player", { numberOfInputs: 0 });
    player.port.onmessage = ({ data }) => this.#handlePlayer(data);
    player.connect(context.destination);
    this.#player = player;
    this.#updateLatency();
  }

  get state() {
    return this.#context.state;
  }

  /** Start the contexts. Browsers refuse this before the first click on the page. */
  resume() {
    for (const context of [this.#context, this.#microphoneContext]) {
      // Without a click, the promise stays pending or is rejected. `onState` reports the result.
      if (context && context.state !== "running") context.resume().catch(() => {});
    }
  }

  /** @param {number} rateHz The rate of the audio to and from the relay. */
  setRate(rateHz) {
    if (rateHz !== this.#rateHz) this.#resampledItem = 0;
    this.#rateHz = rateHz;
    this.#microphone?.port.postMessage({ type: "rate", rateHz });
  }

  /** @param {MediaStream | null} stream Null disconnects the microphone. */
  async setMicrophone(stream) {
    this.#source?.disconnect();
    this.#source = null;
    this.levels.microphone = 0;
    if (!stream) return;
    let context = this.#microphoneContext ?? this.#context;
    try {
      this.#source = context.createMediaStreamSource(stream);
    } catch {
      // Firefox connects a microphone only to a context that has the rate of the microphone.
      context = this.#microphoneContext = new AudioContext();
      const added = context.audioWorklet.addModule(import.meta.url);
      await within(added, CONNECT_MS, "the AudioWorklet");
      this.#source = context.createMediaStreamSource(stream);
    }
    if (!this.#microphone) {
      const node = new AudioWorkletNode(context, "inworld-microphone", { numberOfInputs: 1 });
      node.port.onmessage = ({ data }) => this.#handleMicrophone(data);
      node.port.postMessage({ type: "rate", rateHz: this.#rateHz });
      // A node runs only while it is connected to the destination. This node outputs silence.
      node.connect(context.destination);
      this.#microphone = node;
    }
    this.#source.connect(this.#microphone);
    this.resume();
  }

  /**
   * @param {number} item
   * @param {Int16Array} samples At the rate of the relay.
   */
  play(item, samples) {
    let converted = samples;
    if (this.#context.sampleRate !== this.#rateHz) {
      if (this.#resampledItem !== item || !this.#resampler) {
        this.#resampler = new Resampler(this.#rateHz, this.#context.sampleRate);
        this.#resampledItem = item;
      }
      converted = toInt16(this.#resampler.process(toFloat32(samples)));
    }
    this.#post(item, converted);
  }

  /** @param {number} item */
  end(item) {
    if (this.#resampler && this.#resampledItem === item) {
      this.#post(item, toInt16(this.#resampler.flush()));
      this.#resampledItem = 0;
    }
    this.#player?.port.postMessage({ type: "end", item });
  }

  /**
   * @param {number} item
   * @param {Int16Array} samples
   */
  #post(item, samples) {
    this.#player?.port.postMessage({ type: "audio", item, samples }, [samples.buffer]);
  }

  /**
   * Stop the playback, and drop all audio that is queued.
   * @returns {Promise<Position>} The position that was heard; item 0 if there was nothing to play.
   */
  async clear() {
    this.#resampledItem = 0;
    const answer = await this.#ask(this.#player, "clear");
    return answer?.position ?? { item: 0, ms: 0 };
  }

  /** Wait until `onBlock` has got all samples of the microphone up to now. */
  async flush() {
    if (this.#source) await this.#ask(this.#microphone, "flush");
  }

  /**
   * @param {AudioWorkletNode | null} node
   * @param {string} type
   * @returns {Promise<any>} The answer of the worklet; undefined if the worklet does not answer in
   *   time, for example because its context is suspended.
   */
  #ask(node, type) {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const answered = (/** @type {any} */ data) => {
        clearTimeout(timer);
        this.#waiting.delete(id);
        resolve(data);
      };
      const timer = setTimeout(answered, WORKLET_MS);
      this.#waiting.set(id, answered);
      if (node) node.port.postMessage({ type, id });
      else answered(undefined);
    });
  }

  /** @param {any} data */
  #handleMicrophone(data) {
    if (data.samples.length) {
      this.levels.microphone = data.level;
      this.#handlers.onBlock(data.samples);
    }
    this.#waiting.get(data.id)?.(data);
  }

  /** @param {any} data */
  #handlePlayer(data) {
    if (data.type === "cleared") this.#waiting.get(data.id)?.(data);
    else if (data.type === "full") this.#handlers.onFull(data.item);
    else {
      this.levels.speaker = data.level;
      this.underruns = data.underruns;
      this.#updateLatency();
      this.#handlers.onPosition(data.position, data.finished);
    }
  }

  /** Pass the present latency to the player. Safari has no `outputLatency`. */
  #updateLatency() {
    const seconds = (this.#context.baseLatency || 0) + (this.#context.outputLatency || 0);
    if (Math.abs(seconds - this.#latency) < 0.001) return;
    this.#latency = seconds;
    this.#player?.port.postMessage({ type: "latency", seconds });
  }

  async close() {
    for (const node of [this.#microphone, this.#player]) {
      node?.port.postMessage({ type: "stop" });
      node?.disconnect();
      node?.port.close();
    }
    this.#source?.disconnect();
    this.#microphone = this.#player = this.#source = null;
    for (const answered of this.#waiting.values()) answered(undefined);
    this.#context.onstatechange = null;
    for (const context of [this.#context, this.#microphoneContext]) {
      if (context && context.state !== "closed") await context.close();
    }
  }
}

/** @param {string} url */
function webSocketUrl(url) {
  const absolute = new URL(url, location.href);
  absolute.protocol = absolute.protocol.replace(/^http/, "ws");
  if (!absolute.protocol.startsWith("ws")) {
    throw new TypeError(`url: expected http, https, ws or wss, got ${absolute.protocol}`);
  }
  return absolute.href;
}

const RELAY_STATES = ["listening", "thinking", "speaking", "reconnecting"];

/**
 * One WebSocket to the relay of the server.
 * @implements {Transport}
 */
class RelayTransport {
  #options;
  #host;
  /** @type {Sound | null} */
  #sound = null;
  /** @type {WebSocket | null} */
  #socket = null;
  /** Ends the wait of `connect`. */
  #giveUp = () => {};
  /** @type {Mode} */
  #mode = "open";
  #isReady = false;
  #hasStarted = false;
  #isDown = false;
  /** An item's number in the page is this number plus the item's number on the connection. */
  #base = 0;
  #newest = 0;
  /** Audio and text of this item and of all earlier items are dropped. */
  #cleared = 0;
  /** The items whose `item_end` has not arrived. @type {Set<number>} */
  #unended = new Set();
  /** The items of which audio was dropped. Each is reported only once. @type {Set<number>} */
  #overfull = new Set();
  /** For each item, how many milliseconds of audio have arrived. @type {Map<number, number>} */
  #receivedMs = new Map();
  /** For each item, the transcript so far. @type {Map<number, string>} */
  #texts = new Map();
  /** @type {Position} */
  #reported = { item: 0, ms: 0 };
  #timeline = new Timeline();
  #rateHz = 24000;
  #dropped = 0;

  /**
   * @param {Options} options
   * @param {Host} host
   */
  constructor(options, host) {
    this.#options = options;
    this.#host = host;
  }

  async prepare() {
    const sound = new Sound(this.#rateHz, this.#options.contextRateHz, {
      onBlock: (samples) => this.#sendBlock(samples),
      onPosition: (position, finished) => this.#played(position, finished),
      onFull: (item) => this.#full(item),
      onState: (state) => this.#host.emit("audio", { state }),
    });
    this.#sound = sound;
    await sound.open();
    if (sound.state !== "running") this.#host.emit("audio", { state: sound.state });
  }

  /** @param {MediaStream | null} stream */
  async setMicrophone(stream) {
    await this.#sound?.setMicrophone(stream);
  }

  /** @param {Mode} mode */
  connect(mode) {
    this.#mode = mode;
    const socket = new WebSocket(webSocketUrl(this.#options.url ?? ""));
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    const ready = new Promise((/** @type {(value?: unknown) => void} */ resolve, reject) => {
      this.#giveUp = () => reject(new ConnectError(1000, "the conversation was closed"));
      socket.onopen = () => socket.send(JSON.stringify({ type: "start", mode }));
      socket.onmessage = ({ data }) => {
        if (this.#socket !== socket) return;
        this.#receive(data);
        if (this.#isReady) resolve();
      };
      socket.onclose = ({ code, reason }) => {
        if (this.#socket !== socket) return;
        const wasReady = this.#isReady;
        reject(new ConnectError(code, reason));
        this.disconnect();
        if (wasReady) this.#host.lost(code, reason);
      };
    });
    return within(ready, CONNECT_MS, "the relay's message 'ready'").then(
      () => {},
      (error) => {
        if (this.#socket === socket) this.disconnect();
        throw error;
      },
    );
  }

  disconnect() {
    const socket = this.#socket;
    this.#socket = null;
    this.#isReady = this.#isDown = false;
    // Audio that has arrived is played to its end. Then the items of the next connection follow.
    for (const item of this.#unended) this.#sound?.end(item);
    this.#unended.clear();
    this.#base = this.#newest;
    this.#giveUp();
    socket?.close(1000);
  }

  /** @param {object} message */
  #send(message) {
    if (this.#isReady) this.#socket?.send(JSON.stringify(message));
  }

  /** @param {Int16Array<ArrayBuffer>} samples */
  #sendBlock(samples) {
    const isWanted = this.#mode === "open" || this.#isDown;
    if (!isWanted || !this.#hasStarted) return;
    if (!this.#socket || !this.#isReady) {
      this.#dropped += samples.length;
    } else if (this.#socket.bufferedAmount > MAX_UNSENT_BYTES) {
      this.#dropped += samples.length;
      this.disconnect();
      this.#host.lost(1006, "the network does not take the audio of the microphone");
    } else {
      this.#socket.send(samples);
    }
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    try {
      if (data instanceof ArrayBuffer) this.#receiveAudio(data);
      else this.#handle(JSON.parse(data));
    } catch (error) {
      const message = `the relay sent an invalid message: ${error}`;
      this.#host.emit("error", { code: "invalid_message", message, isFatal: false });
    }
  }

  /** @param {any} message */
  #handle(message) {
    const isAboutItem = ["item", "text", "words", "item_end"].includes(message.type);
    if (isAboutItem && !(Number.isInteger(message.item) && message.item > 0)) {
      throw new RangeError(`item: ${message.item}`);
    }
    const item = this.#base + message.item;
    const { emit, setState } = this.#host;
    switch (message.type) {
      case "ready":
        if (!(Number.isInteger(message.rate_hz) && message.rate_hz > 0)) {
          throw new RangeError(`rate_hz: ${message.rate_hz}`);
        }
        this.#rateHz = message.rate_hz;
        this.#sound?.setRate(message.rate_hz);
        this.#isReady = this.#hasStarted = true;
        break;
      case "item":
        this.#newest = Math.max(this.#newest, item);
        this.#unended.add(item);
        emit("item", { item, itemId: message.item_id });
        break;
      case "text":
        this.#addText(item, message.delta);
        break;
      case "words":
        this.#addWords(item, message.words);
        break;
      case "item_end":
        if (item > this.#cleared) this.#sound?.end(item);
        this.#unended.delete(item);
        break;
      case "user": {
        const { item_id: itemId, text, final } = message;
        emit("user", { itemId, text, final });
        break;
      }
      case "clear":
        this.#clear(true);
        break;
      case "state":
        if (!RELAY_STATES.includes(message.state)) throw new RangeError(`state: ${message.state}`);
        setState(message.state);
        break;
      case "error": {
        const { code, message: text, fatal } = message;
        emit("error", { code, message: text, isFatal: fatal === true });
        break;
      }
    }
  }

  /** @param {ArrayBuffer} data */
  #receiveAudio(data) {
    if (data.byteLength < 4 || data.byteLength % 2) {
      throw new RangeError(`audio of ${data.byteLength} bytes`);
    }
    const item = this.#base + new DataView(data).getUint32(0, true);
    if (item <= this.#cleared) return;
    const samples = new Int16Array(data, 4);
    const ms = (samples.length * 1000) / this.#rateHz;
    this.#receivedMs.set(item, (this.#receivedMs.get(item) ?? 0) + ms);
    this.#sound?.play(item, samples);
  }

  /**
   * @param {number} item
   * @param {string} delta
   */
  #addText(item, delta) {
    if (typeof delta !== "string") throw new TypeError(`delta: ${delta}`);
    if (item <= this.#cleared) return;
    const text = (this.#texts.get(item) ?? "") + delta;
    this.#texts.set(item, text);
    this.#host.emit("text", { item, delta, text });
    this.#timeline.add(item, this.#receivedMs.get(item) ?? 0, "spoken", { item, delta });
  }

  /**
   * @param {number} item
   * @param {{ text: string, start_ms: number, end_ms: number }[]} sent
   */
  #addWords(item, sent) {
    if (item <= this.#cleared) return;
    const words = sent.map((word) => ({
      text: word.text,
      startMs: word.start_ms,
      endMs: word.end_ms,
    }));
    this.#host.emit("words", { item, words });
    for (const word of words) this.#timeline.add(item, word.startMs, "word", { item, ...word });
  }

  /**
   * @param {Position | null} position
   * @param {number[]} finished
   */
  #played(position, finished) {
    for (const item of finished) {
      this.#emitUpTo(item, Infinity);
      this.#receivedMs.delete(item);
      this.#texts.delete(item);
      this.#overfull.delete(item);
      this.#host.emit("finished", { item });
      if (item > this.#base) this.#send({ type: "finished", item: item - this.#base });
    }
    if (!position || finished.includes(position.item)) return;
    const { item, ms } = position;
    this.#emitUpTo(item, ms);
    const isDue = item !== this.#reported.item || ms >= this.#reported.ms + HEARD_MS;
    if (item > this.#base && ms > 0 && isDue) {
      this.#reported = position;
      this.#send({ type: "heard", item: item - this.#base, ms: Math.floor(ms) });
    }
  }

  /**
   * @param {number} item
   * @param {number} ms
   */
  #emitUpTo(item, ms) {
    for (const { name, detail } of this.#timeline.reached(item, ms)) this.#host.emit(name, detail);
  }

  /** @param {number} item */
  #full(item) {
    if (this.#overfull.has(item)) return;
    this.#overfull.add(item);
    const message = `more than ${MAX_QUEUED_SECONDS} s of audio are queued; the rest is dropped`;
    this.#host.emit("error", { code: "too_much_audio", message, isFatal: false });
  }

  /** @param {boolean} isAnswer Whether the server waits for the position. */
  async #clear(isAnswer) {
    const socket = this.#socket;
    this.#cleared = this.#newest;
    for (const kept of [this.#timeline, this.#receivedMs, this.#texts, this.#unended]) kept.clear();
    const position = await this.#sound?.clear();
    if (!position) return;
    const { item, ms } = position;
    if (item) this.#host.emit("interrupted", position);
    if (this.#socket !== socket || (!item && !isAnswer)) return;
    const number = Math.max(item - this.#base, 0);
    this.#send({ type: "interrupted", item: number, ms: number ? Math.floor(ms) : 0 });
  }

  async interrupt() {
    await this.#clear(false);
  }

  /** @param {boolean} isDown */
  async push(isDown) {
    if (!isDown) await this.#sound?.flush();
    else this.#clear(false);
    this.#isDown = isDown;
    this.#send({ type: "push", down: isDown });
  }

  /** @param {string} text */
  sendText(text) {
    this.#send({ type: "text", text });
  }

  async resume() {
    this.#sound?.resume();
  }

  levels() {
    return this.#sound?.levels ?? { microphone: 0, speaker: 0 };
  }

  stats() {
    return { underruns: this.#sound?.underruns ?? 0, dropped: this.#dropped };
  }

  async close() {
    this.disconnect();
    await this.#sound?.close();
    this.#sound = null;
  }
}

/** The error of a connection that could not be opened. */
class ConnectError extends Error {
  /**
   * @param {number} code A close code of WebSockets, which is also used for other failures.
   * @param {string} reason
   */
  constructor(code, reason) {
    super(reason || `could not connect (${code})`);
    this.name = "ConnectError";
    this.code = code;
  }
}

/** The events of the service that end a reply's audio. */
const BUFFER_ENDS = ["output_audio_buffer.stopped", "output_audio_buffer.cleared"];

/**
 * A WebRTC connection to the service itself, with a token from the server of the page.
 *
 * The browser plays the audio. The service reports when the audio of a reply begins. The position
 * in the reply is the time since this report.
 * @implements {Transport}
 */
class WebRtcTransport {
  #options;
  #host;
  /** @type {AudioContext | null} */
  #context = null;
  /** @type {MediaStream | null} */
  #microphone = null;
  /** @type {AnalyserNode | null} */
  #microphoneLevel = null;
  /** @type {AnalyserNode | null} */
  #speakerLevel = null;
  #speaker = new Audio();
  /** @type {RTCPeerConnection | null} */
  #connection = null;
  /** @type {RTCDataChannel | null} */
  #channel = null;
  /** @type {RTCRtpSender | null} */
  #sender = null;
  /** Ends an attempt to connect. */
  #stopper = new AbortController();
  #isOpen = false;
  #isResponding = false;
  /** The numbers of items by their ids. @type {Map<string, number>} */
  #numbers = new Map();
  #newest = 0;
  /** This item and all earlier items were heard or interrupted. */
  #ended = 0;
  /** The item ids of each response that has not been heard yet. @type {Map<string, string[]>} */
  #itemsOf = new Map();
  /** @type {Map<number, string>} */
  #texts = new Map();
  /** The end of the item's last word, and the offset that is added to the times of its words. */
  #wordsOf = { item: 0, endMs: 0, offsetMs: 0 };
  /** The reply that the user hears now. @type {{ responseId: string, since: number } | null} */
  #heard = null;
  #timeline = new Timeline();
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /**
   * @param {Options} options
   * @param {Host} host
   */
  constructor(options, host) {
    this.#options = options;
    this.#host = host;
    this.#speaker.autoplay = true;
  }

  async prepare() {
    this.#context = new AudioContext();
    await this.resume();
  }

  /** @param {MediaStream | null} stream */
  async setMicrophone(stream) {
    this.#microphone = stream;
    this.#microphoneLevel = stream && this.#meter(stream);
    await this.#sender?.replaceTrack(stream?.getAudioTracks()[0] ?? null);
  }

  /** @param {MediaStream} stream */
  #meter(stream) {
    if (!this.#context) return null;
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    this.#context.createMediaStreamSource(stream).connect(analyser);
    return analyser;
  }

  /** @param {Mode} mode */
  async connect(mode) {
    try {
      this.#stopper = new AbortController();
      const connected = this.#connect(mode, this.#stopper.signal);
      await within(connected, 2 * CONNECT_MS, "the session over WebRTC");
    } catch (error) {
      this.disconnect();
      throw error;
    }
  }

  /**
   * @param {Mode} mode
   * @param {AbortSignal} signal
   */
  async #connect(mode, signal) {
    const headers = { "Content-Type": "application/json" };
    const { tokenUrl = "/token" } = this.#options;
    const answer = await request(tokenUrl, { method: "POST", headers, body: "{}" });
    const { token, url, session = {} } = JSON.parse(answer);
    const authorization = { Authorization: `Bearer ${token}` };
    const listed = await request(`${url}/v1/realtime/ice-servers`, { headers: authorization });
    signal.throwIfAborted();
    const connection = new RTCPeerConnection({ iceServers: JSON.parse(listed).ice_servers });
    this.#connection = connection;
    const { sender } = connection.addTransceiver("audio", { direction: "sendrecv" });
    this.#sender = sender;
    await sender.replaceTrack(this.#microphone?.getAudioTracks()[0] ?? null);
    connection.ontrack = ({ track }) => this.#hear(track);
    const lost = (/** @type {string} */ reason) => {
      if (this.#connection !== connection) return;
      const wasOpen = this.#isOpen;
      this.disconnect();
      if (wasOpen) this.#host.lost(1006, reason);
    };
    connection.onconnectionstatechange = () => {
      if (connection.connectionState === "failed") lost("the connection has failed");
    };
    const channel = connection.createDataChannel("oai-events");
    this.#channel = channel;
    channel.onclose = () => lost("the service has closed the connection");
    const opened = new Promise((/** @type {(value?: unknown) => void} */ resolve, reject) => {
      signal.onabort = () => reject(new ConnectError(1000, "the conversation was closed"));
      channel.onopen = () => this.#send("session.update", { session: withTurns(session, mode) });
      channel.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "session.updated") {
          this.#isOpen = true;
          resolve();
        } else if (event.type === "error" && !this.#isOpen) {
          reject(new ConnectError(1008, event.error?.message));
        }
        this.#handle(event);
      };
    });
    // Without this handler, a rejection before the wait below would count as unhandled.
    opened.catch(() => {});
    await connection.setLocalDescription();
    await gathered(connection);
    const sdp = await request(`${url}/v1/realtime/calls`, {
      method: "POST",
      headers: { ...authorization, "Content-Type": "application/sdp" },
      body: connection.localDescription?.sdp,
    });
    await connection.setRemoteDescription({ type: "answer", sdp });
    await within(opened, CONNECT_MS, "the session's data channel");
    this.#host.setState("listening");
  }

  /** @param {MediaStreamTrack} track */
  #hear(track) {
    const stream = new MediaStream([track]);
    this.#speaker.srcObject = stream;
    this.#speaker.play().catch(() => this.#host.emit("audio", { state: "suspended" }));
    this.#speakerLevel = this.#meter(stream);
  }

  /**
   * @param {string} type
   * @param {object} [fields]
   */
  #send(type, fields) {
    if (this.#channel?.readyState !== "open") return;
    this.#channel.send(JSON.stringify({ type, ...fields }));
  }

  /** @param {any} event */
  #handle(event) {
    const { emit, setState } = this.#host;
    const { type, item_id: itemId, response_id: responseId } = event;
    if (type === "response.output_audio_transcript.delta") {
      const item = this.#number(itemId, responseId);
      if (item <= this.#ended) return;
      const text = (this.#texts.get(item) ?? "") + event.delta;
      this.#texts.set(item, text);
      emit("text", { item, delta: event.delta, text });
      this.#timeline.add(item, 0, "spoken", { item, delta: event.delta });
    } else if (type === "response.output_audio.delta") {
      this.#addWords(this.#number(itemId, responseId), event.timestamp_info?.word_alignment);
    } else if (type === "conversation.item.input_audio_transcription.delta") {
      // In this event, `delta` is the whole text of the turn so far.
      emit("user", { itemId, text: event.delta, final: false });
    } else if (type === "conversation.item.input_audio_transcription.completed") {
      emit("user", { itemId, text: event.transcript, final: true });
    } else if (type === "input_audio_buffer.speech_started") {
      setState("listening");
    } else if (type === "input_audio_buffer.speech_stopped") {
      setState("thinking");
    } else if (type === "response.created") {
      this.#isResponding = true;
      setState("thinking");
    } else if (type === "response.done") {
      this.#isResponding = false;
      if (!this.#itemsOf.has(event.response?.id)) setState("listening");
    } else if (type === "output_audio_buffer.started") {
      this.#heard = { responseId, since: performance.now() };
      this.#speaker.muted = false;
      this.#timer ??= setInterval(() => this.#follow(), 2 * REPORT_MS);
      setState("speaking");
    } else if (BUFFER_ENDS.includes(type)) {
      this.#endReply(responseId, type.endsWith("cleared"));
      setState("listening");
    } else if (type === "error" && event.error?.code !== "response_cancel_not_active") {
      const { code, message } = event.error ?? {};
      emit("error", { code: code ?? "error", message, isFatal: false });
    }
  }

  /**
   * @param {string} itemId
   * @param {string} responseId
   * @returns {number} The number of an item of the assistant.
   */
  #number(itemId, responseId) {
    const known = this.#numbers.get(itemId);
    if (known) return known;
    const item = ++this.#newest;
    this.#numbers.set(itemId, item);
    this.#itemsOf.set(responseId, [...(this.#itemsOf.get(responseId) ?? []), itemId]);
    this.#host.emit("item", { item, itemId });
    return item;
  }

  /**
   * @param {number} item
   * @param {any} alignment The words and times of the service. The times restart at 0 with each
   *   sentence.
   */
  #addWords(item, alignment) {
    if (item <= this.#ended) return;
    const starts = alignment?.word_start_time_seconds ?? [];
    const words = [];
    const before = this.#wordsOf.item === item ? this.#wordsOf : { endMs: 0, offsetMs: 0 };
    let { endMs, offsetMs } = before;
    for (let at = 0; at < starts.length; at++) {
      const text = alignment.words[at];
      if (!text.trim()) continue;
      if (starts[at] * 1000 + offsetMs < endMs - RAMP_MS) offsetMs = endMs;
      const startMs = starts[at] * 1000 + offsetMs;
      endMs = Math.max(endMs, alignment.word_end_time_seconds[at] * 1000 + offsetMs);
      words.push({ text, startMs, endMs });
    }
    this.#wordsOf = { item, endMs, offsetMs };
    if (!words.length) return;
    this.#host.emit("words", { item, words });
    for (const word of words) this.#timeline.add(item, word.startMs, "word", { item, ...word });
  }

  /** @returns {Position | null} How much of the reply was heard. */
  #position() {
    if (!this.#heard) return null;
    const [itemId] = this.#itemsOf.get(this.#heard.responseId) ?? [];
    const item = this.#numbers.get(itemId);
    return item ? { item, ms: performance.now() - this.#heard.since } : null;
  }

  #follow() {
    const position = this.#position();
    if (position) this.#emitUpTo(position.item, position.ms);
  }

  /**
   * @param {number} item
   * @param {number} ms
   */
  #emitUpTo(item, ms) {
    for (const { name, detail } of this.#timeline.reached(item, ms)) this.#host.emit(name, detail);
  }

  /**
   * @param {string} responseId
   * @param {boolean} isCleared
   */
  #endReply(responseId, isCleared) {
    const position = this.#position();
    const itemIds = this.#itemsOf.get(responseId) ?? [];
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#heard = null;
    if (isCleared) {
      this.#timeline.clear();
      if (position) this.#host.emit("interrupted", position);
    }
    for (const [index, itemId] of itemIds.entries()) {
      const item = this.#numbers.get(itemId) ?? 0;
      if (isCleared) {
        // The position belongs to the first item. The other items count as not heard.
        const ms = index || !position ? 0 : Math.floor(position.ms);
        const place = { item_id: itemId, content_index: 0, audio_end_ms: ms };
        this.#send("conversation.item.truncate", place);
      } else {
        this.#emitUpTo(item, Infinity);
        this.#host.emit("finished", { item });
      }
      this.#texts.delete(item);
      this.#ended = Math.max(this.#ended, item);
    }
    this.#itemsOf.delete(responseId);
  }

  async interrupt() {
    if (this.#isResponding) this.#send("response.cancel");
    if (!this.#heard) return;
    // After this command, the service drops the rest of the reply, and then reports
    // `output_audio_buffer.cleared`.
    this.#speaker.muted = true;
    this.#send("output_audio_buffer.clear");
  }

  /** @param {boolean} isDown */
  async push(isDown) {
    if (isDown) {
      await this.interrupt();
      this.#send("input_audio_buffer.clear");
    } else {
      await new Promise((resolve) => setTimeout(resolve, TRACK_DELAY_MS));
      this.#send("input_audio_buffer.commit");
      this.#send("response.create");
    }
  }

  /** @param {string} text */
  sendText(text) {
    this.interrupt();
    const content = [{ type: "input_text", text }];
    this.#send("conversation.item.create", { item: { type: "message", role: "user", content } });
    this.#send("response.create");
  }

  async resume() {
    this.#context?.resume().catch(() => {});
    if (this.#speaker.srcObject) await this.#speaker.play();
  }

  disconnect() {
    const connection = this.#connection;
    this.#connection = this.#channel = this.#sender = null;
    this.#stopper.abort();
    this.#isOpen = this.#isResponding = false;
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#heard = null;
    for (const kept of [this.#timeline, this.#texts, this.#numbers, this.#itemsOf]) kept.clear();
    this.#speaker.srcObject = null;
    connection?.close();
  }

  levels() {
    const [microphone, speaker] = [this.#microphoneLevel, this.#speakerLevel].map((analyser) => {
      const samples = new Float32Array(analyser?.fftSize ?? 0);
      analyser?.getFloatTimeDomainData(samples);
      return levelOf(samples);
    });
    return { microphone, speaker };
  }

  stats() {
    return { underruns: 0, dropped: 0 };
  }

  async close() {
    this.disconnect();
    await this.#context?.close();
    this.#context = null;
  }
}

/**
 * @param {string} url
 * @param {RequestInit} options
 * @returns {Promise<string>} The body of the response. An HTTP error throws a `ConnectError`.
 */
async function request(url, options) {
  const answer = await fetch(url, { ...options, signal: AbortSignal.timeout(CONNECT_MS) });
  const text = await answer.text();
  // Code 1008 prevents further attempts, because the same request would be refused again.
  const code = answer.status < 500 && answer.status !== 429 ? 1008 : 1006;
  if (!answer.ok) throw new ConnectError(code, `${url}: ${answer.status} ${text.slice(0, 300)}`);
  return text;
}

/**
 * Wait until all candidates of a connection are known. For a slow STUN server, wait `GATHERING_MS`.
 * @param {RTCPeerConnection} connection
 */
function gathered(connection) {
  return new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    const check = () => {
      if (connection.iceGatheringState !== "complete") return;
      clearTimeout(timer);
      resolve();
    };
    connection.addEventListener("icegatheringstatechange", check);
    check();
  });
}

/**
 * Return the settings of a session, with the turn detection that the mode needs.
 * @param {any} session
 * @param {Mode} mode
 */
export function withTurns(session, mode) {
  const input = { ...session.audio?.input };
  if (mode === "push") input.turn_detection = null;
  else input.turn_detection ??= { type: "semantic_vad" };
  return { type: "realtime", ...session, audio: { ...session.audio, input } };
}

/**
 * A conversation between the user of the page and the assistant.
 *
 * Events (all are `CustomEvent`; `detail` has the fields):
 * - `state` {state}: "connecting", "listening", "thinking", "speaking", "reconnecting", "closed".
 * - `user` {itemId, text, final}: the transcript of the user's turn so far.
 * - `item` {item, itemId}: a spoken item of the assistant begins to arrive.
 * - `text` {item, delta, text}: the transcript of the item has grown by `delta`, to `text`.
 * - `words` {item, words}: words of the item have arrived, with `text`, `startMs` and `endMs`.
 * - `spoken` {item, delta}: the user hears this part of the transcript at about this moment.
 * - `word` {item, text, startMs, endMs}: the user hears the beginning of this word.
 * - `finished` {item}: the user has heard the whole item.
 * - `interrupted` {item, ms}: the playback was stopped after `ms` milliseconds of the item.
 * - `microphone` {state, message}: "on", "refused", "missing", "failed" or "ended" (unplugged).
 * - `audio` {state}: "running", or "suspended" until `resume()` is called in a click.
 * - `error` {code, message, isFatal}: an error of the server or of a message.
 * - `close` {code, reason}: the conversation has ended. No event follows.
 */
export class Conversation extends EventTarget {
  #options;
  /** @type {Transport} */
  #transport;
  #backoff;
  /** @type {State} */
  #state = "idle";
  /** @type {Mode} */
  #mode = "open";
  /** @type {MediaStream | null} */
  #stream = null;
  #isMuted = false;
  #isPushed = false;
  #isConnected = false;
  #connectedAt = 0;
  /** @type {string[]} */
  #typed = [];
  /** A promise that is fulfilled when all changes of the button so far have been handled. */
  #pushes = Promise.resolve();
  /** Ends the wait before the next attempt to connect. */
  #stopWaiting = () => {};

  /** @param {Options} options */
  constructor(options) {
    super();
    const { transport = "relay", url } = options;
    if (transport === "relay" && !url) throw new TypeError("url: expected the relay's address");
    if (!["relay", "webrtc"].includes(transport)) {
      throw new TypeError(`transport: expected "relay" or "webrtc", got ${transport}`);
    }
    this.#options = options;
    /** @type {Host} */
    const host = {
      emit: (name, detail) => this.#emit(name, detail),
      setState: (state) => this.#setState(state),
      lost: (code, reason) => void this.#reconnect(code, reason),
    };
    const Chosen = transport === "relay" ? RelayTransport : WebRtcTransport;
    this.#transport = new Chosen(options, host);
    this.#backoff = new Backoff(options.reconnectAttempts ?? 6);
  }

  get state() {
    return this.#state;
  }

  get mode() {
    return this.#mode;
  }

  /** The levels of the microphone and of the speaker, 0 to 1, for a meter. */
  get levels() {
    return this.#transport.levels();
  }

  /**
   * `underruns` is the number of gaps in the playback. `dropped` is the number of samples of the
   * microphone that were lost, because there was no connection or the network was too slow.
   */
  get stats() {
    return this.#transport.stats();
  }

  get muted() {
    return this.#isMuted;
  }

  /** Whether silence is sent instead of the user's audio. */
  set muted(isMuted) {
    this.#isMuted = isMuted;
    this.#enableTrack();
  }

  /**
   * Open the microphone and connect. Call this in the handler of a click.
   *
   * If the microphone is refused or missing, a `microphone` event reports this, and the user can
   * type. The promise is rejected if there is no connection within 15 seconds, or 30
   * seconds over WebRTC.
   * @param {Mode} mode
   */
  async start(mode = "open") {
    if (this.#state !== "idle") throw new Error("a conversation starts only once; make a new one");
    if (mode !== "open" && mode !== "push") {
      throw new TypeError(`mode: expected "open" or "push", got ${mode}`);
    }
    this.#mode = mode;
    this.#setState("connecting");
    document.addEventListener("visibilitychange", this.#handleVisibility);
    window.addEventListener("pagehide", this.#handlePageHide);
    try {
      await this.#transport.prepare();
      if (this.#options.microphone !== false) await this.openMicrophone();
      if (this.#isClosed()) throw new Error("the conversation was closed");
      await this.#connect();
    } catch (error) {
      await this.#end(codeOf(error), messageOf(error));
      throw error;
    }
  }

  #isClosed() {
    return this.#state === "closed";
  }

  async #connect() {
    await this.#transport.connect(this.#mode);
    this.#isConnected = true;
    this.#connectedAt = performance.now();
    if (this.#state === "connecting" || this.#state === "reconnecting") this.#setState("listening");
    // The new connection needs the press again, because the user still holds the button.
    if (this.#isPushed) await this.#transport.push(true);
    for (const text of this.#typed.splice(0)) this.#transport.sendText(text);
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  async #reconnect(code, reason) {
    if (this.#isClosed()) return;
    this.#isConnected = false;
    if (performance.now() - this.#connectedAt >= STABLE_MS) this.#backoff.reset();
    while (!Backoff.isFinal(code)) {
      const ms = this.#backoff.next();
      if (ms === null) {
        const message = `could not connect again: ${reason || code}`;
        this.#emit("error", { code: "not_reconnected", message, isFatal: true });
        break;
      }
      this.#setState("reconnecting");
      await new Promise((/** @type {(value?: unknown) => void} */ resolve) => {
        this.#stopWaiting = resolve;
        setTimeout(resolve, ms);
      });
      if (this.#isClosed()) return;
      try {
        await this.#connect();
        return;
      } catch (error) {
        [code, reason] = [codeOf(error), messageOf(error)];
      }
      if (this.#isClosed()) return;
    }
    await this.#end(code, reason);
  }

  /**
   * Open the microphone, for example after it was unplugged.
   * @returns {Promise<boolean>} False if there is no microphone; the `microphone` event says why.
   */
  async openMicrophone() {
    const wanted = this.#options.microphone || {};
    const usual = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
    let stream;
    try {
      if (!navigator.mediaDevices) throw new Error("serve the page over https or from localhost");
      stream = await navigator.mediaDevices.getUserMedia({ audio: { ...usual, ...wanted } });
      if (this.#isClosed()) throw new Error("the conversation was closed");
      this.#releaseMicrophone();
      this.#stream = stream;
      // Mute the track before its audio is sent, if the user has muted the conversation.
      this.#enableTrack();
      await this.#transport.setMicrophone(stream);
    } catch (error) {
      for (const track of stream?.getTracks() ?? []) track.stop();
      if (this.#stream === stream) this.#stream = null;
      const name = error instanceof Error ? error.name : "";
      const reasons = { NotAllowedError: "refused", NotFoundError: "missing" };
      const state = reasons[/** @type {keyof typeof reasons} */ (name)] ?? "failed";
      this.#emit("microphone", { state, message: messageOf(error) });
      return false;
    }
    const [track] = stream.getAudioTracks();
    track.onended = () => {
      if (this.#stream !== stream) return;
      this.#releaseMicrophone();
      void this.#transport.setMicrophone(null);
      this.push(false);
      this.#emit("microphone", { state: "ended", message: "the microphone was unplugged" });
    };
    this.#emit("microphone", { state: "on", message: track.label });
    return true;
  }

  #releaseMicrophone() {
    for (const track of this.#stream?.getTracks() ?? []) track.stop();
    this.#stream = null;
  }

  #enableTrack() {
    // A WebRTC track is sent all the time. With push-to-talk, the track is silent while the button
    // is not pressed.
    const isTrackOpen = this.#options.transport !== "webrtc" || this.#mode === "open";
    const isEnabled = !this.#isMuted && (isTrackOpen || this.#isPushed);
    for (const track of this.#stream?.getTracks() ?? []) track.enabled = isEnabled;
  }

  /**
   * Press or release the push-to-talk button. A press interrupts the assistant. In the mode "open",
   * this method does nothing.
   * @param {boolean} isDown
   */
  push(isDown) {
    if (this.#mode !== "push" || isDown === this.#isPushed || this.#isClosed()) return;
    this.#isPushed = isDown;
    this.#enableTrack();
    this.#pushes = this.#pushes.then(async () => {
      if (this.#isConnected) await this.#transport.push(isDown);
    }).catch((error) => {
      this.#emit("error", { code: "push", message: messageOf(error), isFatal: false });
    });
  }

  /**
   * Send a message that the user typed. Without a connection, the message waits for the next
   * connection.
   * @param {string} text
   */
  sendText(text) {
    if (this.#isClosed()) throw new Error("the conversation is closed");
    if (!text.trim() || text.length > MAX_TEXT_CHARACTERS) {
      throw new RangeError(`text: expected 1 to ${MAX_TEXT_CHARACTERS} characters`);
    }
    if (this.#isConnected) this.#transport.sendText(text);
    else if (this.#typed.length < MAX_TYPED) this.#typed.push(text);
    else throw new Error(`${MAX_TYPED} messages wait for a connection`);
  }

  /** Stop the speech of the assistant. */
  async interrupt() {
    await this.#transport.interrupt();
  }

  /** Start suspended audio again. Call this in the handler of a click, after an `audio` event. */
  async resume() {
    await this.#transport.resume();
  }

  /** End the conversation, and free the microphone and the audio. Further calls have no effect. */
  async close() {
    await this.#end(1000, "closed by the page");
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  async #end(code, reason) {
    if (this.#isClosed()) return;
    this.#setState("closed");
    this.#isConnected = false;
    this.#typed = [];
    this.#stopWaiting();
    document.removeEventListener("visibilitychange", this.#handleVisibility);
    window.removeEventListener("pagehide", this.#handlePageHide);
    this.#releaseMicrophone();
    await this.#transport.close();
    this.dispatchEvent(new CustomEvent("close", { detail: { code, reason } }));
  }

  /**
   * Release the button when the page is hidden, because a hidden page gets no `keyup`. Resume the
   * audio when the page is shown again, because the browser may have suspended the audio.
   */
  #handleVisibility = () => {
    if (document.visibilityState === "hidden") this.push(false);
    else void this.#transport.resume().catch(() => {});
  };

  #handlePageHide = () => void this.close();

  /** @param {State} state */
  #setState(state) {
    if (state === this.#state || this.#isClosed()) return;
    this.#state = state;
    this.#emit("state", { state });
  }

  /**
   * @param {string} name
   * @param {object} detail
   */
  #emit(name, detail) {
    // After the end, only the `state` event "closed" is sent here. `#end` sends the `close` event.
    if (this.#isClosed() && name !== "state") return;
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof ConnectError ? error.code : 1006;
}

/** @param {unknown} error */
function messageOf(error) {
  return error instanceof Error ? error.message : String(error);
}
