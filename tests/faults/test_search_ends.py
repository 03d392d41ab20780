"""Searches whose processes are killed or asked to end: the budget is kept to the trial, and nobody is left behind.

The moments of the random kills are seeded, and the seed is printed; SEARCH_KILLS_ROUNDS asks for more of them,
SEARCH_KILLS_SEED for others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ends import children_of, until
from rig import LAUNCHER
from searching import WAITING, Search, kill, rates, results
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rig import Result

ROUNDS = int(os.environ.get("SEARCH_KILLS_ROUNDS", "5"))
SEED = int(os.environ.get("SEARCH_KILLS_SEED", "7"))
MOST_KILLS = 2
"""In one round; values that are lost for the third time are given up."""
SAMPLES = 4
STOPS = {signal.SIGTERM: 143, signal.SIGINT: 130}


def made(folder: Path, **settings: Any) -> Search:
    store = folder / "store"
    store.mkdir()
    return Search(AnyStore("localfs", LOCALFS, ("--store", str(store)), directory=store), folder, **settings)


@pytest.fixture
def search(tmp_path: Path) -> Iterator[Search]:
    """A search of three trials that wait until they may go."""
    one = made(tmp_path)
    yield one
    one.end_all()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    """The learning rates that a search tries one after the other, when nothing happens to it."""
    one = made(tmp_path_factory.mktemp("undisturbed"), samples=SAMPLES)
    one.go()
    result = one.run("--jobs", "1", command="search")
    assert result.code == 0, result.err
    return rates(one.whole(SAMPLES))


def gone_on(search: Search, *arguments: str, samples: int = 3) -> Result:
    """Start the same command again and let it come to its end."""
    search.go()
    result = search.run(*arguments, command="search")
    assert result.code == 0, result.err
    search.whole(samples)
    return result


def below(search: Search, launcher: int) -> int:
    """The boot process of a trial's launcher."""
    return next(pid for pid in search.boots() if pid in children_of(launcher))


def test_a_boot_process_that_is_killed_does_not_count(search: Search) -> None:
    with search.running("--jobs", "1", command="search") as process:
        (boot,) = search.await_boots(1)
        killed = search.rate(boot)
        search.go()
        kill(boot)
        result = search.finish(process)
    assert result.code == 0, result.err
    failed, *others = search.whole(3)
    assert (failed.state, failed.verdict, failed.slot, failed.values["lr"]) == ("FAIL", "boot", 0, killed)
    assert failed.why is not None
    assert "SIGKILL" in failed.why
    assert [(trial.slot, trial.draw) for trial in others] == [(0, 1), (1, 0), (2, 0)]


def test_what_the_killed_launcher_of_a_trial_left_is_ended_while_others_run_and_its_values_are_tried_again(
    search: Search,
) -> None:
    with search.running("--jobs", "2", command="search") as process:
        search.await_boots(2)
        killed, other = search.launchers()
        orphan, undisturbed = below(search, killed), below(search, other)
        kill(killed)
        until(lambda: orphan not in search.boots() and len(search.boots()) == 2)
        assert search.asked(orphan)
        assert undisturbed in search.boots()
        again = next(pid for pid in search.boots() if pid != undisturbed)
        assert search.rate(again) == search.rate(orphan)
        search.go()
        result = search.finish(process)
    assert result.code == 0, result.err
    assert [trial.verdict for trial in search.whole(3)].count("lost") == 1
    assert "it was stopped" in result.err


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_trials_of_a_killed_search_end_by_themselves_and_the_same_command_goes_on(
    search: Search, undisturbed: list[float], jobs: int
) -> None:
    with search.running("--jobs", str(jobs), command="search"):
        boots = search.await_boots(jobs)
        kill(*search.searching())
        search.await_nobody()
    assert all(search.asked(boot) for boot in boots)
    gone_on(search, "--jobs", str(jobs))
    trials = search.whole(3)
    assert [trial.verdict for trial in trials if not trial.finished] == ["lost"] * jobs
    assert {trial.values["lr"] for trial in trials if not trial.finished} == {search.rate(boot) for boot in boots}
    if jobs == 1:
        assert rates(trials) == undisturbed[:3]
    assert list((search.root / "cache/trials").glob("*/job.json")) == [], "they may hold secrets"


