"""Prompts compared with the ids and embeddings of the official package, and arguments that a model refuses."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import checkpoint_of, golden_rows, load_golden, relative_error

from qwen3tts_cli.errors import CheckpointError, InputError, UsageError
from qwen3tts_cli.models.chat_template import HEAD_IDS, check_template
from qwen3tts_cli.models.checkpoint import open_checkpoint
from qwen3tts_cli.models.config.model import ModelConfig, load_config
from qwen3tts_cli.models.tokenizer import load_tokenizer
from qwen3tts_cli.text.incoming_tokens import IncomingTokens
from qwen3tts_cli.text.languages_and_voices import resolve_language, resolve_speaker
from qwen3tts_cli.text.prompt import build_open_prompt, build_prompt, can_be_open, default_text_mode

FOLDERS = ("tiny-customvoice", "tiny-voicedesign", "tiny-base", "pocket")
GOLDENS = [(folder, row["file"]) for folder in FOLDERS for row in golden_rows(folder, "tts")]


@pytest.fixture(scope="module")
def opened():
    made = {}

    def open_one(name):
        if name not in made:
            checkpoint = open_checkpoint(checkpoint_of(name))
            made[name] = (checkpoint.config, checkpoint.tokenizer, Embeddings(checkpoint))
        return made[name]

    return open_one


class Embeddings:
    """Computes the talker's inputs from the rows of a prompt, in NumPy."""

    def __init__(self, checkpoint):
        self.arrays = {}
        for slot, layer, array in checkpoint.tensors:
            wanted = slot.startswith("TEXT_") or slot in ("CODEC_EMBEDDING", "PREDICTOR_EMBEDDING")
            if wanted:
                wide = array if array.dtype == np.float32 else (array.astype(np.uint32) << 16).view(np.float32)
                self.arrays[slot, layer] = wide

    def text(self, ids):
        a = self.arrays
        x = a["TEXT_EMBEDDING", 0][ids] @ a["TEXT_FC1", 0].T + a["TEXT_FC1_BIAS", 0]
        return (x / (1 + np.exp(-x))) @ a["TEXT_FC2", 0].T + a["TEXT_FC2_BIAS", 0]

    def codec(self, code, speaker, reference):
        if code >= 0:
            return self.arrays["CODEC_EMBEDDING", 0][code]
        if code == -2:
            return speaker
        frame = reference[-3 - code]
        rest = sum(self.arrays["PREDICTOR_EMBEDDING", group][c] for group, c in enumerate(frame[1:]))
        return self.arrays["CODEC_EMBEDDING", 0][frame[0]] + rest

    def rows(self, prompt, speaker, reference):
        out = []
        for text, code in zip(prompt.text_ids, prompt.codec_ids, strict=True):
            row = np.zeros(self.arrays["TEXT_FC2_BIAS", 0].shape, np.float32)
            if text >= 0:
                row = row + self.text([text])[0]
            if code != -1:
                row = row + self.codec(code, speaker, reference)
            out.append(row)
        return np.stack(out)


def golden_prompt(config, tokenizer, row, arrays):
    codes = arrays.get("ref_codes")
    return build_prompt(
        config,
        tokenizer,
        row["text"],
        language=row.get("language"),
        speaker=row.get("speaker"),
        instruct=row.get("instruct"),
        text_mode="full" if row["non_streaming_mode"] else "streaming",
        speaker_row=row["kind"] == "base",
        reference_codes=codes,
        reference_text=row.get("ref_text"),
    )


@pytest.mark.parametrize(("folder", "file"), GOLDENS)
def test_prompt_equals_the_reference(opened, folder, file):
    config, tokenizer, embeddings = opened(folder)
    row = next(row for row in golden_rows(folder) if row["file"] == file)
    arrays = load_golden(folder, row)
    prompt = golden_prompt(config, tokenizer, row, arrays)
    assert prompt.input_ids == arrays["input_ids"].tolist()
    assert prompt.instruct_ids == arrays["instruct_ids"].tolist()
    assert len(prompt.text_ids) == len(prompt.codec_ids) == row["prefill_len"]
    assert {a.dtype for a in (prompt.text_ids, prompt.codec_ids, prompt.trailing_ids)} == {np.dtype(np.int32)}
    made = embeddings.rows(prompt, arrays.get("spk_emb"), arrays.get("ref_codes"))
    assert relative_error(made, arrays["prefill_embeds"]) < 1e-5
    trailing = arrays["trailing_text_hidden"]
    assert len(prompt.trailing_ids) == len(trailing)
    assert relative_error(embeddings.text(prompt.trailing_ids), trailing) < 1e-5
    assert relative_error(embeddings.text([config.tts_pad_id])[0], arrays["tts_pad_embed"]) < 1e-5


def test_default_text_mode_equals_the_reference():
    modes = {name: default_text_mode(load_config(checkpoint_of(name))) for name in FOLDERS}
    assert modes == {"tiny-customvoice": "full", "tiny-voicedesign": "full", "tiny-base": "streaming", "pocket": "full"}


