"""What is secret, by name or by value, and how it is masked where something leaves the node (contract: "secrets")."""

from __future__ import annotations

import json
import re
from itertools import islice
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
_PAIR = re.compile(r"""["']([\w-]{1,256})\\*["']\s*:\s*\\*["']([^"']+)""")
_BETWEEN = re.compile(r"""([\s;&|'"]+)""")
_LONGEST_NAME, _MOST_MARKS = 256, 256
"""Characters of a name, and `=` of one word, that are looked at: a long text must not cost its square."""
_READ = r"(?!\$[\w{(])"
"""What a shell puts in from elsewhere is no secret."""
_URL = (
    r"://(?:[^/\s:@]{0,255}:([^/\s@]{1,4096})"
    rf"|(?:(?<=(?i:http)://)|(?<=(?i:https)://)){_READ}([^/\s:@?#\"'<>\\]{{1,4096}}))(?=@)"
)
_MEMBER_NAME = r"(?:amp;)?(?:[Xx]-(?:[Aa]mz|[Oo]bs)-)?(?:[Ss]ignature|[Ss]ecurity-[Tt]oken)="
_MEMBER = rf"[?&]{_MEMBER_NAME}{_READ}([^?&\s\"'<>\\]{{{SHORTEST},4096}})"
_IN_MEMBERS = ("ignature=", "ecurity-")
_URL_PARTS = (((), re.compile(_URL, re.ASCII)), (_IN_MEMBERS, re.compile(_MEMBER, re.ASCII)))
_URL_PARTS_BYTES = (
    ((), re.compile(_URL.encode())),
    (tuple(each.encode() for each in _IN_MEMBERS), re.compile(_MEMBER.encode())),
)
"""A URL's password, or a token in its place; what signs a URL. Each is bounded, so that a stream need hold back little,
and begins with what `re` finds fastest, or is sought only where a text holds one of a few words."""
_URL_UNDECIDED = re.compile(rb"://(?:[^/\s:@]{0,255}:[^/\s@]{0,4096}|[^/\s:@]{0,4096})\Z")
_MEMBER_UNDECIDED = re.compile(
    rf"[?&](?:[A-Za-z;-]{{0,32}}|{_MEMBER_NAME}[^?&\s\"'<>\\]{{0,4096}})\Z".encode(),
)
_SCHEME_BYTES, _URL_BYTES, _MEMBER_BYTES = len("https"), 3 + 255 + 1 + 4096, 1 + 32 + 4096


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
            options += assigned(text)
    return secret_values(options, known)


def written_secrets(text: str) -> tuple[str, ...]:
    """What a script's own text holds of secrets."""
    return secret_values(assigned(text))


def assigned(text: str) -> Iterator[tuple[str, str]]:
    """What a text assigns, as `NAME=value`, `--name=value`, `--set=name=value`, `--name value` and in JSON."""
    yield from _PAIR.findall(text)
    if "=" not in text and "--" not in text:
        return
    parts = [*_BETWEEN.split(text), "", ""]
    for word, between, following in zip(parts[::2], parts[1::2], parts[2::2], strict=False):
        for mark in islice(re.finditer("=", word), _MOST_MARKS):
            name = word[max(mark.start() - _LONGEST_NAME, 0) : mark.start()].rpartition("=")[2]
            quoted = following if between and not between.strip("'\"") else ""  # TOKEN='…'
            yield name.lstrip("-"), word[mark.end() :] or quoted
        if word.startswith("--") and "=" not in word and not between.strip("'\" \t\r\n"):
            yield word[2 : 2 + _LONGEST_NAME], following


def mask(text: str, secrets: Sequence[str]) -> str:
    """The text without secret values, and without what opens a place inside a URL: passwords, tokens, signatures."""
    at, pieces = 0, []
    for start, end in _spans(text, secrets, _URL_PARTS):
        pieces += [text[at:start], MASK]
        at = end
    return "".join((*pieces, text[at:])) if pieces else text


def mask_argv(argv: Sequence[str], secrets: Sequence[str] = ()) -> tuple[str, ...]:
    """An argv with the values of secret options masked."""
    return tuple(_mask_option(token, secrets) for token in argv)


def mask_env(env: Mapping[str, str], secrets: Sequence[str] = ()) -> dict[str, str]:
    """An environment with the values of secret variables masked."""
    return {name: MASK if is_secret(name, value) else mask(value, secrets) for name, value in env.items()}


