"""`launcher local --shell`: a real terminal, a real shell in a real container, in the boot process's place."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

import pytest
from ends import until
from engines import Local
from incontainer import docker, in_docker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Rig

pytestmark = [pytest.mark.docker, in_docker]

WRITES = (
    "import sys\nout = sys.argv[2].split('=', 1)[1]\nopen(out + '/model', 'w').write('by hand')\nprint('trained')\n"
)
PATIENCE_S = 60
PROMPT = r"To start just that[^$#]*[$#] |\^C\r\n[^$#]*[$#] "


@pytest.fixture
def local(local_rig: Rig) -> Iterator[Local]:
    local_rig.code(WRITES)
    made = Local(local_rig)
    try:
        yield made
    finally:
        made.remove()


class Screen:
    """The other side of a terminal: types, reads what comes, and knows how the terminal is set."""

    def __init__(self, terminal: int, process: subprocess.Popen[bytes]) -> None:
        self.terminal = terminal
        self.process = process
        self.seen = ""

    def type(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read until something stands there that was not looked for before."""
        while (found := re.search(pattern, self.seen)) is None:
            if not select.select([self.terminal], [], [], PATIENCE_S)[0]:
                raise AssertionError(f"{pattern!r} never came: {self.seen!r}")
            try:
                self.seen += os.read(self.terminal, 65_536).decode(errors="replace")
            except OSError as error:
                raise AssertionError(f"{pattern!r} never came: {self.seen!r}") from error
        self.seen = self.seen[found.end() :]
        return found

    def settings(self) -> list[object]:
        return list(termios.tcgetattr(self.terminal))

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def end(self) -> int:
        """Read on until the launcher has ended; its exit code."""
        with contextlib.suppress(OSError):
            while self.process.poll() is None:
                if select.select([self.terminal], [], [], 0.05)[0]:
                    self.seen += os.read(self.terminal, 65_536).decode(errors="replace")
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def at_a_terminal(local: Local, *arguments: str) -> Iterator[Screen]:
    """`launcher local --shell`, with a session and a terminal of its own."""
    outer, inner = pty.openpty()
    try:
        fcntl.ioctl(outer, termios.TIOCSWINSZ, struct.pack("HHHH", 31, 97, 0, 0))
        argv = ("setsid", "--ctty", *local.argv("--shell", *arguments))
        with subprocess.Popen(argv, env=local.env(), stdin=inner, stdout=inner, stderr=inner) as process:
            try:
                yield Screen(outer, process)
            finally:
                process.kill()
    finally:
        os.close(outer)
        os.close(inner)


def test_one_works_in_the_boot_process_s_place_and_what_was_made_is_saved(local: Local) -> None:
    with at_a_terminal(local) as screen:
        screen.wait_for("To start just that: sh /home/ma-user/modelarts/boot")
        screen.type("echo $MA_JOB_DIR; pwd; stty size\n")
        screen.wait_for("/home/ma-user/modelarts/user-job-dir\r\n")
        screen.wait_for("/home/ma-user/modelarts/user-job-dir/code\r\n")
        screen.wait_for("31 97\r\n")
        screen.type("sh /home/ma-user/modelarts/boot\n")
        screen.wait_for("trained\r\n")
        screen.type("exit 5\n")
        assert screen.end() == 5, screen.seen
    assert local.rig.stored() == {"model": b"by hand"}
    assert local.run_json["phase"] == "Completed"
    assert local.left == []


def test_the_keys_are_the_shell_s_and_the_terminal_is_given_back(local: Local) -> None:
    with at_a_terminal(local) as screen:
        before = screen.settings()
        screen.wait_for(PROMPT)
        assert screen.settings() != before
        screen.type("sh -c 'echo g\"\"o; exec cat > /dev/null'\n")
        screen.wait_for("go\r\n")
        screen.type("\x03")  # ends cat, and neither the launcher nor the run
        screen.wait_for(PROMPT)
        screen.type("echo $((6 * 8))\n")
        screen.wait_for("48\r\n")
        screen.resize(40, 120)
        screen.process.send_signal(signal.SIGWINCH)
        screen.type("until [ \"$(stty size)\" = '40 120' ]; do :; done; echo re''sized\n")
        screen.wait_for("resized\r\n")
        screen.wait_for("[$#] ")  # what comes before the shell asks may be dropped when it sets its terminal
        screen.type("\x04")
        assert screen.end() == 0, screen.seen
        assert screen.settings() == before


