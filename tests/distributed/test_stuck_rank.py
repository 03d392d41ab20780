"""A real training on two hosts with one rank that is stuck: who looks into it names the rank, and the line."""

from __future__ import annotations

import json
import re
import signal
from typing import TYPE_CHECKING

import pytest
from hosts import network, until
from training import ENGINE_S, PROGRAMS, Training, installed, on_hosts, volcano_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hosts import Host, Running

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]

STUCK, SIZE = 3, 4
SOON = {
    "LAUNCHER_HANG": "on",
    "LAUNCHER_HANG_PERIOD": "1",
    "LAUNCHER_HANG_PERIODS": "3",
    "LAUNCHER_HANG_LONG_PERIODS": "3",
    "LAUNCHER_HANG_WINDOW": "1",
}
"""The launchers look by themselves, and soon."""
WHERE = "Where the training stands: "


def line_with(words: str) -> int:
    """The line of the program that holds a comment."""
    lines = (PROGRAMS / "stuck.py").read_text(encoding="utf-8").splitlines()
    return next(at for at, line in enumerate(lines, 1) if words in line)


class Hung:
    """The training, from where nothing moves any more."""

    def __init__(self, training: Training, started: list[Running]) -> None:
        self.training = training
        self.started = started

    def ask(self) -> None:
        """Have every launcher look, as it does by itself once it suspects that nothing moves."""
        for each in self.started:
            each.signal(signal.SIGQUIT)

    def events(self, host: Host) -> str:
        """What a launcher has told, a line each."""
        path = self.training.log_dir(host) / "events.jsonl"
        return "\n".join(json.loads(line)["message"] for line in path.read_text(encoding="utf-8").splitlines())

    def told(self, host: Host) -> str:
        """What it has told of where its own ranks stand."""
        return "\n".join(line for line in self.events(host).splitlines() if WHERE in line)


@pytest.fixture(params=[{}])
def hung(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Hung]:
    # the name of a test is too long: TMPDIR lies below it, and a data loader's sockets in that, of 107 bytes at most
    folder = tmp_path_factory.mktemp("stuck")
    with network(folder, volcano_names(2)) as hosts:
        training = Training(folder, hosts, "stuck", stuck=STUCK)
        training.engine("PyTorch", installed("torch"), MA_RUN_METHOD="torchrun", LAUNCHER_PROCESSES="2")
        training.environ |= request.param
        started = [training.start(host) for host in hosts]
        for rank in range(SIZE):
            started[rank // 2].await_word("no batch will come" if rank == STUCK else f"rank={rank} epoch=2")
        yield Hung(training, started)
        for each in started:
            each.signal(signal.SIGTERM)
        training.ends(started)


def test_each_host_says_where_its_ranks_stand_and_which_of_them_is_stuck(hung: Hung) -> None:
    hosts = hung.training.hosts
    hung.ask()
    for host in hosts:
        until(lambda host=host: hung.told(host))  # type: ignore[misc]
    waits, at = line_with("here all others wait"), line_with("here its rank waits")
    backward = rf"in \S*backward \(torch/_tensor\.py:\d+\), called at stuck\.py:{waits} \(train\)"
    stuck = rf"rank 3 is in \S*__next__ \(torch/utils/data/dataloader\.py:\d+\), called at stuck\.py:{at} \(train\)"
    assert re.search(rf"all 2 ranks are {backward}\.", hung.told(hosts[0])), hung.told(hosts[0])
    assert re.search(rf"rank 2 is {backward}; {stuck}\.", hung.told(hosts[1])), hung.told(hosts[1])


def test_all_stacks_lie_beside_the_log_in_the_store(hung: Hung) -> None:
    hung.ask()
    paths = [hung.training.bucket / f"log/modelarts-job-job-1-worker-{index}.stacks-1.txt" for index in range(2)]
    until(lambda: all(path.exists() for path in paths))
    text = paths[1].read_text(encoding="utf-8")
    assert re.search(r"^== process \d+ \(.*\), rank 3$", text, re.MULTILINE), text
    assert f"stuck.py:{line_with('here a worker is stuck')})" in text, "the worker of the loader is looked into as well"


@pytest.mark.parametrize("hung", [SOON], indirect=True)
def test_every_host_hears_where_all_ranks_stand_without_being_asked(hung: Hung) -> None:
    odd = r"3 of 4 ranks are in \S*backward \(.*\); rank 3 is in \S*__next__ \(torch/utils/data/dataloader\.py:\d+\)"
    for host in hung.training.hosts:
        until(lambda host=host: re.search(odd, hung.events(host)))  # type: ignore[misc]
