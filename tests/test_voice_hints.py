"""`voices show` and `voices preview` of presets, and hints, which can be run as they are printed."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers import CHECKPOINTS, DATA

from qwen3tts_cli import Voice
from qwen3tts_cli.cloning import voice_store
from qwen3tts_cli.cloning.voice_file import voice_bytes
from qwen3tts_cli.models import hub_cache, local_models

WAV = str(DATA / "wavs" / "ref24k.wav")
BASE, PRESETS = CHECKPOINTS / "tiny-base", CHECKPOINTS / "tiny-customvoice"
VOICE = Voice("anna", np.linspace(-1, 1, 64, dtype=np.float32))


@pytest.fixture(autouse=True)
def _folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))


def pulled(alias, source):
    shutil.copytree(source, hub_cache.repo_folder(local_models.ALIASES[alias]) / "snapshots" / ("0" * 40))


@pytest.mark.parametrize("name", ["slt", "SLT", " slt "])
def test_show_describes_a_preset(run, name):
    facts = json.loads(run("voices", "show", name, "--json")[0])
    assert (facts["name"], facts["kind"], facts["model"], facts["language"]) == ("slt", "preset", "pocket", "english")
    out, err = run("voices", "show", name)
    assert "preset" in out
    assert "pocket" in out
    assert err == ""


def test_preview_speaks_with_a_preset(run):
    run("voices", "preview", "slt", "-o", "a.wav", "--text", "Good morning.", "-q")
    run("say", "Good morning.", "-v", "slt", "--seed", "1", "-o", "b.wav", "-q")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()


def test_a_preset_is_searched_in_the_models_on_this_machine(run):
    out, err = run("voices", "preview", "ryan", "-o", "a.wav", code=3)
    assert err == (
        "error: voice ryan is a preset of 0.6b and 1.7b, and neither is on this machine; "
        "get it with: qwen3tts models pull 0.6b\n"
    )
    assert run("voices", "show", "ryan", code=3) == (out, err)
    pulled("0.6b", PRESETS)
    facts = json.loads(run("voices", "show", "ryan", "--json")[0])
    assert (facts["model"], facts["kind"], facts["language"]) == ("0.6b", "preset", "english")
    assert "german" in facts["languages"]
    assert "0.6b" in run("voices", "show", "ryan")[0]


def test_preview_takes_the_preset_of_the_given_model(run, monkeypatch):
    spoken = []
    monkeypatch.setattr("qwen3tts_cli.cli.commands.say_run.speak", lambda text, given: spoken.append(given))
    run("voices", "preview", "ryan", "-m", str(PRESETS))
    pulled("1.7b", PRESETS)
    run("voices", "preview", "Ryan")
    assert [(given["model"], given["voice"]) for given in spoken] == [(str(PRESETS), "ryan"), ("1.7b", "Ryan")]
    run("voices", "preview", "slt", "-m", "pocket")
    assert len(spoken) == 3


def test_a_kept_voice_comes_before_a_preset_of_a_fine_tuned_model(run):
    config = json.loads((PRESETS / "config.json").read_text())
    shutil.copytree(PRESETS, "tuned")
    config["talker_config"]["spk_id"] = {"anna": 0}
    config["talker_config"]["spk_is_dialect"] = {"anna": False}
    Path("tuned/config.json").write_text(json.dumps(config))
    pulled("0.6b", "tuned")
    assert json.loads(run("voices", "show", "anna", "--json")[0])["kind"] == "preset"
    voice_store.save(VOICE)
    assert json.loads(run("voices", "show", "anna", "--json")[0])["kind"] == "kept"
    run("voices", "export", "anna", "a.safetensors", "-q")
    assert json.loads(run("voices", "show", "./a.safetensors", "--json")[0])["kind"] == "file"


@pytest.mark.parametrize("command", ["show", "preview"])
def test_an_unknown_name_suggests_presets_and_kept_voices(run, command):
    voice_store.save(VOICE)
    for name, near in (("annaa", "anna"), ("ryen", "ryan"), ("stl", "slt")):
        err = run("voices", command, name, code=2)[1]
        assert f"no voice '{name}' is kept, did you mean '{near}'?; see: qwen3tts voices list" in err


@pytest.mark.parametrize("command", [("rm", "slt"), ("rename", "slt", "anna"), ("export", "slt", "a.safetensors")])
def test_commands_for_kept_voices_refuse_a_preset(run, command):
    assert run("voices", *command, code=2)[1] == "error: voice name 'slt': a preset of a model, not a kept voice\n"


def printed_command(err: str) -> list[str]:
    (command,) = re.findall(r"qwen3tts (say .*)$", err, re.MULTILINE)
    return shlex.split(command)


@pytest.mark.parametrize(
    "typed",
    ["./folder", "folder", "folder/", "my folder", "./it's here", "{}/folder", "$HOME", "-odd", "a;b&c", "~/folder"],
)
def test_the_hint_of_create_can_be_run_as_printed(run, tmp_path, monkeypatch, typed):
    monkeypatch.setenv("HOME", str(tmp_path))
    typed = typed.format(tmp_path)
    shutil.copytree(BASE, os.path.expanduser(typed))
    option = ("-m", typed) if not typed.startswith("-") else (f"--model={typed}",)
    _, err = run("voices", "create", "anna", "--from", WAV, "--x-vector", *option)
    command = printed_command(err)
    if not typed.startswith("-"):
        assert command == ["say", "-m", typed, "-v", "anna", "Hello."]
    run(*command, "--max-frames", "2", "-q", "-o", "a.wav")


def test_the_hint_of_design_names_the_base_model_as_it_was_typed(run):
    shutil.copytree(CHECKPOINTS / "tiny-voicedesign", "design")
    shutil.copytree(BASE, "base model")
    how = ("-m", "./design", "--base", "./base model", "--text", "Hello there, how are you?", "--seed", "7", "-l", "en")
    command = printed_command(run("voices", "design", "captain", "an old man", *how)[1])
    assert command == ["say", "-m", "./base model", "-v", "captain", "Hello."]
    run(*command, "--max-frames", "2", "-q", "-o", "a.wav")


@pytest.mark.parametrize(
    ("model", "width", "hint"),
    [
        ("0.6b-base", 1024, "qwen3tts say -m 0.6b-base -v anna Hello."),
        ("org/fine-tune", 64, "qwen3tts say -m org/fine-tune -v anna Hello."),
        ("", 2048, "qwen3tts say -m 1.7b-base -v anna Hello."),
        ("my folder", 1024, "it needs my folder (say -m)"),
        ("", 64, "it needs a base model of hidden size 64 (say -m)"),
    ],
)
def test_the_hint_of_import_is_a_command_if_a_model_is_known(run, model, width, hint):
    Path("a.safetensors").write_bytes(voice_bytes(Voice("anna", np.ones(width), model=model)))
    assert run("voices", "import", "a.safetensors")[1] == f"anna: kept; {hint}\n"


def test_preview_asks_for_the_model_of_a_voice_made_in_a_folder(run):
    shutil.copytree(BASE, "folder")
    run("voices", "create", "anna", "--from", WAV, "--x-vector", "-m", "./folder", "-q")
    err = run("voices", "preview", "anna", "-o", "a.wav", code=2)[1]
    assert err == "error: voice anna: it needs folder; name that model with -m\n"
    run("voices", "preview", "anna", "-m", "./folder", "-o", "a.wav", "-q")


def test_models_to_pull_are_printed_as_commands(run):
    err = run("voices", "create", "bea", "--from", WAV, "--x-vector", code=3)[1]
    assert err.endswith("get it with: qwen3tts models pull 0.6b-base\n")
    err = run("say", "Hello.", "-m", "nobody/nothing", "-o", "a.wav", code=3)[1]
    assert err.endswith("neither as a folder nor in the cache; get it with: qwen3tts models pull nobody/nothing\n")
