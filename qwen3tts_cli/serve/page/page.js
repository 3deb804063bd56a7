// The page: reads its form, speaks, plays what comes, and shows how long it took.

import * as api from "./api.js";
import { Choices } from "./choices.js";
import { Player } from "./player.js";
import { VoiceForm } from "./voice_form.js";
import { readPcm, wavFile } from "./wav.js";
import { Waveform } from "./waveform.js";

const RATE = 24000; // samples a second of response_format pcm
const element = (id) => document.getElementById(id);
const player = new Player(RATE, showPlayer);
const waveform = new Waveform(element("wave"), RATE);
const choices = new Choices();
let facts = { max_text: 4096, models: [] };
let request = null; // the AbortController of the speech that is being received
let again = null; // what to do once there is a key
let fileName = "speech.wav";

// ---- speaking

async function speak() {
  const text = element("text").value;
  const wrong = choices.problem() ?? textProblem(text);
  if (wrong) return showError(wrong.message, wrong.field);
  showError("");
  request?.abort();
  const mine = (request = new AbortController());
  const started = performance.now();
  const answer = api.speak({ input: text, ...choices.fields() }, mine.signal); // on its way while the rest is done
  answer.catch(() => {}); // handled below
  waveform.reset();
  player.open();
  showTiming({});
  showStatus("Waiting for the first audio.");
  showRunning();
  fileName = nameFile(text, choices.voiceName());
  const timing = {};
  try {
    const response = await answer;
    timing.seed = response.headers.get("X-Seed");
    for await (const samples of readPcm(response.body)) {
      if (timing.first === undefined) showStatus("Speaking.");
      timing.first ??= performance.now() - started;
      player.append(samples);
      waveform.append(samples);
      showTiming({ ...timing, total: performance.now() - started });
      showPlayer();
    }
    timing.total = performance.now() - started;
    showTiming(timing);
    showStatus(`Complete: ${player.seconds.toFixed(1)} seconds of speech.`);
  } catch (error) {
    if (mine !== request) return;
    if (error.name === "AbortError") {
      showStatus(player.samples ? "Stopped." : "Stopped before the first audio.");
      return;
    }
    showStatus(player.samples ? "The speech is incomplete." : "No speech.");
    if (askForKey(error, speak)) return;
    showError(error instanceof api.ServerError ? error.message : "The server ended the speech before its end.");
  } finally {
    if (mine === request) {
      request = null;
      player.finish();
      showRunning();
    }
  }
}

function stop() {
  request?.abort();
  player.pause();
  showRunning();
}

function textProblem(text) {
  if (!text.trim()) return { field: "text", message: "There is no text to speak." };
  const length = [...text].length;
  if (length <= facts.max_text) return null;
  const limit = `this server takes ${count(facts.max_text)} at a time`;
  return { field: "text", message: `The text has ${count(length)} characters; ${limit}.` };
}

/** The beginning of the text and the name of the voice, as "Good-morning-ryan.wav". */
function nameFile(text, voice) {
  const words = `${text.trim().slice(0, 40)} ${voice}`.replace(/[^\p{L}\p{N}]+/gu, "-");
  return `${words.replace(/^-|-$/g, "") || "speech"}.wav`;
}

const running = () => request !== null || player.playing;

// ---- showing

const count = (number) => number.toLocaleString("en");
const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

function showStatus(message) {
  element("status").textContent = message;
}

function showError(message, field) {
  const place = element("error");
  place.textContent = message;
  place.hidden = !message;
  for (const each of document.querySelectorAll("#speak-form [aria-invalid]")) each.removeAttribute("aria-invalid");
  if (field) {
    element(field).setAttribute("aria-invalid", "true");
    element(field).focus();
  }
}

function showTiming({ first, total, seed }) {
  const seconds = player.seconds;
  element("first-audio").textContent = first === undefined ? "–" : `${Math.round(first)} ms`;
  element("factor").textContent = total === undefined || !seconds ? "–" : (total / 1000 / seconds).toFixed(2);
  element("length").textContent = seconds ? `${seconds.toFixed(1)} s` : "–";
  element("used-seed").textContent = seed ?? "–";
}

