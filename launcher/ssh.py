"""The keys by which mpirun reaches the nodes of one job: made on each, shown to the others, and nobody else's let in.

They live below the plan's own folder, which only this user can look into, and are of no use after the job.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from launcher.core.engines.mpi import AUTHORIZED, KEY, KNOWN, OWN_VARIABLES
from launcher.core.errors import BootError, Exit
from launcher.core.plan import Process

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from launcher.core.plan import Plan

PRIVILEGES = "/run/sshd"
"""Where an sshd that root starts wants to lock a part of itself up; packages make it, containers lose it."""

LONGEST_OFFER = 256
DEFAULT_PORT = 22

_OFFER = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{68}")
"""An ed25519 key as ssh writes it, without a comment: nothing that could be an option or another line."""


def keygen_process(plan: Plan) -> Process:
    """How this node's key pair is made, in a folder that is made for it. Raises BootError where a program is missing.

    What an earlier start left there is taken away: ssh-keygen would ask whether to overwrite it, and nobody answers.
    """
    folder = _folder(plan)
    keygen = _program(plan, "ssh-keygen")
    if plan.node.index == 0:
        _program(plan, "ssh")
    elif not os.access(plan.processes[0].argv[0], os.X_OK):
        raise _missing(plan.processes[0].argv[0])
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        for name in (KEY, f"{KEY}.pub", AUTHORIZED, KNOWN):
            with suppress(FileNotFoundError):
                os.unlink(f"{folder}/{name}")
    except OSError as error:
        raise _no_key(f"{error.filename} cannot be made ready ({error.strerror})") from error
    if os.geteuid() == 0 and plan.node.index > 0:
        with suppress(OSError):  # sshd itself says best what it misses
            os.makedirs(PRIVILEGES, mode=0o755, exist_ok=True)
    argv = (keygen, "-q", "-t", "ed25519", "-N", "", "-C", plan.node.task, "-f", f"{folder}/{KEY}")
    return Process(rank=0, local_rank=0, argv=argv, env={}, cwd=folder)


def offer(plan: Plan) -> str:
    """This node's public key, as the others get it. Raises BootError where ssh-keygen has written none."""
    path = f"{_folder(plan)}/{KEY}.pub"
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            words = file.read(4096).split()
    except OSError as error:
        raise _no_key(f"{path} cannot be read ({error.strerror})") from error
    found = " ".join(words[:2])
    if not _OFFER.fullmatch(found):
        raise _no_key(f"{path} holds no ed25519 key")
    return found


def admit(plan: Plan, offers: Mapping[int, str]) -> None:
    """Let worker-0 in and know all nodes: `offers` are their public keys by their number. Raises BootError."""
    keys = {number: _checked(number, text) for number, text in offers.items()}
    missing = [str(number) for number in range(plan.node.count) if number not in keys]
    if missing:
        raise _no_key(f"nodes {', '.join(missing[:10])} have shown no public key")
    folder = _folder(plan)
    variables = sorted((name, value) for name, value in plan.processes[0].env.items() if name in OWN_VARIABLES)
    _write(f"{folder}/{AUTHORIZED}", f"{','.join(('restrict', *_environment(variables)))} {keys[0]}\n")
    port = _port(plan)
    names = plan.node.hosts
    _write(f"{folder}/{KNOWN}", "".join(f"{_place(name, port)} {keys[index]}\n" for index, name in enumerate(names)))


def _environment(variables: Iterable[tuple[str, str]]) -> Iterable[str]:
    """A node's own variables as options of a key: what sshd starts here gets them.

    One with a line's end or a backslash, which no sshd reads back as it was, is left out.
    """
    for name, value in variables:
        if not any(mark in value for mark in "\n\r\\"):
            quoted = value.replace('"', '\\"')
            yield f'environment="{name}={quoted}"'


def _checked(number: int, text: str) -> str:
    if len(text) > LONGEST_OFFER or not _OFFER.fullmatch(text):
        raise _no_key(f"node {number} has shown {text[:80]!r}, which is no ed25519 key")
    return text


def _place(name: str, port: int) -> str:
    return name if port == DEFAULT_PORT else f"[{name}]:{port}"


def _port(plan: Plan) -> int:
    """The port that stands in this node's own configuration of ssh."""
    texts = [each.text for each in plan.documents if each.path.rpartition("/")[2] in ("ssh_config", "sshd_config")]
    found = re.search(r"^\s*Port (\d+)$", "\n".join(texts), re.MULTILINE)
    return int(found[1]) if found else DEFAULT_PORT


def _program(plan: Plan, name: str) -> str:
    path = plan.processes[0].env.get("PATH", "")
    for folder in (*path.split(":"), "/usr/bin"):
        if folder and os.access(f"{folder}/{name}", os.X_OK):
            return f"{folder}/{name}"
    raise _missing(name)


def _missing(program: str) -> BootError:
    return BootError(
        f"{program} is not on this node; mpirun starts the processes of other nodes by ssh",
        code="ssh-missing",
        action="Install OpenSSH's client and server in the image (openssh-client and openssh-server).",
        exit_code=Exit.NODE,
    )


def _no_key(what: str) -> BootError:
    return BootError(
        f"mpirun cannot reach the nodes of this job by ssh: {what}",
        code="ssh-key",
        action="Look into the log of ssh-keygen on that node, and at what else speaks at the launchers' port.",
        exit_code=Exit.NODE,
    )


def _folder(plan: Plan) -> str:
    if plan.ssh is None:
        raise _no_key("the plan has no folder for keys")
    return plan.ssh


def _write(path: str, text: str) -> None:
    """The whole file or none, for this user alone."""
    half = f"{path}.new"
    try:
        with suppress(FileNotFoundError):
            os.unlink(half)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
        os.replace(half, path)
    except OSError as error:
        raise _no_key(f"{path} cannot be written ({error.strerror})") from error
