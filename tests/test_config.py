"""config.json and the other JSON files of a checkpoint: released values are read, wrong values give one-line errors."""

from __future__ import annotations

import copy
import json
import random
import shutil
import time

import pytest
from helpers import CHECKPOINTS, POCKET, allowed, checkpoint_of

from qwen3tts_cli.errors import CheckpointError
from qwen3tts_cli.models.config.model import ModelConfig, load_config

FILES = {
    "config": "config.json",
    "codec": "speech_tokenizer/config.json",
    "generation": "generation_config.json",
    "voice": "voice.json",
}


class Folder:
    """A copy of the JSON files of a checkpoint in which single fields are changed."""

    def __init__(self, path, source):
        self.path, self.source = path, source
        (path / "speech_tokenizer").mkdir(parents=True)
        for name in FILES.values():
            if (source / name).exists():
                shutil.copy(source / name, path / name)

    def edit(self, file, field, value):
        """Load with one field (dotted name) set, or removed if `value` is `...`, and restore the file afterwards."""
        name = FILES[file]
        source = self.source / name
        root = json.loads(source.read_text()) if source.exists() else {}
        *parents, last = field.split(".")
        section = root
        for parent in parents:
            section = section[parent]
        if value is ...:
            section.pop(last, None)
        else:
            section[last] = value
        try:
            return self.write(file, json.dumps(root))
        finally:
            if source.exists():
                shutil.copy(source, self.path / name)
            else:
                (self.path / name).unlink()

    def write(self, file, text):
        path = self.path / FILES[file]
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return load_config(self.path)

    def refused(self, action, *words):
        start = time.monotonic()
        with pytest.raises(CheckpointError) as caught:
            action()
        message = str(caught.value)
        assert time.monotonic() - start < allowed(3)
        assert "\n" not in message
        assert len(message) < 1000
        for word in words:
            assert word in message, message
        return message


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path / "model", CHECKPOINTS / "tiny-customvoice")


@pytest.fixture
def pocket(tmp_path):
    return Folder(tmp_path / "model", POCKET)


def test_tiny_custom_voice():
    config = load_config(checkpoint_of("tiny-customvoice"))
    assert (config.model_type, config.model_size) == ("custom_voice", "1b7")
    assert (config.talker.hidden_size, config.predictor.hidden_size, config.codec.transformer.hidden_size) == (
        128,
        64,
        32,
    )
    assert (config.vocab_size, config.text_vocab_size, config.predictor_vocab_size) == (1088, 992, 64)
    assert (config.tts_pad_id, config.codec_eos_id, config.codec_think_id) == (963, 166, 170)
    assert list(config.speakers)[:2] == ["serena", "vivian"]
    assert config.dialects["eric"] == "sichuan_dialect"
    assert config.dialects["ryan"] is None
    assert (config.codec.samples_per_frame, config.codec.sample_rate, config.codec.upsample_rates) == (
        1920,
        24000,
        (8, 5, 4, 3),
    )
    assert config.generation.top_k == 50
    assert config.generation.max_new_tokens == 8192
    assert config.voice is None
    assert config.speaker_encoder is None


def test_base_and_pocket():
    base, pocket = load_config(checkpoint_of("tiny-base")), load_config(POCKET)
    assert base.speaker_encoder["enc_dim"] == 64
    assert (base.speakers, base.dialects) == ({}, {})
    assert pocket.voice.default_voice == "slt"
    assert pocket.voice.spell_out is True
    assert pocket.voice.max_characters == 140
    assert pocket.generation.temperature == 0.2


