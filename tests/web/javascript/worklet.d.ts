/** The globals of an AudioWorklet, which TypeScript's types of the DOM do not have. */
declare class AudioWorkletProcessor {
  readonly port: MessagePort;
}
declare function registerProcessor(name: string, processor: typeof AudioWorkletProcessor): void;
declare const currentFrame: number;
declare const sampleRate: number;
