"""`qwen3tts voices create`, `design` and `preview`: make voices from recordings and descriptions, and play them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ...common.audio_constants import SAMPLE_RATE
from ...errors import UsageError
from .. import names_and_paths, options
from ..console import Console
from ..keep_packed import finish_packing
from .voices_recording import clone, silences

if TYPE_CHECKING:
    from ...cloning.voice_file import Voice

_PREVIEW = "Good morning. This is how I sound, on a quiet day and in a good mood."

force = click.option("--force", is_flag=True, help="Replace an existing file or voice of that name.")


def _voice_options(command: Any) -> Any:
    """Declare the options that `create` and `design` share."""
    language = click.option(
        "-l",
        "--language",
        metavar="NAME",
        shell_complete=options.completion.languages,
        help="Language of the recording; also the default language of the voice.",
    )
    note = click.option(
        "--note", default="", metavar="TEXT", help="A text to store with the voice: licence, consent, anything."
    )
    for decorate in (options.quiet, force, options.no_cache, options.threads, note, language):
        command = decorate(command)
    return command


@click.command()
@click.argument("name")
@options.file("--from", "recording", required=True, help="A recording: wav, flac, ogg, mp3, ...")
@click.option("--text", metavar="TEXT", help="What the recording says, word for word.")
@click.option("--x-vector", is_flag=True, help="In place of --text: copy only the timbre, not the way of speaking.")
@options.model_named("-m", "--model", default="0.6b-base", show_default=True, help="A base model.")
@silences
@_voice_options
def create(name: str, recording: str, text: str | None, x_vector: bool, model: str, **given: Any) -> None:
    """Make a voice from a recording, and keep it as NAME.

    A good recording is 3 to 30 s of one person in a quiet room. With --text, speech continues the recording: the text
    must be exactly what the recording says, otherwise speech is wrong.

    \b
    Examples:
      qwen3tts voices create anna --from anna.wav --text "What Anna says in it."
      qwen3tts voices create anna --from anna.wav --x-vector -m 1.7b-base
    """
    from ...cloning import voice_store
    from ...cloning.voice_file import check_texts
    from ...output.distinct_files import check_outputs
    from ...speech.synthesizer import Synthesizer

    if (text is None) != x_vector:
        what = "are both given, leave one out" if x_vector else "are missing, give one of them"
        raise UsageError(f"--text and --x-vector {what}")
    check_texts(transcript=text, note=given["note"])
    console = Console(given["quiet"])
    _check_free(name, given["force"])
    check_outputs([("voice", voice_store.path_of(name))], [("--from", recording)])
    engine = {"threads": given["threads"], "cache": not given["no_cache"], "on_warning": console.warning}
    with Synthesizer.open(names_and_paths.model(model), **engine) as synthesizer:
        facts = {"name": voice_store.check_name(name), "language": given["language"], "note": given["note"]}
        voice = clone(synthesizer, console, recording, text, given, **facts)
        _keep(voice, model, given["force"], console)
        finish_packing([synthesizer], console, "voice")


@click.command()
@click.argument("name")
@click.argument("description")
@options.model_named("-m", "--model", default="1.7b-design", show_default=True, help="A voice design model.")
@options.model_named(
    "--base", default="1.7b-base", show_default=True, help="The base model that will speak with the voice."
)
@click.option(
    "--text", metavar="TEXT", help="What the design model speaks once as the recording. [default: English sentences]"
)
@options.seed
@_voice_options
def design(name: str, description: str, model: str, base: str, text: str | None, **given: Any) -> None:
    """Make a voice from a description, and keep it as NAME.

    The voice design model speaks a text once, and the voice is cloned from that audio: it stays the same from then on.

    \b
    Example:
      qwen3tts voices design captain "an old man, gravelly voice, slow and calm"
    """
    import secrets

    from ...audio.recording import load_recording
    from ...cloning import voice_store
    from ...cloning.clone import CALIBRATION_TEXT, check_can_clone, check_can_design
    from ...cloning.voice_file import check_texts
    from ...speech.synthesizer import Synthesizer
    from ...text.languages_and_voices import language_name

    if text is None and language_name(given["language"] or "auto") not in ("english", "auto"):
        raise UsageError(f"--language {given['language']}: give --text: a few sentences in that language")
    check_texts(description=description, transcript=text, note=given["note"])
    console = Console(given["quiet"])
    _check_free(name, given["force"])
    seed = secrets.randbits(64) if given["seed"] is None else given["seed"]
    spoken = text or CALIBRATION_TEXT
    language = given["language"] or (None if text else "english")
    # The base model is opened first, so that an error in it is found before the design model speaks.
    engine = {"threads": given["threads"], "cache": not given["no_cache"], "on_warning": console.warning}
    with Synthesizer.open(names_and_paths.model(base), **engine) as cloner:
        check_can_clone(cloner.config, cloner.name, f"--base {base}")
        with Synthesizer.open(names_and_paths.model(model), **engine) as designer:
            check_can_design(designer.config, designer.name, f"--model {model}")
            samples = designer.say(spoken, design=description, language=language, seed=seed, split=False)
            voice = cloner.clone(
                load_recording((samples, SAMPLE_RATE)),
                spoken,
                name=voice_store.check_name(name),
                language=language,
                description=description,
                note=given["note"],
            )
            console.note(f"seed {seed}")
            _keep(voice, base, given["force"], console)
            finish_packing([designer, cloner], console, "voice")


@click.command()
@click.argument("name", shell_complete=options.completion.shown_voices)
@options.model_named("-m", "--model", help="The model. [default: the one that the voice needs]")
@options.file("-o", "--output", help="Write to a file instead of playing; - is stdout.")
@options.audio_format
@click.option("--text", default=_PREVIEW, metavar="TEXT", help="What to say.")
@options.speed
@options.seed_of_one
@options.no_cache
@options.quiet
@click.pass_context
def preview(context: click.Context, name: str, model: str | None, output: str | None, **given: Any) -> None:
    """Let a kept voice, a preset voice or a voice file say a sentence.

    \b
    Examples:
      qwen3tts voices preview anna
      qwen3tts voices preview slt
      qwen3tts voices preview anna -o preview.wav
    """
    from .say import say
    from .voices_facts import model_for

    chosen = {name: given[name] for name in ("seed", "audio_format", "speed", "no_cache", "quiet")}
    context.invoke(say, text=(given["text"],), model=model or model_for(name), voice=name, output=output, **chosen)


def _check_free(name: str, replace: bool) -> None:
    """Raise UsageError if the name of a new voice is taken. Called before the voice is made, which takes long."""
    import os

    from ...cloning import voice_store

    path = voice_store.path_of(name)
    if not replace and os.path.lexists(path):
        raise UsageError(f"voice {name}: kept already (--force replaces it)")


def _keep(voice: Voice, model: str, replace: bool, console: Console) -> None:
    """Save a voice, and print the command line that speaks with it. model: the base model as the user typed it."""
    from ...cloning import voice_store
    from .voices_facts import speak_hint

    path = voice_store.save(voice, replace=replace)
    console.note(f"{voice.name}: {path}; {speak_hint(voice, model)}")
