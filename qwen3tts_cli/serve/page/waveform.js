// Draws received samples as bars, those before the position in another colour.

const PEAK = 240; // samples a stored peak covers: 10 ms
const BAR = 3;
const GAP = 2;
const SHORTEST = 4; // seconds that the width shows at least

export class Waveform {
  /** @param {HTMLCanvasElement} canvas @param {number} rate samples a second */
  constructor(canvas, rate) {
    this.canvas = canvas;
    this.rate = rate;
    this.reset();
  }

  reset() {
    this.peaks = [];
    this.filled = 0; // samples in the last peak
    this.samples = 0;
  }

  append(chunk) {
    for (const sample of chunk) {
      if (this.filled === 0) this.peaks.push(0);
      const last = this.peaks.length - 1;
      this.peaks[last] = Math.max(this.peaks[last], Math.abs(sample));
      this.filled = (this.filled + 1) % PEAK;
    }
    this.samples += chunk.length;
  }

  /** Seconds from the left edge to the right one. */
  get span() {
    return Math.max(this.samples / this.rate, SHORTEST);
  }

  /** @param {number} position seconds */
  draw(position) {
    const ratio = window.devicePixelRatio || 1;
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(this.canvas);
    const names = ["--wave-played", "--wave-ahead", "--wave-empty"];
    const colours = names.map((name) => style.getPropertyValue(name).trim());
    const context = this.canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    const bars = Math.max(1, Math.floor((width + GAP) / (BAR + GAP)));
    const peaksInBar = (this.span * this.rate) / PEAK / bars;
    for (let bar = 0; bar < bars; bar++) {
      const first = Math.floor(bar * peaksInBar);
      const peaks = this.peaks.slice(first, Math.max(first + 1, Math.floor((bar + 1) * peaksInBar)));
      const size = Math.max(BAR, Math.min(1, 1.3 * Math.max(0, ...peaks) ** 0.7) * height);
      const end = ((bar + 0.5) / bars) * this.span;
      context.fillStyle = colours[peaks.length ? (end <= position ? 0 : 1) : 2];
      context.beginPath();
      context.roundRect(bar * (BAR + GAP), (height - size) / 2, BAR, size, BAR / 2);
      context.fill();
    }
  }
}
