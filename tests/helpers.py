"""The folders of the test data, and functions that several tests use: goldens, models, tolerances."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
DATA = TESTS / "data"
CHECKPOINTS = DATA / "checkpoints"
GOLDENS = DATA / "goldens"
POCKET = Path(find_spec("qwen3tts_cli").origin).parent / "voices" / "pocket"


def allowed(seconds: float) -> float:
    """A time limit in seconds for a test; ten times as long under AddressSanitizer."""
    return seconds * (10 if "asan" in os.environ.get("LD_PRELOAD", "") else 1)


def checkpoint_of(name: str) -> Path:
    """The folder of the checkpoint that the goldens `name` were made with."""
    return POCKET if name == "pocket" else CHECKPOINTS / name


def golden_rows(folder: str | Path, kind: str | None = None) -> list[dict]:
    """The rows of the index of a folder of goldens, which is a name below tests/data/goldens or a path.

    kind: only rows of this kind; "tts": of the three kinds of speech.
    """
    rows = json.loads((GOLDENS / folder / "index.json").read_text(encoding="utf-8"))
    if kind == "tts":
        return [row for row in rows if row["kind"] in ("custom_voice", "voice_design", "base")]
    return [row for row in rows if kind in (None, row["kind"])]


def load_golden(folder: str | Path, row: dict | str) -> dict[str, np.ndarray]:
    """The arrays of one golden: name -> array. Those that `same_as` in its row lists are read from other files."""
    if isinstance(row, str):
        row = next(r for r in golden_rows(folder) if row in (r["file"], r.get("name")))
    with np.load(GOLDENS / folder / row["file"]) as file:
        arrays = {name: np.array(file[name], order="C") for name in file.files}
    for name, source in row.get("same_as", {}).items():
        if source.endswith(".wav"):
            import soundfile

            arrays[name] = soundfile.read(DATA / source, dtype="float32")[0]
        elif ":" in source:
            file_name, key = source.split(":")
            arrays[name] = load_golden(folder, file_name)[key]
        else:
            arrays[name] = arrays[source]
    return arrays


def snr_db(got: np.ndarray, want: np.ndarray) -> float:
    """Signal-to-noise ratio of `got` against `want` in dB."""
    want = np.asarray(want, np.float64)
    noise = np.sum((np.asarray(got, np.float64) - want) ** 2)
    return float("inf") if noise == 0 else float(10 * np.log10(np.sum(want**2) / noise))


def relative_error(got: np.ndarray, want: np.ndarray) -> float:
    """The largest difference divided by the largest magnitude of `want`."""
    return float(np.max(np.abs(np.asarray(got, np.float64) - want), initial=0) / np.max(np.abs(want), initial=1e-30))


def open_model(folder: Path, **options):
    """Open the checkpoint in `folder` in the engine. options: of engine.model.Model. The caller closes it."""
    from qwen3tts_cli.engine.model import Model
    from qwen3tts_cli.models.checkpoint import open_checkpoint

    options.setdefault("threads", 2)
    return Model(open_checkpoint(folder), **options)


def golden_prompt(checkpoint, row: dict, golden: dict[str, np.ndarray]):
    """The prompt of a golden, made by build_prompt, which does not reject empty texts as Synthesizer does."""
    from qwen3tts_cli.text.prompt import build_prompt

    return build_prompt(
        checkpoint.config,
        checkpoint.tokenizer,
        row["text"],
        language=(row.get("language") or "auto").lower(),
        speaker=row["speaker"].lower() if row.get("speaker") else None,
        instruct=row.get("instruct") or None,
        text_mode="full" if row["non_streaming_mode"] else "streaming",
        speaker_row="spk_emb" in golden,
        reference_codes=golden.get("ref_codes"),
        reference_text=row.get("ref_text") if "ref_codes" in golden else None,
    )


def speak_golden(model, row: dict, golden: dict[str, np.ndarray], **options) -> dict[str, np.ndarray]:
    """Generate the speech of a golden greedily. Returns arrays with the golden's names. options: of Session."""
    from qwen3tts_cli.engine.session import RUNNING, Sampling, Session

    prompt = golden_prompt(model.checkpoint, row, golden)
    greedy = Sampling(greedy=True, repetition_penalty=row["generate_kwargs"]["repetition_penalty"])
    options = {"seed": 0, "key": 0, "max_frames": row["max_new_tokens"] - 1, **options}
    if "spk_emb" in golden:
        options["speaker"] = golden["spk_emb"]
    if "ref_codes" in golden:
        options["reference_codes"] = np.ascontiguousarray(golden["ref_codes"])
    config, logits, samples = model.config, [], []
    with Session(model, prompt, talker=greedy, predictor=Sampling(greedy=True), **options) as session:
        while session.info.state == RUNNING:
            model.step([session])
            logits.append(session.peek("LOGITS", (config.vocab_size,)))
            samples.append(session.read())
        while True:
            info = session.info
            if info.decoded < info.frames:
                model.step([session])
            samples.append(session.read(wait=True))
            if not len(samples[-1]) and info.decoded == info.frames:
                break
        codes = session.codes(0, info.frames)
        prefill = session.peek("PREFILL", (len(prompt.text_ids), config.talker.hidden_size))
    return {
        "input_ids": np.asarray(prompt.input_ids, np.int32),
        "instruct_ids": np.asarray(prompt.instruct_ids, np.int32),
        "prefill_embeds": prefill,
        "logits0": np.stack(logits),
        "codes": codes,
        "wav": np.concatenate(samples),
    }


