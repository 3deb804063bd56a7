// Plays samples while they come, and again afterwards from any place.
//
// Each chunk becomes a source node of an AudioContext with the rate of the samples, which begins at the very sample
// where the chunk before it ends. Sources need no secure context, unlike an AudioWorklet.

const FIRST_LEAD = 0.04; // seconds from a start to its first sample: time to reach the thread that plays
const LATE_LEAD = 0.25; // the same after samples came too late; doubles each time
const MAX_LEAD = 2;

export class Player {
  /**
   * @param {number} rate samples a second
   * @param {() => void} onChange called when the player starts, pauses or ends
   */
  constructor(rate, onChange) {
    this.rate = rate;
    this.onChange = onChange;
    this.context = null;
    this.reset();
  }

  /** Make the AudioContext: a quarter of a second in the first page of a browser. Only after a click or key. */
  prepare() {
    if (this.context) return;
    this.context = new AudioContext({ sampleRate: this.rate, latencyHint: "interactive" });
    this.context.suspend();
  }

  /** Forget all samples, and play those that come. Only in the handler of a click or key: browsers allow audio then. */
  open() {
    this.reset();
    this.prepare();
    this.#start(0);
  }

  reset() {
    this.#silence();
    this.chunks = [];
    this.samples = 0; // received
    this.complete = false;
    this.playing = false;
    this.rest = 0; // the position while it does not play, in samples
    this.late = 0; // how often samples came too late
    this.lead = FIRST_LEAD;
  }

  /** Add samples, and play them at their place if the player is playing. */
  append(chunk) {
    this.chunks.push(chunk);
    this.samples += chunk.length;
    if (this.playing) this.#schedule([chunk]);
  }

  /** No more samples will come. */
  finish() {
    this.complete = true;
    if (this.playing && !this.last) this.#end();
  }

  /** Seconds received. */
  get seconds() {
    return this.samples / this.rate;
  }

  /** The position in seconds. */
  get position() {
    if (!this.playing || this.origin === null) return this.rest / this.rate;
    return Math.max(this.rest / this.rate, Math.min(this.context.currentTime - this.origin, this.seconds));
  }

  /** Play from where it is; from the beginning where all was played. */
  play() {
    this.#start(this.complete && this.rest >= this.samples ? 0 : this.rest);
  }

  pause() {
    if (!this.playing) return;
    this.rest = Math.round(this.position * this.rate);
    this.#silence();
    this.playing = false;
    this.onChange();
  }

  /** @param {number} seconds the new position */
  seek(seconds) {
    const target = Math.max(0, Math.min(Math.round(seconds * this.rate), this.samples));
    if (this.playing) this.#start(target);
    else this.rest = target;
  }

  #start(from) {
    this.#silence();
    this.context.resume();
    this.output = this.context.createGain();
    this.output.connect(this.context.destination);
    this.playing = true;
    this.rest = from;
    this.#schedule(this.#samplesFrom(from));
    if (this.complete && !this.last) this.#end();
    else this.onChange();
  }

  /** The chunks that follow a position, the first one cut there. */
  #samplesFrom(from) {
    let begin = 0;
    return this.chunks.flatMap((chunk) => {
      const cut = Math.max(0, from - begin);
      begin += chunk.length;
      return cut < chunk.length ? [chunk.subarray(cut)] : [];
    });
  }

  #schedule(chunks) {
    const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
    if (!length) return;
    const now = this.context.currentTime;
    if (this.tail === null || this.tail < now) {
      const late = this.tail !== null;
      if (late) {
        this.rest = this.samples - length;
        this.late += 1;
        this.lead = Math.min(Math.max(2 * this.lead, LATE_LEAD), MAX_LEAD);
      }
      const begin = Math.ceil((now + this.lead) * this.rate) / this.rate;
      this.origin = begin - this.rest / this.rate;
      this.tail = begin;
    }
    const buffer = this.context.createBuffer(1, length, this.rate);
    let offset = 0;
    for (const chunk of chunks) {
      buffer.copyToChannel(chunk, 0, offset);
      offset += chunk.length;
    }
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.output);
    source.start(this.tail);
    source.onended = () => {
      source.disconnect();
      if (source === this.last && this.complete) this.#end();
    };
    this.last = source;
    this.tail += length / this.rate;
  }

  #silence() {
    this.output?.disconnect();
    if (this.last) this.last.onended = null;
    this.output = this.last = this.tail = this.origin = null;
  }

  #end() {
    this.#silence();
    this.playing = false;
    this.rest = this.samples;
    this.onChange();
  }
}
