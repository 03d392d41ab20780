"""What a boot file declares on its command line, read from its source and never by running it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import ast
    from collections.abc import Iterable, Iterator

LONGEST_SOURCE = 4 * 1024 * 1024
_DECLARES = ("add_argument", "option", "argument")


class Declared(NamedTuple):
    """The options of a parser, and whether it refuses all others."""

    options: frozenset[str]
    strict: bool


def declared(source: bytes) -> Declared | None:
    """The options that the source declares; None when that cannot be told from it."""
    if b"parse_args" not in source:
        return None  # nothing here could refuse an argument
    import ast  # noqa: PLC0415 - only a boot file that may be strict pays for it
    import warnings  # noqa: PLC0415 - likewise

    if len(source) > LONGEST_SOURCE:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a bad escape in the user's file is the user's
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {_called(call) for call in calls}
    options = frozenset(option for call in calls for option in _options(call))
    if not options:
        return None
    return Declared(options, strict="parse_args" in names and "parse_known_args" not in names)


def undeclared(source: bytes, arguments: Iterable[str]) -> tuple[str, ...]:
    """The `--name` arguments that a strict boot file would refuse; empty where it is not strict or not to be told."""
    found = declared(source)
    if found is None or not found.strict:
        return ()
    names = [token[2:].partition("=")[0] for token in arguments if token.startswith("--")]
    return tuple(name for name in names if not any(option.startswith(name) for option in found.options))


def warning_for(boot_file: str, names: tuple[str, ...]) -> str:
    """One sentence about arguments that will end the boot file with code 2."""
    said = ", ".join(f"--{name}" for name in names)
    return (
        f"{boot_file.rpartition('/')[2]} parses its arguments strictly and declares no {said}; it will end with "
        f"'unrecognized arguments': declare them, or use parse_known_args()"
    )


def _called(call: ast.Call) -> str:
    """The last name of what is called."""
    return getattr(call.func, "attr", None) or getattr(call.func, "id", None) or ""


def _options(call: ast.Call) -> Iterator[str]:
    name = _called(call)
    texts = [value for argument in call.args if isinstance(value := getattr(argument, "value", None), str)]
    if name in _DECLARES:
        yield from (text[2:] for text in texts if text.startswith("--"))
    elif name.startswith("DEFINE_") and texts:
        yield texts[0]