def decode_golden(codec, codes: np.ndarray, chunk: int) -> np.ndarray:
    """The samples of codes (frames, 16), which an opened Codec decodes `chunk` frames at a time."""
    return np.concatenate(list(codec.stream(codes[i : i + chunk] for i in range(0, len(codes), chunk))))


def cut_early(golden: dict[str, np.ndarray]) -> bool:
    """Whether the reference, which cuts off the recording by rounded quotients, left its last sample in."""
    if "ref_codes" not in golden:
        return False
    reference, frames = len(golden["ref_codes"]), len(golden["codes"])
    cut = int(reference / max(reference + frames, 1) * ((reference + frames) * 1920))
    assert cut in (reference * 1920, reference * 1920 - 1)
    return cut < reference * 1920


def check_speech(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    """Assert that `got`, as speak_golden returns it, equals the reference within the tolerances of parity."""
    np.testing.assert_array_equal(got["input_ids"], want["input_ids"])
    np.testing.assert_array_equal(got["instruct_ids"], want["instruct_ids"])
    assert got["prefill_embeds"].shape == want["prefill_embeds"].shape
    assert relative_error(got["prefill_embeds"], want["prefill_embeds"]) <= 1e-5
    np.testing.assert_array_equal(got["codes"], want["codes"])
    steps = len(got["logits0"])
    assert relative_error(got["logits0"], want["logits0"][:steps]) <= 1e-3
    wav = want["wav"][1:] if cut_early(want) else want["wav"]
    assert got["wav"].shape == wav.shape
    if len(wav):
        assert snr_db(got["wav"], wav) >= 80


def open_speaker(folder: Path, **options):
    """Open the speaker encoder of a checkpoint. options: of SpeakerEncoder. The caller closes it."""
    from qwen3tts_cli.engine.speaker_encoder import SpeakerEncoder
    from qwen3tts_cli.models.config.encoders import load_speaker_config
    from qwen3tts_cli.models.encoder_tensor_specs import collect_speaker
    from qwen3tts_cli.models.safetensors import open_weights

    options.setdefault("threads", 2)
    config = load_speaker_config(folder)
    assert config is not None
    return SpeakerEncoder(folder, config, collect_speaker(config, open_weights(folder)), **options)


def open_encoder(folder: Path, **options):
    """Open the encoder of a codec. options: of CodecEncoder. The caller closes it."""
    from qwen3tts_cli.engine.codec_encoder import CodecEncoder
    from qwen3tts_cli.models.config.encoders import load_encoder_config
    from qwen3tts_cli.models.encoder_tensor_specs import collect_encoder
    from qwen3tts_cli.models.safetensors import open_weights

    options.setdefault("threads", 2)
    config = load_encoder_config(folder / "config.json")
    return CodecEncoder(folder, config, collect_encoder(config, open_weights(folder)), **options)


def check_codes(got: np.ndarray, golden: dict[str, np.ndarray]) -> None:
    """Assert that the codes of each frame equal the golden's up to the first tie of the frame.

    A tie is a vector whose distance differs from the nearest one's by no more than rounding. Codes after a tie may
    differ, since they encode another remainder.
    """
    assert got.shape == golden["codes"].shape
    for frame, group in zip(*np.nonzero(got != golden["codes"]), strict=True):
        ties = golden["code_margin"][frame, : group + 1] < 1e-4
        assert ties[0] if group == 0 else ties[1:].any(), f"frame {frame}, group {group}"


def reference():
    """The module tests/reference/np_ref.py."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("np_ref", TESTS / "reference" / "np_ref.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Choosy:
    """A guard that trips at the twelfth frame of some attempts, depending on their codes.

    divisor: one of so many attempts trips, more or less.
    """

    divisor = 3

    def __init__(self, budget, frame_seconds):
        self.seen = []

    def feed(self, codes):
        self.seen += codes.tolist()
        return self.reason

    @property
    def reason(self):
        return "loop" if len(self.seen) >= 12 and sum(self.seen[8]) % self.divisor == 0 else None

    @property
    def good_frames(self):
        return 5
