"""Describe the one C extension. Used by pip through BuildExt, and as a script
(`python build_native.py`) to build it in place for `make`."""

import sysconfig
from pathlib import Path

from cffi import FFI
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

FREE_THREADED = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))  # has no limited API

ffi = FFI()
# cffi reads plain declarations: the public header is written so that only its preprocessor lines must go.
header = Path("native/q3t.h").read_text(encoding="utf-8")
ffi.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
ffi.set_source(
    "qwen3tts_cli._native",
    '#include "q3t.h"',
    sources=sorted(str(path) for path in Path("native").rglob("*.c")),
    include_dirs=["native"],
    depends=sorted(str(path) for path in Path("native").rglob("*.h")),
    libraries=["m"],
    extra_compile_args=[
        "-std=c11",
        "-O3",
        "-pthread",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-ffp-contract=fast",
        "-fvisibility=hidden",
        "-Wall",
        "-Wextra",
    ],
    extra_link_args=["-pthread"],
    py_limited_api=not FREE_THREADED,
)


class BuildExt(build_ext):
    """build_ext with the extension above, since pyproject.toml cannot hold one that cffi makes."""

    def finalize_options(self):
        self.distribution.ext_modules = [ffi.distutils_extension(tmpdir="build/cffi", verbose=False)]
        super().finalize_options()

    def get_source_files(self):
        """What an sdist needs to build the extension; the file that cffi writes is made anew there."""
        kept = [path for path in super().get_source_files() if Path(path).parts[0] != "build"]
        return [*kept, *self.distribution.ext_modules[0].depends, "build_native.py"]


class BdistWheel(bdist_wheel):
    """One wheel for every CPython from 3.10, where the interpreter has the limited API."""

    def finalize_options(self):
        if not FREE_THREADED:
            self.py_limited_api = "cp310"
        super().finalize_options()


if __name__ == "__main__":
    import sys

    from setuptools import setup

    setup(script_args=[*sys.argv[1:], "build_ext", "--inplace"])
