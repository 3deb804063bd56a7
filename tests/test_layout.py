"""The rules of the source tree: sizes, import order, and what native code and comments may not contain."""

from __future__ import annotations

import ast
import importlib
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
C_FILES = sorted(NATIVE.rglob("*.c"))
H_FILES = sorted(NATIVE.rglob("*.h"))
PY_FILES = sorted(PACKAGE.rglob("*.py"))
MAX_C_LINES, MAX_PY_LINES, MAX_FUNCTION, MAX_KERNEL, MAX_FILES = 500, 300, 80, 120, 15

# The folders of native/ and of qwen3tts_cli/, from the lowest layer to the highest. A file may include or import files
# of its own folder and of folders further up in the list. q3t.h may be included everywhere.
NATIVE_LAYERS = [
    "base",
    "kernels",
    "pack",
    "checkpoint",
    "attention",
    "conv",
    "lm",
    "codec",
    "voice",
    "dsp",
    "speech",
    "probe",
]
LAYERS = [
    "errors",
    "common",
    "models",
    "text/english",
    "text",
    "books",
    "spoken_text",
    "engine",
    "packed",
    "audio",
    "cloning",
    "scheduling",
    "speech",
    "calibration",
    "output",
    "hearing",
    "narration",
    "serve",
    "bench",
    "check",
    "cli",
    "__main__",
]
INDEPENDENT = [
    {"lm", "codec", "voice"}
]  # folders of native/ that do not include each other, though the list has an order
FRONT = {"cli", "__main__"}
KERNEL_HEADERS = {"stddef.h", "stdint.h", "string.h", "math.h", "float.h", "immintrin.h", "arm_neon.h"}
ARCH = r"__x86_64__|__i386__|__aarch64__|__arm__|__AVX\w*__|__SSE\w*__|__FMA__|__F16C__|__ARM_\w+"
TEXT_SUFFIXES = {".c", ".h", ".py", ".pyi", ".js", ".css", ".html", ".sh", ".md", ".toml", ".json", ""}
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
    limit = MAX_KERNEL if native_layer(path) == "kernels" else MAX_FUNCTION
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


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.js")), ids=relative)
def test_javascript_sizes(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= MAX_PY_LINES
    assert max(map(len, lines)) <= 120


def native_layer(path: Path) -> str:
    return path.relative_to(NATIVE).parts[0]


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES], ids=relative)
def test_c_includes_follow_the_layers(path):
    text = path.read_text(encoding="utf-8")
    layer = native_layer(path)
    for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.MULTILINE):
        assert (NATIVE / name).is_file(), f"{name}: includes are relative to native/"
        if name == "q3t.h":
            continue
        other = native_layer(NATIVE / name)
        assert NATIVE_LAYERS.index(other) <= NATIVE_LAYERS.index(layer), f"includes {name}"
        assert other == layer or not any({layer, other} <= group for group in INDEPENDENT), f"includes {name}"
    if layer == "kernels":
        assert set(re.findall(r"^\s*#\s*include\s+<([^>]+)>", text, re.MULTILINE)) <= KERNEL_HEADERS


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES], ids=relative)
def test_architecture_is_asked_for_in_few_places(path):
    text = path.read_text(encoding="utf-8")
    conditions = [line for line in re.findall(r"^\s*#\s*(?:el)?if.*", text, re.MULTILINE) if re.search(ARCH, line)]
    if path.relative_to(NATIVE).as_posix() in ("base/cpu.c", "base/target.h", "kernels/table.c"):
        return
    assert len(conditions) <= (path != NATIVE / "q3t.h" and native_layer(path) == "kernels"), conditions


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


def module_of(path: Path) -> str:
    """A file of the package as a dotted name below qwen3tts_cli; "" for its __init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def exists(module: str) -> bool:
    path = PACKAGE.joinpath(*module.split("."))
    return module == "_native" or path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


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
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("qwen3tts_cli.") for a in node.names if a.name.startswith("qwen3tts_cli.")}
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                parents = path.relative_to(PACKAGE).parts[: -node.level]
                base = ".".join([*parents, *(node.module or "").split(".")]).strip(".")
            elif (node.module or "").split(".")[0] == "qwen3tts_cli":
                base = node.module.removeprefix("qwen3tts_cli").strip(".")
            else:
                continue
            inner = {f"{base}.{alias.name}".strip(".") for alias in node.names}
            found |= {module if exists(module) else base for module in inner} - {""}
    return found


def test_attributes_of_modules_exist():
    """A name of another module that is wrong would show only when the line runs, perhaps where errors are ignored."""
    missing = []
    for path in PY_FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        package = ["qwen3tts_cli", *path.relative_to(PACKAGE).parts[:-1]]
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
                for alias in node.names:
                    name = ".".join(filter(None, [*base, alias.name]))
                    if exists(name.removeprefix("qwen3tts_cli.")):
                        modules[alias.asname or alias.name] = importlib.import_module(name)
        missing += [
            f"{relative(path)}:{node.lineno}: {node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
            if not hasattr(modules[node.value.id], node.attr)
        ]
    assert not missing


def layer_of(module: str) -> str:
    """The folder of a module, or the module itself where it lies beside the folders."""
    if module.startswith("text.english"):
        return "text/english"
    return module.split(".")[0]


@pytest.mark.parametrize("path", PY_FILES, ids=relative)
def test_python_imports_follow_the_layers(path):
    module = module_of(path)
    if not module:
        return  # the package itself looks its public names up when they are asked for
    layer = layer_of(module)
    assert layer in LAYERS, f"add {layer} to LAYERS"
    for name in imports_of(path) - {"_native"}:
        assert LAYERS.index(layer_of(name)) <= LAYERS.index(layer), f"imports {name}"


def test_no_import_cycles():
    """Also none of imports inside functions."""
    graph = {module_of(path): imports_of(path) - {"_native"} for path in PY_FILES if module_of(path)}
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " -> ".join((*path, module))
        if module not in done:
            for name in graph.get(module, ()):
                visit(name, (*path, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_no_c_include_cycles():
    graph = {
        relative(path): re.findall(r'^\s*#\s*include\s+"([^"]+)"', path.read_text(encoding="utf-8"), re.MULTILINE)
        for path in H_FILES
    }
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in done:
            for header in graph[name]:
                visit(f"native/{header}", (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_no_folder_is_crowded():
    counts: dict[Path, int] = {}
    for path in [*C_FILES, *H_FILES, *PY_FILES, *PACKAGE.rglob("*.pyi")]:
        counts[path.parent] = counts.get(path.parent, 0) + 1
    crowded = {relative(folder): n for folder, n in counts.items() if n > MAX_FILES}
    assert not crowded, f"more than {MAX_FILES} files"


@pytest.mark.parametrize("path", [*C_FILES, *H_FILES, *PY_FILES], ids=relative)
def test_no_file_repeats_the_name_of_its_folder(path):
    folder = path.parent.name
    assert not path.stem.startswith(folder) or path.parent.parent == ROOT


@pytest.mark.parametrize("path", PY_FILES, ids=relative)
def test_only_the_command_line_prints_and_exits(path):
    if layer_of(module_of(path)) in FRONT:
        return
    calls = {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
    }
    assert not calls & {"print", "exit", "quit", "sys.exit", "os._exit"}
    assert not {call for call in calls if call.startswith("click.")}


def test_only_the_engine_imports_native():
    importers = {layer_of(module_of(path)) for path in PY_FILES if "_native" in imports_of(path)}
    assert importers == {"engine"}


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
