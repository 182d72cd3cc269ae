/**
 * A simulated browser for the tests. It has an AudioContext with the real worklets, a WebSocket and
 * a microphone.
 *
 * The audio runs only when a test calls `render`, so no test depends on the speed of the machine.
 */

const registered = new Map();
/** The port of the node that is being made. */
let newPort;

globalThis.AudioWorkletProcessor = class {
  constructor() {
    this.port = newPort;
  }
};
globalThis.registerProcessor = (name, processor) => registered.set(name, processor);
globalThis.currentFrame = 0;
globalThis.sampleRate = 24000;

const BLOCK = 128;

/** Return two ports. A message that one port posts arrives at the other port at once. */
function portPair() {
  const ports = [{}, {}];
  for (const [index, port] of ports.entries()) {
    port.postMessage = (data) => ports[1 - index].onmessage?.({ data });
    port.close = () => {
      port.isClosed = true;
    };
  }
  return ports;
}

class FakeNode {
  constructor(context, name) {
    const [near, far] = portPair();
    this.port = near;
    newPort = far;
    globalThis.sampleRate = context.sampleRate;
    this.processor = new (registered.get(name))();
    this.context = context;
    this.isRunning = true;
    context.nodes.push(this);
  }

  connect() {}

  disconnect() {}
}

class FakeContext {
  static made = [];
  static refusesRate = false;
  static deviceRate = 48000;
  static microphoneNeedsDeviceRate = false;

  constructor({ sampleRate = FakeContext.deviceRate } = {}) {
    if (FakeContext.refusesRate && sampleRate !== FakeContext.deviceRate) {
      throw new Error("NotSupportedError");
    }
    this.sampleRate = sampleRate;
    this.state = "running";
    this.baseLatency = 0.01;
    this.outputLatency = 0.03;
    this.destination = {};
    this.audioWorklet = { addModule: async () => {} };
    this.nodes = [];
    this.sources = [];
    FakeContext.made.push(this);
  }

  createAnalyser() {
    return { fftSize: 0, getFloatTimeDomainData: (samples) => samples.fill(0.5) };
  }

  createMediaStreamSource(stream) {
    if (FakeContext.microphoneNeedsDeviceRate && this.sampleRate !== FakeContext.deviceRate) {
      throw new Error("NotSupportedError");
    }
    const source = {
      stream,
      connect: (node) => {
        source.node = node;
      },
      disconnect: () => {
        source.node = null;
      },
    };
    this.sources.push(source);
    return source;
  }

  async resume() {
    this.state = "running";
  }

  async close() {
    this.state = "closed";
  }

  /** Run the worklets for `ms` milliseconds. Return the samples that the player has played. */
  render(ms, microphone = () => 0) {
    const played = [];
    globalThis.sampleRate = this.sampleRate;
    for (let left = (ms * this.sampleRate) / 1000; left > 0; left -= BLOCK) {
      for (const node of this.nodes.filter((each) => each.isRunning)) {
        const isFed = this.sources.some((source) => source.node === node);
        const input = isFed ? [Float32Array.from({ length: BLOCK }, microphone)] : [];
        const output = new Float32Array(BLOCK);
        node.isRunning = node.processor.process([input], [[output]]);
        if ("player" in node.processor) played.push(...output);
      }
      globalThis.currentFrame += BLOCK;
    }
    return played;
  }
}

export class FakeSocket {
  static made = [];
  static answers = true;

  constructor(url) {
    this.url = url;
    this.sent = [];
    this.bufferedAmount = 0;
    FakeSocket.made.push(this);
    queueMicrotask(() => {
      this.onopen?.();
      if (FakeSocket.answers) this.receive({ type: "ready", rate_hz: 24000, mode: "open" });
    });
  }

  send(data) {
    this.sent.push(typeof data === "string" ? JSON.parse(data) : data.slice());
  }

  close(code) {
    this.closedWith = code;
  }

