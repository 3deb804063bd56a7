"""`qwen3tts models check`: passes where the engine computes what was recorded, and else fails in the right line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from answers import PACKAGE, answers_of, embedded_answers, write_answers
from helpers import CHECKPOINTS, POCKET, allowed, reference

from qwen3tts_cli.audio import codec as codec_module
from qwen3tts_cli.check import speech
from qwen3tts_cli.check.answers import load_answers
from qwen3tts_cli.check.run import run_checks
from qwen3tts_cli.check.subject import find_subject
from qwen3tts_cli.engine import forced
from qwen3tts_cli.engine.session import Sampling
from qwen3tts_cli.models.safetensors import open_safetensors

LINES = ["files", "structure", "tokenizer", "decoder", "speech bf16", "same bytes"]
TINY = {"tiny-customvoice": ["en_vivian_ns", "auto_ryan_st", "zh_eric_dialect_ns", "reppen_1.5", "long_st"]}
TINY |= {"tiny-base": ["xvec_en_st", "icl_ns"], "tiny-voicedesign": ["en_st", "zh_auto_ns"]}


@pytest.fixture(scope="session")
def answers(tmp_path_factory) -> Path:
    """The official package's outputs of the small checkpoints and of the embedded voice as recorded answers."""
    tables = [answers_of(name, name, CHECKPOINTS / name, names=names) for name, names in TINY.items()]
    return write_answers(tmp_path_factory.mktemp("answers") / "answers.json", *tables, embedded_answers())


def results_of(folder: Path, answers: Path, **options):
    """Result of each check, by its name."""
    subject = find_subject(folder, answers=answers, compare_with=options.pop("compare_with", None))
    return {result.check: result for result in run_checks(subject, **options)}


def failed(results) -> set[str]:
    return {name for name, result in results.items() if result.status == "failed"}


@pytest.fixture
def copy(tmp_path):
    """Copy a checkpoint: a function of its folder."""

    def copy(folder: Path) -> Path:
        return Path(shutil.copytree(folder, tmp_path / folder.name, copy_function=shutil.copyfile))

    return copy


def edit(path: Path, change) -> None:
    values = json.loads(path.read_text(encoding="utf-8"))
    change(values)
    path.write_text(json.dumps(values), encoding="utf-8")


def tensor_bytes(path: Path, name: str) -> tuple[int, int]:
    """(first, end) of a tensor in its file."""
    file = open_safetensors(path)
    info = file.tensors[name]
    file.close()
    return info.start, info.end


def exchange(path: Path, a: str, b: str) -> None:
    """Exchange the contents of two tensors of the same shape."""
    data = bytearray(path.read_bytes())
    (a0, a1), (b0, b1) = tensor_bytes(path, a), tensor_bytes(path, b)
    data[a0:a1], data[b0:b1] = data[b0:b1], data[a0:a1]
    path.write_bytes(data)


# ------------------------------------------------------------ passing
def test_the_embedded_voice_passes(run, tmp_path):
    report = tmp_path / "check.json"
    out, _ = run("models", "check", "--json", str(report))
    rows = [line[:14].strip() for line in out.split("\n\n")[0].splitlines()]
    assert rows == LINES
    assert "failed" not in out
    found = json.loads(report.read_text())
    assert found["passed"] is True
    assert {each["check"]: each["status"] for each in found["checks"]} == dict.fromkeys(LINES, "passed")
    last = out.split("\n\n")[1]
    for word in ("version", "kernels", "processor", "model", "sha256"):
        assert f"\n{word} " in "\n" + last


@pytest.mark.parametrize("name", TINY)
def test_the_small_checkpoints_pass(answers, name):
    results = results_of(CHECKPOINTS / name, answers)
    assert {check: result.status for check, result in results.items()} == dict.fromkeys(LINES, "passed"), results


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_other_precisions_are_measured_beside_bf16(precision):
    results = results_of(POCKET, PACKAGE, precision=precision)
    assert not failed(results)
    measured = results[f"speech {precision}"].measured["long"]
    low, high = {"int8": (0.9, 0.01), "int4": (0.7, 0.1)}[precision]
    assert low < measured["same_codes"] <= 1
    assert 0 < measured["kl_code_0"] < high
    assert measured["length_bf16"] == 74


def test_speech_that_runs_long_gets_a_warning(monkeypatch):
    monkeypatch.setattr(speech, "LONG_FACTOR", 0.5)
    result = results_of(POCKET, PACKAGE, precision="int8")["speech int8"]
    assert result.status == "passed"
    assert "warning: hello:" in result.why


