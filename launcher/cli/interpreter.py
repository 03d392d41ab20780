"""The boot file's interpreter, asked once and by one short-lived child, for what it is and what it could load.

It is asked by a script that runs under Python 3.6 as well, and that imports none of the packages it tells of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.enginename import FRAMEWORKS, engine_name
from launcher.core.interpreter import MARK, Interpreter, told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.plan import Plan
    from launcher.protocols import Ask

LIMIT_S = 10.0
"""Its first start on a node reads files over a network, maybe."""

_SCRIPT = """
import json, platform, sys

def version_of(name):
    try:
        try:
            from importlib.metadata import version
        except ImportError:
            try:
                from importlib_metadata import version
            except ImportError:
                import pkg_resources
                return pkg_resources.get_distribution(name).version
        return version(name)
    except Exception:
        return None

def torch_text():
    try:
        from importlib.util import find_spec
        folder = list(find_spec("torch").submodule_search_locations)[0]
        with open(folder + "/version.py") as file:
            return file.read(4096)
    except Exception:
        return ""

def tags():
    try:
        from pip._vendor.packaging.tags import sys_tags
    except ImportError:
        try:
            from packaging.tags import sys_tags
        except ImportError:
            from pip._internal.pep425tags import get_supported
            return [(a + "-" + b, c) for a, b, c in get_supported()]
    return [(one.interpreter + "-" + one.abi, one.platform) for one in sys_tags()]

def compatible():
    groups, order = {}, []
    try:
        found = tags()
    except Exception:
        found = []
    for pair, place in found:
        if pair not in groups:
            groups[pair] = []
            order.append(pair)
        groups[pair].append(place)
    places, pairs = [], []
    for pair in order:
        if groups[pair] not in places:
            places.append(groups[pair])
        pairs.append((pair, places.index(groups[pair])))
    return places, pairs

places, pairs = compatible()
known = [(name, version_of(name)) for name in sys.argv[2:]]
sys.stdout.write("\\n" + sys.argv[1] + json.dumps({
    "python": platform.python_version(),
    "machine": platform.machine(),
    "packages": dict((name, version) for name, version in known if version),
    "torch": torch_text(),
    "platforms": places,
    "pairs": pairs,
}) + "\\n")
"""


def ask_interpreter(ask: Ask, interpreter: str, packages: Sequence[str]) -> Interpreter:
    """What an interpreter is, which of these packages it has, and which wheels it takes."""
    argv = (interpreter, "-B", "-c", _SCRIPT, MARK, *packages)
    return told(interpreter, ask(argv, LIMIT_S, {"PYTHONIOENCODING": "utf-8"}))


def interpreter_of(plan: Plan, environ: Mapping[str, str]) -> Interpreter | None:
    """The interpreter of a plan's boot file, asked in the launcher's environment; None where the plan names none."""
    from launcher.cli.asked import asked

    if plan.engine == "command":
        return None  # its own text decides what it starts
    packages = framework_packages(plan.processes[0].env.get("MA_ENGINE_VERSION"))
    with asked(environ) as ask:
        return ask_interpreter(ask, plan.interpreter, packages)


def framework_packages(version: str | None) -> tuple[str, ...]:
    """The packages that bring the frameworks which an engine's name names."""
    named = engine_name(version).frameworks
    return tuple(package for name, _ in named for package in FRAMEWORKS[name])
