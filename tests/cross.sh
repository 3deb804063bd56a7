#!/usr/bin/env bash
# cross.sh: the native checks of the musl builds in build/cross: of this machine's architecture all, of others those that
# are short under qemu. What cannot run is named; under CI=true that is a failure. The builds for macOS are linked only.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "cross: skipped $1"
  [ "${CI:-}" != true ] || { echo "cross: nothing may be skipped under CI=true" >&2; exit 1; }
}

if [ "$(uname -s)" != Linux ]; then
  echo "cross: skipped: the programs are for Linux"
  exit 0
fi
run() { # run ARCHITECTURE ISA QEMU ARGUMENTS...
  local folder=build/cross/$1-linux-musl
  if [ "$(uname -m)" = "$1" ]; then
    tests/native/run.sh "$folder"
  elif command -v "$3" >/dev/null; then
    tests/native/run.sh "$folder" "${@:2}"
  else
    skip "$1: $3 is missing (Debian: qemu-user)"
  fi
}
run x86_64 avx2 qemu-x86_64
log=$(mktemp)
trap 'rm -f "$log"' EXIT
run riscv64 scalar qemu-riscv64 >"$log" 2>&1 &
run aarch64 neon qemu-aarch64 -cpu cortex-a57
status=0
wait $! || status=1
cat "$log"
exit "$status"