def test_a_model_of_which_nothing_was_recorded(run):
    out, _ = run("models", "check", str(CHECKPOINTS / "tiny-base"))
    statuses = {line[:14].strip(): line[14:29].strip() for line in out.split("\n\n")[0].splitlines()}
    unknown = dict.fromkeys(["files", "tokenizer", "decoder", "speech bf16"], "not applicable")
    assert statuses == {**unknown, "structure": "passed", "same bytes": "passed"}


def test_a_fine_tuned_model_with_a_known_codec(tmp_path):
    """The small checkpoints have the same codec."""
    table = answers_of("tiny-customvoice", "tiny-customvoice", CHECKPOINTS / "tiny-customvoice", names=["reppen_1.5"])
    results = results_of(CHECKPOINTS / "tiny-base", write_answers(tmp_path / "answers.json", table))
    passed = {check for check, result in results.items() if result.status == "passed"}
    assert passed == {"structure", "decoder", "same bytes"}
    assert not failed(results)


def test_a_codec_alone_is_refused(run):
    _, err = run("models", "check", str(CHECKPOINTS / "tiny-base" / "speech_tokenizer"), code=2)
    assert "a codec without a language model" in err


def test_the_package_has_the_answers_of_the_embedded_voice():
    table = json.loads(PACKAGE.read_text(encoding="utf-8"))
    for section, records in embedded_answers().items():
        if section != "format":
            assert {name: table[section].get(name) for name in records} == records, "run tests/answers.py"


# ------------------------------------------------------------ faults of the files
def test_one_bit_of_a_weight(answers, copy):
    """The least significant bit of one bf16 weight: no code changes, the digest does."""
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    path = folder / "model.safetensors"
    first, _ = tensor_bytes(path, "talker.model.layers.1.mlp.up_proj.weight")
    data = bytearray(path.read_bytes())
    data[first + 2000] ^= 1
    path.write_bytes(data)
    results = results_of(folder, answers)
    assert failed(results) == {"files"}
    assert "model.safetensors: sha256" in results["files"].why
    assert results_of(folder, answers, compare_with="tiny-customvoice")["files"].status == "not applicable"


