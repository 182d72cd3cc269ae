// Sends the samples of the microphone to the page, as 16-bit integers.
class Recorder extends AudioWorkletProcessor {
  process([[samples]]) {
    if (samples) {
      const pcm = Int16Array.from(samples, (sample) =>
        Math.max(-32768, Math.min(32767, Math.round(sample * 32768))));
      this.port.postMessage(pcm.buffer, [pcm.buffer]);
    }
    return true;
  }
}
registerProcessor("recorder", Recorder);