def real_config(size, kind):
    """config.json with the sizes, ids and unused fields of the released checkpoints."""
    root = json.loads((CHECKPOINTS / "tiny-customvoice" / "config.json").read_text())
    talker, wide = root["talker_config"], size == "1b7"
    root.update(im_start_token_id=151644, im_end_token_id=151645, assistant_token_id=77091, tts_pad_token_id=151671)
    root.update(tts_bos_token_id=151672, tts_eos_token_id=151673, tts_model_size=size, tts_model_type=kind)
    talker.update(hidden_size=2048 if wide else 1024, intermediate_size=6144 if wide else 3072, num_hidden_layers=28)
    talker.update(num_attention_heads=16, num_key_value_heads=8, head_dim=128, text_vocab_size=151936)
    talker.update(text_hidden_size=2048, vocab_size=3072, max_position_embeddings=32768)
    for name in [key for key in talker if key.startswith("codec_") and isinstance(talker[key], int)]:
        talker[name] += 1984
    for table in ("codec_language_id", "spk_id"):
        talker[table] = {name: value + 1984 for name, value in talker[table].items()} if kind == "custom_voice" else {}
    if kind != "custom_voice":
        talker["spk_is_dialect"] = {}
    talker["code_predictor_config"].update(hidden_size=1024, intermediate_size=3072, num_hidden_layers=5)
    talker["code_predictor_config"].update(num_attention_heads=16, num_key_value_heads=8, head_dim=128, vocab_size=2048)
    if kind == "base":
        root["speaker_encoder_config"] = {"enc_dim": talker["hidden_size"], "sample_rate": 24000}
    return root


@pytest.mark.parametrize("size", ["0b6", "1b7"])
@pytest.mark.parametrize("kind", ["custom_voice", "base", "voice_design"])
def test_sizes_of_the_released_models(folder, size, kind):
    decoder = {"codebook_size": 2048, "codebook_dim": 512, "latent_dim": 1024, "decoder_dim": 1536, "hidden_size": 512}
    decoder |= {"intermediate_size": 1024, "num_hidden_layers": 8, "num_attention_heads": 16, "num_key_value_heads": 16}
    codec = json.loads((folder.source / FILES["codec"]).read_text())
    codec["decoder_config"] |= decoder | {"head_dim": 64, "sliding_window": 72}
    (folder.path / FILES["codec"]).write_text(json.dumps(codec))
    config = folder.write("config", json.dumps(real_config(size, kind)))
    assert (config.model_size, config.model_type, config.codec.codebook_dim) == (size, kind, 512)
    assert (config.codec_eos_id, config.text_vocab_size) == (2150, 151936)


def test_fine_tuned_speaker(folder):
    """The official fine-tuning script writes one speaker, with upper-case letters, into the config of a base model."""
    root = json.loads((CHECKPOINTS / "tiny-base" / "config.json").read_text())
    root["tts_model_type"] = "custom_voice"
    root["talker_config"]["spk_id"] = {"Speaker_Test": 1000}
    root["talker_config"]["spk_is_dialect"] = {"Speaker_Test": False}
    config = folder.write("config", json.dumps(root))
    assert config.speakers == {"speaker_test": 1000}
    assert config.dialects == {"speaker_test": None}


@pytest.mark.parametrize(
    ("file", "field", "value"),
    [
        ("config", "talker_config.spk_id", ...),
        ("config", "talker_config.spk_id", None),
        ("config", "talker_config.spk_is_dialect", ...),
        ("config", "talker_config.spk_is_dialect", {"ryan": None, "nobody": False}),
        ("config", "talker_config.codec_language_id", {"klingon": 90, "Beijing_Dialect": 91, "sichuan_dialect": 92}),
        ("config", "talker_config.rope_scaling", None),
        ("config", "talker_config.hidden_act", ...),
        ("config", "talker_config.num_hidden_layers", 1),
        ("config", "talker_config.rms_norm_eps", 1e-5),
        ("config", "talker_config.rope_theta", 10000.5),
        ("config", "speaker_encoder_config", None),
        ("config", "transformers_version", {"x": [1]}),
        ("config", "talker_config.code_predictor_config.num_code_groups", ...),
        ("codec", "encoder_config", ...),
        ("codec", "encoder_config", 7),
        ("codec", "encoder_config", {"hidden_size": -1}),
        ("codec", "encoder_valid_num_quantizers", "x"),
        ("codec", "input_sample_rate", ...),
        ("codec", "decoder_config.semantic_codebook_size", -5),
        ("generation", "top_k", 0),
        ("generation", "top_k", None),
        ("generation", "unknown", "x"),
    ],
)
def test_accepted_variations(folder, file, field, value):
    assert isinstance(folder.edit(file, field, value), ModelConfig)


