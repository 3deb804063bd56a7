#!/usr/bin/env bash
# emulated.sh: the native checks on CPUs that this machine is not: x86-64 without AVX-512, and aarch64.
# build/check and build/aarch64 hold the programs. What cannot run is named; under CI=true that is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
  echo "emulated: skipped $1"
  [ "${CI:-}" != true ] || { echo "emulated: nothing may be skipped under CI=true" >&2; exit 1; }
}

if [ "$(uname -s)" != Linux ] || [ "$(uname -m)" != x86_64 ]; then
  echo "emulated: skipped: this is no x86-64 Linux"
  exit 0
fi
# without what qemu would warn that it has not
haswell=Haswell,-pcid,-x2apic,-tsc-deadline,-hle,-rtm,-invpcid
if command -v qemu-x86_64 >/dev/null; then
  tests/native/run.sh build/check avx2 qemu-x86_64 -cpu "$haswell"
else
  skip "x86-64 Haswell: qemu-x86_64 is missing (Debian: qemu-user)"
fi
if ! command -v qemu-aarch64 >/dev/null; then
  skip "aarch64: qemu-aarch64 is missing (Debian: qemu-user)"
elif ! command -v "$CROSS" >/dev/null; then
  skip "aarch64: $CROSS is missing (Debian: gcc-aarch64-linux-gnu libc6-dev-arm64-cross)"
else
  "${MAKE:-make}" -s build/aarch64/all
  tests/native/run.sh build/aarch64 neon qemu-aarch64 -cpu cortex-a57
  tests/native/run.sh build/aarch64 neon_bf16 qemu-aarch64 -cpu max
fi
