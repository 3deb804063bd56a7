#!/usr/bin/env bash
# make_all_goldens.sh WORK: every golden from the checkpoints in WORK/ckpt into WORK/goldens, checked against np_ref.py,
# then the trimmed ones into tests/data.
set -euo pipefail
work=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python() { "$work/venv/bin/python" "$@"; }
data=$here/../data
python "$here/make_wavs.py" "$data/wavs"
for name in tiny-customvoice tiny-voicedesign tiny-base; do
  python "$here/make_goldens.py" --ckpt "$work/ckpt/$name" --out "$work/goldens/$name" --set tiny
done
for name in 0.6b-customvoice 0.6b-base; do
  python "$here/make_goldens.py" --ckpt "$work/ckpt/$name" --out "$work/goldens/$name" --set small
done
python "$here/make_chunk_golden.py" "$work/ckpt/0.6b-customvoice" "$work/goldens/0.6b-customvoice/codec_chunk_310.npz"
python "$here/make_goldens.py" --ckpt "$here/../../qwen3tts_cli/voices/pocket" --out "$work/goldens/pocket" \
  --cases "$here/pocket_cases.json" --speech-only
python "$here/make_goldens.py" --sampling --out "$work/goldens/sampling"
python "$here/make_goldens.py" --tokenizer "$work/ckpt/0.6b-customvoice" --tokenizer-small "$work/ckpt/tiny-base" \
  --out "$work/goldens/tokenizer"
for name in tiny-customvoice tiny-voicedesign tiny-base 0.6b-customvoice 0.6b-base; do
  python "$here/np_ref.py" "$work/ckpt/$name" "$work/goldens/$name"
done
python "$here/trim_goldens.py" "$work/goldens" "$data"
