#!/usr/bin/env bash
# run.sh FOLDER [ISA EMULATOR...]: the check programs of FOLDER on the dumps in build/. With EMULATOR, some thirty times
# slower: the kernels and a short session only, and ISA is the instruction set that must have been chosen there.
set -euo pipefail
folder=$1
expected=(${2:+--expect "$2"})
session=build/session${2:+_short}.dump
for source in "$(dirname "$0")"/check_*.c; do
  check=$(basename "$source" .c)
  case $check in
    check_session) arguments=(${expected[@]+"${expected[@]}"} "$session") ;;
    check_codec)
      [ $# -lt 3 ] || continue
      arguments=(build/codec.dump)
      ;;
    check_quiet | check_lifetime)
      [ $# -lt 3 ] || continue
      arguments=("$session")
      ;;
    check_kernels) arguments=(${expected[@]+"${expected[@]}"}) ;;
    *) arguments=() ;;
  esac
  echo "$folder/$check${3:+ on ${*:3}}"
  "${@:3}" "$folder/$check" ${arguments[@]+"${arguments[@]}"}
done
