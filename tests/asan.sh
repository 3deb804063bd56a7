#!/usr/bin/env bash
# asan.sh PYTHON TREE FLAGS [PYTEST ARGUMENT...]: the Python tests on an extension compiled with the sanitizer FLAGS.
# It is built in a copy of the repository at TREE, so that the ordinary build stays as it is.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$root" && cd "$(dirname "$1")" && pwd)/$(basename "$1")
cc=${CC:-cc}
runtime=$($cc -print-file-name=libasan.so)
if [ ! -e "$runtime" ]; then
  runtime=$($cc -print-file-name="libclang_rt.asan-$(uname -m).so")
  [ -e "$runtime" ] || { echo "asan: $cc has no shared ASan runtime (Debian: gcc, or clang with libclang-rt-dev)" >&2; exit 1; }
  set -- "$1" "$2" "$3 -shared-libasan" "${@:4}"
fi
rm -rf "$2"
mkdir -p "$2"
tree=$(cd "$2" && pwd)
cd "$root"
tar cf - --exclude '*.so' --exclude '*.o' --exclude __pycache__ CHANGELOG.md CONTRIBUTING.md LICENSE MANIFEST.in Makefile README.md bench \
  build_native.py docs native pyproject.toml qwen3tts_cli tests | (cd "$tree" && tar xf -)
cd "$tree"
CFLAGS="$3 -O2 -g -fno-omit-frame-pointer" LDFLAGS="$3" "$python" -W ignore build_native.py -q
# ASan looks for the C++ runtime when it starts, and Matplotlib, which throws, brings it later
cxx=$($cc -print-file-name=libstdc++.so.6)
[ ! -e "$cxx" ] || runtime="$runtime $cxx"
# Python itself leaks at exit and its small-object allocator would hide an overrun of an array
export PYTHONPATH=$tree PYTHONMALLOC=malloc LD_PRELOAD=$runtime
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
exec "$python" -m pytest -q -p no:cacheprovider "${@:4}"
