"""Several hosts on one machine: each is a set of namespaces, with its own network, name, processes and hosts file.

Nothing of a host has a name on the machine: it lives as long as its first process does, and that one as long as a pipe
that the test holds. So nothing is left over, not even by a run of the tests that was killed. It takes root.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from ends import only_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

LIMIT_S = 100.0
GLANCE_S = 0.02
TOOLS = ("ip", "unshare", "nsenter", "mount")
NAMESPACES = ("--net", "--uts", "--ipc", "--mount", "--pid")
# The first process of a host. With SIGCHLD ignored, the kernel itself reaps whoever is orphaned there.
FIRST = "import signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nprint('up', flush=True)\nsys.stdin.read()\n"


_glance = threading.Event()


def until(fact: Callable[[], object], why: Callable[[], str] = str) -> None:
    """Look until something is so; what never becomes so fails the test, and `why` says what was so."""
    for _ in range(int(LIMIT_S / GLANCE_S)):
        if fact():
            return
        _glance.wait(GLANCE_S)
    raise AssertionError(f"it never became so {why()}")


def lacking() -> str | None:
    """Why this machine can have no such hosts; None where it can."""
    if os.geteuid() != 0:
        return "hosts of network namespaces take root"
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"not found: {', '.join(missing)} (Debian: iproute2, util-linux, mount)"
    tried = subprocess.run(("unshare", *NAMESPACES, "--fork", "true"), capture_output=True, text=True, check=False)
    return f"no namespaces can be made here: {tried.stderr.strip()}" if tried.returncode else None


class Room:
    """A set of namespaces and its first process; with the end of that one the kernel ends every other in it."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ("unshare", *NAMESPACES, "--fork", "--kill-child", "--mount-proc", sys.executable, "-S", "-c", FIRST),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "up\n", "the namespaces could not be made"
        self.pid = only_child(self._holder.pid)
        self._first = os.pidfd_open(self.pid)
        self.enter = ("nsenter", f"--target={self.pid}", *NAMESPACES, "--")

    def do(self, *argv: str) -> str:
        """One command in there, which must go well."""
        done = subprocess.run((*self.enter, *argv), capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stderr}"
        return done.stdout

    @property
    def alive(self) -> bool:
        """Whether anybody is in there."""
        return self._holder.poll() is None

    def kill(self) -> None:
        """SIGKILL for its first process, and so for all."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._first, signal.SIGKILL)
        self._holder.wait(LIMIT_S)

    def close(self) -> None:
        """End it, and wait until no process of it is there."""
        with self._holder:
            self.kill()
        os.close(self._first)


class Running:
    """A command on a host; its output lies in files, for nobody may be there to read it."""

    def __init__(self, host: Host, name: str, argv: Sequence[str], env: Mapping[str, str]) -> None:
        self.host = host
        self._paths = [host.folder / f"{name}.{stream}" for stream in ("out", "err")]
        with open(self._paths[0], "wb") as out, open(self._paths[1], "wb") as err:
            self._process = subprocess.Popen(
                (*host.room.enter, *argv), env=host.environment(env), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._paths[0].read_text(encoding="utf-8", errors="replace")

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self._paths[1].read_text(encoding="utf-8", errors="replace")

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command itself; nsenter, its parent, stops with it and is told to go on with it."""
        pid = only_child(self._process.pid)
        os.kill(pid, number)
        if number == signal.SIGCONT:
            self._process.send_signal(number)

    def wait(self, seconds: float = LIMIT_S) -> int:
        """Its exit code; negative for a signal."""
        return self._process.wait(seconds)

    def await_word(self, word: str) -> None:
        """Wait until it has said a word, on either stream."""
        until(
            lambda: word in self.out or word in self.err or self.ended,
            lambda: f"that {self.host.name} said {word!r}:\n{self.out[-4000:]}\n{self.err[-4000:]}",
        )
        assert word in self.out + self.err, f"{self.host.name} ended without {word!r}:\n{self.err[-4000:]}"


