#!/usr/bin/env python3
"""Cut the files of make_goldens.py down to the arrays that the tests read.

  trim_goldens.py GOLDENS DATA      GOLDENS: folders of make_goldens.py, pocket/ among them if there; DATA: tests/data

Drops what another array or a WAV file already holds and notes it in index.json as `same_as`; `helpers.load_golden`
puts it back. Needs numpy and soundfile.
"""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import soundfile

TTS = (
    "input_ids instruct_ids ref_ids prefill_embeds trailing_text_hidden tts_pad_embed logits0 tokens0 hidden codes "
    "cp_logits_f0 margin0 margin_cp wav ref_codes spk_emb"
).split()
ENCODE = "input_values codes code_margin downsample".split()
SPEAKER = "audio24k mel embedding".split()
LONG = 100  # frames beyond which wav (equal but for rounding) and all but the end of wav_unchunked are dropped ...
TAIL = 40  # ... and how much of its end is kept; the longest file stays whole
LONG_MEL = 1000  # mel frames beyond which the embedding alone is kept
SAMPLES_PER_FRAME = 1920
FULL_SIZE_STAGES = "quantized pre_conv tf_in tf_layer0 tf_layer7 tf_out up0 up1".split()


def head(array, frames, total, time_axis):
    """The part of a causal stage that the first `frames` of `total` frames decide."""
    length = array.shape[time_axis]
    return array.take(range(length * frames // total), axis=time_axis)


def trim_tts(arrays, row, full_size, longest):
    return {name: arrays[name] for name in TTS if name in arrays}


def trim_codec_decode(arrays, row, full_size, longest):
    if "first_sample" in arrays:
        return arrays
    kept = {"codes": arrays["codes"], "wav_unchunked": arrays["wav_unchunked"]}
    if np.array_equal(arrays["wav"], arrays["wav_unchunked"]):
        row["same_as"] = {"wav": "wav_unchunked"}
    frames = len(arrays["codes"])
    if LONG < frames < longest:
        kept["first_sample"] = np.int64((frames - TAIL) * SAMPLES_PER_FRAME)
        kept["wav_unchunked"] = kept["wav_unchunked"][kept["first_sample"] :]
    stages = [name for name in arrays if name not in ("codes", "wav", "wav_unchunked")]
    for name in stages:
        time_first = name.startswith("tf_")
        if full_size and name not in FULL_SIZE_STAGES:
            continue
        kept[name] = arrays[name] if full_size else head(arrays[name], 4, frames, 0 if time_first else 1)
    return kept


def trim_codec_encode(arrays, row, full_size, longest):
    kept = {name: arrays[name] for name in ENCODE}
    frames = len(arrays["downsample"].T)
    for name in arrays:
        if name.startswith("enc"):
            kept[name] = head(arrays[name], 2, frames, 1)
        elif name.startswith("tf_layer"):
            kept[name] = arrays[name]
    if any(name.startswith("enc") for name in arrays):
        kept.update({name: arrays[name] for name in ("latent_semantic", "latent_acoustic", "all_codes")})
    return kept


def trim_speaker(arrays, row, full_size, longest):
    kept = {name: arrays[name] for name in SPEAKER}
    if "mfa" in arrays and not full_size:
        kept.update(arrays)
    if len(kept["mel"]) > LONG_MEL:
        del kept["mel"]
    return kept


TRIM = {
    "custom_voice": trim_tts,
    "voice_design": trim_tts,
    "base": trim_tts,
    "codec_decode": trim_codec_decode,
    "codec_encode": trim_codec_encode,
    "speaker": trim_speaker,
}


def share(kept, row, data, out):
    """Replace audio that a WAV file or the golden of the encoder holds by a note of where it is."""
    same = {}
    if row["kind"] == "codec_encode":
        wav = f"wavs/{row['wav']}.wav"
        raw, rate = soundfile.read(data / wav, dtype="float32")
        same["raw"] = wav
        row["raw_sr"] = rate
        if np.array_equal(raw, kept["input_values"]):
            same["input_values"] = wav
            del kept["input_values"]
    if row["kind"] == "speaker":
        raw, _ = soundfile.read(data / f"wavs/{row['wav']}.wav", dtype="float32")
        encoder = out / f"codec_encode_{row['wav']}.npz"
        if np.array_equal(raw, kept["audio24k"]):
            same["audio24k"] = f"wavs/{row['wav']}.wav"
        elif encoder.exists() and np.array_equal(np.load(encoder)["input_values"], kept["audio24k"]):
            same["audio24k"] = f"{encoder.name}:input_values"
        if same:
            del kept["audio24k"]
    if same:
        row["same_as"] = same


def trim_folder(source, out, data, skip):
    full_size = out.name.startswith("0.6b")
    rows = json.loads((source / "index.json").read_text(encoding="utf-8"))
    listed = {row["file"] for row in rows}
    for extra in sorted(p for p in source.glob("codec_*.npz") if p.name not in listed):
        rows.append({"kind": "codec_decode", "frames": len(np.load(extra)["codes"]), "file": extra.name})
    out.mkdir(parents=True, exist_ok=True)
    longest = max((row["frames"] for row in rows if row["kind"] == "codec_decode"), default=0)
    kept_rows = []
    for row in sorted(rows, key=lambda row: row["kind"] == "speaker"):
        if row["file"] in skip:
            continue
        arrays = dict(np.load(source / row["file"]))
        kept = TRIM[row["kind"]](arrays, row, full_size, longest)
        share(kept, row, data, out)
        np.savez_compressed(out / row["file"], **kept)
        kept_rows.append(row)
    text = json.dumps(kept_rows, ensure_ascii=False, indent=1)
    (out / "index.json").write_text(text + "\n", encoding="utf-8")


def main():
    source, data = Path(sys.argv[1]), Path(sys.argv[2])
    for folder in sorted(p for p in source.iterdir() if p.is_dir()):
        out = data / "goldens" / folder.name
        if (folder / "index.json").exists():
            # the codec of both full-size checkpoints is the same file
            codec_again = {p.name for p in folder.glob("codec_*.npz")} if folder.name == "0.6b-base" else set()
            trim_folder(folder, out, data, codec_again)
        else:
            out.mkdir(parents=True, exist_ok=True)
            for path in sorted(folder.iterdir()):
                shutil.copyfile(path, out / path.name)


if __name__ == "__main__":
    main()
