"""PyTorch on several hosts: the preset form and torchrun, by a real training whose loss must be that of one process."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Literal

import pytest
from hosts import network
from training import ENGINE_S, Training, installed, on_hosts, volcano_names

if TYPE_CHECKING:
    from pathlib import Path

    from hosts import Hosts

pytestmark = [pytest.mark.distributed, on_hosts, pytest.mark.timeout(2 * ENGINE_S)]

Form = Literal["preset", "torchrun"]
FORMS: tuple[Form, ...] = ("preset", "torchrun")
ENDLESS = 10**6


def digits(folder: Path, hosts: Hosts, form: Form, **parameters: object) -> Training:
    """The training, of as many hosts as there are."""
    training = Training(folder, hosts, "digits", **parameters)
    run_method = {"MA_RUN_METHOD": "torchrun"} if form == "torchrun" else {}
    training.engine("PyTorch", installed("torch"), **run_method)
    return training


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The losses of one process on one host."""
    folder = tmp_path_factory.mktemp("alone")
    with network(folder, volcano_names(1)) as hosts:
        training = digits(folder, hosts, "preset")
        ends = training.run()
    assert [end.code for end in ends] == [0], ends[0].err
    found: list[float] = training.left("rank")[0]["losses"]
    return found


@pytest.mark.parametrize(
    ("form", "count", "per_host"),
    [("preset", 2, 1), ("preset", 4, 1), ("torchrun", 2, 1), ("torchrun", 2, 2), ("torchrun", 4, 1)],
)
def test_the_loss_on_several_hosts_is_that_of_one_process(
    tmp_path: Path, alone: list[float], form: Form, count: int, per_host: int
) -> None:
    with network(tmp_path, volcano_names(count)) as hosts:
        training = digits(tmp_path, hosts, form)
        training.environ["LAUNCHER_PROCESSES"] = str(per_host)
        ends = training.run()
        names = [host.name.partition(".")[0] for host in hosts]
    assert [end.code for end in ends] == [0] * count, [end.err for end in ends]
    found = sorted(training.left("rank"), key=lambda each: int(each["rank"]))
    assert [(each["rank"], each["world"], each["host"]) for each in found] == [
        (rank, count * per_host, names[rank // per_host]) for rank in range(count * per_host)
    ], "the ranks go by the hosts' own order"
    for each in found:
        assert each["losses"] == pytest.approx(alone, rel=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_a_host_that_is_killed_in_a_training_ends_all_and_is_named(tmp_path: Path, form: Form) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = digits(tmp_path, hosts, form, epochs=ENDLESS)
        started = [training.start(host) for host in hosts]
        started[0].await_word("epoch=2")
        hosts[1].kill()
        (end, _) = training.ends(started)
    assert end.code not in (0, 143), end.err
    assert "worker-1" in end.told, end.err


def test_a_process_that_fails_ends_all_and_is_named(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        failing = hosts[1].name.partition(".")[0]
        ends = digits(tmp_path, hosts, "preset", epochs=ENDLESS, fails_on=failing).run()
    assert [(end.code, end.cause) for end in ends] == [(3, "peer-failed"), (3, "boot-failed")], [e.err for e in ends]
    assert "worker-1" in ends[0].told, ends[0].err


def test_a_process_of_torchrun_that_fails_ends_all(tmp_path: Path) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        failing = hosts[1].name.partition(".")[0]
        ends = digits(tmp_path, hosts, "torchrun", epochs=ENDLESS, fails_on=failing).run()
    assert [end.code for end in ends] == [1, 1], [end.err for end in ends]
    # each torchrun sees one of its own fail, so either may tell first
    assert sum(end.cause == "peer-failed" for end in ends) == 1


@pytest.mark.parametrize("form", FORMS)
def test_sigterm_in_a_training_is_143_and_keeps_the_outputs(tmp_path: Path, form: Form) -> None:
    with network(tmp_path, volcano_names(2)) as hosts:
        training = digits(tmp_path, hosts, form, epochs=ENDLESS, saves=1)
        started = [training.start(host) for host in hosts]
        for each in started:
            each.await_word("epoch=2")
        for each in started:
            each.signal(signal.SIGTERM)
        ends = training.ends(started)
    assert {end.run_json["phase"] for end in ends} == {"Terminated"}, [end.err for end in ends]
    assert training.left("rank-0")
    assert training.left("rank-1")
    if form == "preset":  # torchrun itself ends with another code when it is told to end
        assert [end.code for end in ends] == [143, 143]
