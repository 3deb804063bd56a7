"""The commands voices, models and doctor; help, completion, imports at start-up, and the names of the package."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from helpers import CHECKPOINTS, POCKET

import qwen3tts_cli
from qwen3tts_cli.cli import main as cli
from qwen3tts_cli.models import hub_cache, local_models


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Puts the tiny model into the Hugging Face cache as 0.6b."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    path = hub_cache.repo_folder(local_models.ALIASES["0.6b"]) / "snapshots" / ("0" * 40)
    shutil.copytree(CHECKPOINTS / "tiny-customvoice", path)
    return path


def test_help_and_version(run):
    out, _ = run("--help")
    assert all(name in out for name in ("say", "voices", "models", "doctor", "Examples:", "_QWEN3TTS_COMPLETE"))
    assert run("-h") == (out, "")
    assert run("--version")[0] == f"qwen3tts {qwen3tts_cli.__version__}\n"
    assert run(code=2) == ("", out)
    assert "Examples:" in run("models", code=2)[1]
    for name, summary in cli.LazyGroup.summaries.items():
        assert summary.rstrip(".") in run(name, "--help")[0]


def test_unknown_commands(run):
    assert "did you mean say?" in run("sy", code=2)[1]
    assert "known are say" in run("zzz", code=2)[1]
    assert len(run("models", "pul", code=2)[1].splitlines()) == 1


def test_voices_of_the_embedded_voice(run):
    out, err = run("voices")
    header, row = out.splitlines()
    assert header.split() == ["VOICE", "LANGUAGE", "MODEL", "DESCRIPTION"]
    assert row.split()[:3] == ["slt", "english", "pocket"]
    assert err == ""


def test_voices_of_all_models(run, cached):
    rows = json.loads(run("voices", "--json")[0])
    assert {row["model"] for row in rows} == {"pocket", "0.6b"}
    assert all(list(row)[:4] == ["voice", "language", "description", "model"] for row in rows)
    known = {row["voice"]: row for row in rows}
    assert known["ryan"]["language"] == "english"
    assert "dialect" in known["eric"]["language"]
    assert known["ono_anna"]["description"]
    only = json.loads(run("voices", "--json", "-m", "0.6b")[0])
    assert only == [row for row in rows if row["model"] == "0.6b"]
    assert only[0]["voice"] == "serena"


def test_voices_of_a_model_without_preset_voices(run):
    out, err = run("voices", "-m", str(CHECKPOINTS / "tiny-base"), "--json")
    assert json.loads(out) == []
    assert "no preset voices" in err
    assert run("voices", "-m", str(CHECKPOINTS / "tiny-base"), "--json", "-q")[1] == ""


def test_voices_of_damaged_models(run, cached):
    (cached / "config.json").write_text("{")
    assert "slt" in run("voices")[0]
    out, err = run("voices", "-m", "0.6b", code=1)
    assert out == ""
    assert len(err.splitlines()) == 1
    (cached / "config.json").unlink()
    assert "0.6b: left out: " in run("voices")[1]
    assert "models pull 0.6b" in run("voices", "-m", "0.6b", code=3)[1]


def test_models(run, cached):
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--json")[0])}
    assert list(rows) == ["pocket", *local_models.ALIASES]
    assert rows["pocket"]["path"] == str(POCKET)
    assert (rows["0.6b"]["state"], rows["0.6b"]["path"]) == ("ready", str(cached))
    assert rows["1.7b"]["state"] == "not there"
    (cached / "vocab.json").unlink()
    assert "partial" in run("models", "list")[0]
    assert "vocab.json: missing" in run("models", "verify", "0.6b", code=1)[1]
    assert run("models", "verify", "pocket")[0] == "pocket: ok\n"
    assert run("models", "verify", str(CHECKPOINTS / "tiny-base"), "-q")[0] == ""
    run("models", "verify", "1.7b", code=3)


def test_a_model_with_a_broken_file_is_damaged(run, cached):
    with open(cached / "model.safetensors", "r+b") as file:
        file.truncate(1000)
    out, err = run("models", "verify", code=1)
    assert out == "pocket: ok\n0.6b: damaged\n"
    assert "model.safetensors" in err


def test_rm(run, cached):
    assert run("models", "rm", "0.6b")[0] == ""
    assert not hub_cache.repo_folder(local_models.ALIASES["0.6b"]).exists()
    run("models", "rm", "0.6b", code=3)


def test_doctor(run):
    out, err = run("doctor")
    assert err == ""
    for word in ("flags", "kernels", "threads", "cores", "memory", "models", "cache", "missing", str(POCKET)):
        assert word in out
    facts = json.loads(run("doctor", "--json")[0])
    assert facts["cores"]["usable"] >= facts["threads"] >= 1
    assert 0 <= facts["cores"].get("stolen_percent", 0) <= 100
    assert facts["cpu"] and facts["kernels"]  # noqa: PT018
    assert isinstance(facts["flags"], list)
    assert facts["models"][0]["name"] == "pocket"


def test_doctor_of_a_build_without_engine(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "qwen3tts_cli.engine.cpu", None)
    assert "the engine: " in run("doctor")[0]


def test_secrets_are_not_shown(run, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    assert "hf_secret" not in "".join(run("doctor") + run("doctor", "--json"))


def test_completion():
    command = [sys.executable, "-m", "qwen3tts_cli"]
    env = {**os.environ, "_QWEN3TTS_COMPLETE": "zsh_source"}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0
    assert "#compdef qwen3tts" in done.stdout
    env = {**os.environ, "_QWEN3TTS_COMPLETE": "zsh_complete"}
    for words, expected in (("qwen3tts s", "say"), ("qwen3tts models p", "pull"), ("qwen3tts models pull 1", "1.7b")):
        env |= {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        assert expected in subprocess.run(command, env=env, capture_output=True, text=True).stdout.split()


def test_on_windows_the_error_names_wsl(run, monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    _, err = run("say", "Hello.", code=1)
    assert "WSL" in err
    assert len(err.splitlines()) == 1


def test_nothing_heavy_is_imported_for_help():
    code = (
        "import sys\nfrom qwen3tts_cli.cli import main as cli\ncli.run(['{}', '--help'])\n"
        "heavy = {{'numpy', 'soundfile', 'huggingface_hub', 'regex', 'cffi', 'num2words', 'sentencex', 'tomllib'}}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )
    for command in ("say", "voices", "models", "doctor"):
        done = subprocess.run([sys.executable, "-c", code.format(command)], capture_output=True, text=True)
        assert done.stderr == "[]\n"


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer is slow")
def test_help_is_quick():
    """Measured in processor time, which does not count other programs."""

    def seconds(*arguments):
        taken = []
        for _ in range(7):
            process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            assert process.returncode == 0
            taken.append(usage.ru_utime + usage.ru_stime)
        return min(taken)

    bare = seconds("-c", "pass")
    assert seconds("-m", "qwen3tts_cli", "--help") - bare < 0.15
    assert seconds("-m", "qwen3tts_cli", "say", "--help") - bare < 0.2


def test_names_of_the_package():
    assert set(qwen3tts_cli.__all__) <= set(dir(qwen3tts_cli))
    for name in qwen3tts_cli.__all__:
        assert getattr(qwen3tts_cli, name) is not None
    assert qwen3tts_cli.Synthesizer.__module__ == "qwen3tts_cli.speech.synthesizer"
    with pytest.raises(AttributeError, match="nothing"):
        _ = qwen3tts_cli.nothing
    assert (POCKET.parent.parent / "py.typed").exists()


def test_models_pack_list_unpack(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    out, _ = run("models", "pack", "pocket", "--precision", "int4")
    assert out.strip().endswith("-int4.q3t")
    assert "int4" in run("models", "list")[0]
    rows = {row["name"]: row for row in json.loads(run("models", "list", "--json")[0])}
    assert list(rows["pocket"]["packed"]) == ["int4"]
    assert "removed" in run("models", "unpack", "pocket", "--precision", "int4")[1]
    assert "no int4" in run("models", "unpack", "pocket", "--precision", "int4")[1]
    run("models", "pack", "pocket", "--precision", "bf16", code=2)


def test_models_pack_the_decoder_of_a_folder_too(run, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = str(CHECKPOINTS / "tiny-customvoice")
    assert run("models", "pack", folder, "--precision", "bf16")[0].strip().endswith("-bf16.q3t")
    run("models", "pack", folder)
    packed = tmp_path / "qwen3tts" / "packed"
    assert len(list(packed.glob("*.q3t"))) == 3
    assert run("models", "verify", folder)[0].endswith("ok\n")
    (codec,) = packed.glob("*-codec.q3t")
    with open(codec, "r+b") as file:
        file.seek(-100, 2)
        file.write(b"\xff")
    assert "packed codec weights are damaged" in run("models", "verify", folder, code=1)[1]
    run("models", "unpack", folder, "--precision", "bf16")
    run("models", "unpack", folder)
    assert list(packed.glob("*.q3t")) == []