  receive(message) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }

  /** Send samples of an item to the page in one message. */
  speak(item, samples) {
    const data = new ArrayBuffer(4 + 2 * samples.length);
    new DataView(data).setUint32(0, item, true);
    new Int16Array(data, 4).set(samples);
    this.onmessage?.({ data });
  }

  end(code, reason = "") {
    this.onclose?.({ code, reason });
  }

  /** Return the messages of a type that the page has sent. */
  of(type) {
    return this.sent.filter((message) => message.type === type);
  }

  /** The number of microphone samples that the page has sent. */
  get samples() {
    const blocks = this.sent.filter((message) => ArrayBuffer.isView(message));
    return blocks.reduce((sum, block) => sum + block.length, 0);
  }
}

export class FakeTrack {
  enabled = true;
  label = "a microphone";
  isStopped = false;

  stop() {
    this.isStopped = true;
  }
}

/** The tracks that `getUserMedia` has returned. A test can replace the function `open`. */
export const devices = { tracks: [], open: null };

export class FakeConnection {
  static made = [];
  static opens = true;

  constructor() {
    this.iceGatheringState = "complete";
    this.connectionState = "new";
    this.events = [];
    this.tracks = [];
    FakeConnection.made.push(this);
  }

  addTransceiver() {
    return { sender: { replaceTrack: async (track) => this.tracks.push(track) } };
  }

  createDataChannel(label) {
    const channel = { label, readyState: "connecting" };
    channel.send = (data) => this.events.push(JSON.parse(data));
    this.channel = channel;
    return channel;
  }

  addEventListener() {}

  async setLocalDescription() {
    this.localDescription = { sdp: "the offer" };
  }

  async setRemoteDescription({ sdp }) {
    this.answer = sdp;
    if (!FakeConnection.opens) return;
    this.channel.readyState = "open";
    this.channel.onopen();
    this.receive({ type: "session.updated" });
  }

  receive(event) {
    this.channel.onmessage({ data: JSON.stringify(event) });
  }

  /** Return the events of a type that the page has sent. */
  of(type) {
    return this.events.filter((event) => event.type === type);
  }

  close() {
    this.isClosed = true;
  }
}

/** The response to `fetch` for each path, and the requests that the page has sent. */
export const site = { responses: {}, requests: [] };

class FakeAudio {
  muted = false;

  async play() {}
}

class FakeDocument extends EventTarget {
  visibilityState = "visible";

  setVisibility(state) {
    this.visibilityState = state;
    this.dispatchEvent(new Event("visibilitychange"));
  }
}

export function install() {
  FakeContext.made.length = FakeSocket.made.length = devices.tracks.length = 0;
  FakeContext.refusesRate = FakeContext.microphoneNeedsDeviceRate = false;
  FakeSocket.answers = FakeConnection.opens = true;
  FakeConnection.made.length = site.requests.length = 0;
  const session = { instructions: "Be brief." };
  site.responses = {
    "/token": { body: JSON.stringify({ token: "t0ken", url: "https://service", session }) },
    "/v1/realtime/ice-servers": { body: '{"ice_servers": []}' },
    "/v1/realtime/calls": { body: "the answer" },
  };
  devices.open = async () => {
    const track = new FakeTrack();
    devices.tracks.push(track);
    return { getTracks: () => [track], getAudioTracks: () => [track] };
  };
  const globals = {
    AudioContext: FakeContext,
    AudioWorkletNode: FakeNode,
    WebSocket: FakeSocket,
    document: new FakeDocument(),
    window: new EventTarget(),
    RTCPeerConnection: FakeConnection,
    MediaStream: class {},
    Audio: FakeAudio,
    fetch: async (url, options) => {
      const { pathname } = new URL(url, "https://example.com/");
      site.requests.push({ pathname, ...options });
      const { status = 200, body } = site.responses[pathname];
      return { ok: status < 300, status, text: async () => body };
    },
    location: { href: "https://example.com/page/" },
    navigator: { mediaDevices: { getUserMedia: (wanted) => devices.open(wanted) } },
  };
  for (const [name, value] of Object.entries(globals)) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
  return { Context: FakeContext, Socket: FakeSocket, Connection: FakeConnection };
}

/** Wait until the code that waits for settled promises has run. */
export async function settle() {
  await new Promise((resolve) => setImmediate(resolve));
}
