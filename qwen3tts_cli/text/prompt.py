"""Build the prompt of an utterance as rows of ids. Each row of the talker's input is the sum of a text embedding and a
codec embedding, which the engine looks up.

The rows in order: the instruction (optional), the role, the language tags, the speaker (optional), the beginning of
speech; then the rows of one of these paths:
    A  streaming text: the first text token. The other tokens are `trailing_ids`, one of which is added to each frame.
    B  full text: all text tokens and the end of text, then a row that starts the speech.
    C  continuation of a reference: its text and the new text, together with the codes of the reference.
Source: modeling_qwen3_tts.py, Qwen3TTSForConditionalGeneration.generate and generate_icl_prompt; qwen3_tts_model.py,
_build_assistant_text, _build_ref_text, _build_instruct_text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import InputError, UsageError
from ..models.chat_template import HEAD_IDS, HEAD_TEXT, REFERENCE_TAIL_IDS, REFERENCE_TAIL_TEXT, TAIL_IDS, TAIL_TEXT
from ..models.config.model import ModelConfig
from .languages_and_voices import resolve_language, resolve_speaker

if TYPE_CHECKING:
    import numpy as np

    from ..models.tokenizer import Tokenizer

# codec ids of a row that are not token ids, as in q3t_row of native/q3t.h
NONE, SPEAKER, REFERENCE = -1, -2, -3

_Rows = list[tuple[int, int]]


class Prompt(NamedTuple):
    """The rows of a prompt.

    text_ids, codec_ids: int32 of shape (rows,), one text id and one codec id for each row; -1 means no id. In
    codec_ids, -2 is the speaker vector and -3 - f is frame f of the reference. trailing_ids: int32 of shape (n,), the
    text ids that are added to the first n frames. prefix_rows: the number of rows before the text. (Line breaks at the
    beginning of the text are merged into the role's last token.)
    input_ids: the token ids of the text in the chat template. instruct_ids: the token ids of the instruction.
    """

    text_ids: np.ndarray
    codec_ids: np.ndarray
    trailing_ids: np.ndarray
    prefix_rows: int
    input_ids: list[int]
    instruct_ids: list[int]


def build_prompt(
    config: ModelConfig,
    tokenizer: Tokenizer,
    text: str,
    *,
    language: str | None = None,
    speaker: str | None = None,
    instruct: str | None = None,
    text_mode: str | None = None,
    speaker_row: bool = False,
    reference_codes: np.ndarray | None = None,
    reference_text: str | None = None,
) -> Prompt:
    """Build the prompt of one utterance. `text` is used unchanged and may be empty.

    language: a name for resolve_language; None means "auto". speaker: a name for resolve_speaker; None adds no speaker
    row. text_mode: "full" or "streaming"; None means default_text_mode. speaker_row: whether to add a row for a speaker
    vector. reference_codes: integers of shape (frames, num_code_groups), the codes of a recording. reference_text: the
    text that the recording says.
    Raises UsageError if the model lacks or would ignore an argument, or has too few positions; InputError for codes out
    of range.
    """
    _check_request(config, instruct, speaker_row, reference_codes is not None, reference_text)
    ids = tokenizer.encode(HEAD_TEXT + text + TAIL_TEXT)
    instruct_ids = _instruct_ids(tokenizer, instruct)
    rows = _prefix(config, instruct_ids + ids[:HEAD_IDS], language, speaker, speaker_row)
    prefix_rows = len(rows)

    pad = config.tts_pad_id
    full = (text_mode or default_text_mode(config)) == "full"
    if reference_codes is not None:
        frames = _check_codes(config, reference_codes)
        reference_ids = tokenizer.encode(f"{HEAD_TEXT}{reference_text}{REFERENCE_TAIL_TEXT}")
        texts = [*reference_ids[HEAD_IDS:-REFERENCE_TAIL_IDS], *ids[HEAD_IDS:-TAIL_IDS], config.tts_eos_id]
        body, trailing = _continuation(config, texts, frames, full)
    elif full:
        texts = [*ids[HEAD_IDS:-TAIL_IDS], config.tts_eos_id]
        body = [(token, config.codec_pad_id) for token in texts] + [(pad, config.codec_bos_id)]
        trailing = [pad]
    else:
        body = [(ids[HEAD_IDS], config.codec_bos_id)]
        trailing = [*ids[HEAD_IDS + 1 : -TAIL_IDS], config.tts_eos_id]
    return _prompt(config, rows + body, trailing, prefix_rows, ids, instruct_ids)


def build_open_prompt(
    config: ModelConfig,
    tokenizer: Tokenizer,
    first_id: int,
    *,
    language: str | None = None,
    speaker: str | None = None,
    instruct: str | None = None,
    speaker_row: bool = False,
) -> Prompt:
    """Build the prompt of an utterance whose text is still coming: path A up to its first text token.

    first_id: the first text token. The rows are those of `build_prompt` with text_mode "streaming" for each text that
    begins with this token and not with a line break. trailing_ids is empty: the other text tokens and
    `config.tts_eos_id` follow while the utterance is generated. input_ids ends with first_id. For the other arguments
    and the errors see `build_prompt`; `can_be_open` says for which voices such a prompt can be used.
    """
    _check_request(config, instruct, speaker_row, False, None)
    ids = [*tokenizer.encode(HEAD_TEXT), first_id]
    instruct_ids = _instruct_ids(tokenizer, instruct)
    rows = _prefix(config, instruct_ids + ids[:HEAD_IDS], language, speaker, speaker_row)
    return _prompt(config, [*rows, (first_id, config.codec_bos_id)], [], len(rows), ids, instruct_ids)


def can_be_open(config: ModelConfig, reference_codes: bool = False) -> bool:
    """Whether an utterance can be generated while its text is still coming.

    reference_codes: whether the voice has the codes of a recording, next to whose frames the prompt needs the text. A
    voice manifest that declares the text mode "full", or whose voice reads rewritten sentences, needs the whole text
    too.
    """
    manifest = config.voice
    needs_whole = manifest is not None and (manifest.text_mode == "full" or manifest.spell_out)
    return not reference_codes and not needs_whole


def default_text_mode(config: ModelConfig) -> str:
    """Return text_mode of the voice manifest, or the reference's default: "streaming" for a base model, else "full"."""
    if config.voice is not None and config.voice.text_mode is not None:
        return config.voice.text_mode
    return "streaming" if config.model_type == "base" else "full"


def follows_instructions(config: ModelConfig) -> bool:
    """Whether the model speaks as an instruction says. Source: qwen3_tts_model.py, generate_custom_voice."""
    small = config.model_type == "custom_voice" and config.model_size == "0b6"
    return config.model_type != "base" and not small


def _instruct_ids(tokenizer: Tokenizer, instruct: str | None) -> list[int]:
    return tokenizer.encode(f"<|im_start|>user\n{instruct}<|im_end|>\n") if instruct else []


def _prefix(config: ModelConfig, ids: list[int], language: str | None, speaker: str | None, speaker_row: bool) -> _Rows:
    """Return the rows before the text. ids: the token ids of the instruction and of the role; see build_prompt."""
    lang = "auto" if language is None else resolve_language(config, language)
    voice = None if speaker is None else resolve_speaker(config, speaker)
    pad = config.tts_pad_id
    rows: _Rows = [(token, NONE) for token in ids]
    rows += [(pad, tag) for tag in _tags(config, lang, voice)]
    if speaker_row:
        rows.append((pad, SPEAKER))
    elif voice is not None:
        rows.append((pad, config.speakers[voice]))
    rows.append((config.tts_bos_id, config.codec_pad_id))
    return rows


def _tags(config: ModelConfig, language: str, speaker: str | None) -> list[int]:
    """Return the codec ids that state the language. With "chinese" or "auto", a dialect speaker gets its dialect."""
    language_id = None if language == "auto" else config.languages[language]
    dialect = config.dialects[speaker] if speaker is not None and language in ("chinese", "auto") else None
    if dialect is not None:
        language_id = config.languages[dialect]
    if language_id is None:
        return [config.codec_nothink_id, config.codec_think_bos_id, config.codec_think_eos_id]
    return [config.codec_think_id, config.codec_think_bos_id, language_id, config.codec_think_eos_id]


def _continuation(config: ModelConfig, texts: list[int], frames: int, full: bool) -> tuple[_Rows, list[int]]:
    """Return the rows and trailing ids of path C. texts: the token ids of the reference's text, the new text, and the
    end of text. frames: the number of frames of the reference."""
    codes = [config.codec_bos_id, *(REFERENCE - frame for frame in range(frames))]
    pad = config.tts_pad_id
    if full:
        return [(token, config.codec_pad_id) for token in texts] + [(pad, code) for code in codes], [pad]
    beside = texts[: len(codes)] + [pad] * (len(codes) - len(texts))
    return list(zip(beside, codes, strict=True)), texts[len(codes) :] or [pad]


def _check_request(config: ModelConfig, instruct: str | None, speaker_row: bool, codes: bool, text: str | None) -> None:
    """Raise UsageError for an argument that the model would ignore, and name a model that uses it."""
    if instruct and not follows_instructions(config):
        if config.model_type == "base":
            raise UsageError("instruct: a base model ignores it; 1.7b (preset voices) and 1.7b-design follow it")
        raise UsageError("instruct: a model of this size ignores it; 1.7b follows it")
    if (speaker_row or codes) and config.model_type != "base":
        raise UsageError(f"a {config.model_type} model cannot clone a voice; 0.6b-base and 1.7b-base can")
    if codes and not text:
        raise UsageError("reference codes need the text of the recording")


def _check_codes(config: ModelConfig, codes: np.ndarray) -> int:
    """Check shape and values of reference codes; return the number of frames. Raises InputError."""
    import numpy as np

    codes = np.asarray(codes)
    groups, size = config.num_code_groups, config.codec.codebook_size
    if codes.ndim != 2 or codes.shape[1] != groups or not len(codes) or codes.dtype.kind not in "iu":
        found = f"{codes.dtype} {list(codes.shape)}"
        raise InputError(f"reference codes: found {found}, expected integers (frames, {groups})")
    limits = np.array([min(config.vocab_size, size)] + [min(config.predictor_vocab_size, size)] * (groups - 1))
    bad = np.argwhere((codes < 0) | (codes >= limits))
    if len(bad):
        frame, group = (int(i) for i in bad[0])
        where = f"reference codes: frame {frame}, group {group}"
        raise InputError(f"{where}: found {int(codes[frame, group])}, expected 0 to {int(limits[group]) - 1}")
    return len(codes)


def _prompt(
    config: ModelConfig, rows: _Rows, trailing: list[int], prefix_rows: int, ids: list[int], instruct_ids: list[int]
) -> Prompt:
    """Make the arrays of a prompt. Raises UsageError if the model has too few positions for it and one frame."""
    import numpy as np

    if len(rows) >= config.max_position_embeddings:
        limit = config.max_position_embeddings
        raise UsageError(f"text too long for one utterance: a prompt of {len(rows)} positions, the model has {limit}")
    pairs = np.array(rows, np.int32)
    text_ids, codec_ids = np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])
    return Prompt(text_ids, codec_ids, np.array(trailing, np.int32), prefix_rows, ids, instruct_ids)