def test_missing_generation_config_has_the_references_defaults(folder):
    (folder.path / FILES["generation"]).unlink()
    g = load_config(folder.path).generation
    assert (g.do_sample, g.temperature, g.top_k, g.top_p, g.repetition_penalty) == (True, 0.9, 50, 1.0, 1.05)
    assert (g.subtalker_dosample, g.subtalker_temperature, g.subtalker_top_k, g.subtalker_top_p) == (True, 0.9, 50, 1.0)
    assert g.max_new_tokens == 2048


def test_temperature_of_zero_is_greedy(folder):
    assert folder.edit("generation", "temperature", 0).generation.do_sample is False
    assert folder.edit("generation", "subtalker_temperature", 0.0).generation.subtalker_dosample is False


TRANSFORMER = ["hidden_size", "intermediate_size", "num_hidden_layers", "head_dim"]
TRANSFORMER += ["num_attention_heads", "num_key_value_heads"]
TALKER = ["vocab_size", "text_vocab_size", "text_hidden_size", "num_code_groups", "max_position_embeddings"]
CODEC = ["codebook_size", "codebook_dim", "latent_dim", "decoder_dim", "num_quantizers", "sliding_window"]
SIZES = (
    [("config", f"talker_config.{name}") for name in TRANSFORMER + TALKER]
    + [("config", f"talker_config.code_predictor_config.{name}") for name in [*TRANSFORMER, "vocab_size"]]
    + [("codec", f"decoder_config.{name}") for name in TRANSFORMER + CODEC]
    + [("codec", "decode_upsample_rate")]
)
CODEC_IDS = ["pad_id", "bos_id", "eos_token_id", "think_id", "nothink_id", "think_bos_id", "think_eos_id"]
IDS = [("config", f"{name}_token_id") for name in ["im_start", "im_end", "assistant", "tts_pad", "tts_bos", "tts_eos"]]
IDS += [("config", f"talker_config.codec_{name}") for name in CODEC_IDS]


@pytest.mark.parametrize(("file", "field"), SIZES + IDS)
def test_absurd_integers(folder, file, field):
    absurd = [-1, 2**31, 2**40, 10**19, -(2**63), 1.5, 16.0, True, "16", None, [], {}, ...]
    for value in absurd if (file, field) in IDS else [0, *absurd]:
        folder.refused(lambda value=value: folder.edit(file, field, value), FILES[file], field, "expected")


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("config", "talker_config.rope_theta"),
        ("config", "talker_config.rms_norm_eps"),
        ("config", "talker_config.code_predictor_config.rope_theta"),
        ("codec", "decoder_config.rms_norm_eps"),
        ("codec", "decoder_config.rope_theta"),
        ("generation", "top_p"),
        ("generation", "subtalker_top_p"),
        ("generation", "repetition_penalty"),
    ],
)
def test_absurd_numbers(folder, file, field):
    for value in (0, -1, 2**63, 1e300, True, "1", [], {}):
        folder.refused(lambda value=value: folder.edit(file, field, value), FILES[file], field)


