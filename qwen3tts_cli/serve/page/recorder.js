// Records the microphone as samples.

/** Whether this browser can record here; it cannot on a page that came over plain HTTP from another machine. */
export const canRecord = () => Boolean(navigator.mediaDevices?.getUserMedia && window.AudioWorkletNode);

export class Recording {
  /**
   * Ask for the microphone and begin.
   * @param {(seconds: number, peak: number) => void} onSamples called with the length so far and the latest peak
   */
  static async start(onSamples) {
    const stream = await navigator.mediaDevices.getUserMedia({
      // as the microphone hears it: noise suppression and gain control would change the voice
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const recording = new Recording(stream);
    try {
      await recording.#begin(onSamples);
    } catch (error) {
      recording.#close();
      throw error;
    }
    return recording;
  }

  constructor(stream) {
    this.stream = stream;
    this.context = new AudioContext();
    this.rate = this.context.sampleRate;
    this.chunks = [];
    this.samples = 0;
    this.onLast = null;
  }

  async #begin(onSamples) {
    await this.context.audioWorklet.addModule(new URL("recorder_worklet.js", import.meta.url));
    this.node = new AudioWorkletNode(this.context, "recorder");
    this.node.port.onmessage = ({ data }) => {
      if (data === null) return this.onLast();
      this.chunks.push(data);
      this.samples += data.length;
      onSamples(this.samples / this.rate, data.reduce((peak, sample) => Math.max(peak, Math.abs(sample)), 0));
    };
    this.context.createMediaStreamSource(this.stream).connect(this.node);
    this.node.connect(this.context.destination); // its output is silence; a node that leads nowhere may not run
    await this.context.resume();
  }

  /** End the recording. Returns its samples as {chunks: Float32Array[], rate}. */
  async stop() {
    await new Promise((resolve) => {
      this.onLast = resolve;
      this.node.port.postMessage("stop");
    });
    this.#close();
    return { chunks: this.chunks, rate: this.rate };
  }

  #close() {
    this.stream.getTracks().forEach((track) => track.stop());
    this.context.close();
  }
}
