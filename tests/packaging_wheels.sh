# packaging_wheels.sh: sourced by packaging.sh for its form `wheels`. What cannot run is named; under CI=true that is a
# failure. Needs the package index.
TESTED=(test_parity.py test_same_bytes.py test_encoders.py test_precision.py test_packed_bytes.py)

skip() {
  echo "packaging: skipped $1"
  [ "${CI:-}" != true ] || fail "nothing may be skipped under CI=true"
}

wheel_of() { # wheel_of ARCHITECTURE: its path in dist/
  local found=("$root"/dist/*-abi3-*"_$1.whl")
  [ -e "${found[0]}" ] || fail "dist/ holds no wheel for $1: make wheels"
  echo "${found[0]}"
}

check_native() { # check_native ARCHITECTURE: the wheel runs on this system as it is
  local wheel env=$work/env-wheel
  wheel=$(wheel_of "$1")
  "$python" -m venv "$env"
  "$env/bin/python" -m pip install -q --only-binary=:all: "$wheel" pytest hypothesis || fail "$wheel: pip install failed"
  (
    export PATH=$env/bin # no compiler, and nothing else
    ! command -v cc gcc clang || fail "a compiler is in the way"
    speaks "$env" "$wheel"
    cd "$work/suite"
    python -c 'import sys, qwen3tts_cli; sys.exit(not qwen3tts_cli.__file__.startswith(sys.prefix))' || fail "the package is not the wheel's"
    python -m pytest -q -p no:cacheprovider "${TESTED[@]/#/tests/}"
  ) || fail "$wheel: the tests fail"
  if [ "$(kernels_text "$env/bin/python")" = "$(kernels_text "$python")" ]; then
    (cd "$root" && "$python" -m qwen3tts_cli say -q --seed 1 -o "$work/source.wav" "Hello.")
    cmp "$work/source.wav" "$work/hello.wav" || fail "$wheel: other bytes than the build from source, with the same kernels' text"
  fi
  echo "packaging: $(basename "$wheel") speaks and passes ${TESTED[*]}"
}

kernels_text() { # kernels_text PYTHON
  (cd "$work" && "$1" -c 'import qwen3tts_cli.engine.cpu; print(qwen3tts_cli.engine.cpu.kernels_text())')
}

apt_arm64() { # apt_arm64 ARGUMENTS of apt-get...: with package lists and a cache of its own, as any user
  local apt=$work/apt
  mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
  apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State="$apt" -o Dir::State::lists="$apt/lists" \
    -o Dir::State::status=/dev/null -o Dir::Cache="$apt/cache" -o APT::Sandbox::User=root -o Debug::NoLocking=1 "$@" >"$work/apt.log" 2>&1
}

check_aarch64_emulated() { # the aarch64 wheel on Debian's Python for arm64, under qemu
  local wheel qemu site=$work/site tree=$work/arm64 version platforms=()
  wheel=$(wheel_of aarch64)
  command -v qemu-aarch64 >/dev/null || { skip "the aarch64 wheel: qemu-aarch64 is missing (Debian: qemu-user)"; return; }
  if ! { command -v apt-get dpkg && apt_arm64 update && apt_arm64 -y -d --no-install-recommends install python3 libstdc++6; } >/dev/null; then
    skip "the aarch64 wheel: no Python for arm64 can be had from apt-get"
    return
  fi
  for package in "$work"/apt/cache/archives/*.deb; do dpkg -x "$package" "$tree"; done
  qemu=(qemu-aarch64 -L "$tree" "$tree/usr/bin/python3")
  version=$("${qemu[@]}" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  for minor in 17 24 26 27 28 31 34; do platforms+=(--platform "manylinux_2_${minor}_aarch64"); done
  "$python" -m pip install -q --target "$site" --only-binary=:all: --implementation cp --python-version "$version" "${platforms[@]}" "$wheel" pytest ||
    fail "$wheel: pip install failed"
  (
    export PYTHONPATH=$site HOME=$work/home
    cd "$work"
    [ "$("${qemu[@]}" -c 'import platform; print(platform.machine())')" = aarch64 ] || fail "that is no aarch64"
    "${qemu[@]}" -m qwen3tts_cli doctor | grep -q 'linear_f32' || fail "$wheel: doctor failed"
    "${qemu[@]}" -m qwen3tts_cli say -q --seed 1 -o hello-aarch64.wav "Hi." && [ -s hello-aarch64.wav ] || fail "$wheel: qwen3tts say failed"
    cd "$work/suite"
    "${qemu[@]}" -m pytest -q -p no:cacheprovider tests/test_packed_bytes.py || fail "$wheel: the tests fail"
  ) || exit 1
  echo "packaging: $(basename "$wheel") speaks under qemu"
}

if [ "$(uname -s)" != Linux ]; then
  skip "the wheels: they are for Linux"
else
  mkdir "$work/suite"
  cp -R "$root/pyproject.toml" "$root/tests" "$work/suite"
  check_native "$(uname -m)"
  [ "$(uname -m)" = aarch64 ] || check_aarch64_emulated
fi
