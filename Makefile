# Everything from a clean clone: `make say TEXT="Hello."`, `make test`. No target needs root.
PYTHON ?= python3
VENV ?= .venv
TEXT ?= Hello from two cores.
FUZZ_SECONDS ?= 60
CROSS ?= aarch64-linux-gnu-gcc
PY = $(VENV)/bin/python
export CC PIP_DISABLE_PIP_VERSION_CHECK = 1

C := $(sort $(shell find native -name "*.c"))
H := $(sort $(shell find native tests/native -name "*.h"))
CHECKS = $(patsubst tests/native/%.c,%,$(wildcard tests/native/check_*.c))
WARN = -Wall -Wextra -Wshadow -Wvla -Wstrict-prototypes
MATHS = -fno-math-errno -fno-trapping-math -ffp-contract=fast
BASE = -std=c11 -g -pthread $(MATHS) $(WARN) -Inative -Itests/native
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
DUMPS = build/session.dump build/session_short.dump build/codec.dump
EMULATED = $(shell [ "$$(uname -sm)" = "Linux x86_64" ] && command -v qemu-aarch64 >/dev/null && \
  command -v $(CROSS) >/dev/null && echo build/aarch64/all)

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

build: build/native.stamp ## set up .venv and compile the engine in place

say: build/native.stamp ## speak TEXT="..." into say.wav
	@SAY_TEXT="$$SAY_TEXT" $(PY) -m qwen3tts_cli say -o say.wav -- "$$SAY_TEXT"
	@echo "$(CURDIR)/say.wav"
say: export SAY_TEXT = $(value TEXT)

test: ## native checks, emulated CPUs, packaging, then pytest
	+@$(on_all_cores) compiled
	@$(MAKE) --no-print-directory check
	+@$(on_all_cores) qemu packaging
	@$(PY) -m pytest -q

# What can be made side by side is, also where make was not asked to; what measures time runs by itself.
CORES = $(shell nproc 2>/dev/null || getconf _NPROCESSORS_ONLN)
on_all_cores = $(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(CORES)) \
  $(if $(filter output-sync,$(.FEATURES)),--output-sync=line)
compiled: build/check/all $(DUMPS) $(VENV)/dev $(EMULATED)
packaging: build/native.stamp
	@tests/packaging.sh $(PY) short

