"""`qwen3tts say`: declares its options, checks them, and speaks the text."""

from __future__ import annotations

import sys
from typing import Any

import click
from click.core import ParameterSource

from ...errors import UsageError
from .. import options
from ..console import Console
from .voices_recording import silences

_EPILOG = """\b
Exit codes: 0 done, 1 failure, 2 usage, 3 model not found, 4 generation failed, 130 interrupted.
Defaults: variables such as QWEN3TTS_VOICE, then qwen3tts/config.toml in the XDG configuration folder.
"""


@click.command(cls=options.TextCommand, epilog=_EPILOG)
@click.argument("text", nargs=-1, metavar="[TEXT]")
@options.file("-f", "--file", help="Read the text from a file; - is stdin.")
@options.setting(
    "--live",
    is_flag=True,
    help="Read the text as it comes, from stdin or --file, and speak it meanwhile; see --stream.",
)
@click.option(
    "--idle",
    "idle_ms",
    type=options.Integer(0, 3_600_000),
    default=700,
    show_default=True,
    metavar="MS",
    help="With --live: end the utterance after MS milliseconds without text; 0: never.",
)
@click.option("--live-lines", "lines", is_flag=True, help="With --live: end an utterance at each line end.")
@options.file("-o", "--output", help="Write to a file (wav, flac, ogg, opus, mp3); - is stdout.")
@options.subtype_setting
@options.rate_setting
@options.audio_format_setting
@click.option(
    "--stream",
    is_flag=True,
    help="Write audio while it is generated, to -o or stdout (Ogg Vorbis: the first of it after 3 s).",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Write mono samples without a header, to -o or stdout: 16-bit little-endian, or --subtype ULAW or ALAW.",
)
@click.option("--play", is_flag=True, help="Play on the audio device; with -o also write.")
@options.voice(
    "A preset voice, a kept voice, or a voice file; none: a prompt without a voice. [default: the model's first]"
)
@options.reference
@options.ref_text
@silences
@options.design
@options.language("the model chooses")
@click.option(
    "--markup",
    is_flag=True,
    help="The text has pauses, [pause:500ms], and changes of the voice, [voice:NAME]; \\[ is a bracket.",
)
@options.lexicon
@options.instruct
@options.model
@click.option(
    "--server",
    cls=options.EmptySetting,
    metavar="URL",
    help="Let a server speak (qwen3tts serve): a URL or unix:PATH; '' speaks here.",
)
@click.option(
    "--api-key",
    envvar="QWEN3TTS_API_KEY",
    metavar="KEY",
    help="Key for --server; the variable QWEN3TTS_API_KEY is not shown in lists of processes.",
)
@options.engine
@options.no_cache
@options.seed_setting
@options.greedy
@options.sampling
@click.option("--max-frames", type=options.Integer(1, options.INT32_LIMIT), metavar="N", help="Stop after N frames.")
@click.option("--max-seconds", type=options.Number(0.001, 1e7), metavar="S", help="Stop after S seconds of audio.")
@options.speed_setting
@options.text_mode
@click.option("--no-split", is_flag=True, help="Speak the text as one utterance, however long it is.")
@options.retries("New attempts for an utterance that does not end; 0: no runaway guard.")
@options.batch
@options.file("--codes", metavar="FILE.npy", help="Write the codes of the audio: int32, (frames, 16).")
@options.file("--json", "report", help="Write facts about the run as JSON; - is stderr.")
@click.option("--timings", is_flag=True, help="Show on stderr how the time was spent.")
@options.quiet
@click.pass_context
def say(context: click.Context, **given: Any) -> None:
    """Speak a text.

    The text is TEXT, the content of --file, or standard input. Without -o the audio goes to stdout as WAV; where stdout
    is a terminal, it is played.

    \b
    Examples:
      qwen3tts say "Hello from two cores." -o hello.wav
      qwen3tts say -f chapter.txt -o chapter.opus
      echo "Good morning." | qwen3tts say --raw --stream | aplay -t raw -f S16_LE -r 24000 -c 1
      ollama run qwen3 "Tell me a story." | qwen3tts say --live --play
      qwen3tts say --stream --audio-format opus "Good evening." | ffplay -nodisp -autoexit -
      qwen3tts say -m 0.6b -v ryan -l en --seed 7 "Same seed, same bytes." -o same.wav
      qwen3tts say -m 0.6b-base --ref me.wav --ref-text "What I say there." "In my voice." -o mine.wav
      qwen3tts say --speed 1.3 --rate 8000 --subtype ULAW "You are number two." -o queue.wav
      qwen3tts say -m 1.7b-design --design "an old man, gravelly, slow" "Come closer." -o old.wav
      qwen3tts say --server http://127.0.0.1:8000 --stream "Begins at once." | aplay
      qwen3tts say -m ./my-model --greedy --codes codes.npy --json run.json "Test." -o test.wav
    """
    from .say_text import LIMIT_BYTES, check_arguments, file_hint, read_live, read_text, single_text

    if given["server"]:
        from ..serving.say_remote import check_options

        check_options(context)
    elif context.get_parameter_source("api_key") is ParameterSource.COMMANDLINE:
        raise UsageError("--api-key: needs --server")
    argument = single_text(given.pop("text"), lambda: options.as_one_text(context))
    live = _is_live(context, argument, given)
    if live and given["markup"]:
        raise UsageError("--markup: not with --live")
    if live and given["server"] and given["ref"] is not None:
        raise UsageError("--ref: not with --live and a server; keep the voice first: qwen3tts voices create")
    if live:
        text, by_lines = read_live(given["file"], LIMIT_BYTES if given["no_split"] else None)
        given["stream"], given["lines"] = True, given["lines"] or by_lines
    else:
        text = read_text(argument, given["file"])
    if text is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
    if given["file"] is None and argument in (None, "-"):
        given["file"] = "-"
    for option, default in (("audio_format", "default_format"), ("subtype", "default_subtype")):
        given[default] = None
        if context.get_parameter_source(option) in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            # a setting does not apply to a file whose extension names another format
            given[default], given[option] = given[option], None
    for option in ("trim_silence", "append_silence", "ref_text"):
        if given[option] and given["ref"] is None:
            raise UsageError(f"--{option.replace('_', '-')}: needs a recording (--ref)")
    if given["lexicon"] is not None:
        from ...spoken_text.lexicon import Lexicon

        given["lexicon"] = Lexicon.read(given["lexicon"])
    if given["ref"] is not None and context.get_parameter_source("voice") is not ParameterSource.COMMANDLINE:
        given["voice"] = None  # the recording takes the place of a voice of the settings
    check_arguments(design=given["design"], ref_text=given["ref_text"], ref=given["ref"])
    check_arguments(voice=given["voice"], language=given["language"], instruct=given["instruct"], model=given["model"])

    if hint := file_hint(argument):
        Console(given["quiet"], given["output"] or "-").note(hint)

    if given["server"]:
        from ..serving.say_remote import speak
    else:
        from .say_run import speak

    speak(text, given)


def _is_live(context: click.Context, argument: str | None, given: dict[str, Any]) -> bool:
    """Whether to read the text as it comes. argument: TEXT. Raises UsageError for options that exclude each other."""
    typed = given["live"] and context.get_parameter_source("live") is ParameterSource.COMMANDLINE
    has_text = argument not in (None, "-")
    if typed and has_text:
        raise UsageError("TEXT and --live are both given, leave one out")
    if argument == "-" and given["file"] is not None:
        return False  # the error for two texts
    nothing = argument is None and given["file"] is None and (sys.stdin is None or (not typed and sys.stdin.isatty()))
    live = bool(given["live"]) and not has_text and not nothing
    for name, option in (("idle_ms", "--idle"), ("lines", "--live-lines")):
        if not live and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise UsageError(f"{option}: needs --live")
    return live
