"""The page at `/` in a headless Chromium: what it plays, records and asks for; keyboard, screen reader, keys."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
import soundfile
from browser import CONTROL, find_chromium, require, start_chromium, wait_for
from helpers import CHECKPOINTS, ROOT
from serving import Running, need_server, request

from qwen3tts_cli import Synthesizer
from qwen3tts_cli.common.sample_conversion import to_pcm16

need_server()

AXE = ROOT / "build/node_modules/axe-core/axe.min.js"  # `.ci/run` installs it
KEY = "the key of this test"
RATE = 24000
TEXT = "Good morning."
LONG = "It is a long way to the sea. " * 40
TONE_HZ = 440
# Keeps what every AudioContext plays: the last 1.4 s, each 50 ms, and the loudest sample since `loudest = 0`.
LISTEN = """
window.heard = []; window.loudest = 0;
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (to, ...more) {
  if (to instanceof AudioDestinationNode && !(this instanceof AudioWorkletNode)) {
    const analyser = new AnalyserNode(to.context, { fftSize: 32768 });
    connect.call(this, analyser);
    setInterval(() => {
      const samples = new Float32Array(32768);
      analyser.getFloatTimeDomainData(samples);
      window.loudest = Math.max(window.loudest, ...samples.subarray(-2400).map(Math.abs));
      if (samples.some(Boolean)) window.heard = [...window.heard.slice(-3), samples];
    }, 50);
  }
  return connect.call(this, to, ...more);
};
window.windows = () => window.heard.map((samples) =>
  btoa(Array.from(new Uint8Array(samples.buffer), (byte) => String.fromCharCode(byte)).join("")));
