// Model, voice, language and the further options: what is offered, what is chosen, what is sent.

const STORE = "qwen3tts.choices"; // in localStorage: model, voice and language, for the next visit
const CLIP = "(clip)"; // the value of the voice that is a clip of this page; no voice has this name

const element = (id) => document.getElementById(id);
const capital = (name) => name.charAt(0).toUpperCase() + name.slice(1);

export class Choices {
  constructor() {
    this.models = [];
    this.kept = [];
    this.clip = null; // {clip: base64, transcript}
    element("model").addEventListener("change", () => this.#showModel());
    for (const id of ["model", "voice", "language"]) element(id).addEventListener("change", () => this.#store());
    element("speed").addEventListener("input", () => this.#showSpeed());
  }

  /** Offer the models of facts.json and the voices of /v1/audio/voices. What is chosen stays chosen. */
  offer(models, voices) {
    const chosen = this.models.length ? this.#chosen() : read();
    this.models = models;
    this.kept = voices.filter(({ type }) => type === "kept");
    fill(element("model"), models.map(({ id }) => [id, id]));
    select(element("model"), chosen.model);
    element("model-field").hidden = models.length < 2;
    this.#showModel(chosen);
    this.#showSpeed();
  }

  get #model() {
    return this.models[element("model").selectedIndex] ?? { kind: "preset", voices: [], languages: [] };
  }

  #showModel(chosen = this.#chosen()) {
    const model = this.#model;
    const kept = this.kept.filter(({ models }) => models.includes(model.id)).map(({ id, name }) => [id, name]);
    const groups = [
      ["Voices of the model", model.voices.map((name) => [name, name])],
      ["Kept voices", kept],
      ["This page", this.clip && model.kind === "clone" ? [[CLIP, "your clip"]] : []],
    ].filter(([, options]) => options.length);
    const voice = element("voice");
    if (groups.length > 1) fillGroups(voice, groups);
    else fill(voice, groups.length ? groups[0][1] : [["", "none yet"]]);
    if (!select(voice, chosen.voice)) select(voice, model.voice);
    element("voice-field").hidden = model.kind === "design";
    element("design-field").hidden = model.kind !== "design";
    element("instruct-field").hidden = !model.instructs || model.kind === "design";
    const languages = model.languages.map((name) => [name, capital(name)]);
    fill(element("language"), languages.length === 1 ? languages : [["", "Automatic"], ...languages]);
    select(element("language"), chosen.language);
  }

  #showSpeed() {
    element("speed-value").textContent = Number(element("speed").value).toFixed(1);
  }

  /** The model that makes voices of clips: the chosen one, or the first that can. */
  cloningModel() {
    return this.#model.kind === "clone" ? this.#model : this.models.find(({ kind }) => kind === "clone");
  }

  /** Choose a voice that was made: {id} of a kept one, or {clip, transcript}. */
  useVoice(voice) {
    if (voice.clip) this.clip = voice;
    select(element("model"), this.cloningModel().id);
    this.#showModel({ ...this.#chosen(), voice: voice.clip ? CLIP : voice.id });
    this.#store();
  }

  /** What keeps the choices from being spoken with: {field, message}, or null. */
  problem() {
    const model = this.#model;
    if (model.kind === "design" && !element("design").value.trim()) {
      return { field: "design", message: "Describe the voice that shall speak." };
    }
    if (model.kind === "clone" && !element("voice").value) {
      return { field: "voice", message: "This model has no voice yet: make one below." };
    }
    if (!/^[0-9]{0,20}$/.test(element("seed").value.trim())) {
      element("more").open = true;
      return { field: "seed", message: "The seed is a whole number, or empty." };
    }
    return null;
  }

  /** The name of the voice, for files. */
  voiceName() {
    const voice = element("voice").value;
    return this.#model.kind === "design" || voice === CLIP ? "" : voice;
  }

  /** The fields of POST /v1/audio/speech. */
  fields() {
    const model = this.#model;
    const voice = element("voice").value;
    const [design, instruct, seed] = ["design", "instruct", "seed"].map((id) => element(id).value.trim());
    const fields = { model: model.id, speed: Number(element("speed").value) };
    if (element("language").value) fields.language = element("language").value;
    if (seed) fields.seed = BigInt(seed); // up to 64 bits
    if (model.kind === "design") fields.design = design;
    else if (voice === CLIP) {
      fields.ref_audio = this.clip.clip;
      if (this.clip.transcript) fields.ref_text = this.clip.transcript;
    } else if (voice) fields.voice = voice;
    if (instruct && model.instructs && model.kind !== "design") fields.instructions = instruct;
    return fields;
  }

  #chosen() {
    const [model, voice, language] = ["model", "voice", "language"].map(element);
    const only = language.options.length === 1; // then it was not chosen, and the next model may have more
    return { model: model.value, voice: voice.value, language: only ? "" : language.value };
  }

  #store() {
    const chosen = this.#chosen();
    if (chosen.voice !== CLIP) localStorage.setItem(STORE, JSON.stringify(chosen));
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(STORE)) ?? {};
  } catch {
    return {};
  }
}

const option = ([value, text]) => new Option(text, value);
const fill = (list, options) => list.replaceChildren(...options.map(option));

function fillGroups(list, groups) {
  list.replaceChildren(
    ...groups.map(([label, options]) => {
      const group = document.createElement("optgroup");
      group.label = label;
      group.append(...options.map(option));
      return group;
    }),
  );
}

/** Choose an option by its value; whether there is one. */
function select(list, value) {
  const index = [...list.options].findIndex((each) => each.value === value);
  if (index >= 0) list.selectedIndex = index;
  return index >= 0;
}
