"""From what a store, or a file system that stands for one, answered to a `StoreError` that says what to do next.

One classifier for every engine, so that the same cause has the same code and exit code whoever noticed it. It reads
texts and numbers only, and never lets a signature, a token or the query of a URL into a message.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from launcher.core.errors import Exit, StoreError
from launcher.core.storeverdicts import BY_CODE, BY_STATUS, BY_TEXT, VERDICTS

if TYPE_CHECKING:
    from collections.abc import Callable

Operation = Literal["list", "look up", "read", "write", "delete"]


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came back. `foreign`: a body that no object store writes; `symptom`: a slug where no answer came at all."""

    status: int | None = None
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    region: str | None = None
    sent_at: str | None = None
    store_time: str | None = None
    foreign: bool = False
    symptom: str | None = None


# What the engines write where no answer of the store came through; the first that fits is taken.
_SYMPTOMS = (
    ("authorities", r"No CA certificates were loaded"),
    ("tls", r"InvalidContentType|WRONG_VERSION_NUMBER|record layer failure|InvalidMessage\("),
    ("certificate", r"InvalidCertificate|UnknownIssuer|CERTIFICATE_VERIFY_FAILED|NotValidForName|certificate"),
    ("dns", r"dns error|failed to lookup|Name or service not known|NameResolutionError|Failed to resolve"),
    (
        "refused",
        r"ConnectionRefused|Connection refused|NetworkUnreachable|HostUnreachable|No route to host|unreachable",
    ),
    ("timeout", r"TimedOut|timed out|kind: Timeout|Timeout"),
    ("listing", r"PaginationError"),
    ("unranged", r"NotPartial|non-partial response|UnexpectedRange|Content-Range|CONTENT_RANGE|NoContentRange"),
    ("odd", r"invalid path|InvalidPath|Could not parse path"),
    ("region", r"BareRedirect|redirect without LOCATION|following redirect"),
    (
        "endpoint",
        r"MissingEtag|ETag Header missing|Header missing from response|InvalidListResponse|ListParse|not well",
    ),
    ("refused", r"EndpointConnectionError|tcp connect error|kind: Connect\b"),
    ("broken", r"ConnectionReset|reset by peer|IncompleteBody|IncompleteMessage|UnexpectedEof|body error|Broken pipe"),
    ("broken", r"kind: Interrupted|kind: Decode|ConnectionClosedError|IncompleteRead|ResponseStreamingError"),
)
_UNHEARD = {"dns", "refused", "timeout", "silent", "proxy"}
_SERVER_ERRORS = 500
_ENOSPC, _EROFS, _EDQUOT = 28, 30, 122  # of Linux
_TRIES = {"store-unreachable": 3, "store-busy": 10, "store-broken": 9, "store-listing": 2, "store-renewed": 2}
"""How often a request is made at most. What is not here is told at once: it cannot get better by itself.

Nine of those that broke off: of the eight connections that a run begins with the server may have closed every one.
"""
UNREACHABLE, BROKEN = "store-unreachable", "store-broken"
OUTAGES = frozenset({"store-busy", UNREACHABLE})
"""What a store as a whole answers: one that is known is waited for by time and not by tries, for it comes back."""
AWAY = OUTAGES | {BROKEN}
"""What a store that is away may look like: one that breaks off may be, if nothing else comes through either."""
_REACH_PATIENCE = 10.0
_PATIENCE = 20.0
_WAIT = 0.5
_LONGEST_WAIT, _LONGEST_SLOW_WAIT = 8.0, 20.0
_UNSEEN = re.compile(r"[?&][A-Za-z0-9_-]*(?:signature|token|credential|accesskeyid|secret)[^\s&\"']*", re.IGNORECASE)


def read_answer(text: str) -> Answer:
    """Read an engine's own words for a failure: status, the XML's code, message and request id, or the symptom."""
    told, _, source = text.partition("\n\nDebug source:")
    status = re.search(r"status code: (\d{3})", told) or re.search(r"Response \{\s+status: (\d{3})", source)
    body = re.search(r"(?:status code: \d{3}[^:]*|error response): ?(.*)", told, re.DOTALL)
    if status is None and body is None:
        return Answer(symptom=_symptom(text))
    content = body[1].strip() if body else ""
    return Answer(
        status=int(status[1]) if status else None,
        code=_element("Code", content),
        message=_element("Message", content),
        request_id=_element("RequestId", content),
        region=_element("Region", content) or _element("Endpoint", content),
        sent_at=_element("RequestTime", content),
        store_time=_element("ServerTime", content),
        foreign=bool(content) and "<Error" not in content,
        symptom="plain" if re.search(r"HTTPS (?:server|port)", content) else None,
    )


