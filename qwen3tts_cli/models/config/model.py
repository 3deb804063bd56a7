"""config.json of a checkpoint, and the JSON files beside it, as one frozen ModelConfig.

The type and range of every field, and the relations between fields, are checked before memory is allocated by them.
Unused fields of the files are ignored. Fields have the names that they have in the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from ...common.json_fields import Section, read_object, short_repr
from .codec import CODEC_TYPE, MAX_CODE_GROUPS, MAX_CODEBOOK_SIZE, MAX_CONFIG_BYTES, CodecConfig, load_codec_config
from .generation import GenerationConfig, load_generation_config
from .transformer import MAX_HIDDEN, MAX_POSITIONS, TransformerConfig, read_transformer
from .voice_manifest import VoiceManifest, load_voice_manifest

__all__ = ["CodecConfig", "GenerationConfig", "ModelConfig", "TransformerConfig", "VoiceManifest", "load_config"]

MODEL_TYPES = ("custom_voice", "base", "voice_design")
# the last 1024 ids of the talker's vocabulary are not codes. Source: modeling_qwen3_tts.py, generate, suppress_tokens
RESERVED_IDS = 1024
_MAX_TEXT_VOCAB = 1 << 20
_MAX_VOCAB = MAX_CODEBOOK_SIZE + RESERVED_IDS
_MAX_ELEMENTS = 2**31 - 1
_MAX_NAMES = 4096
_MAX_NAME_CHARACTERS = 64


class ModelConfig(NamedTuple):
    """The settings of a checkpoint. path: its folder.

    languages, speakers: map lower-case names to ids in the talker's vocabulary, in the file's order. dialects: maps a
    speaker to the language that is the speaker's dialect, or None. speaker_encoder: the speaker encoder's JSON object,
    which is not checked yet; see encoders.py.
    """

    path: Path
    model_type: str
    model_size: str
    talker: TransformerConfig
    predictor: TransformerConfig
    codec: CodecConfig
    vocab_size: int
    text_vocab_size: int
    text_hidden_size: int
    num_code_groups: int
    predictor_vocab_size: int
    max_position_embeddings: int
    im_start_id: int
    im_end_id: int
    assistant_id: int
    tts_pad_id: int
    tts_bos_id: int
    tts_eos_id: int
    codec_pad_id: int
    codec_bos_id: int
    codec_eos_id: int
    codec_think_id: int
    codec_nothink_id: int
    codec_think_bos_id: int
    codec_think_eos_id: int
    languages: dict[str, int]
    speakers: dict[str, int]
    dialects: dict[str, str | None]
    speaker_encoder: dict[str, Any] | None
    generation: GenerationConfig
    voice: VoiceManifest | None


def load_config(folder: Path) -> ModelConfig:
    """Read config.json, speech_tokenizer/config.json and, if they exist, generation_config.json and voice.json.

    Raises CheckpointError with the file, the field, the value found and the value expected.
    """
    folder = Path(folder)
    root = read_object(folder / "config.json", MAX_CONFIG_BYTES)
    root.fixed("model_type", "qwen3_tts")
    root.choice("tokenizer_type", (CODEC_TYPE,))
    talker = root.section("talker_config")
    predictor = talker.section("code_predictor_config")
    languages, speakers = _ids(talker, "codec_language_id"), _ids(talker, "spk_id")
    speaker_encoder = root.section("speaker_encoder_config", None)
    config = ModelConfig(
        path=folder,
        model_type=root.choice("tts_model_type", MODEL_TYPES),
        model_size=root.string("tts_model_size", 16),
        talker=read_transformer(talker),
        predictor=read_transformer(predictor),
        codec=load_codec_config(folder / "speech_tokenizer" / "config.json"),
        vocab_size=talker.integer("vocab_size", RESERVED_IDS + 1, _MAX_VOCAB),
        text_vocab_size=talker.integer("text_vocab_size", 1, _MAX_TEXT_VOCAB),
        text_hidden_size=talker.integer("text_hidden_size", 1, MAX_HIDDEN),
        num_code_groups=talker.integer("num_code_groups", 2, MAX_CODE_GROUPS),
        predictor_vocab_size=predictor.integer("vocab_size", 1, MAX_CODEBOOK_SIZE),
        max_position_embeddings=talker.integer("max_position_embeddings", 1, MAX_POSITIONS),
        **_text_ids(root, talker),
        **_codec_ids(talker),
        languages=languages,
        speakers=speakers,
        dialects=_dialects(talker, speakers, languages),
        speaker_encoder=None if speaker_encoder is None else speaker_encoder.values,
        generation=load_generation_config(folder / "generation_config.json"),
        voice=load_voice_manifest(folder / "voice.json", speakers, languages),
    )
    _check(config, talker, predictor)
    return config


def _text_ids(root: Section, talker: Section) -> dict[str, int]:
    """Return the ids of the text vocabulary in config.json as fields of ModelConfig."""
    last = talker.integer("text_vocab_size", 1, _MAX_TEXT_VOCAB) - 1
    names = ("im_start", "im_end", "assistant", "tts_pad", "tts_bos", "tts_eos")
    return {f"{name}_id": root.integer(f"{name}_token_id", 0, last) for name in names}


def _codec_ids(talker: Section) -> dict[str, int]:
    """Return the special ids of the talker's vocabulary as fields of ModelConfig."""
    last = talker.integer("vocab_size", RESERVED_IDS + 1, _MAX_VOCAB) - 1
    names = ("pad", "bos", "think", "nothink", "think_bos", "think_eos")
    ids = {f"codec_{name}_id": talker.integer(f"codec_{name}_id", 0, last) for name in names}
    return {**ids, "codec_eos_id": talker.integer("codec_eos_token_id", 0, last)}


