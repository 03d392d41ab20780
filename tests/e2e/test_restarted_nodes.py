"""Jobs of several nodes that are started again together, each node a `launcher run` of its own on this machine."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from several import Nodes
from talking import becomes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rig import Rig
    from several import Node

ECC = "RuntimeError: CUDA error: uncorrectable ECC error encountered"
TRAINS = f"""
import os, signal, sys, threading
folder = next(each.partition("=")[2] for each in sys.argv[1:] if each.startswith("--train_url="))
node = os.environ["NODE"]
attempt = len([each for each in os.listdir(folder) if each.startswith("of-" + node)]) + 1
open(f"{{folder}}/of-{{node}}-{{attempt}}", "w").write(str(os.getpid()))
print("attempt", attempt, flush=True)
how = os.environ["HOW"].split(",")[attempt - 1]
if how == "fails":
    open(os.environ["GO"]).read()
    print({ECC!r}, file=sys.stderr)
    sys.exit(3)
if how == "hangs":
    threads = [threading.Thread(target=threading.Event().wait) for _ in range(2)]
    for each in threads:
        each.start()
if how == "waits":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()
"""
"""How each attempt goes is told in HOW; one that fails waits for a word first."""
QUICK = {"LAUNCHER_RETRY_PAUSE": "0.05"}


class Restarted(Nodes):
    """Nodes whose job may be started again; `scripts` say how each node's attempts go."""

    more: Mapping[str, str] = MappingProxyType({})
    """Annotations that the job has besides."""

    def all(self, *scripts: str, **env: str) -> list[Node]:
        return [self.one(index, len(scripts), how, **env) for index, how in enumerate(scripts)]

    def one(self, index: int, count: int, how: str, **env: str) -> Node:
        self.rig.job["metadata"]["annotations"] = {"fault-tolerance/job-retry-num": "2", **self.more}
        said = ("--nodes", str(count), "--node-index", str(index), "--master", "127.0.0.1")
        return self.begin(index, {**QUICK, **env}, *said, "--no-precheck", "--env", f"HOW={how}")

    def go(self) -> None:
        """Let those fail that are to."""
        (self.rig.folder / "go").write_text("go")


@pytest.fixture
def nodes(local_rig: Rig) -> Iterator[Restarted]:
    local_rig.code(TRAINS)
    os.mkfifo(local_rig.folder / "go")
    with ExitStack() as stack:
        yield Restarted(local_rig, stack)


def attempts(node: Node) -> list[Any]:
    return [(each["exit_code"], (each["cause"] or {}).get("code")) for each in node.run_json["attempts"]]


@pytest.mark.parametrize("failing", [0, 1])
def test_all_nodes_begin_again_when_one_has_failed(nodes: Restarted, failing: int) -> None:
    scripts = ["waits,well"] * 2
    scripts[failing] = "fails,well"
    both = nodes.all(*scripts)
    assert [node.line() for node in both] == ["attempt 1"] * 2
    nodes.go()
    assert [node.end() for node in both] == [0, 0], (both[0].err, both[1].err)
    assert attempts(both[failing]) == [(3, "gpu-ecc"), (0, None)]
    assert attempts(both[1 - failing]) == [(3, "peer-failed"), (0, None)]
    assert sorted(nodes.rig.stored()) == ["of-0-1", "of-0-2", "of-1-1", "of-1-2"]
    assert both[0].err.count("All 2 nodes are ready.") == 2


def test_a_node_that_was_done_begins_again_with_the_others(nodes: Restarted) -> None:
    both = nodes.all("well,well", "fails,well")
    assert [node.line() for node in both] == ["attempt 1"] * 2
    becomes(lambda: "wait" in [each["phase"] for each in both[0].run_json["timeline"]])
    nodes.go()
    assert [node.end() for node in both] == [0, 0], (both[0].err, both[1].err)
    assert [node.out.split("\n")[0] for node in both] == ["attempt 2"] * 2


def test_the_users_own_failure_ends_all_nodes_as_ever(nodes: Restarted) -> None:
    nodes.rig.code(TRAINS.replace(ECC, "ValueError: bad"))
    both = nodes.all("waits", "fails")
    assert [node.line() for node in both] == ["attempt 1"] * 2
    nodes.go()
    assert [node.end() for node in both] == [3, 3], both[0].err
    assert [len(attempts(node)) for node in both] == [1, 1]
    assert "The training is not started again" in both[0].err


def test_a_node_that_is_stopped_is_no_reason_to_begin_again(nodes: Restarted) -> None:
    both = nodes.all("waits", "waits")
    assert [node.line() for node in both] == ["attempt 1"] * 2
    both[1].process.send_signal(signal.SIGTERM)
    assert [node.end() for node in both] == [143, 143]
    assert [len(attempts(node)) for node in both] == [1, 1]


HANG = {
    "LAUNCHER_HANG_PERIOD": "0.2",
    "LAUNCHER_HANG_PERIODS": "3",
    "LAUNCHER_HANG_LONG_PERIODS": "5",
    "LAUNCHER_HANG_WINDOW": "0.2",
}


def test_nodes_that_all_hang_are_ended_and_begin_again_together(nodes: Restarted) -> None:
    nodes.more = {"fault-tolerance/hang-retry": "true"}
    both = nodes.all("hangs,well", "hangs,well", **HANG)
    assert [node.end() for node in both] == [0, 0], (both[0].err, both[1].err)
    for node in both:
        assert attempts(node) == [(121, "hung"), (0, None)]
        assert "Nothing has moved on any node of the job" in node.run_json["attempts"][0]["cause"]["message"]


def test_a_launcher_that_is_started_in_place_of_a_killed_one_takes_part_in_the_next_attempt(nodes: Restarted) -> None:
    first, second = nodes.all("waits,well", "waits,well")
    assert [node.line() for node in (first, second)] == ["attempt 1"] * 2
    second.process.kill()
    second.process.wait()
    left = next((second.root / "home/ma-user/modelarts/outputs").rglob("of-1-1"))
    with suppress(ProcessLookupError):
        os.kill(int(left.read_text()), signal.SIGKILL)  # in a container it would have ended with its launcher
    new = nodes.one(1, 2, "well,well")
    assert [node.end() for node in (first, new)] == [0, 0], (first.err, new.err)
    assert attempts(first) == [(71, "peer-lost"), (0, None)]
    assert "its launcher was started again" in first.run_json["attempts"][0]["cause"]["message"]