def redact(plan: Plan, known: Iterable[str] = ()) -> Plan:
    """The plan as it may be shown and stored."""
    secrets = plan_secrets(plan, known)
    meeting = plan.rendezvous and msgspec.structs.replace(plan.rendezvous, nonce=MASK)
    processes = tuple(_redact_process(each, secrets) for each in plan.processes)
    return msgspec.structs.replace(plan, processes=processes, rendezvous=meeting)


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


def spellings(secrets: Iterable[str]) -> tuple[str, ...]:
    """The secrets as they may stand in what a program says: as they are, by line, as Python's repr, as JSON."""
    found: dict[str, None] = {}
    for secret in secrets:
        for spelt in (
            secret,
            repr(secret)[1:-1],
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
        ):
            found[spelt] = None
    return by_line(found)


def by_line(secrets: Iterable[AnyStr]) -> tuple[AnyStr, ...]:
    """The secrets, and each line of those that have several: what a log puts between two lines makes none readable."""
    found: dict[AnyStr, None] = {}
    for secret in secrets:
        found[secret] = None
        found.update((line, None) for line in secret.splitlines() if len(line) >= SHORTEST)
    return tuple(found)


def mask_chunks(chunks: Iterable[bytes], secrets: Sequence[bytes]) -> Iterator[bytes]:
    """A byte stream as `mask` would give it, also where a secret or a URL lies across chunks.

    What could still become one is held back: the end of each chunk, shorter than the longest secret, and a URL whose
    password may not have ended.
    """
    held = max((2, *(len(secret) - 1 for secret in secrets)))  # two bytes may be the begin of "://"
    text, done = b"", 0
    for chunk in chunks:
        text += chunk
        edge = _edge(text, held)
        masked_text, at = _masked_to(text, done, edge, secrets)
        if masked_text:
            yield masked_text
        start = _context(text, edge)
        text, done = text[start:], at - start
    masked_text, _ = _masked_to(text, done, len(text), secrets)
    if masked_text:
        yield masked_text


def _edge(text: bytes, held: int) -> int:
    """Up to where it is known which secrets begin, whatever comes next."""
    edge = max(len(text) - held, 0)
    url, member = _marks(text, len(text), len(text))
    if url >= 0 and _URL_UNDECIDED.match(text, url):
        edge = min(edge, url)
    return min(edge, member) if member >= 0 and _MEMBER_UNDECIDED.match(text, member) else edge


def _context(text: bytes, edge: int) -> int:
    """From where on what was given out still says what follows: from the last URL's scheme, and its last member."""
    first = min(each if each >= 0 else edge for each in _marks(text, edge, edge + 2))
    return max(min(first, edge) - _SCHEME_BYTES, 0)


def _marks(text: bytes, edge: int, end: int) -> tuple[int, int]:
    """Where the last URL and the last member of one begin that may go on behind an edge; -1: there is none."""
    lowest = max(edge - _MEMBER_BYTES, 0)
    member = max(text.rfind(b"?", lowest, edge), text.rfind(b"&", lowest, edge))
    return text.rfind(b"://", max(edge - _URL_BYTES, 0), end), member


def _masked_to(text: bytes, done: int, edge: int, secrets: Sequence[bytes]) -> tuple[bytes, int]:
    """The text from `done` on, masked up to the edge and to the end of a secret that begins before it; how far that is.

    One that begins before `done` was given out as masked; it may go on.
    """
    at, pieces = done, []
    for start, end in _spans(text, secrets, _URL_PARTS_BYTES):
        if start >= max(edge, at):
            break
        if start >= at:
            pieces += [text[at:start], MASK.encode()]
        at = max(at, end)
    pieces.append(text[at:edge])
    return b"".join(pieces), max(at, edge)


def _spans(
    text: AnyStr, secrets: Sequence[AnyStr], urls: Sequence[tuple[Sequence[AnyStr], re.Pattern[AnyStr]]]
) -> list[tuple[int, int]]:
    """Where secrets lie, also those inside URLs, those that overlap as one, in their order."""
    found = [
        url.span(url.lastindex or 0)
        for words, pattern in urls
        if not words or any(word in text for word in words)
        for url in pattern.finditer(text)
    ]
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
