"""`launcher explain`: why a run ended as it did, in words, from its run.json or from any log; it changes nothing."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

import os
import shlex
import stat
from typing import TYPE_CHECKING

import click
import msgspec

from launcher.core.diagnose import Evidence, Witness, diagnose
from launcher.core.diagnose.retold import retold
from launcher.core.errors import Exit, LauncherError, SpecError
from launcher.core.parse.run import MOST_BYTES, NAME, SHOWN, Run, is_run, parse_run
from launcher.core.parse.stored import read_json, refused
from launcher.core.redact import to_json
from launcher.core.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from launcher.core.parse.cursor import Json
    from launcher.core.record import Cause

LOG_BYTES = 256 * 1024
"""So much of a log's end is read."""


class Labels(msgspec.Struct, frozen=True):
    """The words around the facts, in one language."""

    phase: str
    exit_code: str
    cause: str
    action: str
    evidence: str
    not_saved: str
    more: str
    put: str
    well: str
    unended: str
    attempt: str


_LABELS = {
    "en": Labels(
        "phase: ",
        "exit code: ",
        "cause: ",
        "action: ",
        "evidence:",
        "not in its place: ",
        "… and {count} more",
        "put in place what is still on the node: ",
        "The run ended well, and every output is in its place.",
        "The run has not ended, or its launcher was killed; the last phase it came to: {phase}.",
        "attempt {number} failed: {message} ({code})",
    ),
    "zh": Labels(
        "阶段：",
        "退出码：",
        "原因：",
        "建议：",
        "依据：",
        "未保存：",
        "… 另有 {count} 个",
        "用以下命令保存仍在节点上的文件：",
        "运行正常结束，所有输出均已就位。",
        "运行尚未结束，或启动器被杀死；最后到达的阶段：{phase}。",
        "第 {number} 次尝试失败：{message} ({code})",
    ),
}


@click.command(name="explain")
@click.argument("path", metavar="RUN_JSON|LOG")
@click.option("--json", "as_json", is_flag=True, help="The cause as JSON, null where there is none.")
def command(path: str, as_json: bool) -> int:  # noqa: FBT001 - click passes by name
    """Say in words why a run ended as it did: of its run.json, or of the end of any log.

    \b
    Example:
      launcher explain ./root/home/ma-user/modelarts/log/run.json
      launcher explain train.log
    """  # noqa: D301 - \b is click's mark for lines that stay as they are
    from launcher.cli import result
    from launcher.streams.lines import plain

    language = read_settings(os.environ).language
    raw, document = _read(path)
    run = None if document is None else parse_run(document)
    cause = _of_log(raw, language) if run is None else retold(run, language)
    if as_json:
        result(to_json(cause).decode())
        return Exit.OK
    for line in _told(path, run, cause, _LABELS[language]):
        result(plain(line).encode(errors="backslashreplace").decode())
    return Exit.OK


def _of_log(raw: bytes, language: str) -> Cause:
    witness = Witness(code=None, stderr=raw.decode(errors="replace"))
    return diagnose(Evidence(witnesses=(witness,)), language)


def _told(path: str, run: Run | None, cause: Cause | None, labels: Labels) -> Iterator[str]:
    if run is not None:
        yield f"{labels.phase}{run.phase}"
        if run.exit_code is None:
            yield labels.unended.format(phase=run.timeline[-1].phase if run.timeline else "-")
        else:
            yield f"{labels.exit_code}{run.exit_code}"
        yield from _earlier(run, labels)
    if cause is not None:
        yield f"{labels.cause}{cause.message} ({cause.code})"
        yield f"{labels.action}{cause.action}"
        if cause.evidence:
            yield labels.evidence
            yield from (f"  {line}" for line in cause.evidence)
    if run is not None:
        yield from _not_saved(path, run, labels)


def _earlier(run: Run, labels: Labels) -> Iterator[str]:
    """How the attempts ended that others followed."""
    for number, each in enumerate(run.attempts[:-1], 1):
        if each.cause is not None:
            yield labels.attempt.format(number=number, message=each.cause.message, code=each.cause.code)


def _not_saved(path: str, run: Run, labels: Labels) -> Iterator[str]:
    """What is not in its place, and the command that puts it there."""
    broken = [channel for channel in run.synced if channel.failed]
    for channel in broken:
        yield f"{labels.not_saved}{channel.channel} -> {channel.target}"
        yield from (f"  {each.key}: {each.error}" for each in channel.failed[:SHOWN])
        if len(channel.failed) > SHOWN:
            yield f"  {labels.more.format(count=len(channel.failed) - SHOWN)}"
    if broken or run.exit_code is None:
        yield f"{labels.put}{shlex.join(('launcher', 'sync', path))}"
    elif run.phase == "Completed":
        yield labels.well


def _read(path: str) -> tuple[bytes, Json | None]:
    """The end of a log; of a run.json its document. A file is one by its name, or because it says so itself."""
    named = path.endswith(".json")
    try:
        # O_NONBLOCK means nothing to a file, but a FIFO would block for ever.
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise _unreadable(path, "it is not a regular file", Exit.MISSING)
            if found.st_size > MOST_BYTES and named:
                raise refused(NAME, "", f"it is larger than {MOST_BYTES:,} bytes")
            if found.st_size <= MOST_BYTES and (named or file.read(1) == b"{"):
                file.seek(0)
                document = _document(file.read(MOST_BYTES), named=named)
                if document is not None:
                    return b"", document
            file.seek(max(found.st_size - LOG_BYTES, 0))
            return file.read(LOG_BYTES), None
    except OSError as error:
        code = Exit.REFUSED if isinstance(error, PermissionError) else Exit.MISSING
        raise _unreadable(path, error.strerror or str(error), code) from error


def _document(raw: bytes, *, named: bool) -> Json | None:
    """The document of a run.json; None for a log that happens to begin with a brace. Raises SpecError."""
    try:
        document = read_json(raw, NAME)
    except SpecError:
        if named:
            raise
        return None
    return document if named or is_run(document) else None


def _unreadable(path: str, why: str, code: Exit) -> LauncherError:
    return LauncherError(
        f"{path}: cannot be read: {why}",
        code="document-unreadable",
        action="Give the run.json or the log of a run.",
        exit_code=code,
    )
