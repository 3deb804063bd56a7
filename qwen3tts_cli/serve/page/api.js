// Requests to the server that this page came from. Addresses are relative, so that a proxy may put a path before them.

const KEY = "qwen3tts.key"; // in sessionStorage: gone when the tab is closed

export const storedKey = () => sessionStorage.getItem(KEY) ?? "";
export const storeKey = (key) => sessionStorage.setItem(KEY, key);

/** An answer that is no success, or no answer at all. status: of HTTP, 0 without an answer. */
export class ServerError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function send(address, { headers = {}, ...options } = {}) {
  const key = storedKey();
  let response;
  try {
    response = await fetch(address, {
      ...options,
      headers: key ? { ...headers, Authorization: `Bearer ${key}` } : headers,
      cache: "no-store",
      credentials: "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ServerError(0, "The server does not answer.");
  }
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new ServerError(response.status, body?.error?.message ?? `The server answers ${response.status}.`);
}

/** What the page needs to know of the server: see page_routes.py. */
export const getFacts = async () => (await send("page/facts.json")).json();

/** Kept voices and preset voices, as [{id, name, type, models}]. */
export const getVoices = async () => (await (await send("v1/audio/voices")).json()).voices;

/** Whether the server is ready to speak at once. */
export const isReady = async () => (await fetch("ready", { cache: "no-store" })).ok;

/**
 * Begin a speech. fields: of POST /v1/audio/speech; seed is a BigInt, which JSON.stringify refuses.
 * Returns the response, whose body is 16-bit PCM with 24000 samples a second.
 */
export function speak({ seed, ...fields }, signal) {
  const json = JSON.stringify({ ...fields, response_format: "pcm" });
  const body = seed === undefined ? json : `${json.slice(0, -1)},"seed":${seed}}`;
  return send("v1/audio/speech", { method: "POST", headers: { "Content-Type": "application/json" }, body, signal });
}

/** Let the server keep a voice. clip: a Blob. Returns {id, name}. */
export async function keepVoice({ model, name, clip, fileName, transcript, consent }) {
  const form = new FormData();
  form.append("model", model);
  form.append("name", name);
  form.append("audio_sample", clip, fileName);
  form.append("consent", consent);
  if (transcript) form.append("ref_text", transcript);
  return (await send("v1/audio/voices", { method: "POST", body: form })).json();
}