def store_fault(operation: Operation, url: str, answer: Answer, *, endpoint: str, proxy: str = "") -> StoreError:
    """Tell what went wrong with one request: `url` is obs://bucket/key, never the URL that was asked.

    `proxy` is what stands between; where nothing answered, it is the proxy that did not.
    """
    kind = _classify(answer)
    verdict = VERDICTS["proxy" if proxy and kind in _UNHEARD else kind]
    sentence = verdict.sentence
    if verdict is VERDICTS["proxy"]:
        sentence += f" {shown(proxy)}"
    if verdict.slug in {"store-unreachable", "store-endpoint", "store-certificate", "store-region"}:
        sentence += f" ({shown(endpoint)})"
    if answer.region:
        sentence += f", which is {answer.region}"
    if answer.sent_at and answer.store_time:
        sentence += f": the request is of {answer.sent_at}, the store has {answer.store_time}"
    said = _said(answer)
    return StoreError(
        f"could not {operation} {url}: {sentence}{said}",
        code=verdict.slug,
        action=verdict.action,
        exit_code=verdict.exit_code,
    )


def verdict(operation: Operation, url: str, kind: str, detail: str = "") -> StoreError:
    """Tell of a cause that the adapter found itself, by its name in this module's table."""
    found = VERDICTS[kind]
    sentence = f"{found.sentence}: {detail}" if detail else found.sentence
    return StoreError(
        f"could not {operation} {url}: {sentence}", code=found.slug, action=found.action, exit_code=found.exit_code
    )


def file_fault(operation: Operation, path: str, error: OSError, is_mount: Callable[[str], bool]) -> StoreError:
    """Tell what a file system answered; `is_mount` finds the file system that is full."""
    where = mount_point(path, is_mount)
    told = f"could not {operation} {path}: {error.strerror or error}"
    if isinstance(error, PermissionError) or error.errno == _EROFS:
        action = "Let this user in (owner and mode of the path), or run as one who may."
        return StoreError(told, code="file-refused", action=action, exit_code=Exit.REFUSED)
    if error.errno in {_ENOSPC, _EDQUOT}:
        action = f"Free space or inodes on {where}, or mount a larger volume there."
        return StoreError(f"{told} on {where}", code="file-no-space", action=action, exit_code=Exit.NODE)
    if isinstance(error, FileNotFoundError):
        return StoreError(told, code="file-missing", action="Check the path.", exit_code=Exit.MISSING)
    action = f"Check the path and the file system of {where}."
    return StoreError(told, code="file-broken", action=action, exit_code=Exit.NODE)


def retry_after(
    error: StoreError,
    failures: int,
    elapsed: float,
    chance: float,
    *,
    patience: float | None = None,
    silent: bool = False,
) -> float | None:
    """Seconds until the next try after so many failures, or None: give up. `chance` is in [0, 1): full jitter.

    `elapsed` counts from the first failure. `patience`: for so many seconds a store is waited for that has answered
    well before; None: it never did and is most likely a wrong one, which is told within ten seconds or so. `silent`:
    nothing has come through since this request failed first, so that more than this one object is broken.
    """
    longest = _LONGEST_SLOW_WAIT if error.code == "store-busy" else _LONGEST_WAIT
    wait = chance * min(longest, _WAIT * 2.0 ** min(failures, 10))
    if patience is None:
        patience = _REACH_PATIENCE if error.code == "store-unreachable" else _PATIENCE
    elif error.code in OUTAGES or (silent and error.code == BROKEN):
        return min(wait, patience - elapsed) if elapsed < patience else None  # the last try is made at the very end
    return wait if failures < _TRIES.get(error.code, 1) and elapsed + wait <= patience else None


def mount_point(path: str, is_mount: Callable[[str], bool]) -> str:
    """The file system that holds a path, named by where it is mounted."""
    while path not in {"", "/"} and not is_mount(path):
        path = path.rpartition("/")[0]
    return path or "/"


def shown(endpoint: str) -> str:
    """An endpoint as it may be printed: without a password, path or query."""
    scheme, mark, rest = endpoint.partition("://")
    host = re.split(r"[/?#]", rest if mark else scheme, maxsplit=1)[0].rpartition("@")[2]
    return f"{scheme}{mark}{host}" if mark else host


def _classify(answer: Answer) -> str:
    failed_there = answer.status is not None and answer.status >= _SERVER_ERRORS
    told = f"{answer.code}: {answer.message}"
    by_text = None if failed_there else next((kind for kind, words in BY_TEXT if re.search(words, told)), None)
    named = by_text or BY_CODE.get(answer.code or "") or answer.symptom
    if named is not None:
        return named
    if answer.status is None:
        return "silent"
    if failed_there and answer.status not in BY_STATUS:
        return "busy"
    return "endpoint" if answer.foreign else BY_STATUS.get(answer.status, "rejected")


def _symptom(text: str) -> str:
    return next((name for name, pattern in _SYMPTOMS if re.search(pattern, text)), "silent")


def _element(name: str, body: str) -> str | None:
    found = re.search(rf"<{name}>([^<]*)</{name}>", body)
    return found[1].strip() or None if found else None


def _said(answer: Answer) -> str:
    """The store's own words, on one line, clipped and without anything that could sign a request."""
    words = [str(part) for part in (answer.status, answer.code) if part]
    text = " ".join(words)
    if answer.message:
        clean = _UNSEEN.sub("", " ".join(answer.message.split()))
        text += f": {clean[:200]}"
    if answer.request_id:
        text += f", request id {answer.request_id[:80]}"
    return f" ({text})" if text else ""
