# Builds for systems other than this one, by `zig cc` (PyPI: ziglang): each C file with -Werror, a shared library of the
# engine, and the check programs. tests/cross.sh runs what can run here.
ZIG = $(wildcard $(VENV)/lib/python*/site-packages/ziglang/zig)
CROSS_TARGETS = aarch64-macos x86_64-macos x86_64-linux-musl aarch64-linux-musl riscv64-linux-musl
export ZIG_GLOBAL_CACHE_DIR = $(CURDIR)/build/zig
export ZIG_LOCAL_CACHE_DIR = $(CURDIR)/build/zig

# target
define cross
$(call variant,cross/$(1),$$(ZIG) cc -target $(1),-O1 -g0 -fPIC -Werror)
$$(C:%.c=build/cross/$(1)/%.o) $$(CHECKS:%=build/cross/$(1)/tests/native/%.o): | $$(VENV)/dev
build/cross/$(1)/libq3t: $$(C:%.c=build/cross/$(1)/%.o)
	@$$(ZIG) cc -target $(1) -shared -o $$@ $$^ -lm
cross_compiled: build/cross/$(1)/libq3t build/cross/$(1)/all
endef
$(foreach target,$(CROSS_TARGETS),$(eval $(call cross,$(target))))

.PHONY: cross_compiled
