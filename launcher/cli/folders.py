"""The folders of this machine that a container writes to, and what launchers that were killed have left behind."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher import disk
from launcher.cli.machine import absolute
from launcher.core.container import HOLDS, LABEL, NAMED
from launcher.core.errors import Exit, LauncherError, StageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from launcher.adapters.docker import DockerEngine
    from launcher.core.container import Container

PASSING = f"launcher-local-{os.getuid()}-"
"""How the names of folders begin that go with their containers."""
_OWNER = ".launcher-owner"
_ENDED = ("created", "exited", "dead")

_log = logging.getLogger(__name__)


def temporary(environ: Mapping[str, str]) -> str:
    """Where passing folders lie. Whether there is room is not tried, as `tempfile` does: none may be needed."""
    return absolute(environ.get("TMPDIR") or "/tmp").rstrip("/")  # noqa: S108 - what is made there has a random name


class Folders:
    """The folders of one container of one engine; `passing` is the one that goes with it."""

    def __init__(self, wanted: Container, passing: str, owner: str, engine: str) -> None:
        self._wanted = wanted
        self._passing = passing
        self._told = f"{owner}\n{wanted.name}\n{engine}\n"

    def make(self) -> None:
        """Make them, and give them to whom the container runs as. Raises LauncherError."""
        try:
            if self._wanted.top == self._passing:
                os.mkdir(self._passing, 0o700)
                with open(f"{self._passing}/{_OWNER}", "x", encoding="utf-8") as file:
                    file.write(self._told)
            for path in self._wanted.make:
                self._make(path)
        except OSError as error:
            self.clear()
            raise _unmade(f"{error.filename or self._passing}: {error.strerror}", error) from error
        except StageError as error:
            self.clear()
            raise _unmade(str(error), error) from error
        except BaseException:
            self.clear()
            raise

    def _make(self, path: str) -> None:
        """Make one of them. A container has written here before, whose links would lead to folders of the host."""
        folder = disk.open_folder(self._wanted.top or self._passing, path)
        try:
            if self._wanted.owner is not None:
                os.fchown(folder, *self._wanted.owner)
        finally:
            os.close(folder)

    def clear(self) -> None:
        """Take away what goes with the container."""
        _remove(self._passing)


def _unmade(said: str, error: Exception) -> LauncherError:
    refused = isinstance(error, PermissionError) or getattr(error, "exit_code", None) == Exit.REFUSED
    return LauncherError(
        f"a folder for the container cannot be made: {said}",
        code="folder-unwritable",
        action="Choose another --root, or another TMPDIR.",
        exit_code=Exit.REFUSED if refused else Exit.NOT_SAVED,
    )


def copy_report(mount: str, target: str) -> None:
    """Put run.json where `--report` wants it; one that is not there was never written, and the run has said why."""
    from launcher.report import write_where_asked

    try:
        # the container wrote there: a link in its place would hand out a file of the host
        with os.fdopen(disk.open_regular(mount, f"{mount}/log/run.json"), "rb") as file:
            content = file.read()
        write_where_asked(os.path.abspath(target), content)
    except FileNotFoundError as error:
        if error.filename != "run.json":
            _log.warning("--report %s cannot be written (%s)", target, error.strerror)
    except OSError as error:
        _log.warning("--report %s cannot be written (%s)", target, error.strerror)


def sweep(engine: DockerEngine, top: str) -> None:
    """Clear up after launchers that were killed: containers that never started or wait for nobody, folders in `top`."""
    left = tuple(_left_folders(top))  # before the containers, for one that is made meanwhile has its folder already
    there = set()
    for container, name, state, labels in engine.ours(LABEL):
        there.add(name)
        if labels.get(NAMED) != name or not _is_gone(labels.get(LABEL, ""), rebooted=True):
            continue
        if state in _ENDED:
            engine.remove(container)
        elif HOLDS in labels:
            _log.warning("the container %s was held by a launcher that is gone, and is told to end", name)
            engine.stop(container)
    for path, name, where in left:
        if where == engine.identity() and name not in there:
            _remove(path)


def _left_folders(top: str) -> Iterator[tuple[str, str, str]]:
    """Folders of ours whose launcher is gone: where each is, its container's name, and the engine that had it."""
    with suppress(OSError):
        for each in os.listdir(top):
            path = f"{top}/{each}"
            with suppress(OSError, ValueError):
                if each.startswith(PASSING) and os.lstat(path).st_uid == os.getuid():
                    with os.fdopen(disk.open_regular(top, f"{path}/{_OWNER}"), encoding="utf-8") as file:
                        owner, name, where = file.read(4096).split("\n")[:3]
                    if _is_gone(owner):
                        yield path, name, where


def _is_gone(text: str, *, rebooted: bool = False) -> bool:
    """Whether the launcher of a label has ended; of one in another pid namespace nobody here knows.

    `rebooted`: who ran under another kernel is gone, for whatever is asked about is of this machine alone.
    """
    import msgspec

    from launcher.cli.owner import alive_here, owner
    from launcher.core.occupancy import Owner

    try:
        other = msgspec.json.decode(text, type=Owner)
    except msgspec.MsgspecError:
        return False
    me = owner()
    return (rebooted and me is not None and me.boot != other.boot) or alive_here(other) is False


def _remove(path: str) -> None:
    import shutil

    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    if os.path.isdir(path):
        _open_up(path)
        shutil.rmtree(path, ignore_errors=True)
    if os.path.isdir(path):
        _log.warning("%s could not be removed whole", path)


def _open_up(path: str) -> None:
    """Give back the right to remove what lies in folders that a program has closed."""
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        with suppress(OSError):
            os.chmod(folder, 0o700)
            with os.scandir(folder) as entries:
                waiting += [each.path for each in entries if each.is_dir(follow_symlinks=False)]