def _ids(talker: Section, key: str) -> dict[str, int]:
    """Read an object that maps names to ids of the talker's vocabulary; names become lower case, the order stays."""
    section = talker.section(key, None)
    if section is None:
        return {}
    if len(section.values) > _MAX_NAMES:
        talker.fail(key, short_repr(section.values), f"at most {_MAX_NAMES} names")
    last = talker.integer("vocab_size", RESERVED_IDS + 1, _MAX_VOCAB) - 1
    ids: dict[str, int] = {}
    for name in section.values:
        lower = name.lower()
        if not name.strip() or len(name) > _MAX_NAME_CHARACTERS or not name.isprintable():
            talker.fail(
                key, f"the name {short_repr(name)}", f"printable names of at most {_MAX_NAME_CHARACTERS} characters"
            )
        if lower in ids:
            talker.fail(key, f"{short_repr(name)} twice", "names that differ in more than case")
        ids[lower] = section.integer(name, 0, last)
    return ids


def _dialects(talker: Section, speakers: dict[str, int], languages: dict[str, int]) -> dict[str, str | None]:
    """Return the dialect of each speaker, or None. In spk_is_dialect a speaker has false or the name of a dialect."""
    section = talker.section("spk_is_dialect", None)
    dialects: dict[str, str | None] = dict.fromkeys(speakers)
    for name, dialect in section.values.items() if section is not None else ():
        if dialect is None or dialect is False:
            continue
        if not isinstance(dialect, str) or dialect.lower() not in languages:
            talker.fail(
                "spk_is_dialect",
                f"{short_repr(dialect)} for {short_repr(name)}",
                "false or a name in codec_language_id",
            )
        if name.lower() in dialects:
            dialects[name.lower()] = dialect.lower()
    return dialects


def _check(config: ModelConfig, talker: Section, predictor: Section) -> None:
    """Check the fields that depend on each other: every code must index a codebook of the codec. Raises
    CheckpointError."""
    codes, codec = config.vocab_size - RESERVED_IDS, config.codec
    if codes > codec.codebook_size:
        limit = codec.codebook_size + RESERVED_IDS
        talker.fail(
            "vocab_size", str(config.vocab_size), f"at most the codec's codebook_size + {RESERVED_IDS} = {limit}"
        )
    if codes == 1 and config.codec_eos_id == 0:
        talker.fail("codec_eos_token_id", "0", "an id that is not the only code")
    if config.predictor_vocab_size > codec.codebook_size:
        found = str(config.predictor_vocab_size)
        predictor.fail("vocab_size", found, f"at most the codec's codebook_size = {codec.codebook_size}")
    if config.num_code_groups != codec.num_quantizers:
        found = str(config.num_code_groups)
        talker.fail("num_code_groups", found, f"{codec.num_quantizers}, the codec's num_quantizers")
    predictor.fixed("num_code_groups", config.num_code_groups)
    if config.text_vocab_size * config.text_hidden_size > _MAX_ELEMENTS:
        found = f"{config.text_vocab_size} rows of {config.text_hidden_size}"
        talker.fail("text_vocab_size", found, f"at most {_MAX_ELEMENTS} elements")
