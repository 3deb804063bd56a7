#!/usr/bin/env bash
# emulated.sh: the native checks on CPUs that this machine is not: x86-64 without AVX-512, and aarch64.
# CHECKS, DUMP, CROSS and MAKE come from the Makefile. What cannot run is named; under CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "emulated: skipped $1"
  [ "${CI:-}" != true ] || { echo "emulated: not allowed under CI=true" >&2; exit 1; }
}

on_cpu() { # on_cpu EMULATOR CPU ISA FOLDER
  for check in $CHECKS; do
    echo "emulated: $2: $check"
    "$1" -cpu "$2" "$4/$check" --expect "$3" "$DUMP"
  done
}

if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; then
  echo "emulated: skipped: this is no x86-64 Linux"
  exit 0
fi
if command -v qemu-x86_64 >/dev/null; then
  on_cpu qemu-x86_64 Haswell avx2 build/check
else
  skip "x86-64 Haswell: qemu-x86_64 is missing (Debian: qemu-user)"
fi
if ! command -v qemu-aarch64 >/dev/null; then
  skip "aarch64: qemu-aarch64 is missing (Debian: qemu-user)"
elif ! command -v "$CROSS" >/dev/null; then
  skip "aarch64: $CROSS is missing (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
else
  "$MAKE" -s CROSS="$CROSS" $(for check in $CHECKS; do echo "build/aarch64/$check"; done)
  on_cpu qemu-aarch64 cortex-a57 neon build/aarch64
  on_cpu qemu-aarch64 max neon_bf16 build/aarch64
fi