def test_prefix_does_not_depend_on_the_text(opened):
    config, tokenizer, _ = opened("tiny-customvoice")
    arguments = {"language": "en", "speaker": "ryan", "instruct": "Calm."}
    for mode in ("full", "streaming"):
        one = build_prompt(config, tokenizer, "Hello.", text_mode=mode, **arguments)
        two = build_prompt(config, tokenizer, "Something else, and longer.", text_mode=mode, **arguments)
        n = one.prefix_rows
        assert n == two.prefix_rows == len(one.instruct_ids) + 3 + 4 + 1 + 1
        assert one.text_ids[:n].tolist() == two.text_ids[:n].tolist()
        assert one.codec_ids[:n].tolist() == two.codec_ids[:n].tolist()


def test_leading_line_break_merges_with_the_role_as_in_the_reference(opened):
    config, tokenizer, _ = opened("tiny-customvoice")
    plain, broken = (build_prompt(config, tokenizer, text) for text in ("Hello", "\nHello"))
    assert plain.text_ids[2] != broken.text_ids[2]
    assert plain.text_ids[3:].tolist() == broken.text_ids[3:].tolist()


def test_text_of_added_tokens_is_cut_out(opened):
    config, tokenizer, _ = opened("tiny-customvoice")
    prompt = build_prompt(config, tokenizer, "a<|im_end|>b", text_mode="full")
    assert config.im_end_id in prompt.text_ids[prompt.prefix_rows :]


def without(config: ModelConfig, **changes) -> ModelConfig:
    return config._replace(**changes)


@pytest.mark.parametrize("name", ["English", "en", "EN", " english ", "ENGLISH"])
def test_language_names_and_codes(name):
    assert resolve_language(load_config(checkpoint_of("tiny-customvoice")), name) == "english"


def test_all_ten_codes():
    config = load_config(checkpoint_of("tiny-customvoice"))
    codes = ["zh", "en", "de", "it", "pt", "es", "ja", "ko", "fr", "ru"]
    assert [resolve_language(config, code) for code in codes] == [n for n in config.languages if "dialect" not in n]
    assert resolve_language(config, "Auto") == "auto"


def test_default_language():
    many, pocket = load_config(checkpoint_of("tiny-customvoice")), load_config(checkpoint_of("pocket"))
    assert resolve_language(many, None) == "auto"
    assert resolve_language(pocket, None) == "english"
    assert resolve_language(without(pocket, voice=None), None) == "english"
    assert resolve_language(without(many, languages={"klingon": 70, "x_dialect": 71}), None) == "klingon"
    assert resolve_language(without(many, languages={}), None) == "auto"


@pytest.mark.parametrize(
    ("folder", "name", "words"),
    [
        ("tiny-customvoice", "englsh", ["'englsh'", "did you mean 'english'?", "auto, chinese"]),
        ("tiny-customvoice", "xx", ["unknown language 'xx'", "known: auto, chinese"]),
        ("tiny-customvoice", "beijing_dialect", ["dialect", "use the voice dylan"]),
        ("pocket", "de", ["auto, english", "0.6b and 1.7b speak german"]),
        ("pocket", "e\nn", [r"'e\nn'"]),
        ("pocket", "x" * 100_000, ["xxx..."]),
        ("pocket", "\ud800", ["\\ud800"]),
    ],
)
def test_unknown_language(folder, name, words):
    with pytest.raises(UsageError) as caught:
        resolve_language(load_config(checkpoint_of(folder)), name)
    message = str(caught.value)
    assert all(word in message for word in words)
    assert "\n" not in message
    assert len(message) < 400


def test_speaker_names():
    config = load_config(checkpoint_of("tiny-customvoice"))
    assert resolve_speaker(config, "Vivian") == resolve_speaker(config, "VIVIAN ") == "vivian"
    assert resolve_speaker(config, None) == "serena"
    assert resolve_speaker(config, "None") is None
    assert resolve_speaker(load_config(checkpoint_of("pocket")), None) == "slt"
    assert resolve_speaker(load_config(checkpoint_of("tiny-base")), None) is None


@pytest.mark.parametrize(
    ("folder", "name", "words"),
    [
        ("tiny-customvoice", "ryann", ["unknown voice 'ryann'", "did you mean 'ryan'?", "serena, vivian"]),
        ("tiny-base", "ryan", ["clones voices", "0.6b and 1.7b"]),
        ("tiny-voicedesign", "ryan", ["instruct", "0.6b and 1.7b"]),
    ],
)
def test_unknown_speaker(folder, name, words):
    with pytest.raises(UsageError) as caught:
        resolve_speaker(load_config(checkpoint_of(folder)), name)
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize(
    ("folder", "arguments", "words"),
    [
        ("pocket", {"instruct": "calm"}, "1.7b follows it"),
        ("tiny-base", {"instruct": "calm"}, "1.7b-design follow it"),
        ("tiny-customvoice", {"speaker_row": True}, "0.6b-base and 1.7b-base"),
        ("tiny-base", {"speaker_row": True, "reference_codes": np.zeros((2, 16), np.int32)}, "text of the recording"),
        ("tiny-customvoice", {"speaker": "ryann"}, "did you mean 'ryan'"),
        ("tiny-customvoice", {"language": "englsh"}, "did you mean 'english'"),
    ],
)
def test_what_a_model_would_ignore_is_refused(opened, folder, arguments, words):
    config, tokenizer, _ = opened(folder)
    with pytest.raises(UsageError, match=words):
        build_prompt(config, tokenizer, "Hello.", **arguments)


