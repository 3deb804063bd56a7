"""`qwen3tts say`: declaration of its options, and one run from text to committed files."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from ...errors import UsageError
from .. import options
from ..console import Console
from .voices_recording import silences

_EPILOG = """\b
Exit codes: 0 done, 1 failure, 2 usage, 3 model not there, 4 generation failed, 130 interrupted.
Defaults: QWEN3TTS_VOICE and so on, then qwen3tts/config.toml in the XDG configuration folder.
"""
_VOICE_HELP = "A preset, a kept voice, or the file of one; none: no voice row. [default: the model's first]"


@click.command(cls=options.TextCommand, epilog=_EPILOG)
@click.argument("text", nargs=-1, metavar="[TEXT]")
@click.option(
    "-f",
    "--file",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Read the text from a file; - is stdin.",
)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Write to a file (wav, flac, ogg, opus, mp3); - is stdout.",
)
@options.usual_subtype
@options.usual_audio_format
@click.option("--stream", is_flag=True, help="Write audio as it is made (Ogg Vorbis: after 3 s); no -o: to stdout.")
@click.option("--raw", is_flag=True, help="Headerless 16-bit little-endian mono at 24 kHz, to stdout or -o.")
@click.option("--play", is_flag=True, help="Play on the audio device (with -o: also write).")
@options.setting("-v", "--voice", metavar="NAME", shell_complete=options.completion.voices, help=_VOICE_HELP)
@click.option(
    "--ref",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Speak with the voice of a recording (base models).",
)
@click.option("--ref-text", metavar="TEXT", help="What the recording says, word for word; better with it.")
@silences
@click.option("--design", metavar="TEXT", help="Speak with a voice of this description (1.7b-design).")
@options.setting(
    "-l",
    "--language",
    metavar="NAME",
    shell_complete=options.completion.languages,
    help="Language: english, en, zh, ..., auto.",
)
@options.setting("--instruct", metavar="TEXT", help="How to speak, in words (1.7B models).")
@options.model
@options.engine
@options.no_cache
@options.setting(
    "--seed", type=options.Integer(0, options.SEED_LIMIT), metavar="N", help="64-bit seed. [default: drawn]"
)
@click.option("--greedy", is_flag=True, help="Always the likeliest code, in talker and code predictor.")
@options.sampling
@click.option("--max-frames", type=options.Integer(1, options.INT32_LIMIT), metavar="N", help="End after N frames.")
@click.option("--max-seconds", type=options.Number(0, 1e7, above=True), metavar="S", help="End after S seconds.")
@options.setting("--text-mode", type=options.Choice("full", "streaming"), help="How the text is fed to the model.")
@click.option("--no-split", is_flag=True, help="One utterance, however long.")
@options.setting(
    "--retries", type=options.Integer(0, 1000), default=2, show_default=True, metavar="N", help="0: no runaway guard."
)
@options.batch
@click.option(
    "--codes",
    metavar="FILE.npy",
    shell_complete=options.completion.files,
    help="Write the codes that were spoken: int32, (frames, 16).",
)
@click.option(
    "--json",
    "report",
    metavar="FILE",
    shell_complete=options.completion.files,
    help="Write facts about the run as JSON; - is stderr.",
)
@click.option("--timings", is_flag=True, help="Show on stderr where the time went.")
@options.quiet
@click.pass_context
def say(context: click.Context, **given: Any) -> None:
    """Speak a text.

    The text is TEXT, --file, or what is piped in. Without -o the audio goes to stdout as WAV; on a terminal it is
    played.

    \b
    Examples:
      qwen3tts say "Hello from two cores." -o hello.wav
      qwen3tts say -f chapter.txt -o chapter.opus
      echo "Good morning." | qwen3tts say --raw --stream | aplay -t raw -f S16_LE -r 24000 -c 1
      qwen3tts say --stream --audio-format opus "Good evening." | ffplay -nodisp -autoexit -
      qwen3tts say -m 0.6b -v ryan -l en --seed 7 "Same seed, same bytes." -o same.wav
      qwen3tts say -m 0.6b-base --ref me.wav --ref-text "What I say there." "In my voice." -o mine.wav
      qwen3tts say -m 1.7b-design --design "an old man, gravelly, slow" "Come closer." -o old.wav
      qwen3tts say -m ./my-model --greedy --codes codes.npy --json run.json "Test." -o test.wav
    """
    from .say_text import check_arguments, file_hint, only_text, read_text

    argument = only_text(given.pop("text"), lambda: options.as_one_text(context))
    text = read_text(argument, given["file"])
    if text is None:
        click.echo(context.get_help(), err=True)
        context.exit(2)
    if given["file"] is None and argument in (None, "-"):
        given["file"] = "-"
    for option, usual in (("audio_format", "usual_format"), ("subtype", "usual_subtype")):
        given[usual] = None
        if context.get_parameter_source(option) in (ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP):
            # a default is not meant for a file whose extension names another format
            given[usual], given[option] = given[option], None
    for option in ("trim_silence", "append_silence", "ref_text"):
        if given[option] and given["ref"] is None:
            raise UsageError(f"--{option.replace('_', '-')}: needs a recording (--ref)")
    if given["ref"] is not None and context.get_parameter_source("voice") is not ParameterSource.COMMANDLINE:
        given["voice"] = None  # a default is not meant for a recording
    check_arguments(design=given["design"], ref_text=given["ref_text"], ref=given["ref"])
    check_arguments(voice=given["voice"], language=given["language"], instruct=given["instruct"], model=given["model"])

    if hint := file_hint(argument):
        Console(given["quiet"], given["output"] or "-").note(hint)

    from .say_run import speak

    speak(text, given)
