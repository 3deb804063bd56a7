// Runs on the audio thread: passes the samples of the microphone on, as mono.

const BATCH = 2048; // samples a message

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.batch = new Float32Array(BATCH);
    this.filled = 0;
    this.running = true;
    this.port.onmessage = () => {
      this.running = false;
      this.port.postMessage(this.batch.slice(0, this.filled));
      this.port.postMessage(null); // no more will come
    };
  }

  process([channels]) {
    for (let i = 0; this.running && channels.length && i < channels[0].length; i++) {
      this.batch[this.filled++] = channels.reduce((sum, channel) => sum + channel[i], 0) / channels.length;
      if (this.filled === BATCH) {
        this.port.postMessage(this.batch);
        this.filled = 0;
      }
    }
    return this.running;
  }
}

registerProcessor("recorder", Recorder);
