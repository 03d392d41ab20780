"""The hosts that the other tests stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hosts import network
from training import on_hosts

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.distributed, on_hosts]

LISTEN = "import socket\nserver = socket.create_server(('', 5000))\nprint('up', flush=True)\nserver.accept()\n"
CALL = "import socket, sys\nsocket.create_connection((sys.argv[1], 5000), 5)\n"


def test_hosts_reach_each_other_by_name_and_have_files_of_their_own(tmp_path: Path) -> None:
    with network(tmp_path, ["first.site", "second.site"]) as (first, second):
        listening = first.start("listen", ("python3", "-c", LISTEN))
        listening.await_word("up")
        assert second.start("call", ("python3", "-c", CALL, "first.site")).wait() == 0
        assert listening.wait() == 0
        assert first.start("touch", ("touch", f"{first.root}/mine")).wait() == 0
        assert [path.name for host in (first, second) for path in host.files.iterdir()] == ["mine"]
        assert (first.room.do("hostname"), second.room.do("hostname")) == ("first\n", "second\n")
        assert second.start("call", ("python3", "-c", CALL, "third.site")).wait() == 1


def test_nothing_of_a_killed_host_is_left(tmp_path: Path) -> None:
    with network(tmp_path, ["first.site", "second.site"]) as (first, second):
        for host in (first, second):
            host.start("deaf", ("sh", "-c", "trap '' TERM; echo up; sleep 1000; :")).await_word("up")
        assert second.processes() == ["sh -c trap '' TERM; echo up; sleep 1000; :", "sleep 1000"]
        second.kill()
        assert (first.alive, second.alive) == (True, False)
    assert not first.alive