"""
# Keeps what the page sends, and keeps models of random weights from speaking for long.
SEND = """
window.sent = [];
const send = window.fetch;
window.fetch = (address, options) => {
  if (typeof options?.body === 'string') {
    const fields = JSON.parse(options.body);
    window.sent.push(fields);
    if (fields.model !== 'pocket') options.body = `${options.body.slice(0, -1)}, "max_frames": 12, "retries": 0}`;
  } else if (options?.body) window.sent.push(Object.fromEntries(options.body));
  return send(address, options);
};
"""


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    """A recording of 2 s with a tone."""
    path = tmp_path_factory.mktemp("tone") / "tone.wav"
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * TONE_HZ * np.arange(96000) / 48000), 48000, subtype="PCM_16")
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory, tone):
    require(find_chromium(), "chromium")
    microphone = ("--use-fake-device-for-media-stream", f"--use-file-for-fake-audio-capture={tone}")
    with start_chromium(tmp_path_factory.mktemp("chromium"), *microphone) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    models = (None, *(CHECKPOINTS / name for name in ("tiny-base", "tiny-voicedesign", "tiny-customvoice")))
    with Running(models=models, voices_dir=tmp_path_factory.mktemp("voices")) as server:
        yield server


@pytest.fixture(scope="module")
def locked_server():
    with Running(api_keys=(KEY,), models=(None, CHECKPOINTS / "tiny-base"), max_audio_seconds=2.0) as server:
        yield server


@pytest.fixture
def visit(browser):
    """Open the page of a server in a tab; at the end there may be no complaint and no request to elsewhere."""
    tabs = []

    def visit(server, expected=(), **size):
        context = browser.tab(**size)
        tab = context.__enter__()
        tabs.append((context, tab, server, expected))
        tab.before_load(LISTEN + SEND)
        tab.open(server.url + "/")
        tab.wait("document.querySelector('#version').textContent && document.querySelector('#voice').length")
        return tab

    yield visit
    try:
        for _, tab, server, expected in tabs:
            tab.run("1")  # events that are on their way come before the answer
            assert [each for each in tab.complaints() if not any(part in each for part in expected)] == []
            # Chromium draws the controls of <audio> with images of its own, data: in their addresses
            own = (server.url + "/", f"blob:{server.url}/", "data:image/svg+xml;base64,")
            assert [url for url in tab.requests() if not url.startswith(own)] == []
    finally:
        for context, *_ in tabs:
            context.__exit__(None, None, None)


def speak(tab, text=TEXT, **fields):
    """Speak a text, and wait until all of it has come."""
    tab.wait("document.querySelector('#speak-label').textContent === 'Speak'")
    tab.type("#text", text)
    for name, value in fields.items():
        tab.type(f"#{name}", value)
    tab.run("document.querySelector('#status').textContent = ''")
    tab.click("#speak")
    tab.wait("/^(Complete|No speech|The speech is incomplete)/.test(document.querySelector('#status').textContent)")


def expected_samples(text, **options):
    with Synthesizer.open() as voice:
        samples = voice.say(text, **options)
    return to_pcm16(samples)


def was_heard(tab, samples):
    """Whether the page has played these samples without a gap, bit by bit."""
    wanted = np.asarray(samples, np.float32).tobytes()
    return any(base64.b64decode(window).find(wanted) >= 0 for window in tab.run("window.windows()"))


def test_speech_is_heard_shown_and_downloaded(server, browser, visit):
    tab = visit(server)
    tab.run("document.querySelector('#more').open = true")
    assert tab.run("[...document.querySelector('#voice').options].map(o => o.value)") == ["slt"]
    speak(tab, seed="7")
    expected = expected_samples(TEXT, seed=7)
    assert tab.run("window.sent[0].seed") == 7
    tab.wait("document.querySelector('#speak-label').textContent === 'Speak'")  # all was played
    heard = tab.run("Math.max(...window.heard.map((samples) => Math.max(...samples.map(Math.abs))))")
    assert heard == np.abs(expected.astype(int)).max() / 32768
    tab.click("#download")
    path = wait_for("the download", lambda: next(browser.folder.glob("*.wav"), None))
    wait_for("its end", lambda: path.stat().st_size == 44 + 2 * len(expected))
    assert path.name == "Good-morning-slt.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    np.testing.assert_array_equal(samples, expected)
    assert re.fullmatch(r"\d+ ms", tab.text("#first-audio"))
    assert float(tab.text("#factor")) > 0
    assert tab.text("#length") == f"{len(expected) / RATE:.1f} s"
    assert tab.text("#used-seed") == "7"
    tab.run("window.heard = []")
    tab.click("#play")
    loudest = np.abs(expected.astype(int)).argmax()
    wait_for("the same samples", lambda: was_heard(tab, expected[loudest - 2400 : loudest + 9600] / 32768))


def test_a_slow_stream_is_played_without_loss(server, visit):
    tab = visit(server)
    heard = tab.run("""(async () => {
      const { Player } = await import('/page/player.js');
      const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
      const chunk = (level) => new Float32Array(2400).fill(level);
      const ended = new Promise((resolve) => {
        window.player = new Player(24000, () => player.samples && !player.playing && resolve());
      });
      player.open();
      player.append(chunk(0.25));
      await wait(600);
      player.append(chunk(0.5));
      player.append(chunk(0.75));
      player.finish();
      await ended;
      return { late: player.late, position: player.position };
    })()""")
    assert heard["late"] == 1
    assert heard["position"] == pytest.approx(0.3)
    for samples in (np.full(2400, 0.25), np.repeat([0.5, 0.75], 2400)):
        wait_for("the samples", lambda samples=samples: was_heard(tab, samples))


def test_stop_ends_the_speech_here_and_on_the_server(server, visit):
    tab = visit(server)
    tab.type("#text", LONG)
    tab.click("#speak")
    tab.wait("window.loudest > 0.05")
    assert tab.text("#speak-label") == "Stop"
    tab.click("#speak")
    tab.wait("document.querySelector('#speak-label').textContent === 'Speak'")
    wait_for("the end of the speech", lambda: server.metric("qwen3tts_speaking") == 0)
    tab.run("new Promise((resolve) => setTimeout(() => { window.loudest = 0; setTimeout(resolve, 300); }, 300))")
    assert tab.run("window.loudest") == 0


def test_the_keyboard_is_enough(server, visit):
    tab = visit(server)
    tab.type("#text", LONG)
    tab.press("Enter", CONTROL)
    tab.wait("window.loudest > 0.05")
    assert tab.run("document.activeElement.id") == "text"
    tab.press("Escape")
    tab.wait("document.querySelector('#speak-label').textContent === 'Speak'")
    for name in ("model", "voice", "language", "speak", "more", "position", "play", "download", "make-voice"):
        tab.press("Tab")
        assert tab.run("document.activeElement.id || document.activeElement.parentElement.id") == name
        if name == "position":
            before = tab.run("document.activeElement.value")
            tab.press("ArrowRight")
            assert tab.run("document.activeElement.value") != before


def test_a_screen_reader_is_told_everything(server, visit):
    tab = visit(server)
    tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    nodes = [node for node in tab.send("Accessibility.getFullAXTree")["nodes"] if not node["ignored"]]
    roles = ("textbox", "combobox", "button", "slider", "checkbox", "DisclosureTriangle")
    named = [(node["role"]["value"], node["name"]["value"]) for node in nodes if "name" in node]
    controls = [(role, name) for role, name in named if role in roles]
    assert len(controls) >= 15
    assert all(name for _, name in controls)
    assert ("textbox", "Text to speak") in controls
    assert tab.run("document.querySelector('#status').getAttribute('role')") == "status"
    tab.click("#speak")
    tab.wait("!document.querySelector('#error').hidden")
    assert tab.text("#error[role=alert]") == "There is no text to speak."
    assert tab.run("document.activeElement.id") == "text"
    assert tab.run("document.querySelector('#text').getAttribute('aria-invalid')") == "true"
    tab.type("#text", "x" * 4097)
    assert tab.run("document.querySelector('#error').hidden && !document.querySelector('[aria-invalid]')")
    tab.click("#speak")
    assert "4,097" in tab.text("#error")


def test_axe_finds_nothing_serious(server, visit):
    require(AXE.exists(), "axe-core")
    tab = visit(server)
    tab.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    tab.run("document.querySelectorAll('main [hidden]').forEach((each) => { each.hidden = false; })")
    tab.run("document.querySelectorAll('[role=alert]').forEach((each) => { each.textContent = 'An error.'; })")
    tab.run(AXE.read_text(encoding="utf-8"))
    for scheme, width in (("light", 1200), ("dark", 1200), ("light", 320), ("dark", 320)):
        tab.resize(width, 900)
        media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # colours change at once
        features = [{"name": name, "value": value} for name, value in media.items()]
        tab.send("Emulation.setEmulatedMedia", features=features)
        found = tab.run(
            "axe.run().then(({ violations }) => violations.filter(({ impact }) => /serious|critical/.test(impact))"
            ".map(({ id, nodes }) => [id, nodes.map(({ html, failureSummary }) => [html, failureSummary])]))"
        )
        assert found == [], (scheme, width)
        assert tab.run("document.documentElement.scrollWidth <= window.innerWidth"), (scheme, width)


def test_a_voice_is_made_of_a_file_and_speaks(server, visit, tone):
    tab = visit(server)
    tab.click("#make-voice summary")
    tab.click("#make")
    assert tab.text("#voice-error").startswith("Record a clip or choose a file")
    tab.set_file("#file", tone)
    tab.wait("document.querySelector('#clip').readyState > 0")  # the clip can be heard before it is sent
    tab.click("#make")
    assert "needs a name" in tab.text("#voice-error")
    tab.type("#name", "Claudia K")
    tab.click("#make")
    assert "agreement" in tab.text("#voice-error")
    tab.click("#consent")
    tab.click("#make")
    tab.wait("document.querySelector('#voice').value === 'claudia-k'")
    assert tab.run("document.querySelector('#model').value") == "tiny-base"
    assert tab.text("#clip-status") == "The voice is ready, and chosen above."
    speak(tab)
    assert tab.run("window.sent.at(-1).voice") == "claudia-k"
    assert tab.text("#status").startswith("Complete")


def test_a_voice_is_recorded(server, visit):
    tab = visit(server)
    tab.click("#make-voice summary")
    tab.click("#record")
    tab.wait("/[1-9] s/.test(document.querySelector('#record-label').textContent)")
    tab.click("#record")
    tab.wait("document.querySelector('#clip-status').textContent.startsWith('Recorded')")
    tab.type("#name", "recorded")
    tab.type("#transcript", "Beep.")
    tab.click("#consent")
    tab.click("#make")
    tab.wait("document.querySelector('#voice').value === 'recorded'")
    sent = "(async () => [...new Uint8Array(await window.sent.at(-1).audio_sample.arrayBuffer())])()"
    samples, rate = soundfile.read(io.BytesIO(bytes(tab.run(sent))))
    assert samples.ndim == 1
    assert 1 <= len(samples) / rate <= 30
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert spectrum.argmax() * rate / len(samples) == pytest.approx(TONE_HZ, abs=2)
    assert tab.run("window.sent.at(-1).ref_text") == "Beep."


def test_other_kinds_of_models_get_their_fields(server, visit):
    tab = visit(server)
    tab.run("document.querySelector('#more').open = true")
    tab.choose("#model", "tiny-voicedesign")
    tab.click("#speak")
    speak(tab, design="an old man")
    tab.choose("#model", "tiny-customvoice")
    tab.choose("#voice", "ryan")
    tab.choose("#language", "german")
    speak(tab, instruct="cheerful", seed=str(2**64 - 1))
    first, second = tab.run("window.sent")
    assert (first["design"], first.get("voice")) == ("an old man", None)
    chosen = {name: second[name] for name in ("voice", "language", "instructions")}
    assert chosen == {"voice": "ryan", "language": "german", "instructions": "cheerful"}
    assert tab.text("#used-seed") == str(2**64 - 1)
    tab.open(server.url + "/")  # the choice is still there at the next visit
    tab.wait("document.querySelector('#voice').value === 'ryan'")


def test_a_key_is_asked_for_and_kept_in_the_tab(locked_server, visit):
    tab = visit(locked_server, expected=("401",))
    tab.click("#speak")
    tab.type("#key", "wrong")
    tab.press("Enter")
    tab.wait("!document.querySelector('#key-error').hidden")
    assert tab.text("#key-error") == "The server does not accept this key."
    assert tab.run("document.activeElement.id") == "key"
    tab.type("#key", KEY)
    tab.press("Enter")
    tab.wait("document.querySelector('#key-form').hidden")
    speak(tab)
    assert tab.text("#status").startswith("Complete")
    assert tab.run("Object.values(sessionStorage)") == [KEY]
    assert KEY not in tab.run("JSON.stringify([localStorage, location.href, document.cookie])")


def test_a_missing_key_interrupts_the_speech_only_until_it_is_there(locked_server, visit):
    tab = visit(locked_server, expected=("401",))
    tab.type("#text", TEXT)
    tab.click("#speak")
    tab.wait("document.activeElement.id === 'key'")
    tab.type("#key", KEY)
    tab.press("Enter")
    tab.wait("document.querySelector('#status').textContent.startsWith('Complete')")


def test_an_aborted_speech_is_called_incomplete(locked_server, visit):
    tab = visit(locked_server, expected=("ERR_INCOMPLETE_CHUNKED_ENCODING",))
    tab.run(f"sessionStorage.setItem('qwen3tts.key', {json.dumps(KEY)})")
    speak(tab, LONG)
    assert tab.text("#status") == "The speech is incomplete."
    assert tab.text("#error") == "The server ended the speech before its end."


def test_a_clip_speaks_from_the_page_where_the_server_keeps_none(locked_server, visit, tone):
    tab = visit(locked_server)
    tab.run(f"sessionStorage.setItem('qwen3tts.key', {json.dumps(KEY)})")
    tab.click("#make-voice summary")
    tab.set_file("#file", tone)
    tab.click("#consent")
    tab.click("#make")
    tab.wait("document.querySelector('#voice').selectedOptions[0].text === 'your clip'")
    speak(tab)
    assert tab.text("#status").startswith("Complete")
    assert len(tab.run("window.sent.at(-1).ref_audio")) > 4 * 96000 * 2 / 3 - 100


def test_the_files_have_strict_headers_and_nothing_else_is_served(server):
    status, headers, body = request(server.port, "GET", "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert "*" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert request(server.port, "GET", "/", headers={"If-None-Match": headers["etag"]})[0] == 304
    assert b"<style" not in body
    assert b" style=" not in body
    for path in ("/page/../page_routes.py", "/page/..%2fpage_routes.py", "/page/%2e%2e/run.py", "/page/", "/page/x"):
        assert request(server.port, "GET", path)[0] == 404, path
    found = request(server.port, "GET", "/page/facts.json")[2]
    assert b"claudia" not in found


def test_no_page():
    with Running(page=False) as server:
        assert request(server.port, "GET", "/")[0] == 404
        assert request(server.port, "GET", "/page/page.js")[0] == 404
