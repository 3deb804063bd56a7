"""Speaking with the voice of a recording: equal to the reference, without the recording in it; and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import CHECKPOINTS, DATA, cut_early, golden_rows, load_golden, open_model, snr_db

from qwen3tts_cli import Codec, Synthesizer, UsageError
from qwen3tts_cli.audio.recording import load_recording
from qwen3tts_cli.engine.session import RUNNING, Sampling, Session
from qwen3tts_cli.text.prompt import build_prompt

FOLDER = "tiny-base"
TEXT = "The quick brown fox jumps over the lazy dog."
CASES = golden_rows(FOLDER, "tts")

pytestmark = pytest.mark.filterwarnings("ignore:.*:UserWarning")


@pytest.fixture(scope="module")
def base():
    with Synthesizer.open(CHECKPOINTS / FOLDER, threads=2) as opened:
        yield opened


@pytest.fixture(scope="module")
def preset():
    with Synthesizer.open(CHECKPOINTS / "tiny-customvoice", threads=2) as opened:
        yield opened


def wav(name: str) -> Path:
    return DATA / "wavs" / f"{name}.wav"


@pytest.mark.parametrize("row", CASES, ids=lambda row: row["name"])
def test_speech_from_a_recording_file_equals_the_reference(base, row):
    golden = load_golden(FOLDER, row)
    options = {"language": row["language"], "max_frames": row["max_new_tokens"] - 1, "greedy": True, "split": False}
    options["text_mode"] = "full" if row["non_streaming_mode"] else None
    audio = {"ref_audio": wav(row["ref_wav"]), "ref_text": row.get("ref_text")}
    want = golden["wav"][1:] if cut_early(golden) else golden["wav"]
    got = base.say(row["text"], **audio, **options)
    assert got.shape == want.shape
    assert snr_db(got, want) >= 80


@pytest.mark.parametrize("dtype", ["int16", "int32", "float64", ">i2", "stereo"])
def test_samples_of_any_dtype_give_the_voice_of_their_file(base, dtype):
    samples, rate = soundfile.read(wav("ref24k"), dtype="int16")
    given = {"int32": samples.astype(np.int32) << 16, "float64": samples / 32768, "stereo": np.stack([samples] * 2, 1)}
    array = given[dtype] if dtype in given else samples.astype(dtype)
    voice, same = base.clone(wav("ref24k"), TEXT), base.clone((array, rate), TEXT)
    assert np.array_equal(same.embedding, voice.embedding)
    assert np.array_equal(same.codes, voice.codes)
    assert same.sha256 == voice.sha256
    how = {"seed": 1, "max_frames": 3}
    assert np.array_equal(
        base.say("Hi.", ref_audio=(array, rate), **how), base.say("Hi.", ref_audio=wav("ref24k"), **how)
    )


def test_a_recording_of_a_wrong_type_is_refused(base):
    for audio, words in (((np.ones(9, complex), 24000), "complex128"), (5, "int"), ((np.ones(9), "x"), "rate: str")):
        with pytest.raises(UsageError, match=words):
            base.clone(audio)
        with pytest.raises(UsageError, match=words):
            base.say("Hi.", ref_audio=audio)


@pytest.mark.parametrize("pipeline", [False, True])
@pytest.mark.parametrize("chunk", [0, 1, 7])
@pytest.mark.parametrize("reference", [1, 11, 12, 13, 150])
def test_the_recording_is_context_and_not_in_the_output(reference, chunk, pipeline):
    codes = load_golden(FOLDER, "codec_encode_ref24k_long.npz")["codes"][:reference]
    codes = np.ascontiguousarray(codes, np.int32)
    with open_model(CHECKPOINTS / FOLDER) as model:
        prompt = build_prompt(
            model.config,
            model.checkpoint.tokenizer,
            "Hello world.",
            speaker_row=True,
            reference_codes=codes,
            reference_text=TEXT,
        )
        speaker = np.zeros(model.config.talker.hidden_size, np.float32)
        options = {"talker": Sampling(greedy=True), "predictor": Sampling(greedy=True), "seed": 0, "key": 0}
        options |= {"max_frames": 9, "chunk_frames": chunk, "pipeline": pipeline}
        with Session(model, prompt, speaker=speaker, reference_codes=codes, **options) as session:
            heard = []
            while session.info.state == RUNNING or session.info.decoded < session.info.frames:
                model.step([session])
                heard.append(session.read(wait=session.info.state != RUNNING))
            heard.append(session.read())
            made = session.codes(0, session.info.frames)
        with Codec.open(CHECKPOINTS / FOLDER) as codec:
            want = codec.decode(np.concatenate([codes, made]))[reference * 1920 :]
        np.testing.assert_array_equal(np.concatenate(heard), want)


def test_a_voice_gives_the_samples_of_its_recording(base):
    options = {"seed": 5, "max_frames": 8, "language": "english"}
    voice = base.clone(wav("ref24k"), TEXT, name="anna")
    assert voice.codes.shape == (32, 16)
    assert voice.embedding.shape == (64,)
    want = base.say("Hello.", ref_audio=wav("ref24k"), ref_text=TEXT, **options)
    np.testing.assert_array_equal(base.say("Hello.", voice=voice, **options), want)
    recording = load_recording(wav("ref24k"))
    again = base.clone((recording.samples, 24000), TEXT)
    assert again.digest == voice.digest
    assert base.clone(wav("ref24k")).digest != voice.digest


@pytest.mark.parametrize("kind", ["path", "array"])
def test_many_texts_encode_each_recording_once(base, monkeypatch, kind):
    """Two recordings, one of them also with a transcript, are encoded three times for any number of texts."""
    from qwen3tts_cli.engine import speaker_encoder

    opened, own = [], speaker_encoder.SpeakerEncoder.embed
    monkeypatch.setattr(speaker_encoder.SpeakerEncoder, "embed", lambda self, x: opened.append(1) or own(self, x))
    first, second = (wav(name) for name in ("ref16k", "ref44k_stereo"))
    if kind == "array":
        first, second = (soundfile.read(path, dtype="float32") for path in (first, second))
    items = [
        {"text": "One.", "ref_audio": first},
        {"text": "Two.", "ref_audio": second},
        {"text": "Three."},
        {"text": "Four.", "ref_audio": second, "ref_text": "Some words."},
        "Five.",
        {"text": "Six.", "ref_audio": second},
    ]
    how = {"seed": 1, "max_frames": 3, "retries": 0}
    many = base.say_many(items, ref_audio=first, batch=3, **how)
    assert len(opened) == 3
    for item, pcm in zip(items, many, strict=True):
        asked = {"text": item} if isinstance(item, str) else item
        np.testing.assert_array_equal(pcm, base.say(**{"ref_audio": first, **how, **asked}))


def test_every_utterance_of_a_long_text_has_the_voice(base):
    with base.speak("Hello world. " * 40, options(base, voice=base.clone(wav("ref24k"), TEXT))) as speech:
        assert sum(map(len, speech)) == speech.frames * 1920 > 0
        assert speech.voice == "clone"


def options(synthesizer, **chosen):
    from qwen3tts_cli import SpeakOptions

    return SpeakOptions(**{"seed": 1, "max_frames": 30, "retries": 0, **chosen})


@pytest.mark.parametrize(
    ("model", "asked", "words"),
    [
        ("preset", {"ref_audio": wav("ref24k")}, ["cannot clone", "0.6b-base and 1.7b-base"]),
        ("preset", {"design": "an old man"}, ["description", "1.7b-design"]),
        ("base", {"design": "an old man"}, ["description", "1.7b-design"]),
        ("base", {}, ["no voice of its own", "--ref", "0.6b and 1.7b have presets"]),
        ("base", {"voice": "ryan"}, ["no voice 'ryan' is kept", "0.6b and 1.7b have presets"]),
        ("base", {"ref_text": "text"}, ["no reference recording"]),
        ("base", {"ref_audio": wav("ref24k"), "ref_text": " "}, ["transcript: empty"]),
        ("base", {"ref_audio": wav("ref24k"), "voice": "anna"}, ["leave out"]),
        ("base", {"ref_audio": wav("ref24k"), "instruct": "sadly"}, ["instruct", "1.7b"]),
    ],
)
def test_a_refusal_names_a_model_that_can(base, preset, model, asked, words):
    with pytest.raises(UsageError) as caught:
        {"base": base, "preset": preset}[model].say("Hello.", **asked)
    assert all(word in str(caught.value) for word in words)
    assert "\n" not in str(caught.value)


def test_a_voice_of_another_model_is_refused(base, preset):
    from dataclasses import replace

    voice = base.clone(wav("ref24k"), name="anna")
    with pytest.raises(UsageError, match=r"voice anna: .* cannot clone; it needs tiny-base"):
        preset.say("Hello.", voice=voice)
    wide = replace(voice, embedding=np.ones(2048, np.float32), model="1.7b-base")
    with pytest.raises(UsageError, match=r"2048 numbers, .* takes 64; it needs 1\.7b-base"):
        base.say("Hello.", voice=wide)
    narrow = replace(voice, codes=np.zeros((4, 8), np.int32), transcript="text")
    with pytest.raises(UsageError, match="8 codes a frame"):
        base.say("Hello.", voice=narrow)


def test_design_is_the_instruction_of_a_design_model():
    with Synthesizer.open(CHECKPOINTS / "tiny-voicedesign", threads=2) as synthesizer:
        options = {"seed": 3, "max_frames": 6}
        designed = synthesizer.say("Hello.", design="an old man", **options)
        np.testing.assert_array_equal(designed, synthesizer.say("Hello.", instruct="an old man", **options))
        assert not np.array_equal(designed, synthesizer.say("Hello.", design="a young girl", **options))
        with pytest.raises(UsageError, match="one description"):
            synthesizer.say("Hello.", design="an old man", instruct="slowly")