@pytest.mark.parametrize(
    ("file", "field", "value", "words"),
    [
        ("config", "tts_model_type", "singing", "'singing', expected custom_voice or base or voice_design"),
        ("config", "tts_model_size", 7, "7"),
        ("config", "tokenizer_type", "qwen3_tts_tokenizer_25hz", "expected qwen3_tts_tokenizer_12hz"),
        ("config", "tokenizer_type", ..., "found nothing"),
        ("config", "model_type", "llama", "expected 'qwen3_tts'"),
        ("config", "talker_config", [1], "an object"),
        ("config", "talker_config.attention_bias", True, "found true, expected false"),
        ("config", "talker_config.use_sliding_window", True, "expected false"),
        ("config", "talker_config.code_predictor_config.tie_word_embeddings", True, "expected false"),
        ("config", "talker_config.code_predictor_config.tie_word_embeddings", 0, "found 0, expected false"),
        ("config", "talker_config.hidden_act", "gelu", "expected 'silu'"),
        ("config", "talker_config.rope_scaling", {"rope_type": "yarn"}, "rope_scaling.rope_type"),
        ("config", "talker_config.num_key_value_heads", 3, "a divisor of num_attention_heads (4)"),
        ("config", "talker_config.num_key_value_heads", 8, "a divisor"),
        ("config", "talker_config.head_dim", 33, "an even number"),
        ("config", "talker_config.vocab_size", 1024, "from 1025"),
        ("config", "talker_config.vocab_size", 1089, "the codec's codebook_size + 1024 = 1088"),
        ("config", "talker_config.code_predictor_config.vocab_size", 65, "the codec's codebook_size = 64"),
        ("config", "talker_config.num_code_groups", 15, "16, the codec's num_quantizers"),
        ("config", "talker_config.code_predictor_config.num_code_groups", 15, "expected 16"),
        ("config", "talker_config.codec_eos_token_id", 1088, "from 0 to 1087"),
        ("config", "tts_pad_token_id", 992, "from 0 to 991"),
        ("config", "talker_config.spk_id", {"ryan": 1088}, "spk_id.ryan: found 1088"),
        ("config", "talker_config.spk_id", {"ryan": -1}, "spk_id.ryan"),
        ("config", "talker_config.spk_id", {"ryan": True}, "spk_id.ryan"),
        ("config", "talker_config.spk_id", {"ryan": 1, "Ryan": 2}, "'Ryan' twice"),
        ("config", "talker_config.spk_id", {" ": 1}, "printable names"),
        ("config", "talker_config.spk_id", {"a\nb": 1}, r"'a\nb'"),
        ("config", "talker_config.spk_id", {"x" * 65: 1}, "at most 64 characters"),
        ("config", "talker_config.spk_id", {str(i): 1 for i in range(5000)}, "at most 4096 names"),
        ("config", "talker_config.spk_id", ["ryan"], "an object"),
        ("config", "talker_config.codec_language_id", {"english": 1088}, "codec_language_id.english"),
        ("config", "talker_config.spk_is_dialect", {"ryan": True}, "true for 'ryan'"),
        ("config", "talker_config.spk_is_dialect", {"ryan": "mars_dialect"}, "'mars_dialect' for 'ryan'"),
        ("config", "speaker_encoder_config", 3, "an object"),
        ("codec", "model_type", "qwen3_tts_tokenizer_25hz", "expected 'qwen3_tts_tokenizer_12hz'"),
        ("codec", "output_sample_rate", 16000, "24000"),
        ("codec", "output_sample_rate", ..., "24000"),
        ("codec", "input_sample_rate", 16000, "24000"),
        ("codec", "decode_upsample_rate", 1919, "1920, the product of upsampling_ratios and upsample_rates"),
        ("codec", "decoder_config.upsample_rates", [8, 5, 4], "the product"),
        ("codec", "decoder_config.upsample_rates", [], "a list of 1 to 8 integers"),
        ("codec", "decoder_config.upsample_rates", [8, 5, 4, True], "found true"),
        ("codec", "decoder_config.upsample_rates", [8, 5, 4, 0], "found 0"),
        ("codec", "decoder_config.upsample_rates", [2**40], "1 to 64"),
        ("codec", "decoder_config.upsample_rates", [1] * 9, "1 to 8"),
        ("codec", "decoder_config.upsampling_ratios", 4, "a list"),
        ("codec", "decoder_config.codebook_dim", 31, "an even number"),
        ("codec", "decoder_config.decoder_dim", 24, "a multiple of 16"),
        ("codec", "decoder_config", None, "found null, expected an object"),
        ("generation", "do_sample", 1, "true or false"),
        ("generation", "temperature", -0.1, "from 0 to 100"),
        ("generation", "top_k", 2**40, "2147483647"),
        ("generation", "top_k", -1, "from 0"),
        ("generation", "top_p", 1.01, "to 1"),
        ("generation", "max_new_tokens", 0, "from 1"),
        ("voice", "name", "x", None),
        ("voice", "unknown", "x", "name: found nothing"),
    ],
)
def test_one_wrong_field(folder, file, field, value, words):
    if words is None:
        voice = folder.edit(file, field, value).voice
        assert (voice.name, voice.max_characters, voice.spell_out, voice.default_voice) == ("x", 300, False, None)
    else:
        folder.refused(lambda: folder.edit(file, field, value), FILES[file], words)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("default_voice", "nobody", "a speaker of config.json"),
        ("default_language", "french", "a language of config.json"),
        ("text_mode", "half", "full or streaming"),
        ("max_characters", 0, "from 1"),
        ("max_characters", 2**40, "100000"),
        ("allowed_characters", 5, "a string"),
        ("spell_out", "yes", "true or false"),
        ("whole_numbers_as_digits_up_to", -1, "from 0"),
        ("name", "\ud800", "lone surrogates"),
        ("name", "x" * 65, "at most 64 characters"),
    ],
)
def test_voice_manifest(pocket, field, value, words):
    pocket.refused(lambda: pocket.edit("voice", field, value), "voice.json", field, words)


