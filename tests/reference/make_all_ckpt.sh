#!/usr/bin/env bash
# make_all_ckpt.sh WORK [NAME...]: the checkpoints that the goldens were made with, into WORK/ckpt (all of them without NAME).
set -euo pipefail
work=$1
shift
here=$(cd "$(dirname "$0")" && pwd)
make_checkpoint() { "$work/venv/bin/python" "$here/make_checkpoint.py" --tiktoken "$work/qwen.tiktoken" "$@"; }
codec=()
for name in "${@:-tiny-customvoice tiny-base tiny-voicedesign 0.6b-customvoice 0.6b-base}"; do
  for one in $name; do
    out=$work/ckpt/$one
    [ -e "$out/model.safetensors" ] && continue
    codec=()
    [ "$one" = 0.6b-base ] && [ -e "$work/ckpt/0.6b-customvoice" ] && codec=(--codec-from "$work/ckpt/0.6b-customvoice")
    case $one in
      tiny-customvoice) make_checkpoint --size tiny --type custom_voice --seed 1 --out "$out" ;;
      tiny-base) make_checkpoint --size tiny --type base --seed 2 --out "$out" ;;
      tiny-voicedesign) make_checkpoint --size tiny --type voice_design --seed 3 --out "$out" ;;
      0.6b-customvoice) make_checkpoint --size 0.6b --type custom_voice --seed 10 --out "$out" ;;
      0.6b-base) make_checkpoint --size 0.6b --type base --seed 11 --out "$out" ${codec[@]+"${codec[@]}"} ;;
      1.7b-customvoice) make_checkpoint --size 1.7b --type custom_voice --seed 12 --out "$out" ;;
      *) echo "make_all_ckpt.sh: no checkpoint is called $one" >&2; exit 2 ;;
    esac
  done
done