lint: $(VENV)/dev $(DUMPS) ## ruff, strict C warnings, other systems, layout rules
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(CC) -fsyntax-only -Werror $(BASE) $(C) $(wildcard tests/native/*.c)
	+@$(on_all_cores) cross_compiled
	@tests/cross.sh
	@$(PY) -m pytest -q tests/test_layout.py

# ---- set up: one line that names what is missing, then the virtual environment
say_missing = { echo "make: $(1)" >&2; exit 1; }
$(VENV)/installed: pyproject.toml
	@command -v $(PYTHON) >/dev/null || $(call say_missing,$(PYTHON) is missing: install Python 3.10 or later (Debian: python3))
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  $(call say_missing,$(PYTHON) is older than 3.10: name another$(comma) as in make PYTHON=python3.12)
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  $(call say_missing,the venv module of $(PYTHON) is missing (Debian: python3-venv))
	@$(PYTHON) -c 'import os, sys, sysconfig; sys.exit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' || \
	  $(call say_missing,the headers of $(PYTHON) are missing: no Python.h (Debian: python3-dev))
	@command -v $(firstword $(CC)) >/dev/null || \
	  $(call say_missing,the C compiler $(CC) is missing (Debian: gcc libc6-dev; macOS: xcode-select --install))
	@echo '#include <stdio.h>' | $(CC) -E -x c - >/dev/null 2>&1 || \
	  $(call say_missing,the C library headers are missing: $(CC) finds no stdio.h (Debian: libc6-dev))
	@echo "setting up $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install -q "setuptools>=77" "cffi>=1.17"
	@$(PY) -m pip install -q --no-build-isolation -e .
	@touch $@
comma = ,

# the packages of an extra, without compiling the engine again for `pip install .[dev]`
$(VENV)/dev $(VENV)/wheels: $(VENV)/installed
	@$(PY) -m pip install -q $$($(PY) -c 'from importlib.metadata import requires; \
	  print(*(r.split(";")[0].replace(" ", "") for r in requires("qwen3tts-cli") if "extra ==" in r and "$(@F)" in r.split(";")[1]))')
	@touch $@

# installing compiled it too: compile only what is newer than that
build/native.stamp: $(VENV)/installed build_native.py $(C) $(H)
	@if [ -n "$$(find native build_native.py -newer $(VENV)/installed | head -n 1)" ] || ! ls qwen3tts_cli/_native*.so >/dev/null 2>&1; \
	  then $(PY) -W ignore build_native.py -q >/dev/null; fi
	@mkdir -p build && touch $@

# ---- native checks: each tests/native/check_*.c with the whole engine, in several builds
# variant,compiler,flags
define variant
build/$(1)/%.o: %.c $$(H) Makefile
	@mkdir -p $$(@D)
	@$(2) $(BASE) $(3) -c -o $$@ $$<
build/$(1)/check_%: build/$(1)/tests/native/check_%.o $$(C:%.c=build/$(1)/%.o)
	@$(2) $(BASE) $(3) -o $$@ $$^ -lm
build/$(1)/all: $$(CHECKS:%=build/$(1)/%)
.PHONY: build/$(1)/all
.SECONDARY: $$(C:%.c=build/$(1)/%.o) $$(CHECKS:%=build/$(1)/tests/native/%.o)
endef
$(eval $(call variant,check,$$(CC),-O3))
$(eval $(call variant,asan,$$(CC),-O1 $$(SANITIZE)))
$(eval $(call variant,tsan,$$(CC),-O1 -fsanitize=thread))
$(eval $(call variant,aarch64,$$(CROSS),-O3 -static -DCHECK_STATIC))

build/session.dump: tests/native/make_dump.py tests/helpers.py build/native.stamp
	@PYTHONPATH=tests $(PY) tests/native/make_dump.py $@
build/session_short.dump: build/session.dump
	@PYTHONPATH=tests $(PY) tests/native/make_dump.py $@ special_in_text_ns
build/codec.dump: tests/native/dump_codec.py native/q3t.h build/native.stamp
	@$(PY) tests/native/dump_codec.py tests/data/checkpoints/tiny-base/speech_tokenizer \
	  tests/data/goldens/tiny-base/codec_decode.npz $@

include tests/cross.mk

check: build/check/all $(DUMPS) ## native checks
	@tests/native/run.sh build/check

wheels: $(VENV)/wheels ## sdist and wheels for Linux into dist/, and whether they install and speak
	@./build_wheels.sh $(PY)
	@tests/packaging.sh $(PY) wheels

asan: build/asan/all $(DUMPS) $(VENV)/dev ## native checks and pytest under ASan and UBSan
	@ASAN_OPTIONS=detect_leaks=1 tests/native/run.sh build/asan
	@tests/asan.sh $(PY) build/asan/tree "$(SANITIZE)"

tsan: build/tsan/all $(DUMPS) ## native checks under ThreadSanitizer
	@TSAN_OPTIONS=halt_on_error=1 tests/native/run.sh build/tsan

qemu: build/check/all $(DUMPS) ## lower x86 CPUs and aarch64, emulated
	@MAKE="$(MAKE)" CROSS="$(CROSS)" tests/emulated.sh

fuzz: $(VENV)/dev build/native.stamp ## mutated model files into the parsers for FUZZ_SECONDS
	@$(PY) -m pytest -q tests/fuzz --fuzz-seconds $(FUZZ_SECONDS)

soak: $(VENV)/dev build/native.stamp ## the long tests: packaging in fresh environments, whole books
	@tests/packaging.sh $(PY) full
	@$(PY) -m pytest -q -m soak

parity: $(VENV)/dev build/native.stamp ## full-size checkpoints (needs torch, 10 GB of disk) against the reference
	@CHECKPOINTS_ONLY=1 PYTHON=$(PYTHON) tests/reference/setup_env.sh build/parity
	@tests/reference/make_all_ckpt.sh build/parity 0.6b-customvoice 0.6b-base 1.7b-customvoice
	@$(PY) -m pytest -q tests/parity --full-size build/parity/ckpt

bench: build/native.stamp build/check/check_kernels ## timings of the kernels; the tables of bench/RESULTS.md, measured anew
	@build/check/check_kernels --bench
	@$(PY) bench/record.py

clean: ## remove everything that make made
	rm -rf build dist *.egg-info qwen3tts_cli/*.so say.wav $(VENV)

.PHONY: compiled packaging help build say test lint wheels check asan tsan qemu fuzz soak parity bench clean
.DEFAULT_GOAL := help
