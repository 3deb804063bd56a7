"""In the Python API a string is a name and never a path; the command line makes pathlib.Path objects of paths."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, DATA, POCKET

from qwen3tts_cli import (
    Codec,
    ModelNotFoundError,
    Qwen3TTSError,
    SpeakOptions,
    Synthesizer,
    UsageError,
    Voice,
    load_recording,
)
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.cli import names_and_paths
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import voice_bytes
from qwen3tts_cli.models import hub_cache, local_models

BASE = CHECKPOINTS / "tiny-base"
WAV = DATA / "wavs" / "ref24k.wav"
VOICE = Voice("anna", np.linspace(-1, 1, 64, dtype=np.float32))
HOW = {"max_frames": 2, "seed": 1}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A working folder with a model, a recording and a voice file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    os.symlink(BASE, "model")
    os.mkdir("org")
    os.symlink(BASE, "org/model")
    shutil.copy(WAV, "anna.wav")
    Path("anna.safetensors").write_bytes(voice_bytes(VOICE))
    os.mkdir("sub")
    shutil.copy("anna.safetensors", "sub/anna")
    return tmp_path


@pytest.fixture(scope="module")
def base():
    with Synthesizer.open(BASE, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def pocket():
    with Synthesizer.open(threads=1) as opened:
        yield opened


MODELS = [
    "model",
    "./model",
    "../{}/model",
    "~/model",
    "{}/model",
    "org/model",
    "model/",
    ".",
    "..",
    "/",
    "model/config.json",
]


@pytest.mark.parametrize("open_it", [Synthesizer.open, Codec.open, local_models.resolve_model])
@pytest.mark.parametrize("name", MODELS)
def test_the_path_of_a_model_is_no_name(folder, open_it, name):
    with pytest.raises(ModelNotFoundError) as caught:
        open_it(name.format(folder.name if name.startswith("..") else folder))
    assert "\n" not in str(caught.value)
    assert "a folder is given as pathlib.Path" in str(caught.value)


@pytest.mark.parametrize("model", [5, 1.5, b"model", ["model"], True, object()])
@pytest.mark.parametrize("open_it", [Synthesizer.open, Codec.open])
def test_other_types_of_models_are_usage_errors(open_it, model):
    with pytest.raises(
        UsageError, match=f"model: found .*{type(model).__name__}.*, expected a name, or a pathlib.Path"
    ):
        open_it(model)


def test_a_path_object_names_a_folder(folder):
    class Like:
        def __fspath__(self):
            return "model"

    for path in (Path("model"), folder / "model", Like(), Path("org/model")):
        assert local_models.resolve_model(path).path.samefile(BASE)
        with Codec.open(path, threads=1) as codec:
            assert codec.folder.samefile(BASE / "speech_tokenizer")
    shutil.copytree(BASE / "speech_tokenizer", "alone")
    with Codec.open(Path("alone"), threads=1) as codec:
        assert codec.folder == Path("alone")
    with pytest.raises(ModelNotFoundError):
        Codec.open("alone")
    with pytest.raises(ModelNotFoundError, match="no such folder"):
        local_models.resolve_model(Path("0.6b"))
    with pytest.raises(UsageError, match="is a file"):
        local_models.resolve_model(Path("model/config.json"))
    with pytest.raises(UsageError):
        local_models.resolve_model(Path("a\0b"))


def test_a_repository_id_is_not_the_folder_of_that_name(folder):
    with pytest.raises(ModelNotFoundError, match=r"models pull org/model$"):
        local_models.resolve_model("org/model")
    shutil.copytree(POCKET, hub_cache.repo_folder("org/model") / "snapshots" / ("0" * 40))
    assert local_models.resolve_model("org/model").path.is_relative_to(folder / "hub")
    assert local_models.resolve_model(Path("org/model")).path == Path("org/model")


VOICES = [
    "anna.safetensors",
    "./anna.safetensors",
    "{}/anna.safetensors",
    "sub/anna",
    "~/anna.safetensors",
    "../x",
    "/",
]


@pytest.mark.parametrize("ask", ["say", "stream", "speak", "say_many", "stream_many"])
@pytest.mark.parametrize("name", VOICES)
def test_the_path_of_a_voice_is_no_name(folder, base, ask, name):
    with pytest.raises(UsageError, match=r"pathlib\.Path"):
        asked(base, ask, voice=name.format(folder))


@pytest.mark.parametrize("name", VOICES)
def test_a_model_with_presets_takes_no_path_either(folder, pocket, name):
    with pytest.raises(UsageError):
        pocket.say("Hello.", voice=name.format(folder), **HOW)


@pytest.mark.parametrize("ask", ["say", "stream", "speak", "say_many", "stream_many"])
@pytest.mark.parametrize("audio", ["anna.wav", "./anna.wav", "{}/anna.wav", "~/anna.wav"])
def test_the_path_of_a_recording_is_no_recording(folder, base, ask, audio):
    with pytest.raises(UsageError, match=r"pathlib\.Path"):
        asked(base, ask, ref_audio=audio.format(folder))


@pytest.mark.parametrize("audio", ["anna.wav", b"anna.wav", 5, ["anna.wav"], {"path": "anna.wav"}, object()])
def test_other_types_of_recordings_are_usage_errors(base, audio):
    with pytest.raises(UsageError, match=r"audio: found .*, expected a pathlib\.Path of a file") as caught:
        base.clone(audio)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("voice", [b"anna", 5, ["anna"], {"name": "anna"}, object()])
def test_other_types_of_voices_are_usage_errors(base, pocket, voice):
    for synthesizer in (base, pocket):
        with pytest.raises(UsageError, match="voice"):
            synthesizer.say("Hello.", voice=voice, **HOW)


def asked(synthesizer, ask, **options):
    options = {**HOW, **options}
    if ask == "speak":
        return list(synthesizer.speak("Hello.", SpeakOptions(**options)))
    if ask.endswith("many"):
        return list(getattr(synthesizer, ask)(["Hello.", {"text": "Hello.", **options}], **options))
    return list(getattr(synthesizer, ask)("Hello.", **options))


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_path_objects_and_names_speak(base):
    voice_store.save(VOICE)
    wanted = base.say("Hello.", voice=VOICE, **HOW)
    for voice in (Path("anna.safetensors"), Path("sub/anna"), "anna", "Anna"):
        np.testing.assert_array_equal(base.say("Hello.", voice=voice, **HOW), wanted)
    (many,) = base.say_many([{"text": "Hello.", "voice": Path("anna.safetensors"), **HOW}])
    np.testing.assert_array_equal(many, wanted)
    recorded = base.say("Hello.", ref_audio=Path("anna.wav"), **HOW)
    np.testing.assert_array_equal(base.say("Hello.", ref_audio=load_recording("anna.wav"), **HOW), recorded)


@pytest.mark.parametrize(
    "name", ["..", "../anna", "a/b", "a\\b", "a\0b", "~anna", "/etc/passwd", ".", "con.safetensors"]
)
def test_no_name_leaves_the_folder_of_the_voices(base, folder, name):
    for ask in (
        voice_store.load,
        voice_store.remove,
        voice_store.path_of,
        lambda name: base.say("Hello.", voice=name, **HOW),
    ):
        with pytest.raises(UsageError):
            ask(name)
    assert voice_store.find(name) is None


# the command line


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (None, None),
        ("", ""),
        ("pocket", "pocket"),
        ("Pocket", "pocket"),
        ("0.6B", "0.6B"),
        ("model", Path("model")),
        ("./model", Path("model")),
        ("org/model", Path("org/model")),
        ("..", Path("..")),
    ],
)
def test_a_model_on_the_command_line(text, meant):
    found = names_and_paths.model(text)
    assert type(found) is type(meant) or (isinstance(found, Path) and isinstance(meant, Path))
    assert found == (text if isinstance(meant, str) else meant)


def test_an_alias_comes_before_a_folder_of_that_name(folder):
    os.symlink(BASE, "0.6b")
    assert names_and_paths.model("0.6b") == "0.6b"
    assert names_and_paths.model("./0.6b") == Path("0.6b")
    assert names_and_paths.model("~/model") == folder / "model"


def run(capfd, *arguments):
    code = cli.run(arguments)
    out, err = capfd.readouterr()
    return code, out, err


@pytest.mark.parametrize("model", ["model", "./model", "model/", "~/model", "{}/model", "org/model"])
@pytest.mark.parametrize("voice", ["anna.safetensors", "./anna.safetensors", "{}/anna.safetensors", "sub/anna"])
def test_the_command_takes_paths(folder, capfd, model, voice):
    how = ("-q", "--max-frames", "2", "-o", "a.wav")
    arguments = ("say", "Hello.", "-m", model.format(folder), "-v", voice.format(folder), *how)
    assert run(capfd, *arguments) == (0, "", "")


@pytest.mark.parametrize("variable", ["flag", "environment", "file"])
def test_paths_of_settings_are_taken(folder, capfd, monkeypatch, variable):
    arguments = ["say", "Hello.", "-q", "--max-frames", "2", "-o", "a.wav"]
    chosen = {"model": "./model", "voice": "./anna.safetensors"}
    if variable == "flag":
        arguments += ["-m", chosen["model"], "-v", chosen["voice"]]
    elif variable == "environment":
        for name, value in chosen.items():
            monkeypatch.setenv(f"QWEN3TTS_{name.upper()}", value)
    else:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
        os.mkdir("qwen3tts")
        Path("qwen3tts/config.toml").write_text(
            "".join(f"{name} = {json.dumps(value)}\n" for name, value in chosen.items())
        )
    assert run(capfd, *arguments) == (0, "", "")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("models", "path", "./model"), 0),
        (("models", "verify", "./model", "-q"), 0),
        (("voices", "list", "-m", "./model", "-q"), 0),
        (("voices", "show", "./anna.safetensors"), 0),
        (("voices", "preview", "sub/anna", "-m", "model", "-o", "a.wav", "-q", "--text", "Hi."), 0),
        (("voices", "create", "bea", "--from", "anna.wav", "--x-vector", "-m", "model", "-q"), 0),
        (("codec", "info", "-m", "./model"), 0),
        (("codec", "encode", "anna.wav", "-o", "c.safetensors", "-m", "org/model", "-q"), 0),
        (("models", "path", "./nowhere"), 3),
        (("models", "pull", "./model"), 3),
        (("models", "rm", "-y", "./model"), 3),
        (("models", "pack", "./nowhere"), 3),
        (("say", "Hello.", "-m", "nobody/nothing", "-o", "a.wav"), 3),
        (("say", "Hello.", "-m", "typo", "-o", "a.wav"), 3),
        (("say", "Hello.", "-m", "model", "-v", "./nobody.safetensors", "-o", "a.wav"), 2),
    ],
    ids=lambda value: " ".join(value[:3]) if isinstance(value, tuple) else str(value),
)
def test_every_command_takes_a_folder(capfd, command, code):
    found, out, err = run(capfd, *command)
    assert found == code, err
    if code:
        assert out == ""
        assert len(err.splitlines()) == 1
        assert "pathlib" not in err
        assert any(
            f"{word}: " in err or f"{word} is" in err or f"{word}," in err for word in command
        )  # as the user typed it


def test_a_voice_file_does_not_choose_a_folder(capfd, monkeypatch):
    """The model in a voice file is a name: a folder of that name is not opened."""
    Path("anna.safetensors").write_bytes(voice_bytes(Voice("anna", VOICE.embedding, model="model")))
    code, _, err = run(capfd, "voices", "preview", "./anna.safetensors", "-o", "a.wav")
    assert code == 2
    assert err == "error: voice anna: it needs model; name that model with -m\n"


def test_errors_of_the_api_are_errors_of_the_package(base):
    for action in (lambda: Synthesizer.open("a\0b"), lambda: Codec.open(""), lambda: base.say("Hello.", voice="a\0b")):
        with pytest.raises(Qwen3TTSError):
            action()


@pytest.mark.filterwarnings("ignore:.*:UserWarning")
def test_a_voice_names_the_repository_or_the_folder_it_was_made_with():
    """Other files of that name in the working folder do not matter."""
    shutil.copytree(BASE, hub_cache.repo_folder("org/model") / "snapshots" / ("0" * 40))
    with Synthesizer.open("org/model", threads=1) as opened:
        assert opened.clone(WAV).model == "org/model"
    with Synthesizer.open(Path("org/model"), threads=1) as opened:
        assert opened.clone(WAV).model == "model"
