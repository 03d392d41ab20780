"""`launcher search` in many processes on one PostgreSQL: the budget is exact, though they and the server are killed."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from typing import TYPE_CHECKING

import pytest
from databases import Server, postgres
from ends import until
from rig import Result
from searching import Search, environ, kill
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from typing_extensions import Self

pytestmark = [pytest.mark.search, pytest.mark.timeout(300)]
DOWN_S = 10.0
PASSWORD = "pa55-of-the-database"
SAMPLES = 8


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with postgres() as running:
        yield running


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    (tmp_path / "store").mkdir()
    store = AnyStore("localfs", LOCALFS, ("--store", str(tmp_path / "store")), directory=tmp_path / "store")
    one = Search(store, tmp_path, samples=SAMPLES)
    yield one
    one.end_all()


class Workers:
    """Searches of one study, each with a root of its own and one trial at a time."""

    def __init__(self, search: Search, server: Server) -> None:
        self.search = search
        self.storage = server.fresh().replace("launcher@", f"launcher:{PASSWORD}@")
        self.all: list[tuple[Search, subprocess.Popen[str]]] = []
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._open.close()

    def start(self, count: int) -> None:
        for _ in range(count):
            node = self.search.beside(f"root-{len(self.all)}")
            named = len(self.all) % 2
            running = node.running(
                *(("--storage", self.storage) if named else ()),
                "--grace",
                "200",
                command="search",
                env={} if named else {"LAUNCHER_STORAGE": self.storage},
            )
            self.all.append((node, self._open.enter_context(running)))

    def finish(self) -> list[Result]:
        """Wait for them all, and see that none has told the password to anybody."""
        told = []
        for node, process in self.all:
            out, err = process.communicate(timeout=200)
            told.append(Result(process.returncode, out, err, node.run_json()))
        self.all = []
        self._open.close()
        assert [each.err for each in told if "Traceback" in each.err] == []
        assert [each for each in told if PASSWORD in each.out + each.err] == []
        folders = (path for path in self.search.folder.rglob("*") if path.is_file())
        assert [path for path in folders if PASSWORD.encode() in path.read_bytes()] == []
        return told

    def whole(self) -> int:
        """How many trials there were for the whole of the budget."""
        return len(self.search.whole(SAMPLES, self.storage))


@pytest.fixture
def workers(search: Search, server: Server) -> Iterator[Workers]:
    with Workers(search, server) as made:
        yield made


def test_four_searches_of_one_study_do_its_budget_once(workers: Workers) -> None:
    workers.start(4)
    boots = workers.search.await_boots(4)
    assert len({workers.search.rate(boot) for boot in boots}) == 4
    shown = [environ(pid) for pid in (*boots, *workers.search.launchers())]
    assert len(shown) == 8
    assert [each for each in shown if PASSWORD.encode() in each] == []
    workers.search.go()
    assert [each.code for each in workers.finish()] == [0] * 4
    assert workers.whole() == SAMPLES
    document = json.loads(workers.search.stored("out/autosearch/")["trials.json"])
    assert len(document["items"]["data"]) == SAMPLES


@pytest.mark.parametrize("trials_too", [False, True], ids=["the-search", "the-node"])
def test_the_trials_of_a_killed_search_are_taken_over_by_the_others(workers: Workers, *, trials_too: bool) -> None:
    search = workers.search
    workers.start(3)
    boots = search.await_boots(3)
    _, killed = workers.all.pop(0)
    family = [pid for pid in search.launchers() + boots if b"root-0" in environ(pid)]
    assert len(family) == 2
    kill(killed.pid, *(family if trials_too else ()))
    until(lambda: len(search.boots()) == 2)
    search.go()
    assert [each.code for each in workers.finish()] == [0] * 2
    assert workers.whole() == SAMPLES + 1


def test_a_database_that_is_killed_and_comes_back_costs_nothing_but_time(search: Search) -> None:
    with postgres() as server, Workers(search, server) as workers:
        workers.start(4)
        search.await_boots(4)
        server.kill()
        search.go()
        threading.Event().wait(DOWN_S)
        server.start()
        told = workers.finish()
        assert [each.code for each in told] == [0] * 4
        assert all("does not answer and is waited for" in each.err for each in told)
        assert workers.whole() == SAMPLES


def test_a_search_that_is_asked_to_end_does_not_wait_for_its_database(search: Search) -> None:
    with postgres() as server, Workers(search, server) as workers:
        workers.start(1)
        (boot,) = search.await_boots(1)
        server.kill()
        workers.all[0][1].send_signal(signal.SIGTERM)
        (told,) = workers.finish()
        assert (told.code, told.run_json["phase"]) == (143, "Terminated"), told.err
        assert search.asked(boot)
        search.await_nobody()
        server.start()
        search.go()
        workers.start(1)
        assert [each.code for each in workers.finish()] == [0]
        assert workers.whole() == SAMPLES + 1
