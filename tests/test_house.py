"""The rules of the house that ruff, mypy and import-linter cannot see: size, names, purity, what is imported where."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = sorted((ROOT / "launcher").rglob("*.py"))
CORE = [path for path in PACKAGE if "core" in path.parts]
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if path != Path(__file__)]
DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))

DRAWERS = {"utils", "util", "helper", "helpers", "common", "base", "misc", "manager", "managers", "data", "info"}

# What values are made of; all else is I/O, a clock, chance or the environment until shown otherwise.
PURE = {
    "__future__", "bisect", "codecs", "collections", "decimal", "difflib", "enum", "errno", "functools", "hashlib",
    "io", "itertools", "json", "math", "msgspec", "operator", "posixpath", "re", "shlex", "string", "types", "typing",
    "unicodedata", "zlib",
}  # fmt: skip
# Of these two the core may use words and numbers, nothing that acts.
PURE_PARTS = {"os": re.compile(r"strerror|EX_[A-Z]+"), "signal": re.compile(r"SIG[A-Z0-9]+|Signals|strsignal")}
# Pure too, but they cost milliseconds: only inside the function that needs them, or in a module that is itself late.
PURE_LATE = {"ast", "ipaddress", "urllib.parse", "warnings", "yaml"}
LATE_ROOM = "launcher/adapters/study"
"""All of it stands on Optuna, and is imported by a search alone."""
LATE_MODULES = {"launcher/core/parse/yaml_loader.py", "launcher/study.py"} | {
    name for path in PACKAGE if (name := str(path.relative_to(ROOT))).startswith(LATE_ROOM)
}
IMPURE_BUILTINS = {"open", "print", "input", "exec", "eval", "breakpoint", "__import__"}

# Each costs milliseconds of every start, so none stands at the top of a module that is not late.
HEAVY = {
    "ast", "asyncio", "boto3", "botocore", "concurrent", "concurrent.futures", "ctypes", "dataclasses", "docker",
    "bayes_opt", "email", "http", "http.client", "hyperopt", "importlib.metadata", "importlib.resources", "inspect",
    "jsonschema", "kubernetes", "multiprocessing", "numpy", "obstore", "optuna", "pathlib", "plotly", "psutil",
    "psycopg", "pynvml", "regex", "shutil", "sklearn", "sqlalchemy", "tempfile", "urllib.request", "uuid", "yaml",
}  # fmt: skip

STARTS_CHILDREN = {"subprocess", "multiprocessing", "pty"}
REAPS = {
    "fork", "forkpty", "popen", "posix_spawn", "posix_spawnp", "system", "wait", "wait3", "wait4", "waitid", "waitpid",
}  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
            names.update(
                f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in HEAVY
            )
    return names


def executed(node: ast.AST, *, into_functions: bool) -> Iterator[ast.AST]:
    """Everything that runs: not what stands under `if TYPE_CHECKING`, and functions only when asked for."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not into_functions:
            continue
        yield child
        yield from executed(child, into_functions=into_functions)


def top_imports(path: Path) -> set[str]:
    return imported(executed(tree_of(path), into_functions=False))


def all_imports(path: Path) -> set[str]:
    return imported(executed(tree_of(path), into_functions=True))


def outside(names: set[str], allowed: set[str]) -> set[str]:
    return {
        name
        for name in names
        if not name.startswith("launcher.core") and name not in allowed and name.partition(".")[0] not in allowed
    }


def parts_used(path: Path, module: str) -> set[str]:
    """What is taken of a module: `module.name` and `from module import name`."""
    names: set[str] = set()
    for node in executed(tree_of(path), into_functions=True):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == module:
            names.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == module:
            names.update(alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_imports_only_what_values_are_made_of(path: Path) -> None:
    at_the_top = PURE | PURE_PARTS.keys() | (PURE_LATE if name_of(path) in LATE_MODULES else set())
    assert outside(top_imports(path), at_the_top) == set()
    assert outside(all_imports(path), at_the_top | PURE_LATE) == set()
    for module, pure in PURE_PARTS.items():
        assert {name for name in parts_used(path, module) if not pure.fullmatch(name)} == set()


@pytest.mark.parametrize("path", CORE, ids=name_of)
def test_the_core_touches_nothing(path: Path) -> None:
    calls = (node.func for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert {call.id for call in calls if isinstance(call, ast.Name)} & IMPURE_BUILTINS == set()


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_nothing_heavy_is_imported_before_it_is_used(path: Path) -> None:
    if name_of(path) not in LATE_MODULES:
        assert top_imports(path) & HEAVY == set()


def test_late_modules_are_imported_late() -> None:
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in LATE_MODULES}
    others = [path for path in PACKAGE if name_of(path) not in LATE_MODULES]
    assert [name_of(path) for path in others if top_imports(path) & names] == []


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_only_the_process_adapter_starts_and_reaps_children(path: Path) -> None:
    if not name_of(path).startswith("launcher/adapters/process"):
        assert all_imports(path) & STARTS_CHILDREN == set()
        assert parts_used(path, "os") & REAPS == set()


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_only_the_command_line_reads_the_environment(path: Path) -> None:
    if "cli" not in path.parts:
        assert parts_used(path, "os") & {"environ", "environb", "getenv", "putenv", "unsetenv"} == set()


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300
    functions = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    assert [f.name for f in functions if (f.end_lineno or f.lineno) - f.lineno + 1 > 50] == []


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_no_module_is_a_drawer(path: Path) -> None:
    assert not set(path.relative_to(ROOT).with_suffix("").parts) & DRAWERS


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_a_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(tree_of(path)) or not path.read_text(encoding="utf-8").strip()


@pytest.mark.parametrize("path", PACKAGE, ids=name_of)
def test_argv_never_passes_through_a_shell(path: Path) -> None:
    keywords = (node for node in ast.walk(tree_of(path)) if isinstance(node, ast.keyword))
    assert not any(keyword.arg == "shell" and ast.unparse(keyword.value) == "True" for keyword in keywords)


@pytest.mark.parametrize("path", TESTS, ids=name_of)
def test_tests_patch_nothing_and_wait_for_facts(path: Path) -> None:
    calls = (ast.unparse(node.func) for node in ast.walk(tree_of(path)) if isinstance(node, ast.Call))
    assert {
        call
        for call in calls
        if re.search(r"(^|\.)(mock\.patch|patch\.object)|monkeypatch\.setattr|^time\.sleep$", call)
    } == set()


@pytest.mark.parametrize("path", DECISIONS, ids=name_of)
def test_a_decision_fits_on_a_page_and_has_its_three_parts(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 60
    assert text.startswith(f"# {path.name[:3]} ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence"]


def test_decisions_are_numbered_without_gaps() -> None:
    assert [int(path.name[:3]) for path in DECISIONS] == list(range(1, len(DECISIONS) + 1))
