"""What is secret, by name or by value, and how it is masked where something leaves the node (contract: "secrets")."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, AnyStr

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from launcher.core.plan import Plan, Process

MASK = "******"
SHORTEST = 8
"""A secret by name has at least this many characters; `token=512` is a number of tokens."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_SECRET_WORDS = frozenset({"password", "passwd", "secret", "token", "credential"})
_KEY_OWNERS = frozenset({"access", "secret", "api", "private"})
_LIKELY = ("pass", "secret", "token", "credential", "key")
"""What a name must hold at all: most names end here."""

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_ASSIGNED = re.compile(r"""([A-Za-z_][A-Za-z0-9_-]*)=['"]?([^\s;&|'"]+)""")
_FOLLOWED = re.compile(r"""--([A-Za-z_][A-Za-z0-9_-]*)\s+['"]?([^\s;&|'"]+)""")
"""In a command's own text: `TOKEN=…`, `--api_key=…` and `--api_key …`."""
_URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)(?=@)")


def is_secret(name: str, value: str) -> bool:
    """Whether an option or a variable of this name and value is a secret."""
    lower = name.lower()
    if len(value) < SHORTEST or not any(word in lower for word in _LIKELY) or _NUMBER.fullmatch(value):
        return False
    words = [word.lower() for word in _WORD.findall(name)]
    if words[-1] in _SECRET_WORDS or words[-1].removesuffix("s") in _SECRET_WORDS:
        return True
    return words[-1] == "key" and len(words) > 1 and words[-2] in _KEY_OWNERS


def secret_values(options: Iterable[tuple[str, str]], known: Iterable[str] = ()) -> tuple[str, ...]:
    """Every secret value among named ones, and the store's own; longest first, so that none hides inside another."""
    found = {value for name, value in options if is_secret(name, value)}
    found.update(value for value in known if len(value) >= SHORTEST)
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def plan_secrets(plan: Plan, known: Iterable[str] = ()) -> tuple[str, ...]:
    """The known secrets, and those that a plan's own arguments and variables hold."""
    options: list[tuple[str, str]] = []
    for process in plan.processes:
        options += process.env.items()
        options += [split for split in map(_option, process.argv) if split]
        for text in (token for token in process.argv if " " in token):
            options += _ASSIGNED.findall(text) + _FOLLOWED.findall(text)
    return secret_values(options, known)


def mask(text: str, secrets: Sequence[str]) -> str:
    """The text without secret values and without passwords inside URLs."""
    at, pieces = 0, []
    for start, end in _spans(text, secrets):
        pieces += [text[at:start], MASK]
        at = end
    text = "".join((*pieces, text[at:])) if pieces else text
    return _URL_PASSWORD.sub(rf"\1:{MASK}", text) if "://" in text else text


def mask_argv(argv: Sequence[str], secrets: Sequence[str] = ()) -> tuple[str, ...]:
    """An argv with the values of secret options masked."""
    return tuple(_mask_option(token, secrets) for token in argv)


def mask_env(env: Mapping[str, str], secrets: Sequence[str] = ()) -> dict[str, str]:
    """An environment with the values of secret variables masked."""
    return {name: MASK if is_secret(name, value) else mask(value, secrets) for name, value in env.items()}


def redact(plan: Plan, known: Iterable[str] = ()) -> Plan:
    """The plan as it may be shown and stored."""
    secrets = plan_secrets(plan, known)
    return msgspec.structs.replace(plan, processes=tuple(_redact_process(each, secrets) for each in plan.processes))


def masked(value: Any, secrets: Sequence[str]) -> Any:
    """A plain value with every text in it masked."""
    if isinstance(value, str):
        return mask(value, secrets)
    if isinstance(value, dict):
        return {key: masked(item, secrets) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [masked(item, secrets) for item in value]
    return value


def to_json(value: Any, secrets: Sequence[str] = ()) -> bytes:
    """Any record as an indented JSON document, masked; text that is no Unicode (an odd file name) is escaped."""
    plain = masked(msgspec.to_builtins(value), secrets)
    return json.dumps(plain, ensure_ascii=False, indent=1).encode(errors="backslashreplace") + b"\n"


def mask_chunks(chunks: Iterable[bytes], secrets: Sequence[bytes]) -> Iterator[bytes]:
    """A byte stream with every secret masked, also one that lies across chunks.

    The end of each chunk is held back, shorter than the longest secret: only there could a secret still go on.
    """
    if not secrets:
        yield from chunks
        return
    held = max(map(len, secrets)) - 1
    rest = b""
    for chunk in chunks:
        text = rest + chunk
        masked_text, at = _masked_to(text, max(len(text) - held, 0), secrets)
        rest = text[at:]
        if masked_text:
            yield masked_text
    masked_text, _ = _masked_to(rest, len(rest), secrets)
    if masked_text:
        yield masked_text


def _masked_to(text: bytes, edge: int, secrets: Sequence[bytes]) -> tuple[bytes, int]:
    """The text masked up to the edge, and to the end of a secret that begins before it; how far that is."""
    at, pieces = 0, []
    for start, end in _spans(text, secrets):
        if start >= edge:
            break
        pieces += [text[at:start], MASK.encode()]
        at = end
    pieces.append(text[at:edge])
    return b"".join(pieces), max(at, edge)


def _spans(text: AnyStr, secrets: Sequence[AnyStr]) -> list[tuple[int, int]]:
    """Where secrets lie, those that overlap as one, in their order."""
    found = []
    for secret in secrets:
        at = text.find(secret)
        while at >= 0:
            found.append((at, at + len(secret)))
            at = text.find(secret, at + 1)
    spans: list[tuple[int, int]] = []
    for start, end in sorted(found):
        if spans and start < spans[-1][1]:
            spans[-1] = spans[-1][0], max(spans[-1][1], end)
        else:
            spans.append((start, end))
    return spans


def _redact_process(process: Process, secrets: Sequence[str]) -> Process:
    return msgspec.structs.replace(
        process,
        argv=mask_argv(process.argv, secrets),
        env=mask_env(process.env, secrets),
    )


def _option(token: str) -> tuple[str, str] | None:
    """`--name=value` as its two parts."""
    if not token.startswith("--"):
        return None
    name, mark, value = token[2:].partition("=")
    return (name, value) if mark else None


def _mask_option(token: str, secrets: Sequence[str]) -> str:
    option = _option(token)
    if option and is_secret(*option):
        return f"--{option[0]}={MASK}"
    return mask(token, secrets)