class Host:
    """One host: `name` as its `peers` know it, of which the first label is its own hostname.

    `root` is a folder that all have at the same place, each with its own content, which the test finds in `files`.
    """

    def __init__(self, number: int, peers: Sequence[str], folder: Path, room: Room) -> None:
        self.number = number
        self.peers = peers
        self.name = peers[number]
        self.address = f"10.77.0.{99 - number}"  # by address, worker-0 is the last
        self.folder = folder / f"host-{number}"
        self.root = folder / "root"
        self.files = self.folder / "files"
        self.room = room
        self._started: list[Running] = []
        for each in (self.root, self.files, self.folder / "tmp"):
            each.mkdir(parents=True, exist_ok=True)

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """What a process on this host begins with: nothing of the test's own but where programs are."""
        path = f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}"
        return {"PATH": path, "HOME": "/root", "LANG": "C.UTF-8", "TMPDIR": str(self.folder / "tmp"), **env}

    def start(self, name: str, argv: Sequence[str], env: Mapping[str, str] | None = None) -> Running:
        """Start a command on this host; `name` is that of the files with its output."""
        self._started.append(Running(self, name, argv, env or {}))
        return self._started[-1]

    def processes(self) -> list[str]:
        """The command lines of all that run here, but for the first process and who asks."""
        lines = self.room.do("ps", "-eo", "pid=,ppid=,stat=,args=").splitlines()
        split = [line.split(None, 3) for line in lines]
        return [line[3] for line in split if line[0] != "1" and not line[3].startswith("ps -eo") and line[2][0] != "Z"]

    def lay(self, path: str, lines: Sequence[str]) -> None:
        """Put a file in the place of the machine's, for this host alone."""
        own = self.folder / os.path.basename(path)
        own.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self.room.do("mount", "-n", "--bind", str(own), path)

    @property
    def alive(self) -> bool:
        """Whether it has not been killed."""
        return self.room.alive

    def kill(self) -> None:
        """As if the power were gone, but for its network: the kernel closes its connections."""
        self.room.kill()
        for each in self._started:
            each.wait()


class Hosts:
    """Hosts on one network, all of which know each other's names."""

    def __init__(self, folder: Path, names: Sequence[str], rooms: contextlib.ExitStack) -> None:
        self._switch = _room(rooms)
        self._switch.do("ip", "link", "add", "bridge", "type", "bridge")
        self._switch.do("ip", "link", "set", "bridge", "up")
        self._all: list[Host] = []
        for number in range(len(names)):
            self._all.append(Host(number, names, folder, _room(rooms)))
            rooms.callback(self._all[-1].kill)
        for host in self:
            self._furnish(host)

    def __iter__(self) -> Iterator[Host]:
        return iter(self._all)

    def __getitem__(self, number: int) -> Host:
        return self._all[number]

    def unplug(self, host: Host) -> None:
        """Cut a host off: nobody is told, its packets only stop to come."""
        self._switch.do("ip", "link", "set", f"port{host.number}", "down")

    def _furnish(self, host: Host) -> None:
        """Its cable, its name, and folders that a program may write to without leaving a trace on the machine."""
        port = f"port{host.number}"
        cable = ("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", str(host.room.pid))
        # The other end is named by a process of the machine, which the switch's own processes would not know.
        subprocess.run(("nsenter", f"--target={self._switch.pid}", "--net", "--", *cable), check=True, timeout=LIMIT_S)
        self._switch.do("ip", "link", "set", port, "master", "bridge", "up")
        host.room.do("ip", "address", "add", f"{host.address}/24", "dev", "eth0")
        for interface in ("lo", "eth0"):
            host.room.do("ip", "link", "set", interface, "up")
        host.room.do("hostname", host.name.partition(".")[0])
        host.room.do("mount", "-n", "--bind", str(host.files), str(host.root))
        for place in ("/dev/shm", "/run"):
            host.room.do("mount", "-n", "-t", "tmpfs", "tmpfs", place)
        own = f"{host.address} {host.name} {host.name.partition('.')[0]}"  # no other has a short name, as in a cluster
        known = [f"{each.address} {each.name}" for each in self if each is not host]
        host.lay("/etc/hosts", ["127.0.0.1 localhost", own, *known])
        # A name that is not there is known not to be, as in a cluster.
        host.lay("/etc/nsswitch.conf", [*(f"{each}: files" for each in ("passwd", "group", "shadow", "hosts"))])


@contextlib.contextmanager
def network(folder: Path, names: Sequence[str]) -> Iterator[Hosts]:
    """Hosts of these names; nothing of them is there any more after the block."""
    with contextlib.ExitStack() as rooms:
        yield Hosts(folder, names, rooms)


def _room(rooms: contextlib.ExitStack) -> Room:
    room = Room()
    rooms.callback(room.close)
    return room
