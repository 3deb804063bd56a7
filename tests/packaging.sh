#!/usr/bin/env bash
# packaging.sh PYTHON short|full|wheels: does the package build and install as its users do it?
#   short: sdist -> wheel -> a fresh environment that borrows the dependencies of PYTHON's; no network.
#   full:  `pip install .`, an editable install, the sdist and the wheel, each in an environment of its own, and the
#          wheel on every python3.10 and later that is there.
#   wheels: those of `make wheels` in dist/: in a fresh environment without a compiler and without the repository, where
#          they speak and pass tests of parity; the other architecture's under qemu, on a Python of Debian's.
# Works on a copy, so that nothing of an earlier build gets in.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(cd "$root" && cd "$(dirname "$1")" && pwd)/$(basename "$1")
form=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "packaging: $1" >&2
  exit 1
}

copy_tree() { # what a clean checkout holds of the package, without compiled files
  mkdir "$1"
  (cd "$root" && tar cf - --exclude '*.so' --exclude '*.o' --exclude __pycache__ LICENSE MANIFEST.in README.md build_native.py \
    native pyproject.toml qwen3tts_cli tests/helpers.py) | (cd "$1" && tar xf -)
}

backend() { # backend FOLDER HOOK: the file that a hook of setuptools' build backend makes in $work
  (cd "$1" && "$python" -W ignore - "$2" "$work") <<'EOF'
import contextlib, os, sys
from setuptools import build_meta
hook, out = sys.argv[1:]
with open(os.path.join(out, "log"), "w") as log, contextlib.redirect_stdout(log):
    saved = os.dup(1), os.dup(2)  # the compiler writes there too
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    name = getattr(build_meta, hook)(out)
    os.dup2(saved[0], 1)
    os.dup2(saved[1], 2)
print(os.path.join(out, name))
EOF
}

speaks() { # speaks ENV NAME: the installed command works outside the repository
  (cd "$work" && : >hello.wav && "$1/bin/qwen3tts" say -q --seed 1 -o hello.wav "Hello." && [ -s hello.wav ]) ||
    fail "$2: qwen3tts say failed"
  (cd "$work" && "$1/bin/python" -c 'import qwen3tts_cli; qwen3tts_cli.Synthesizer') || fail "$2: no Synthesizer in the package"
}

if [ "$form" = wheels ]; then
  . "$root/tests/packaging_wheels.sh"
  exit 0
fi

copy_tree "$work/tree"
sdist=$(backend "$work/tree" build_sdist) || fail "build_sdist failed: $(cat "$work/log")"
mkdir "$work/unpacked"
tar xzf "$sdist" -C "$work/unpacked"
unpacked=$(echo "$work"/unpacked/*)
for file in $(cd "$work/tree" && find native qwen3tts_cli build_native.py -type f ! -name '*.so'); do
  [ -e "$unpacked/$file" ] || fail "$(basename "$sdist"): $file is missing"
done
[ ! -e "$unpacked/tests" ] || fail "$(basename "$sdist"): holds tests"
wheel=$(backend "$unpacked" build_wheel) || fail "build_wheel from the sdist failed: $(cat "$work/log")"
"$python" - "$wheel" "$work/tree" <<'EOF' || fail "$(basename "$wheel"): wrong contents"
import sys, sysconfig, zipfile
from pathlib import Path
wheel, tree = Path(sys.argv[1]), Path(sys.argv[2])
names = set(zipfile.ZipFile(wheel).namelist())
package = {p.relative_to(tree).as_posix() for p in (tree / "qwen3tts_cli").rglob("*") if p.is_file()}
extra = {n for n in names if ".dist-info/" not in n} - package - {n for n in names if "/_native." in n}
if package - names or extra:
    sys.exit(f"missing {sorted(package - names)}, not wanted {sorted(extra)}")
if not sysconfig.get_config_var("Py_GIL_DISABLED") and "-cp310-abi3-" not in wheel.name:
    sys.exit(f"{wheel.name} is no abi3 wheel")
EOF

if [ "$form" = short ]; then
  "$python" -m venv "$work/env"
  "$work/env/bin/python" -m pip install -q --no-index --no-deps "$wheel"
  borrowed=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  echo "$borrowed" >"$("$work/env/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
  speaks "$work/env" "$(basename "$wheel")"
  echo "packaging: sdist and wheel are complete and speak"
  exit 0
fi

in_new_env() { # in_new_env PYTHON NAME ARGUMENTS OF pip install...
  local env=$work/env-$2
  "$1" -m venv "$env"
  "$env/bin/python" -m pip install -q "${@:3}" || fail "$2: pip install failed"
  speaks "$env" "$2"
  echo "packaging: $2 installs and speaks"
  rm -rf "$env"
}
copy_tree "$work/plain"
in_new_env "$python" plain "$work/plain"
copy_tree "$work/editable"
in_new_env "$python" editable -e "$work/editable"
in_new_env "$python" sdist "$sdist"
for version in 3.10 3.11 3.12 3.13 3.14; do
  "python$version" -c 'import venv, ensurepip' 2>/dev/null && in_new_env "python$version" "wheel-on-$version" "$wheel"
done
echo "packaging: done"
