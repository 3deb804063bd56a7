#!/usr/bin/env bash
# setup_env.sh WORK: WORK/venv with the official qwen_tts package on torch, and the vocabulary WORK/qwen.tiktoken.
# CHECKPOINTS_ONLY=1 installs what make_checkpoint.py needs and no more.
set -euo pipefail
work=$1
mkdir -p "$work"
[ -x "$work/venv/bin/python" ] || "${PYTHON:-python3}" -m venv "$work/venv"
pip() { "$work/venv/bin/python" -m pip --disable-pip-version-check -q "$@"; }
pip install torch==2.13.0 numpy safetensors packaging
if [ -z "${CHECKPOINTS_ONLY:-}" ]; then
  pip install --no-deps qwen-tts==0.1.1
  pip install transformers==4.57.3 accelerate==1.12.0 librosa soundfile einops onnxruntime regex
  # qwen_tts imports sox and torchaudio at start and uses neither here
  site=$("$work/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  mkdir -p "$site/torchaudio/compliance"
  for module in sox torchaudio/__init__ torchaudio/compliance/__init__ torchaudio/compliance/kaldi; do
    [ -e "$site/$module.py" ] || echo '# empty on purpose' > "$site/$module.py"
  done
fi
if [ ! -e "$work/qwen.tiktoken" ]; then
  # the text vocabulary is a file of this package's wheel
  pip download --no-deps -d "$work/download" dashscope
  "$work/venv/bin/python" - "$work" <<'EOF'
import glob, sys, zipfile
work = sys.argv[1]
with zipfile.ZipFile(glob.glob(work + "/download/dashscope-*.whl")[0]) as wheel, open(work + "/qwen.tiktoken", "wb") as out:
    out.write(wheel.read("dashscope/resources/qwen.tiktoken"))
EOF
fi
