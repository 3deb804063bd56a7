"""The rules of the house, as tests: sizes, who includes whom, what native code and comments may not hold."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import ROOT

NATIVE = ROOT / "native"
PACKAGE = ROOT / "qwen3tts_cli"
C_FILES = sorted([*NATIVE.glob("*.c"), *NATIVE.glob("kernels/*.c")])
H_FILES = sorted(NATIVE.rglob("*.h"))
PY_FILES = sorted(PACKAGE.rglob("*.py"))
MAX_C_LINES, MAX_PY_LINES, MAX_FUNCTION, MAX_KERNEL = 500, 300, 80, 120

# Rows of native/: a file includes headers of rows further left only, or of its own family (codec_conv.c, codec.h).
# Files of one row may include each other where `True` says so.
C_ROWS = [
    ({"q3t", "status", "arena", "cpu", "warm", "clock"}, True),
    ({"kernels"}, True),
    ({"pool", "quant"}, False),
    ({"weights"}, False),
    ({"sample", "probe"}, False),
    ({"layers", "convs"}, False),
    ({"talker", "predictor", "codec", "speaker", "encoder"}, False),
    ({"model", "decoder"}, False),
    ({"stage"}, False),
    ({"session"}, False),
    ({"step"}, False),
    ({"api"}, False),
]
# Rows of qwen3tts_cli/, in the same sense; a family is a subpackage or what stands before the first underscore.
PY_ROWS = [
    {"cgroups"},
    {"errors", "filekinds", "memory", "places", "replace", "signals", "threads"},
    {"lifetime"},
    {"reader"},
    {"jsonfile", "pcm", "guard", "hub", "outputs", "play", "records", "settings"},
    {"arguments", "audio", "config", "bpe", "safetensors", "sinks", "pull", "text"},
    {"languages", "tokenizer", "weights", "voicefile"},
    {"engine", "prompt", "voicestore"},
    {"checkpoint", "cloning", "codec"},
    {"pipeline", "packed", "synthetic"},
    {"synthesizer"},
    {"bench", "options"},
    {"commands", "server"},
    {"cli"},
    {"__main__"},
]
FRONT = {"cli", "commands", "options", "server", "__main__"}
KERNEL_HEADERS = {"stddef.h", "stdint.h", "string.h", "math.h", "float.h", "immintrin.h", "arm_neon.h"}
ARCH = r"__x86_64__|__i386__|__aarch64__|__arm__|__AVX\w*__|__SSE\w*__|__FMA__|__F16C__|__ARM_\w+"
TEXT_SUFFIXES = {".c", ".h", ".py", ".pyi", ".sh", ".md", ".toml", ".json", ""}
SKIPPED_FOLDERS = {"build", "dist", "data", "voices", "__pycache__"}


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def without_comments(text: str) -> str:
    """C text with comments, strings and preprocessor lines blanked, lines kept."""
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:[^\n\\]|\\.|\\\n)*'
    blank = re.compile(pattern, re.DOTALL | re.MULTILINE)
    return blank.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def c_functions(text: str):
    """(name, first line, last line) of each function definition."""
    text = without_comments(text)
    depth = start = 0
    header = None
    for match in re.finditer(r"[{};]", text):
        at, mark = match.start(), match.group()
        if mark == "{":
            if depth == 0:
                header = text[start:at]
            depth += 1
        elif mark == "}":
            depth -= 1
            if depth == 0 and header is not None and header.rstrip().endswith(")"):
                first = text.count("\n", 0, start + len(header) - len(header.lstrip())) + 1
                name = re.search(r"(\w+)\s*\([^()]*(?:\([^()]*\)[^()]*)*\)\s*$", header)
                yield name.group(1) if name else "?", first, text.count("\n", 0, at) + 1
        if depth == 0:
            start = match.end()


def text_files():
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and (name[0] != "." or name == ".ci")]
        folders[:] = [name for name in folders if not name.endswith(".egg-info")]
        names = [name for name in sorted(files) if name != ".git"]  # in a worktree: a file with its path
        yield from (Path(folder, name) for name in names if Path(name).suffix in TEXT_SUFFIXES)


def test_the_function_parser_sees_functions():
    text = 'int f(int a) {\n  char *s = "}";\n  if (a) { /* { */ }\n}\nstatic M(g)\n{\n}\n'
    text += "int t[] = { 1 };\nstruct s { int a; };\n"
    assert [(first, last) for _, first, last in c_functions(text)] == [(1, 4), (5, 7)]


@pytest.mark.parametrize("path", C_FILES, ids=relative)
def test_c_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_C_LINES
    limit = MAX_KERNEL if path.parent.name == "kernels" else MAX_FUNCTION
    long = [f"{name} {last - first + 1}" for name, first, last in c_functions(text) if last - first + 1 > limit]
    assert not long, f"functions over {limit} lines"


@pytest.mark.parametrize("path", PY_FILES, ids=relative)
def test_python_sizes(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_PY_LINES
    long = [
        f"{node.name} {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno - node.lineno >= MAX_FUNCTION
    ]
    assert not long, f"functions over {MAX_FUNCTION} lines"


def row_of(path: Path) -> tuple[int, str]:
    family = "kernels" if path.parent.name == "kernels" else path.stem.split("_")[0]
    rows = [number for number, (families, _) in enumerate(C_ROWS) if family in families]
    assert rows, f"{relative(path)}: add {family} to a row of C_ROWS"
    return rows[0], family


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES], ids=relative)
def test_c_includes_go_one_way(path):
    row, family = row_of(path)
    text = path.read_text(encoding="utf-8")
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
        header = next(p for p in (path.parent / name, NATIVE / name) if p.exists()).resolve()
        other, other_family = row_of(header)
        assert other < row or other_family == family or (other == row and C_ROWS[row][1]), f"includes {name}"
    if family == "kernels" and path.parent.name == "kernels":
        assert set(re.findall(r"^\s*#\s*include\s+<([^>]+)>", text, re.MULTILINE)) <= KERNEL_HEADERS


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES], ids=relative)
def test_architecture_is_asked_for_in_few_places(path):
    text = path.read_text(encoding="utf-8")
    conditions = [line for line in re.findall(r"^\s*#\s*(?:el)?if.*", text, re.MULTILINE) if re.search(ARCH, line)]
    if path.name in ("cpu.c", "kernels.c", "target.h"):
        return
    assert len(conditions) <= (path.parent.name == "kernels"), conditions


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES], ids=relative)
def test_native_code_stays_silent(path):
    text = without_comments(path.read_text(encoding="utf-8"))
    calls = r"\b(v?f?printf|f?puts|f?putc|putchar|perror|exit|_exit|abort|getenv|setenv|system|signal)\s*\("
    assert not re.findall(calls, text)


def test_native_objects_have_no_mutable_state():
    """Sections of the objects that `make check` leaves; nm would mistake const tables of pointers for state."""
    objects = sorted((ROOT / "build/check/native").rglob("*.o"))
    if not objects or sys.platform != "linux":
        pytest.skip("no objects of `make check` here")
    if shutil.which("size") is None:
        pytest.skip("no `size` here")
    sections = subprocess.run(["size", "-A", *objects], capture_output=True, text=True, check=True).stdout
    full = re.findall(r"^(\.(?:data|bss|tdata|tbss)(?!\.rel\.ro)\S*)\s+([1-9]\d*)", sections, re.MULTILINE)
    assert not full


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a file imports, at its top or inside functions; `if TYPE_CHECKING` does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only or not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        if isinstance(node, ast.ImportFrom) and (node.level or (node.module or "").startswith("qwen3tts_cli")):
            module = (node.module or "").removeprefix("qwen3tts_cli").strip(".")
            found |= {module.split(".")[0]} if module else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {n.name.split(".")[1] for n in node.names if n.name.startswith("qwen3tts_cli.")}
    return {
        name for name in found if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name).is_dir() or name == "_native"
    }


def family_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return first if first.startswith("_") else first.split("_")[0]


@pytest.mark.parametrize("path", PY_FILES, ids=relative)
def test_python_imports_go_one_way(path):
    family = family_of(path)
    if family == "__init__":
        return
    rows = {name: number for number, names in enumerate(PY_ROWS) for name in names}
    assert family in rows, f"add {family} to a row of PY_ROWS"
    names = {name.split("_")[0] for name in imports_of(path) - {"_native"}}
    assert not {name for name in names if name != family and rows[name] >= rows[family]}


@pytest.mark.parametrize("path", PY_FILES, ids=relative)
def test_only_the_front_prints_and_exits(path):
    if family_of(path) in FRONT:
        return
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert not calls & {"print", "exit", "quit", "sys.exit", "os._exit"}
    assert not {call for call in calls if call.startswith("click.")}


def test_only_the_engine_imports_native():
    importers = {path.stem for path in PY_FILES if "_native" in imports_of(path)}
    kinds = ("audio", "codec", "cpu", "native", "pack", "probe", "warm")
    known = {"engine", *(f"engine_{kind}" for kind in kinds)}
    assert importers <= known


def test_the_stub_lists_the_functions_of_the_header():
    header = without_comments((NATIVE / "q3t.h").read_text(encoding="utf-8"))
    stub = (PACKAGE / "_native.pyi").read_text(encoding="utf-8")
    assert set(re.findall(r"\b(q3t_\w+)\(", header)) == set(re.findall(r"def (q3t_\w+)\(", stub))


def test_no_leftovers():
    marks = re.compile("|".join([r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bXX" + r"X\b", r"\.\./" + "shared"]))
    paths = re.compile(r"(?<![\w.~])/(?:work|home|root|Users)/\w")
    found = []
    for path in text_files():
        text = path.read_text(encoding="utf-8", errors="replace")
        found += [f"{relative(path)}: {match.group()}" for match in marks.finditer(text)]
        if path != Path(__file__).resolve():
            found += [f"{relative(path)}: {match.group()}..." for match in paths.finditer(text)]
    assert not found
