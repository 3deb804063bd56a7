// The form that makes a voice of a clip: recorded here or chosen as a file.

import { keepVoice } from "./api.js";
import { canRecord, Recording } from "./recorder.js";
import { wavFile } from "./wav.js";

const LONGEST = 60; // seconds, of a recording and of a clip that is converted
const LARGEST = 11 * 2 ** 20; // bytes of a clip: 15 MB in base64
const AS_IT_IS = /\.(wav|flac|ogg|opus|mp3|aiff?)$/i; // formats that the server reads

const element = (id) => document.getElementById(id);

export class VoiceForm {
  /**
   * @param {boolean} keeps whether the server keeps voices; otherwise a voice is a clip that this page sends each time
   * @param {() => string} model the model that shall make a voice
   * @param {(voice: {id?: string, clip?: string, transcript?: string}) => Promise<void>} onVoice receives the id of the
   *   kept voice, or the clip in base64
   * @param {(error: Error) => boolean} onError receives errors first; whether it has shown the error
   */
  constructor(keeps, model, onVoice, onError) {
    Object.assign(this, { keeps, model, onVoice, onError, clip: null, recording: null });
    element("name-field").hidden = !keeps;
    element("page-only").hidden = keeps;
    element("record").disabled = !canRecord();
    element("record-note").hidden = canRecord();
    element("record").addEventListener("click", () => this.#guard(() => this.#record()));
    element("file").addEventListener("change", () => this.#guard(() => this.#choose()));
    element("voice-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#guard(() => this.#make());
    });
  }

  async #guard(action) {
    this.#fail("");
    try {
      await action();
    } catch (error) {
      if (!this.onError(error)) this.#fail(error.message);
    }
  }

  #fail(message, field) {
    const place = element("voice-error");
    place.textContent = message;
    place.hidden = !message;
    for (const id of ["record", "name", "consent"]) element(id).removeAttribute("aria-invalid");
    if (field) {
      if (field !== "record") element(field).setAttribute("aria-invalid", "true");
      element(field).focus();
    }
  }

  async #record() {
    if (this.recording) return this.#stop();
    this.#useClip(null, "");
    try {
      this.recording = await Recording.start((seconds, peak) => this.#show(seconds, peak));
    } catch (error) {
      const reasons = {
        NotAllowedError: "The browser was not allowed to use the microphone.",
        NotFoundError: "There is no microphone.",
      };
      throw new Error(reasons[error.name] ?? `The microphone cannot be used: ${error.message}`);
    }
    this.#labelRecord(true);
    element("clip-status").textContent = "Recording.";
  }

  #show(seconds, peak) {
    element("level").style.width = `${Math.min(100, 100 * Math.sqrt(peak))}%`;
    element("record-label").textContent = `Stop (${Math.floor(seconds)} s)`;
    if (seconds >= LONGEST && this.recording) this.#guard(() => this.#stop());
  }

  async #stop() {
    const recording = this.recording;
    this.recording = null;
    const { chunks, rate } = await recording.stop();
    this.#labelRecord(false);
    const seconds = recording.samples / rate;
    this.#useClip(wavFile(chunks, rate), "recording.wav", `Recorded ${seconds.toFixed(1)} seconds.`);
  }

  #labelRecord(running) {
    element("record").dataset.running = running;
    element("record-label").textContent = running ? "Stop" : this.clip ? "Record again" : "Record";
    element("level").style.width = "0";
    element("level").parentElement.hidden = !running;
  }

  async #choose() {
    const [file] = element("file").files;
    if (!file) return;
    this.#useClip(null, "");
    if (AS_IT_IS.test(file.name) && file.size <= LARGEST) {
      this.#useClip(file, file.name, `${file.name} is chosen.`);
      return;
    }
    this.#useClip(await convert(file), "clip.wav", `${file.name} is chosen, as WAV.`);
  }

  #useClip(clip, fileName, message = "") {
    const audio = element("clip");
    if (audio.src) URL.revokeObjectURL(audio.src);
    this.clip = clip;
    this.fileName = fileName;
    audio.hidden = !clip;
    if (clip) audio.src = URL.createObjectURL(clip);
    else audio.removeAttribute("src");
    element("clip-status").textContent = message;
    if (!this.recording) this.#labelRecord(false);
  }

  async #make() {
    if (element("make").ariaDisabled) return; // not `disabled`, which would take the focus away
    const [name, transcript] = ["name", "transcript"].map((id) => element(id).value.trim());
    if (this.recording) await this.#stop();
    if (!this.clip) return this.#fail("Record a clip or choose a file first.", "record");
    if (this.keeps && !name) return this.#fail("The voice needs a name.", "name");
    if (!element("consent").checked) return this.#fail("A voice needs the agreement of its speaker.", "consent");
    element("make").ariaDisabled = "true";
    element("clip-status").textContent = "Making the voice.";
    try {
      if (this.keeps) {
        const consent = element("consent").labels[0].textContent.trim();
        const { clip, fileName } = this;
        const { id } = await keepVoice({ model: this.model(), name, clip, fileName, transcript, consent });
        await this.onVoice({ id });
      } else {
        await this.onVoice({ clip: await base64(this.clip), transcript });
      }
      element("clip-status").textContent = "The voice is ready, and chosen above.";
    } catch (error) {
      element("clip-status").textContent = "";
      throw error;
    } finally {
      element("make").ariaDisabled = null;
    }
  }
}

/** The first LONGEST seconds of a file in any format that the browser plays, as a mono WAV file. */
async function convert(file) {
  const context = new OfflineAudioContext(1, 1, 24000);
  let audio;
  try {
    audio = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name}: the browser cannot read this as audio.`);
  }
  const mono = new Float32Array(Math.min(audio.length, LONGEST * audio.sampleRate));
  for (let channel = 0; channel < audio.numberOfChannels; channel++) {
    const samples = audio.getChannelData(channel);
    for (let i = 0; i < mono.length; i++) mono[i] += samples[i] / audio.numberOfChannels;
  }
  return wavFile([mono], audio.sampleRate);
}

function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}