def test_the_next_search_ends_what_one_left_that_was_killed_with_its_trials_launchers(search: Search) -> None:
    with search.running("--jobs", "2", command="search"):
        orphans = search.await_boots(2)
        kill(*search.searching(), *search.launchers())
    assert search.boots()
    with search.running("--jobs", "2", command="search") as process:
        until(lambda: len({*search.boots()} - {*orphans}) == 2)
        assert all(search.asked(orphan) for orphan in orphans)
        assert {search.rate(each) for each in search.boots()} == {search.rate(each) for each in orphans}
        search.go()
        result = search.finish(process)
    assert result.code == 0, result.err
    assert result.err.count("it was stopped") >= 2
    search.whole(3)


@pytest.mark.parametrize("number", STOPS)
def test_a_search_that_is_asked_to_end_asks_its_trials_and_keeps_what_they_have(search: Search, number: int) -> None:
    with search.running("--jobs", "2", command="search") as process:
        boots = search.await_boots(2)
        search.send(process, number)
        result = search.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (
        STOPS[signal.Signals(number)],
        "Terminated",
        "interrupted",
    )
    assert "Traceback" not in result.err
    assert all(search.asked(boot) for boot in boots)
    assert list(search.stored("out/trials/").values()).count(b"words") == 2
    gone_on(search, "--jobs", "2")


def test_asked_twice_it_hurries(search: Search) -> None:
    search.algorithm["environments"]["DEAF"] = "1"
    with search.running("--jobs", "2", "--grace", "600", command="search") as process:
        boots = search.await_boots(2)
        search.send(process, signal.SIGTERM)
        until(lambda: all(search.asked(boot) for boot in boots))
        search.send(process, signal.SIGTERM)
        result = search.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated"), result.err
    search.await_nobody()
    del search.algorithm["environments"]["DEAF"]
    gone_on(search)


def test_asked_while_it_stages_it_begins_no_trial(search: Search) -> None:
    search.store.seed(search.bucket, {f"code/lib/{index}.py": b"#" * 50_000 for index in range(400)})
    with search.running(command="search") as process:
        assert process.stderr is not None
        while "download" not in (line := process.stderr.readline()):
            assert line, "it ended before"
        search.send(process, signal.SIGTERM)
        result = search.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated"), result.err
    assert not list(search.begun.iterdir())
    gone_on(search)


@contextlib.contextmanager
def held(search: Search) -> Iterator[None]:
    """Hold the study's lock: to whoever wants it, it is a database that does not answer."""
    lock = f"{search.storage}.lock"
    os.makedirs(os.path.dirname(lock), exist_ok=True)
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def test_asked_before_the_study_is_joined_it_ends_soon(search: Search) -> None:
    with held(search), search.running("--grace", "600", command="search") as process:
        until(lambda: any("search" in each for each in phases(search)))
        search.send(process, signal.SIGTERM)
        result = search.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated"), result.err
    assert "Traceback" not in result.err
    gone_on(search)


def test_asked_while_the_study_does_not_answer_it_ends_soon_and_goes_on_later(search: Search) -> None:
    with search.running("--jobs", "1", "--grace", "600", command="search") as process:
        (boot,) = search.await_boots(1)
        with held(search):
            search.send(process, signal.SIGTERM)
            result = search.finish(process)
    assert (result.code, result.run_json["phase"]) == (143, "Terminated"), result.err
    assert "Traceback" not in result.err
    assert search.asked(boot)
    gone_on(search, "--jobs", "1")


def phases(search: Search) -> list[str]:
    path = search.log_dir / "run.json"
    return [each["phase"] for each in search.run_json()["timeline"]] if path.exists() else []