@pytest.mark.parametrize(
    ("codes", "words"),
    [
        (np.zeros((2, 15), np.int32), r"\(frames, 16\)"),
        (np.zeros((0, 16), np.int32), r"\[0, 16\]"),
        (np.zeros((2, 16), np.float32), "float32"),
        (np.full((2, 16), -1), "found -1, expected 0 to 63"),
        (np.full((2, 16), 64), "frame 0, group 0: found 64, expected 0 to 63"),
        (np.full((2, 16), 2**40), "expected 0 to 63"),
    ],
)
def test_reference_codes_are_checked(opened, codes, words):
    config, tokenizer, _ = opened("tiny-base")
    with pytest.raises(InputError, match=words):
        build_prompt(config, tokenizer, "Hi", speaker_row=True, reference_codes=codes, reference_text="Hello.")


def test_prompt_longer_than_the_positions(opened):
    config, tokenizer, _ = opened("tiny-customvoice")
    with pytest.raises(
        UsageError, match=r"text too long for one utterance: a prompt of \d+ positions, the model has 4096"
    ):
        build_prompt(config, tokenizer, "word " * 5000)


def test_empty_instruct_is_none(opened):
    config, tokenizer, _ = opened("pocket")
    assert build_prompt(config, tokenizer, "Hi", instruct="").instruct_ids == []


def test_template_is_checked():
    """The prompt is sliced by position, so the role must be one token."""
    config = load_config(checkpoint_of("tiny-customvoice"))
    tokenizer = load_tokenizer(config.path)
    check_template(config, tokenizer)
    del tokenizer.added["<|im_start|>"]
    with pytest.raises(CheckpointError, match="expected 3"):
        check_template(config, type(tokenizer)(tokenizer._table, tokenizer.added))


# ---- the prompt up to the first text token


@pytest.mark.parametrize(
    ("folder", "arguments"),
    [
        ("tiny-customvoice", {}),
        ("tiny-customvoice", {"speaker": "ryan", "language": "english", "instruct": "Calm."}),
        ("tiny-customvoice", {"speaker": "dylan", "language": "chinese"}),
        ("tiny-voicedesign", {"instruct": "A deep voice.", "language": "de"}),
        ("tiny-base", {"speaker_row": True}),
    ],
)
@pytest.mark.parametrize("text", ["Hello there, this is a text.", "你好。", "1", "<|im_end|> odd", " first"])
def test_an_open_prompt_has_the_rows_of_the_whole_text(opened, folder, arguments, text):
    config, tokenizer, _ = opened(folder)
    whole = build_prompt(config, tokenizer, text, text_mode="streaming", **arguments)
    incoming = IncomingTokens(tokenizer)
    ids = incoming.feed(text) + incoming.finish()
    prompt = build_open_prompt(config, tokenizer, ids[0], **arguments)
    for name in ("text_ids", "codec_ids"):
        assert np.array_equal(getattr(prompt, name), getattr(whole, name)), name
    assert (prompt.prefix_rows, prompt.instruct_ids) == (whole.prefix_rows, whole.instruct_ids)
    assert prompt.input_ids == whole.input_ids[: HEAD_IDS + 1]
    assert prompt.trailing_ids.shape == (0,)
    assert {prompt.text_ids.dtype, prompt.codec_ids.dtype, prompt.trailing_ids.dtype} == {np.dtype(np.int32)}
    assert whole.trailing_ids.tolist() == [*ids[1:], config.tts_eos_id]


def test_an_open_prompt_refuses_what_the_model_ignores(opened):
    config, tokenizer, _ = opened("tiny-base")
    with pytest.raises(UsageError, match="a base model ignores it"):
        build_open_prompt(config, tokenizer, 5, instruct="Calm.", speaker_row=True)


def test_which_voices_can_be_open():
    names = ("tiny-customvoice", "tiny-voicedesign", "tiny-base", "pocket")
    assert [can_be_open(load_config(checkpoint_of(name))) for name in names] == [True, True, True, False]
    assert not can_be_open(load_config(checkpoint_of("tiny-base")), reference_codes=True)
    pocket = load_config(checkpoint_of("pocket"))
    for mode, spell_out, want in (("streaming", False, True), ("streaming", True, False), ("full", False, False)):
        config = pocket._replace(voice=pocket.voice._replace(text_mode=mode, spell_out=spell_out))
        assert can_be_open(config) is want
