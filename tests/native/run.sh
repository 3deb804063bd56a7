#!/usr/bin/env bash
# run.sh FOLDER [ISA EMULATOR...]: run the check programs in FOLDER on the dumps in build/. EMULATOR is a command that runs a program
# of another processor; ISA is the instruction set that the engine must choose under it. Emulation is slow, so with EMULATOR only the
# kernels and a short session are checked.
set -euo pipefail
folder=$1
expected=(${2:+--expect "$2"})
session=build/session${2:+_short}.dump
for source in "$(dirname "$0")"/check_*.c; do
  check=$(basename "$source" .c)
  arguments=()
  case $check in
    check_kernels) arguments=(${expected[@]+"${expected[@]}"}) ;;
    check_session) arguments=(${expected[@]+"${expected[@]}"} "$session") ;;
    check_codec) arguments=(build/codec.dump) ;;
    check_cache | check_quiet | check_lifetime | check_step | check_append) arguments=("$session") ;;
  esac
  case $check in
    check_cache | check_codec | check_quiet | check_lifetime | check_session_decoder | check_step | check_append) [ $# -lt 3 ] || continue ;;
  esac
  echo "$folder/$check${3:+ on ${*:3}}"
  "${@:3}" "$folder/$check" ${arguments[@]+"${arguments[@]}"}
done