def test_voice_manifest_names_are_case_insensitive(pocket):
    assert pocket.edit("voice", "default_voice", "SLT").voice.default_voice == "slt"
    assert pocket.edit("voice", "default_language", "Auto").voice.default_language == "auto"


def test_a_vocabulary_of_one_code_that_is_the_end(folder):
    text = (folder.source / "config.json").read_text()
    root = json.loads(text)
    talker = root["talker_config"]
    talker.update(vocab_size=1025, codec_eos_token_id=0, spk_id={})
    folder.refused(lambda: folder.write("config", json.dumps(root)), "codec_eos_token_id", "the only code")


def test_embedding_beyond_int32(folder):
    root = json.loads((folder.source / "config.json").read_text())
    root["talker_config"].update(text_vocab_size=1 << 20, text_hidden_size=4096)
    folder.refused(lambda: folder.write("config", json.dumps(root)), "text_vocab_size", "elements")


@pytest.mark.parametrize("file", ["config", "codec", "generation"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not valid JSON"),
        ("{", "not valid JSON"),
        ("[]", "expected an object"),
        ("null", "found null, expected an object"),
        ('{"a": 1, "a": 1}', "key 'a' occurs twice"),
        ('{"a": NaN}', "NaN is not a JSON number"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": ' + "9" * 10_000 + "}", "an integer of 10000 digits"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        (b"\xff\xfe{}", "not UTF-8 at byte 0"),
        (b"\xef\xbb\xbf{}", "BOM"),
        ("{}" + " " * (1 << 20), "bytes, the limit is"),
        ('"' + "x" * 1000 + '"', "xxx..."),
    ],
)
def test_files_without_a_json_object(folder, file, text, words):
    folder.refused(lambda: folder.write(file, text), FILES[file], words)


@pytest.mark.parametrize("file", ["config", "codec"])
def test_missing_file_and_folder_in_its_place(folder, file):
    path = folder.path / FILES[file]
    path.unlink()
    folder.refused(lambda: load_config(folder.path), f"{path}: no such file")
    path.mkdir()
    folder.refused(lambda: load_config(folder.path), f"{path}: a directory, expected a file")


def test_generation_config_that_is_a_directory(folder):
    (folder.path / FILES["generation"]).unlink()
    (folder.path / FILES["generation"]).mkdir()
    folder.refused(lambda: load_config(folder.path), "generation_config.json: a directory")


def test_every_field_of_the_files_in_turn(pocket):
    """Each field of each file is replaced by hostile values: a config loads, or CheckpointError is raised."""
    hostile = [0, -1, 2**40, 1.5, 1e308, True, None, "x", [[]], {}, "\ud800"]
    rng = random.Random(4)
    for file, name in FILES.items():
        root = json.loads((POCKET / name).read_text())
        for parents, key in leaves(root):
            for value in rng.sample(hostile, 4):
                changed = copy.deepcopy(root)
                section = changed
                for parent in parents:
                    section = section[parent]
                section[key] = value
                message = ".json: "
                try:
                    pocket.write(file, json.dumps(changed))
                except CheckpointError as error:
                    message = str(error)
                assert ".json: " in message
                assert "\n" not in message
        shutil.copy(POCKET / name, pocket.path / name)


def leaves(value, parents=()):
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield parents, key
        if isinstance(inner, (dict, list)):
            yield from leaves(inner, (*parents, key))