def test_a_launcher_that_is_told_to_end_gives_the_terminal_back_and_saves(local: Local) -> None:
    with at_a_terminal(local) as screen:
        before = screen.settings()
        screen.wait_for("To start just that")
        screen.type("echo by hand > /home/ma-user/modelarts/outputs/train_url_0/model; echo do''ne\n")
        screen.wait_for("done\r\n")
        screen.process.send_signal(signal.SIGTERM)
        assert screen.end() != 0
        assert screen.settings() == before
    assert local.rig.stored() == {"model": b"by hand\n"}
    assert local.left == []


def test_a_window_that_is_closed_ends_the_shell_and_what_was_made_is_saved(local: Local) -> None:
    with at_a_terminal(local) as screen:
        screen.wait_for("To start just that")
        screen.type("echo by hand > /home/ma-user/modelarts/outputs/train_url_0/model; echo do''ne\n")
        screen.wait_for("done\r\n")
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, screen.terminal)  # the last fd of the other side of the terminal is gone
        os.close(nothing)
        assert screen.process.wait(PATIENCE_S) in (129, 137)
    assert local.rig.stored() == {"model": b"by hand\n"}
    assert local.left == []


def test_who_reads_nothing_may_close_standard_output(local: Local) -> None:
    local.prefix = ("sh", "-c", 'exec "$@" >&-', "sh")
    done = local.run("--shell", text="sh /home/ma-user/modelarts/boot; exit 4\n")
    assert (done.code, done.out) == (4, ""), done.err
    assert local.rig.stored() == {"model": b"by hand"}
    assert local.left == []


def test_a_container_that_is_ended_by_hand_ends_its_shell(local: Local) -> None:
    with at_a_terminal(local) as screen:
        before = screen.settings()
        screen.wait_for(PROMPT)
        screen.type("echo by hand > /home/ma-user/modelarts/outputs/train_url_0/model; echo do''ne\n")
        screen.wait_for("done\r\n")
        docker("stop", local.name)
        assert screen.end() == 137, screen.seen
        assert screen.settings() == before
    assert local.rig.stored() == {"model": b"by hand\n"}
    assert local.left == []


def test_without_a_terminal_the_shell_reads_standard_input(local: Local) -> None:
    done = local.run("--shell", "-q", text="pwd\necho to stderr >&2\nsh /home/ma-user/modelarts/boot && exit 4\n")
    assert done.code == 4, done.err
    assert done.out == "/home/ma-user/modelarts/user-job-dir/code\ntrained\n"
    assert "to stderr\n" in done.err
    assert local.rig.stored() == {"model": b"by hand"}
    assert local.left == []


def test_a_million_bytes_pass_through_the_shell(local: Local) -> None:
    done = local.run("--shell", "-q", text="head --bytes 1000000 /dev/zero | tr '\\0' x\nwc --bytes\n" + "y" * 300_000)
    assert (done.code, done.out) == (0, "x" * 1_000_000 + "300000\n"), done.err[-500:]


def test_a_job_that_cannot_be_staged_gives_no_shell(local: Local) -> None:
    local.rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"/{local.rig.bucket}/nothing/"
    done = local.run("--shell", text="echo never\n")
    assert (done.code, done.out) == (66, "")
    assert local.left == []


def test_ctrl_c_while_staging_ends_it(local: Local) -> None:
    local.rig.code("", {"pip-requirements.txt": b"nothing\n"})
    local.rig.algorithm["environments"] = {"X": "1"}
    with at_a_terminal(local) as screen:
        screen.wait_for("code is being downloaded")
        screen.type("\x03")
        assert screen.end() in (130, 71), screen.seen
    assert local.left == []


def test_a_shell_whose_launcher_was_killed_is_ended_by_the_next_one(local: Local) -> None:
    with at_a_terminal(local) as screen:
        screen.wait_for("To start just that")
        screen.process.send_signal(signal.SIGKILL)
        screen.end()
    assert local.state == "running"
    other = Local.__new__(Local)
    other.__dict__.update(local.__dict__, name=f"{local.name}-next")
    other.run("--user", "somebody")  # refused before it looks around
    assert local.state == "running"
    assert other.run().code == 0
    until(lambda: local.state is None)
