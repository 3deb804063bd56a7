#!/usr/bin/env bash
# run.sh FOLDER [ISA [EMULATOR...]]: every check program of FOLDER on the dumps in build/, through EMULATOR if there is
# one; ISA is the instruction set that must have been chosen there.
set -euo pipefail
folder=$1
expected=(${2:+--expect "$2"})
for source in "$(dirname "$0")"/check_*.c; do
  check=$(basename "$source" .c)
  case $check in
    check_session) arguments=(${expected[@]+"${expected[@]}"} build/session.dump) ;;
    check_codec) arguments=(build/codec.dump) ;;
    check_kernels) arguments=(${expected[@]+"${expected[@]}"}) ;;
    *) arguments=() ;;
  esac
  echo "$folder/$check${3:+ on ${*:3}}"
  "${@:3}" "$folder/$check" ${arguments[@]+"${arguments[@]}"}
done
