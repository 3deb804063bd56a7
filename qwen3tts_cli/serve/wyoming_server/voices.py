"""The voices that Wyoming clients see.

Home Assistant shows a list of voices for each language and sends back the name alone, never a language. So each voice
is listed once with all its languages, and speaks the language that the model finds in the text; and once more for each
language, as `ryan-de`, and speaks that one. The voices of the first model have plain names, those of another model
begin with its name: `1.7b/ryan`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wyoming.info import Attribution, Info, TtsProgram, TtsVoice

from ... import __version__
from ...errors import UsageError
from ...text.languages_and_voices import CODES, resolve_language, spoken_languages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from wyoming.tts import SynthesizeVoice

    from ...models.config.model import ModelConfig
    from ..engines import ServedModel
    from ..openai.kept_voices import KeptVoice

PROGRAM = "qwen3tts"
_TAGS = {language: code for code, language in CODES.items()}  # BCP 47
_UNKNOWN = "und"
_QWEN = Attribution("Qwen team, Alibaba Cloud", "https://github.com/QwenLM/Qwen3-TTS")
_OWN = Attribution("qwen3tts, CC0 1.0", "https://creativecommons.org/publicdomain/zero/1.0/")


class ListedVoice(NamedTuple):
    """A voice by the name that clients send.

    voice: its name in the model or among the kept voices; None: the model's own. language: the one that it speaks;
    None: as the voice does by default. languages: BCP 47 tags. title: for people.
    """

    name: str
    served: ServedModel
    voice: str | None
    language: str | None
    languages: tuple[str, ...]
    title: str


def list_voices(models: Iterable[ServedModel], kept: Iterable[KeptVoice] = ()) -> dict[str, ListedVoice]:
    """The voices of all models by name, the default one first; empty if no model has a voice. kept: kept voices."""
    kept = tuple(kept)
    plain: list[ListedVoice] = []
    for number, served in enumerate(models):
        plain += _voices_of(served, kept, f"{served.id}/" if number else "")
    found = {each.name: each for each in plain}
    for each in plain:
        if len(each.languages) > 1:
            for pinned in _pinned(each):
                found.setdefault(pinned.name, pinned)  # a kept voice may be named ryan-de
    return found


def _voices_of(served: ServedModel, kept: tuple[KeptVoice, ...], prefix: str) -> Iterator[ListedVoice]:
    config = served.config
    all_tags = tuple(_tag(language) for language in spoken_languages(config)) or (_UNKNOWN,)
    shown = f", {served.id}" if prefix else ""
    names: list[str | None] = list(config.speakers)
    default = config.voice.default_voice if config.voice is not None else None
    names.sort(key=lambda name: name != default)
    if not names and config.model_type == "voice_design":
        yield ListedVoice(served.id, served, None, None, all_tags, served.id)
    for name in names:
        yield ListedVoice(prefix + name, served, name, None, all_tags, _title(name) + shown)
    for voice in kept:
        if not voice.fits(config):
            continue
        language = _language_of(voice, config)
        tags = all_tags if language is None else (_tag(language),)
        yield ListedVoice(prefix + voice.id, served, voice.id, None, tags, voice.name + shown)


def _language_of(voice: KeptVoice, config: ModelConfig) -> str | None:
    """The language that a kept voice speaks by default; None: any."""
    try:
        language = resolve_language(config, voice.language)
    except UsageError:
        return None
    return None if language == "auto" else language


def _pinned(voice: ListedVoice) -> Iterator[ListedVoice]:
    for language in spoken_languages(voice.served.config):
        tag = _tag(language)
        title = f"{voice.title} ({language.capitalize()})"
        yield voice._replace(name=f"{voice.name}-{tag}", language=language, languages=(tag,), title=title)


def _tag(language: str) -> str:
    return _TAGS.get(language, _UNKNOWN)


def _title(name: str) -> str:
    return name.replace("_", " ").title()


def make_info(voices: Iterable[ListedVoice]) -> Info:
    """The answer to `describe`."""
    program = TtsProgram(
        name=PROGRAM,
        attribution=_QWEN,
        installed=True,
        description="Qwen3-TTS on the processor",
        version=__version__,
        voices=[
            TtsVoice(
                name=each.name,
                attribution=_OWN if each.served.repo is None and each.served.model is None else _QWEN,
                installed=True,
                description=each.title,
                version=__version__,
                languages=list(each.languages),
            )
            for each in voices
        ],
        supports_synthesize_streaming=True,
    )
    return Info(tts=[program])


def choose_voice(
    asked: SynthesizeVoice | None, voices: dict[str, ListedVoice], note: Callable[[str], None]
) -> ListedVoice:
    """The voice that a request means. asked: what it names. note: gets a line if the default takes its place.

    Raises UsageError if there is no voice at all.
    """
    default = next(iter(voices.values()), None)
    if default is None:
        raise UsageError("voice: the opened models have no voice of their own, and no voice is kept for them")
    if asked is None:
        return default
    if asked.name:
        by_key = {name.lower(): voice for name, voice in voices.items()}
        key = asked.name.strip().lower()
        found = by_key.get(key) or by_key.get(key.removeprefix(f"{default.served.id.lower()}/"))
        if found is None:
            note(f"voice {asked.name!r} is unknown; {default.name} speaks")
        return found or default
    if asked.language:
        try:
            return default._replace(language=resolve_language(default.served.config, asked.language))
        except UsageError as error:
            note(f"{error}; {default.name} speaks")
    return default