def test_a_trial_that_a_user_stops_counts_with_its_last_reward(search: Search) -> None:
    with search.running("--jobs", "1", command="search") as process:
        (boot,) = search.await_boots(1)
        wrong = search.run("--stop", "nothing", command="search")
        (name,) = (path.name for path in (search.root / "cache/trials").iterdir())
        right = search.run("--stop", name, command="search")
        until(lambda: search.asked(boot))
        search.go()
        result = search.finish(process)
    assert wrong.code == 66, wrong.err
    assert name in wrong.err
    assert right.code == 0, right.err
    assert result.code == 0, result.err
    stopped, *others = search.whole(3)
    assert (stopped.id, stopped.state, stopped.slot) == (name, "PRUNED", 0)
    assert stopped.reward == pytest.approx(stopped.values["lr"], abs=1e-4)
    assert [trial.state for trial in others] == ["COMPLETE"] * 2


def test_a_search_whose_time_is_over_goes_on_when_it_is_given_more(search: Search) -> None:
    with search.running("--jobs", "2", command="search", env={"LAUNCHER_AUTO_STOP": "6"}) as process:
        result = search.finish(process)
    assert (result.code, result.run_json["phase"], result.cause) == (124, "Terminated", "auto-stop"), result.err
    gone_on(search, "--jobs", "2")


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.timeout(300)
def test_whoever_is_killed_and_when_the_budget_is_exact_and_nobody_is_left(
    tmp_path: Path, undisturbed: list[float], number: int
) -> None:
    chance = random.Random(SEED * 1_000_000 + number)
    jobs = 1 + number % 2
    print(f"seed {SEED}, round {number}")
    search = made(tmp_path, samples=SAMPLES)
    search.code(f"{WAITING}\ntime.sleep(0.2)\n")
    search.go()
    for _ in range(MOST_KILLS):
        with search.running("--jobs", str(jobs), command="search") as process:
            wait(process, chance.uniform(0.3, 2.5))
            killed = choose(search, chance, boots=jobs == 2)
            print("killed", killed)
            kill(*killed)
            wait(process, chance.uniform(0.0, 1.0))
            kill(*search.searching())
    result = gone_on(search, "--jobs", str(jobs), samples=SAMPLES)
    trials = search.whole(SAMPLES)
    assert "Traceback" not in result.err
    if jobs == 1:
        assert rates(trials) == undisturbed
    assert [name for name in search.stored() if "part" in name] == []


@pytest.mark.parametrize("number", range(ROUNDS))
@pytest.mark.timeout(300)
def test_whenever_it_is_asked_to_end_it_goes_on_where_it_was(
    tmp_path: Path, undisturbed: list[float], number: int
) -> None:
    chance = random.Random(SEED * 2_000_000 + number)
    jobs = 1 + number % 2
    print(f"seed {SEED}, round {number}")
    search = made(tmp_path, samples=SAMPLES)
    search.code(f"{WAITING}\ntime.sleep(0.2)\n")
    search.go()
    for _ in range(MOST_KILLS):
        with search.running("--jobs", str(jobs), command="search") as process:
            wait(process, chance.uniform(0.3, 2.5))
            search.send(process, chance.choice([*STOPS]))
            ended = search.finish(process)
        assert ended.code in (0, 130, 143, -signal.SIGTERM, -signal.SIGINT), ended.err
        assert "Traceback" not in ended.err or ended.code == -signal.SIGINT
    gone_on(search, "--jobs", str(jobs), samples=SAMPLES)
    trials = search.whole(SAMPLES)
    assert {trial.verdict for trial in trials} <= {None, "lost"}
    if jobs == 1:
        assert rates(trials) == undisturbed


def choose(search: Search, chance: random.Random, *, boots: bool) -> list[int]:
    kinds = [search.searching(), search.launchers(), *([search.boots()] if boots else [])]
    there = [kind for kind in kinds if kind]
    return [chance.choice(chance.choice(there))] if there else []