function showRunning() {
  const state = running();
  element("speak").dataset.running = state;
  element("speak-label").textContent = state ? "Stop" : "Speak";
}

function showPlayer() {
  const position = player.position;
  element("play").disabled = element("download").disabled = !player.samples;
  element("play").dataset.playing = player.playing;
  element("play").setAttribute("aria-label", player.playing ? "Pause" : "Play");
  const slider = element("position");
  slider.disabled = !player.samples;
  slider.max = waveform.span.toFixed(2);
  slider.value = position;
  slider.setAttribute("aria-valuetext", `${position.toFixed(1)} of ${player.seconds.toFixed(1)} seconds`);
  element("clock").textContent = `${clock(position)} / ${clock(player.seconds)}`;
  waveform.draw(player.samples ? position : -1);
  showRunning();
  if (player.playing && !showPlayer.waiting) {
    showPlayer.waiting = true;
    requestAnimationFrame(() => {
      showPlayer.waiting = false;
      showPlayer();
    });
  }
}

function showCount() {
  const length = [...element("text").value].length;
  element("count").textContent = `${count(length)} / ${count(facts.max_text)}`;
  element("count").dataset.over = length > facts.max_text;
}

// ---- the key, and what the server offers

/** Show the form of the key if `error` is about the key. `action` is done again with the new key. */
function askForKey(error, action) {
  if (error.status !== 401) return false;
  again = action;
  element("show-key").hidden = false;
  showKeyForm(true);
  element("key-error").textContent = api.storedKey() ? "The server does not accept this key." : "";
  element("key-error").hidden = !api.storedKey();
  element("key").focus();
  return true;
}

function showKeyForm(visible) {
  element("key-form").hidden = !visible;
  element("show-key").setAttribute("aria-expanded", visible);
}

/** Offer the voices of the server, then do `action`. Without a key the server lists no kept voices. */
async function loadVoices(action = null) {
  try {
    choices.offer(facts.models, await api.getVoices());
  } catch (error) {
    choices.offer(facts.models, []);
    if (!askForKey(error, action)) showError(error.message);
    return;
  }
  action?.();
}

async function load() {
  try {
    facts = await api.getFacts();
  } catch (error) {
    showError(error.message);
    return;
  }
  element("version").textContent = `qwen3tts ${facts.version}`;
  element("show-key").hidden = !facts.key_needed;
  if (facts.key_needed && !api.storedKey()) showKeyForm(true);
  showCount();
  await loadVoices();
  if (facts.models.some((model) => model.kind === "clone")) {
    element("make-voice").hidden = false;
    new VoiceForm(facts.keeps_voices, () => choices.cloningModel().id, useVoice, (error) => askForKey(error, null));
  }
  await waitUntilReady();
}

async function useVoice(voice) {
  if (voice.id) await loadVoices();
  choices.useVoice(voice);
}

async function waitUntilReady() {
  for (;;) {
    const ready = await api.isReady().catch(() => true); // what is wrong shows when somebody speaks
    if (ready && !running()) showStatus("Ready.");
    if (ready) return;
    showStatus("The model is being loaded; the first speech waits for it.");
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

// ---- events

element("speak-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (running()) stop();
  else speak();
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && running()) stop();
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.closest("#speak-form")) {
    event.preventDefault();
    speak();
  }
});
for (const first of ["pointerup", "keydown"]) {
  document.addEventListener(first, () => setTimeout(() => player.prepare()), { once: true });
}
element("text").addEventListener("input", showCount);
element("speak-form").addEventListener("input", ({ target }) => {
  if (target.hasAttribute("aria-invalid")) showError("");
});
element("play").addEventListener("click", () => (player.playing ? player.pause() : player.play()));
element("position").addEventListener("input", () => {
  player.seek(Number(element("position").value));
  showPlayer();
});
element("download").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(wavFile(player.chunks, RATE));
  link.download = fileName;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
});
element("show-key").addEventListener("click", () => {
  showKeyForm(element("key-form").hidden);
  if (!element("key-form").hidden) element("key").focus();
});
element("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.storeKey(element("key").value.trim());
  element("key").value = "";
  showKeyForm(false);
  element("speak").focus();
  loadVoices(again);
});
new ResizeObserver(showPlayer).observe(element("wave"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", showPlayer);
load();