def test_a_missing_merge(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    lines = (folder / "merges.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    lines.remove("Ġ w\n")
    (folder / "merges.txt").write_text("".join(lines), encoding="utf-8")
    found = failed(results_of(folder, answers))
    assert {"files", "tokenizer"} <= found <= {"files", "tokenizer", "speech bf16"}


def test_another_rotary_base(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    edit(folder / "config.json", lambda c: c["talker_config"].update(rope_theta=10000))
    results = results_of(folder, answers)
    assert failed(results) == {"files", "speech bf16"}
    difference = next(each["difference"] for each in results["speech bf16"].measured.values() if "difference" in each)
    assert difference["lead"] > 0
    assert not difference["near_tie"]
    assert f"frame {difference['frame']}, group {difference['group']}" in results["speech bf16"].why


def test_a_sliding_window_of_71(copy):
    """The window of the codec's transformer is 72: it shows in recordings of more than 71 frames."""
    folder = copy(POCKET)
    edit(folder / "speech_tokenizer" / "config.json", lambda c: c["decoder_config"].update(sliding_window=71))
    results = results_of(folder, PACKAGE)
    assert failed(results) == {"files", "decoder"}
    assert "long: sample" in results["decoder"].why


def test_exchanged_speaker_ids(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")

    def swap(config):
        ids = config["talker_config"]["spk_id"]
        ids["vivian"], ids["serena"] = ids["serena"], ids["vivian"]

    edit(folder / "config.json", swap)
    results = results_of(folder, answers)
    assert failed(results) == {"files", "structure", "speech bf16"}
    assert "speakers: serena" in results["structure"].why


def test_exchanged_tensors_of_the_talker(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    name = "talker.model.layers.{}.self_attn.q_proj.weight"
    exchange(folder / "model.safetensors", name.format(0), name.format(1))
    assert failed(results_of(folder, answers)) == {"files", "speech bf16"}


def test_exchanged_tensors_of_the_codec(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    name = "decoder.pre_transformer.layers.{}.mlp.up_proj.weight"
    exchange(folder / "speech_tokenizer" / "model.safetensors", name.format(0), name.format(1))
    assert failed(results_of(folder, answers)) == {"files", "decoder"}


def test_a_tensor_of_another_name(answers, copy):
    """A file that an engine would open, with a tensor that the recorded one does not have."""
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    path = folder / "speech_tokenizer" / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data.replace(b"rvq_first.input_proj", b"rvq_first.unput_proj"))
    found = results_of(folder, answers)
    assert failed(found) == {"files", "structure"}


def test_a_damaged_file_fails_every_check_that_reads_it(answers, copy):
    folder = copy(CHECKPOINTS / "tiny-customvoice")
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    results = results_of(folder, answers)
    assert failed(results) == {"files", "structure", "opening"}
    assert results["decoder"].status == results["tokenizer"].status == "passed"


# ------------------------------------------------------------ faults of an engine
def test_a_decoder_with_weights_rounded_to_bf16(answers, monkeypatch):
    collect = codec_module.collect_decoder

    def rounded(array):
        bits = array.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32)

    monkeypatch.setattr(
        codec_module,
        "collect_decoder",
        lambda config, weights: [(s, layer, rounded(a)) for s, layer, a in collect(config, weights)],
    )
    results = results_of(CHECKPOINTS / "tiny-customvoice", answers)
    assert failed(results) == {"decoder"}
    assert results["decoder"].measured["long_st"]["largest_difference"] > 100


def test_an_ignored_repetition_penalty(answers, monkeypatch):
    session = forced.Session

    def without_penalty(*arguments, talker, **options):
        return session(*arguments, talker=Sampling(greedy=True), **options)

    monkeypatch.setattr(forced, "Session", without_penalty)
    results = results_of(CHECKPOINTS / "tiny-customvoice", answers)
    assert failed(results) == {"speech bf16"}


def test_samples_that_depend_on_the_number_of_threads(monkeypatch):
    from qwen3tts_cli.speech.synthesizer import Synthesizer

    say = Synthesizer.say
    monkeypatch.setattr(Synthesizer, "say", lambda self, *a, **k: say(self, *a, **k) * np.float32(0.5))
    results = results_of(POCKET, PACKAGE)
    assert failed(results) == {"same bytes"}


# ------------------------------------------------------------ near ties, and records that are not certain
def trace_of(scores: np.ndarray, groups: np.ndarray, ended: bool = True) -> forced.Trace:
    codes = np.concatenate([scores[:-1].argmax(1)[:, None], groups.argmax(2)], axis=1)
    return forced.Trace(codes.astype(np.int32), ended, scores, scores, groups)


@pytest.fixture
def scores():
    """(scores of 3 frames and the end, group logits) of one group beside code 0; 9 is the end of speech."""
    rng = np.random.default_rng(3)
    rows, groups = rng.normal(0, 5, (4, 10)).astype(np.float32), rng.normal(0, 5, (3, 1, 10)).astype(np.float32)
    rows[3, 9] = 30
    return rows, groups


def test_a_code_that_led_by_less_than_the_rounding_is_a_near_tie(scores):
    rows, groups = scores
    best, second = np.argsort(groups[1, 0])[::-1][:2]
    groups[1, 0, second] = groups[1, 0, best] - np.float32(1e-5)
    found = trace_of(rows, groups)
    recorded = found.codes.copy()
    recorded[1, 1] = second
    difference = speech._first_difference(found, recorded, 9, ended=True)
    place = {"frame": 1, "group": 1, "chosen": best, "recorded": second, "near_tie": True}
    assert difference == {**place, "lead": pytest.approx(1e-5, rel=0.1)}
    assert speech._first_difference(found, recorded, 9, ended=True, skip_near_ties=True) is None
    recorded[1, 1] = np.argsort(groups[1, 0])[0]
    assert not speech._first_difference(found, recorded, 9, ended=True)["near_tie"]


def test_an_end_that_comes_early_or_late_is_a_difference(scores):
    found = trace_of(*scores)
    assert speech._first_difference(found, found.codes, 9, ended=True) is None
    longer = np.concatenate([found.codes, found.codes[:1]])
    early = speech._first_difference(found, longer, 9, ended=True)
    assert (early["frame"], early["chosen"], early["recorded"]) == (3, 9, longer[3, 0])
    late = speech._first_difference(found, found.codes[:2], 9, ended=True)
    assert (late["frame"], late["chosen"], late["recorded"]) == (2, found.codes[2, 0], 9)
    assert speech._first_difference(found, found.codes[:2], 9, ended=True, groups=1) is None
    runs_on = trace_of(*scores, ended=False)
    assert speech._first_difference(runs_on, found.codes, 9, ended=True)["frame"] == 3


def test_codes_that_were_not_recorded_are_not_compared(scores):
    found = trace_of(*scores)
    recorded = found.codes.copy()
    recorded[:, 1] = -1
    assert speech._first_difference(found, recorded, 9, ended=True) is None


def changed_answers(answers: Path, path: Path, change) -> Path:
    table = json.loads(answers.read_text(encoding="utf-8"))
    change(table)
    path.write_text(json.dumps(table), encoding="utf-8")
    return path


def test_a_record_that_is_not_trusted_is_no_failure(answers, tmp_path):
    def change(table):
        record = table["speech"]["tiny-customvoice"][0]
        record["codes"][3][0] ^= 1

    wrong = changed_answers(answers, tmp_path / "wrong.json", change)
    results = results_of(CHECKPOINTS / "tiny-customvoice", wrong)
    assert failed(results) == {"speech bf16"}
    assert "frame 3, group 0" in results["speech bf16"].why
    unsure = changed_answers(
        wrong, tmp_path / "unsure.json", lambda t: t["speech"]["tiny-customvoice"][0].update(trusted=False)
    )
    result = results_of(CHECKPOINTS / "tiny-customvoice", unsure)["speech bf16"]
    assert result.status == "passed"
    assert "frame 3, group 0" in result.why


def test_records_of_code_0_alone_and_of_fewer_frames(answers, tmp_path):
    def change(table):
        first, second = table["speech"]["tiny-customvoice"][:2]
        first["first_only"] = True
        first["codes"] = [[row[0], *[(code + 1) % 64 for code in row[1:]]] for row in first["codes"][:1]]
        second["codes"], second["ended"] = second["codes"][:3] + [row[:1] for row in second["codes"][3:6]], False

    results = results_of(CHECKPOINTS / "tiny-customvoice", changed_answers(answers, tmp_path / "few.json", change))
    assert not failed(results)


def test_text_ids_without_codes(answers, tmp_path):
    """The largest logit after each row, and the code that follows the last, as NumPy computes them."""
    model = reference().Model(str(CHECKPOINTS / "tiny-base"))
    ids = next(ids for ids in ([n, 11, 70, 3] for n in range(200)) if logits_of(model, ids)[1][-1].argmax() < 64)
    hidden, logits = logits_of(model, ids)
    argmax = logits.argmax(1).tolist()
    record = {"text_ids": ids, "argmax": argmax, "next_code": model.frame(hidden[-1], argmax[-1])[1]}
    for key, value in (("next_code", record["next_code"] ^ 1), ("argmax", [argmax[0] ^ 1, *argmax[1:]]), (None, None)):
        given = record if key is None else {**record, key: value}
        path = changed_answers(
            answers, tmp_path / "ids.json", lambda t, r=given: t["positions"].update({"tiny-base": [r]})
        )
        results = results_of(CHECKPOINTS / "tiny-base", path)
        assert failed(results) == (set() if key is None else {"speech bf16"})


def logits_of(model, ids):
    model.talker.reset()
    hidden = model.talker.forward(model.text(ids))
    return hidden, hidden @ model.W["talker.codec_head.weight"].T


# ------------------------------------------------------------ files, quickly
def test_fast_compares_what_a_full_check_recorded(answers, copy, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = copy(POCKET)
    first = results_of(folder, PACKAGE, fast=True)["files"]
    assert first.status == "passed"
    assert "by size alone: no full check has recorded their hashes" in first.why
    assert results_of(folder, PACKAGE)["files"].status == "passed"
    again = results_of(folder, PACKAGE, fast=True)["files"]
    assert again.status == "passed"
    assert "by size alone" not in again.why
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    changed = results_of(folder, PACKAGE, fast=True)["files"]
    assert changed.status == "failed"
    assert "model.safetensors: its first or last MiB" in changed.why
    path.write_bytes(data[:-2])
    assert "bytes, published are" in results_of(folder, PACKAGE, fast=True)["files"].why


# ------------------------------------------------------------ the command
def test_a_failed_check_is_exit_code_1(run, answers, copy, tmp_path):
    folder, report = copy(CHECKPOINTS / "tiny-customvoice"), tmp_path / "check.json"
    edit(folder / "config.json", lambda c: c["talker_config"].update(rope_theta=10000))
    out, _ = run("models", "check", str(folder), "--answers", str(answers), "--json", str(report), code=1)
    assert "\nspeech bf16   failed " in out
    assert json.loads(report.read_text())["passed"] is False
    out, _ = run("models", "check", str(folder), "--answers", str(answers), "--json", "-", "-q", code=1)
    assert json.loads(out)["compared_with"] == "tiny-customvoice"


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"format": "other"}', '{"format": "qwen3tts-answers 1", "files": {"x": {"files": 3}}}']
)
def test_a_file_that_holds_no_answers(run, tmp_path, text):
    path = tmp_path / "answers.json"
    path.write_text(text)
    _, err = run("models", "check", "--answers", str(path), code=1)
    assert err.startswith("error: ")
    assert err.count("\n") == 1


MALFORMED = {
    "tokenizer": [[["a"]], [3], {"a": 1}, [["a", ["b"]]]],
    "decoder": [[{}], [{"id": 1}], 7],
    "speech": [[{}], [None], "tiny-voicedesign2"],
    "positions": [[{"text_ids": 3}], [{"text_ids": [1], "argmax": ["x"], "next_code": None}]],
    "config": [[1], {"ids": 3}, {"speakers": [1]}],
}


@pytest.mark.parametrize(("section", "records"), [(s, r) for s, rows in MALFORMED.items() for r in rows], ids=repr)
def test_malformed_records_fail_and_do_no_more(answers, tmp_path, section, records):
    path = changed_answers(answers, tmp_path / "bad.json", lambda t: t[section].update({"tiny-base": records}))
    results = results_of(CHECKPOINTS / "tiny-base", path)
    assert all("malformed answers" in results[check].why for check in failed(results))
    assert bool(failed(results)) == (not isinstance(records, str))


@pytest.mark.parametrize("part", ["codes", "samples", "speaker", "reference", "voice"])
def test_records_that_do_not_suit_the_model_fail(answers, tmp_path, part):
    def change(table):
        speech, decoder = table["speech"]["tiny-base"], table["decoder"]["tiny-base"]
        if part == "codes":
            speech[0]["codes"] = [row[:8] for row in speech[0]["codes"]]
        elif part == "samples":
            decoder[0]["samples"][0]["first"] = 10**9
        elif part == "voice":
            speech[0]["voice"] = 3
        elif part == "speaker":
            speech[0]["speaker"] = [1, 2, 3]
        else:
            speech[1]["reference_codes"] = [[-5] * 16]

    path = changed_answers(answers, tmp_path / "bad.json", change)
    results = results_of(CHECKPOINTS / "tiny-base", path)
    lines = {"samples": {"decoder"}, "voice": {"tokenizer", "speech bf16"}}  # the tokenizer reads the texts of speech
    assert failed(results) == lines.get(part, {"speech bf16"})


def test_an_unknown_model_to_compare_with(run):
    _, err = run("models", "check", "--as", "nobody", code=2)
    assert "no answers of this model" in err


def test_the_configured_model_is_checked(run, monkeypatch):
    monkeypatch.setenv("QWEN3TTS_MODEL", str(CHECKPOINTS / "tiny-base"))
    out, _ = run("models", "check")
    assert f"model       {CHECKPOINTS / 'tiny-base'}" in out
    monkeypatch.setenv("QWEN3TTS_MODEL", "nobody")
    _, err = run("models", "check", code=3)
    assert "nobody" in err


def test_an_interrupt_ends_it():
    command = [sys.executable, "-m", "qwen3tts_cli", "models", "check", "--precision", "int8"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout.readline().startswith("files")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=allowed(30))
    assert process.returncode == 130
    assert "Traceback" not in err


# ------------------------------------------------------------ the recorded answers of the released models
@pytest.mark.parametrize("name", ["0.6b", "0.6b-base", "1.7b", "1.7b-base", "1.7b-design"])
def test_every_record_of_the_released_models_can_be_read(name):
    answers = load_answers()
    release = answers.releases[name]
    assert release.repository.startswith("Qwen/Qwen3-TTS-12Hz-")
    assert len(release.files) == 11
    assert len(answers.tokenizer(name)) >= 11
    assert [len(each.codes) for each in answers.decoder(name)] == [4, 74]
    assert all((each.codes >= 0).all() for each in answers.decoder(name))
    counts = {"0.6b": 2, "0.6b-base": 1, "1.7b": 1}
    assert len(answers.speech(name)) == counts.get(name, 0)
    assert set(answers.config(name)["tensors"]) == {"model.safetensors", "speech_tokenizer/model.safetensors"}