def wait(process: subprocess.Popen[Any], seconds: float) -> None:
    """Until a random moment, or its end."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def test_results_that_cannot_be_put_in_place_are_owed_and_a_later_sync_puts_them_there(search: Search) -> None:
    place = search.output_in_store / "autosearch"
    shuts(search, place)
    search.go()
    result = search.run(command="search")
    assert result.code == 73, result.err
    search.whole(3)
    place.unlink()
    sync(search, search.log_dir)
    stored = search.stored("out/autosearch/")
    assert stored["trials.json"] == (results(search) / "trials.json").read_bytes()
    assert {"best.json", "best-job.json", "trials.csv", "report.html", "study.db"} <= stored.keys()


def test_outputs_of_trials_that_cannot_be_put_in_place_count_and_a_later_sync_puts_them_there(search: Search) -> None:
    trial_folder = "{options.train_url.split('/trials/')[1].split('/')[0]}"
    shuts(search, search.output_in_store / "trials" / trial_folder)
    search.go()
    result = search.run("--jobs", "1", command="search")
    assert result.code == 0, result.err
    trials = search.whole(3)
    assert [trial.state for trial in trials] == ["COMPLETE"] * 3
    assert all("could not be put in its place" in (trial.why or "") for trial in trials)
    for trial in trials:
        (search.output_in_store / "trials" / trial.id).unlink()
        sync(search, search.root / f"cache/trials/{trial.id}/home/ma-user/modelarts/log")
        stored = search.stored(f"out/trials/{trial.id}/")
        assert stored["model"] == repr(trial.values["lr"]).encode()


def shuts(search: Search, place: Path) -> None:
    """Have the boot files lay a file in place of a folder in the store, which may be named by their options."""
    lay = f'import shutil\nplace = f"{place}"\nshutil.rmtree(place, ignore_errors=True)\nopen(place, "w").close()\n'
    search.code(WAITING.replace("begun =", f"{lay}begun ="))
    search.output_in_store.mkdir()


def sync(search: Search, log_dir: Path) -> None:
    """Put in place later what could not be put there."""
    argv = (*LAUNCHER, "sync", str(log_dir / "run.json"), *search.store.launcher_args)
    done = subprocess.run(argv, env=search.env(), capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def small(search: Search, folder: Path) -> Iterator[Path]:
    """Have a folder of the search be a file system of a megabyte; as it is seen from here."""
    folder.mkdir(parents=True)
    script = 'mount -t tmpfs -o size=1m none "$0" && echo ready && read -r _'
    with subprocess.Popen(
        ("unshare", "--mount", "sh", "-c", script, str(folder)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        if holder.stdout.readline() != "ready\n":
            pytest.skip("no small file system can be made here (needs root)")
        search.prefix = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
        yield Path(f"/proc/{holder.pid}/root{folder}")


def fill(folder: Path) -> None:
    """Take all the room that is left."""
    with (folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"-" * 512)


def test_a_study_on_a_full_disk_ends_the_search_with_a_sentence_and_goes_on_when_there_is_room(search: Search) -> None:
    study = ("--storage", str(search.folder / "small/study.db"))
    with small(search, search.folder / "small") as folder:
        with search.running("--jobs", "2", *study, command="search") as process:
            search.await_boots(2)
            fill(folder)
            search.go()
            result = search.finish(process)
        assert (result.code, result.cause) == (65, "study-unreadable"), result.err
        assert "database or disk is full" in result.errors[0]
        assert "Traceback" not in result.err
        (folder / "ballast").unlink()
        result = search.run("--jobs", "2", *study, command="search")
    assert result.code == 0, result.err
    search.whole(3, str(results(search) / "study.db"))


def test_results_for_which_there_is_no_room_stop_no_trial(search: Search) -> None:
    search.go()
    with small(search, results(search)) as folder:
        fill(folder)
        result = search.run(command="search")
        assert "Traceback" not in result.err
        assert result.code == 0, result.err
        assert f"{results(search)}/study.db cannot be written: " in result.err
        assert result.err.count("trials.json cannot be written") == 1
    search.whole(3)
