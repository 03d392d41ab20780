from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from fronts import BUT_THE_SIGN, Fault, s3_error
from rig import LAUNCHER, Result, Rig
from servers import AnyStore
from talking import becomes, state_of

from launcher.core.manifest import parse_manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from fronts import Front
    from servers import S3Server

OUT = "import os, signal, sys\nout = sys.argv[2].partition('=')[2]\n"
PUT = "def put(name, text): open(os.path.join(out, name), 'w').write(text)\n"
TWO = OUT + PUT + "put('a', 'one'); put('b', 'two')\n"
MANIFEST = "out/.launcher/manifest-worker-0.json"
RUN_JSON = "modelarts-job-job-1-worker-0.run.json"
LOG = "modelarts-job-job-1-worker-0.log"


def argv(rig: Rig, *arguments: str, run_json: Path | None = None) -> tuple[str, ...]:
    return (*LAUNCHER, "sync", str(run_json or rig.log_dir / "run.json"), *rig.store.launcher_args, *arguments)


def later(
    rig: Rig,
    *arguments: str,
    env: Mapping[str, str] | None = None,
    run_json: Path | None = None,
    user: int | None = None,
) -> Result:
    done = subprocess.run(
        argv(rig, *arguments, run_json=run_json),
        env=rig.env(env),
        capture_output=True,
        check=False,
        timeout=100,
        text=True,
        user=user,
    )
    return Result(done.returncode, done.stdout, done.stderr, rig.run_json())


def manifest(rig: Rig) -> dict[str, int]:
    return {each.key: each.size for each in parse_manifest(rig.store.read(rig.bucket, MANIFEST)).objects}


def unsaved(rig: Rig, boot: str = TWO) -> None:
    """A run that could not put its outputs, before a store that takes them now."""
    rig.code(rig.shuts_output + boot)
    result = rig.run()
    assert result.code == 73, result.err
    rig.output_in_store.unlink()


def waits_in_a_read_of(pid: int, path: Path) -> bool:
    """Whether a process has opened a file and sleeps: Python hears a signal only in a call that it interrupts."""
    folder = f"/proc/{pid}/fd"
    opened = any(os.path.realpath(f"{folder}/{fd}") == str(path) for fd in os.listdir(folder))
    return opened and state_of(pid) == "S"


@pytest.fixture
def fronted_rig(moto_server: S3Server, fronted: Callable[[S3Server], Front], tmp_path: Path) -> tuple[Rig, Front]:
    """A whole job whose every request passes the front; the objects are laid down behind its back."""
    front = fronted(moto_server)
    env = {**moto_server.env, "S3_ENDPOINT": front.endpoint}
    rig = Rig(AnyStore("moto", moto_server.capability, env=env, server=moto_server), tmp_path)
    rig.code(TWO)
    return rig, front


def names(run_json: Any, channel: str) -> set[str]:
    (entry,) = [each for each in run_json["synced"] if each["channel"] == channel]
    return {each["key"] for each in entry["failed"]}


# after a 73


def test_what_a_run_could_not_save_is_put_in_place_and_the_run_is_completed(local_rig: Rig) -> None:
    unsaved(local_rig)
    before = local_rig.run_json()
    done = later(local_rig)
    assert done.code == 0, done.err
    assert local_rig.stored() == {"a": b"one", "b": b"two"}
    assert manifest(local_rig) == {"a": 3, "b": 3}
    after = done.run_json
    assert (after["phase"], after["exit_code"], after["cause"]) == ("Completed", 0, None)
    assert after["attempts"] == before["attempts"]
    assert after["attempts"][0]["cause"]["code"] == "output-not-saved"
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"phase", "exit_code", "cause", "synced"}
    assert local_rig.stored("log/")[RUN_JSON] == (local_rig.log_dir / "run.json").read_bytes()
    assert "Outputs were put in place after the run: " in local_rig.events()[-1]


def test_it_says_what_goes_where_and_how_it_went(local_rig: Rig) -> None:
    unsaved(local_rig)
    done = later(local_rig, "--json")
    assert f"train_url: {local_rig.output} -> obs://{local_rig.bucket}/out/\n" in done.err
    assert "train_url: 2 objects, 6 bytes, " in done.err
    assert json.loads(done.out) == done.run_json["synced"]


def test_a_second_time_there_is_nothing_to_do(local_rig: Rig) -> None:
    unsaved(local_rig)
    assert later(local_rig).code == 0
    assert local_rig.store.directory is not None
    files = [path for path in local_rig.store.directory.rglob("*") if path.is_file()]
    before = {path: path.stat().st_mtime_ns for path in files}
    events = local_rig.events()
    done = later(local_rig, "--json")
    assert (done.code, "everything is in its place already" in done.err) == (0, True)
    assert json.loads(done.out) == done.run_json["synced"]
    assert {path: path.stat().st_mtime_ns for path in files} == before
    assert local_rig.events() == events


def test_on_an_object_store_only_what_is_missing_is_sent(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/out/b"))
    assert rig.run().code == 73
    front.clear()
    front.seen.clear()
    assert later(rig).code == 0
    assert (front.count("PUT", "/out/a"), front.count("PUT", "/out/b"), front.count("PUT", "manifest")) == (0, 1, 1)
    assert (rig.stored(), manifest(rig)) == ({"a": b"one", "b": b"two"}, {"a": 3, "b": 3})
    front.seen.clear()
    assert (later(rig).code, front.count("PUT"), front.count("DELETE")) == (0, 0, 0)


def test_a_store_that_still_refuses_leaves_the_run_as_it_was(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/out/b"))
    before = rig.run().run_json
    done = later(rig)
    assert done.code == 73
    assert "error: train_url: b is not in its place: " in done.err
    after = done.run_json
    assert (after["phase"], after["exit_code"], after["cause"]) == ("Failed", 73, before["cause"])
    assert "b" in names(after, "train_url")


def test_a_store_that_nobody_can_ask_is_69(local_rig: Rig) -> None:
    unsaved(local_rig, TWO)
    local_rig.store.seed(local_rig.bucket, {"out/a": b"one"})
    journal = local_rig.log_dir / ".launcher-uploads.jsonl"
    note = {"channel": "train_url", "target": f"obs://{local_rig.bucket}/out/", "key": "a", "size": 3}
    journal.write_text(json.dumps({**note, "mtime_ns": 1, "inode": 1}) + "\n")
    bare = {"AWS_ACCESS_KEY_ID": "a" * 16, "AWS_SECRET_ACCESS_KEY": "b" * 16}
    done = later(local_rig, "--store", "http://127.0.0.1:1", env=bare)
    assert done.code == 69, done.err
    assert done.run_json["exit_code"] == 73


def test_a_run_that_failed_by_itself_stays_failed(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output + TWO + "sys.exit(5)\n")
    assert local_rig.run().code == 5
    local_rig.output_in_store.unlink()
    done = later(local_rig)
    assert (done.code, done.run_json["phase"], done.run_json["exit_code"]) == (0, "Failed", 5)
    assert names(done.run_json, "train_url") == set()
    assert manifest(local_rig) == {"a": 3, "b": 3}


def test_a_grace_that_was_too_short_loses_nothing(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    rig.code(OUT + PUT + "put('a', 'one'); put('b', 'two')\nprint('ready', flush=True)\nsignal.pause()\n")
    front.lay(Fault("hang", method="PUT", target=BUT_THE_SIGN))
    with rig.running("--grace", "1") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        ended = rig.finish(process)
    assert names(ended.run_json, "train_url") >= {"a", "b"}
    front.clear()
    front.release.set()
    done = later(rig)
    assert (done.code, rig.stored(), manifest(rig)) == (0, {"a": b"one", "b": b"two"}, {"a": 3, "b": 3})
    assert (done.run_json["phase"], done.run_json["exit_code"]) == ("Terminated", ended.code)


# after a kill


def killed_after_a(rig: Rig, more: str = "") -> int:
    """Kill the launcher when the store has `a` and the node has `b` as well; the inode of `a` in the store."""
    rig.algorithm["outputs"][0]["period"] = 1
    rig.code(
        OUT + PUT + "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\nput('a', 'one')\n"
        "signal.sigwait([signal.SIGUSR1])\nput('b', 'two')\n" + more + "print('b', flush=True)\nsignal.pause()\n"
    )
    journal = rig.log_dir / ".launcher-uploads.jsonl"
    assert rig.store.directory is not None
    with rig.running() as process:
        while not journal.exists() or '"key":"a"' not in journal.read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGUSR1)
        assert process.stdout is not None
        assert process.stdout.readline() == "b\n"
        process.kill()
        process.wait()
    return (rig.store.directory / rig.bucket / "out/a").stat().st_ino


def test_after_a_kill_the_rest_is_put_in_place_and_nothing_twice(local_rig: Rig) -> None:
    inode = killed_after_a(local_rig)
    assert local_rig.stored() == {"a": b"one"}
    done = later(local_rig)
    assert done.code == 0, done.err
    assert local_rig.stored() == {"a": b"one", "b": b"two"}
    assert manifest(local_rig) == {"a": 3, "b": 3}
    assert local_rig.store.directory is not None
    assert (local_rig.store.directory / local_rig.bucket / "out/a").stat().st_ino == inode
    assert done.run_json["phase"] == "Abnormal"
    (entry,) = [each for each in done.run_json["synced"] if each["channel"] == "train_url"]
    assert (entry["objects"], entry["bytes"], entry["failed"]) == (2, 6, [])
    assert LOG in local_rig.stored("log/")


def test_a_file_that_changed_since_the_kill_goes_again_and_one_that_was_removed_stays_in_the_store(
    local_rig: Rig,
) -> None:
    killed_after_a(local_rig, "os.remove(os.path.join(out, 'a')); put('c', 'three')\n")
    (local_rig.root / "home/ma-user/modelarts/outputs/train_url_0/c").write_text("changed")
    assert later(local_rig).code == 0
    assert local_rig.stored() == {"a": b"one", "b": b"two", "c": b"changed"}
    assert manifest(local_rig) == {"a": 3, "b": 3, "c": 7}


def test_what_the_store_lost_since_goes_again(local_rig: Rig) -> None:
    killed_after_a(local_rig)
    assert local_rig.store.directory is not None
    (local_rig.store.directory / local_rig.bucket / "out/a").unlink()
    assert later(local_rig).code == 0
    assert local_rig.stored() == {"a": b"one", "b": b"two"}


def test_the_journal_is_the_owners_alone(local_rig: Rig) -> None:
    local_rig.code(TWO)
    assert local_rig.run().code == 0
    assert (local_rig.log_dir / ".launcher-uploads.jsonl").stat().st_mode & 0o777 == 0o600


# what is not there any more


def test_an_output_folder_that_is_gone_is_no_success(local_rig: Rig) -> None:
    unsaved(local_rig)
    shutil.rmtree(local_rig.output)
    done = later(local_rig)
    assert (done.code, done.run_json["phase"]) == (73, "Failed")
    assert "is not in its place: " in done.err
    assert not local_rig.store.listing(local_rig.bucket, "out/")


def test_a_file_that_was_never_saved_and_is_gone_is_no_success(local_rig: Rig) -> None:
    unsaved(local_rig)
    os.remove(f"{local_rig.output}/a")
    done = later(local_rig)
    assert (done.code, names(done.run_json, "train_url")) == (73, {"a"})
    assert local_rig.stored() == {"b": b"two"}
    assert MANIFEST not in local_rig.store.listing(local_rig.bucket, "out/")
    assert later(local_rig).code == 73


# what is not believed


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("run.json", b"", 65),
        ("run.json", b"[]", 65),
        ("run.json", b"{" * 100_000, 65),
        ("plan.json", b"\xff\xfe{}", 65),
        ("plan.json", b'{"job": 1}', 65),
    ],
)
def test_documents_that_no_launcher_wrote_are_refused(local_rig: Rig, name: str, content: bytes, code: int) -> None:
    unsaved(local_rig)
    (local_rig.log_dir / name).write_bytes(content)
    done = subprocess.run(argv(local_rig), env=local_rig.env(), capture_output=True, check=False, text=True, timeout=60)
    assert (done.returncode, done.stderr.startswith(f"error: {name}"), "Traceback" in done.stderr) == (
        code,
        True,
        False,
    ), done.stderr
    assert local_rig.stored() == {}


@pytest.mark.parametrize("name", ["run.json", "plan.json"])
def test_documents_that_are_not_there_are_66(local_rig: Rig, name: str) -> None:
    unsaved(local_rig)
    (local_rig.log_dir / name).unlink()
    done = later(local_rig)
    assert (done.code, f"{name}: cannot be read" in done.err) == (66, True), done.err


def test_a_plan_may_not_send_any_folder_away(local_rig: Rig) -> None:
    unsaved(local_rig)
    plan = local_rig.plan()
    for path in ("/etc", f"{local_rig.root}/etc", str(local_rig.log_dir), f"{local_rig.root}/home/../../x"):
        plan["outputs"][0]["path"] = path
        (local_rig.log_dir / "plan.json").write_text(json.dumps(plan))
        done = later(local_rig)
        assert (done.code, done.err.startswith("error: plan.json: outputs")) == (65, True), (path, done.err)
    assert local_rig.stored() == {}


def test_a_plan_that_lies_elsewhere_is_refused(local_rig: Rig) -> None:
    unsaved(local_rig)
    elsewhere = local_rig.folder / "elsewhere"
    shutil.copytree(local_rig.log_dir, elsewhere)
    done = later(local_rig, run_json=elsewhere / "run.json")
    assert (done.code, "where it does not lie" in done.err) == (65, True)


def test_a_copy_of_run_json_leads_to_the_run(local_rig: Rig) -> None:
    unsaved(local_rig)
    copy = local_rig.folder / "report.json"
    shutil.copy(local_rig.log_dir / "run.json", copy)
    assert later(local_rig, run_json=copy).code == 0
    assert local_rig.run_json()["phase"] == "Completed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_plan_of_another_user_is_believed_only_if_the_job_says_the_same(local_rig: Rig) -> None:
    unsaved(local_rig)
    os.chown(local_rig.log_dir / "plan.json", 54321, -1)
    done = later(local_rig)
    assert (done.code, "is of uid 54321" in done.err) == (77, True), done.err
    plan = local_rig.plan()
    job = str(local_rig.folder / "job.json")
    (local_rig.log_dir / "plan.json").write_text(json.dumps(plan).replace("/out/", "/elsewhere/").replace("out/", "x/"))
    done = later(local_rig, "--job", job)
    assert (done.code, "do not put the same outputs" in done.err) == (65, True), done.err
    (local_rig.log_dir / "plan.json").write_text(json.dumps(plan))
    assert later(local_rig, "--job", job).code == 0


@pytest.mark.parametrize(
    "lines",
    [
        b"\x00\xff garbage\n",
        b"[" * 50_000 + b"\n",
        b'{"channel": "train_url", "target": 1, "key": "a", "size": 3, "mtime_ns": 1, "inode": 1}\n',
        b'{"channel": "train_url", "target": "x", "key": "../../etc/passwd", "size": 3, "mtime_ns": 1, "inode": 1}\n',
        b'{"channel": "nobody", "target": "x", "key": "a", "size": 3, "mtime_ns": 1, "inode": 1, "sha256": "x"}\n',
        b'{"channel": "train_url", "targ',
    ],
)
def test_a_journal_that_makes_no_sense_costs_no_output(local_rig: Rig, lines: bytes) -> None:
    unsaved(local_rig)
    (local_rig.log_dir / ".launcher-uploads.jsonl").write_bytes(lines)
    done = later(local_rig)
    assert (done.code, "does not tell what secrets it may hold; give --job JOB" in done.err) == (73, True), done.err
    assert (manifest(local_rig), names(done.run_json, "log")) == ({"a": 3, "b": 3}, {LOG})
    assert later(local_rig, "--job", str(local_rig.folder / "job.json")).code == 0


def test_a_launcher_that_runs_is_left_alone(local_rig: Rig) -> None:
    local_rig.code("import signal\nprint('ready', flush=True)\nsignal.pause()\n")
    with local_rig.running() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        done = later(local_rig)
        assert (done.code, "another launcher" in done.err) == (71, True)
        assert process.poll() is None
        process.terminate()
        local_rig.finish(process)


# secrets

SECRET = "correct-horse-battery"
SPEAKS = TWO + "print(os.environ['DB_PASSWORD'])\n"


def test_the_log_of_a_job_with_secrets_waits_for_the_job(local_rig: Rig) -> None:
    local_rig.algorithm["environments"] = {"DB_PASSWORD": SECRET}
    unsaved(local_rig, SPEAKS)
    assert local_rig.store.directory is not None
    shutil.rmtree(local_rig.store.directory / local_rig.bucket / "log")
    done = later(local_rig)
    assert done.code == 73, done.err
    assert "it may hold the secret DB_PASSWORD of the job; give --job JOB" in done.err
    assert (names(done.run_json, "log"), done.run_json["phase"]) == ({LOG}, "Failed")
    assert set(local_rig.stored("log/")) == {RUN_JSON, RUN_JSON.replace(".run.json", ".events.jsonl")}
    assert manifest(local_rig) == {"a": 3, "b": 3}
    done = later(local_rig, "--job", str(local_rig.folder / "job.json"))
    assert (done.code, done.run_json["phase"]) == (0, "Completed"), done.err
    assert b"******" in local_rig.stored("log/")[LOG]
    everything = b"".join(local_rig.stored("log/").values()) + (done.out + done.err).encode()
    assert SECRET.encode() not in everything + (local_rig.log_dir / "run.json").read_bytes()


def test_a_job_that_does_not_say_every_secret_is_told_which(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output + TWO)
    assert local_rig.run("--set", "api_key=@env:MINE", env={"MINE": SECRET}).code == 73
    local_rig.output_in_store.unlink()
    job = str(local_rig.folder / "job.json")
    done = later(local_rig, "--job", job)
    assert (done.code, "the secret --api_key, which this --job does not say" in done.err) == (73, True), done.err
    done = later(local_rig, "--job", job, "--set", "api_key=@env:MINE", env={"MINE": SECRET})
    assert done.code == 0, done.err


def test_a_secret_of_the_launchers_environment_must_be_known(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output + SPEAKS)
    assert local_rig.run(env={"DB_PASSWORD": SECRET}).code == 73
    local_rig.output_in_store.unlink()
    done = later(local_rig)
    assert (done.code, "it may hold DB_PASSWORD of the launcher's environment" in done.err) == (73, True), done.err
    assert later(local_rig, env={"DB_PASSWORD": SECRET}).code == 0
    assert SECRET.encode() not in local_rig.stored("log/")[LOG]


def withheld(rig: Rig, done: Result, why: str) -> None:
    """The log stayed on the node, for this reason; everything else is in its place."""
    assert (done.code, done.err.count("the log stays on the node: "), why in done.err) == (73, 1, True), done.err
    assert (names(done.run_json, "log"), set(rig.stored())) == ({LOG}, {"a", "b"})
    assert LOG not in rig.stored("log/")


def test_a_secret_that_was_changed_since_keeps_the_log_on_the_node(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output + SPEAKS)
    assert local_rig.run(env={"DB_PASSWORD": SECRET}).code == 73
    local_rig.output_in_store.unlink()
    assert local_rig.store.directory is not None
    shutil.rmtree(local_rig.store.directory / local_rig.bucket / "log")
    withheld(local_rig, later(local_rig, env={"DB_PASSWORD": "rotated-since-then"}), "it may hold DB_PASSWORD of the ")
    assert later(local_rig, env={"DB_PASSWORD": "rotated-since-then", "OLD_PASSWORD": SECRET}).code == 0
    assert b"******" in local_rig.stored("log/")[LOG]
    assert SECRET.encode() not in local_rig.stored("log/")[LOG]
    assert SECRET.encode() not in (local_rig.log_dir / ".launcher-uploads.jsonl").read_bytes()


def test_a_job_that_says_another_secret_than_the_run_had_keeps_the_log_on_the_node(local_rig: Rig) -> None:
    local_rig.code(local_rig.shuts_output + TWO + "print(sys.argv)\n")
    job = str(local_rig.folder / "job.json")
    assert local_rig.run("--set", "api_key=@env:MINE", env={"MINE": SECRET}).code == 73
    local_rig.output_in_store.unlink()
    assert local_rig.store.directory is not None
    shutil.rmtree(local_rig.store.directory / local_rig.bucket / "log")
    other = later(local_rig, "--job", job, "--set", "api_key=@env:MINE", env={"MINE": "rotated-since-then"})
    withheld(local_rig, other, "it may hold a secret that has another value now; give --job JOB")
    assert later(local_rig, "--job", job, "--set", "api_key=@env:MINE", env={"MINE": SECRET}).code == 0
    assert SECRET.encode() not in local_rig.stored("log/")[LOG]


# signals


def test_a_signal_ends_it_and_the_next_one_goes_on(fronted_rig: tuple[Rig, Front]) -> None:
    rig, front = fronted_rig
    front.lay(s3_error(403, "AccessDenied", method="PUT", target="/out/b"))
    assert rig.run().code == 73
    front.clear()
    front.lay(Fault("hang", method="PUT", target="/out/b"))
    front.seen.clear()
    with subprocess.Popen(argv(rig), env=rig.env(), stderr=subprocess.PIPE, text=True) as process:
        try:
            while not front.count("PUT", "/out/b"):
                assert process.poll() is None
            process.terminate()
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, "SIGTERM came before the end" in err) == (143, True), err
    assert "b" in names(rig.run_json(), "train_url")
    assert MANIFEST not in rig.store.listing(rig.bucket, "out/")
    front.clear()
    front.release.set()
    assert (later(rig).code, rig.run_json()["phase"]) == (0, "Completed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_while_documents_are_read_is_told(local_rig: Rig, number: signal.Signals) -> None:
    unsaved(local_rig)
    before = local_rig.run_json()
    job = local_rig.folder / "fifo"
    os.mkfifo(job)
    command = argv(local_rig, "--job", str(job))
    with subprocess.Popen(command, env=local_rig.env(), stderr=subprocess.PIPE, text=True) as process:
        try:
            with job.open("wb"):  # opened once the launcher opens it
                becomes(lambda: waits_in_a_read_of(process.pid, job))
                process.send_signal(number)
                _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (
        128 + number,
        f"error: {number.name} came before the uploads began. Call launcher sync again.\n",
    )
    assert (local_rig.run_json(), local_rig.stored()) == (before, {})


def test_a_signal_while_survivors_are_stopped_is_told(local_rig: Rig) -> None:
    asked = local_rig.folder / "asked"
    os.mkfifo(asked)
    local_rig.code(
        TWO
        + f"def hear(number, frame):\n    open({str(asked)!r}, 'w').close()\n"
        + "    signal.signal(number, signal.SIG_DFL)\n"
        + "signal.signal(signal.SIGTERM, hear)\nprint('ready', flush=True)\nwhile True: signal.pause()\n"
    )
    with local_rig.running() as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
        process.wait()
    with subprocess.Popen(argv(local_rig), env=local_rig.env(), stderr=subprocess.PIPE, text=True) as process:
        try:
            with asked.open("rb"):  # opened once the survivor was asked to end
                process.terminate()
                _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, err) == (
        143,
        "error: SIGTERM came before the uploads began. Call launcher sync again.\n",
    )
    assert (later(local_rig).code, local_rig.stored()) == (0, {"a": b"one", "b": b"two"})


def test_an_interrupt_that_is_ignored_ends_nothing(local_rig: Rig) -> None:
    unsaved(local_rig)
    job = local_rig.folder / "fifo"
    os.mkfifo(job)
    command = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh", *argv(local_rig, "--job", str(job)))
    with subprocess.Popen(command, env=local_rig.env(), stderr=subprocess.PIPE, text=True) as process:
        try:
            with job.open("wb") as file:
                process.send_signal(signal.SIGINT)
                file.write((local_rig.folder / "job.json").read_bytes())
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, local_rig.stored()) == (0, {"a": b"one", "b": b"two"}), err


def test_no_store_is_told_with_both_ways_to_name_one(local_rig: Rig) -> None:
    unsaved(local_rig)
    bare = (*LAUNCHER, "sync", str(local_rig.log_dir / "run.json"))
    done = subprocess.run(bare, env=local_rig.env(), capture_output=True, check=False, text=True, timeout=60)
    assert (done.returncode, "--store DIR" in done.stderr) == (2, True)


def test_what_lies_in_the_store_stays_whole_where_no_boot_process_was_started(local_rig: Rig) -> None:
    local_rig.code(TWO)
    assert local_rig.run().code == 0
    before = local_rig.store.read(local_rig.bucket, MANIFEST)
    assert local_rig.run(env={"MA_SCRIPT_INTERPRETER": "python9.9"}).code == 127
    done = later(local_rig)
    assert (done.code, "no boot process was started" in done.err) == (0, True), done.err
    assert (done.run_json["exit_code"], local_rig.store.read(local_rig.bucket, MANIFEST)) == (127, before)


def test_what_was_written_after_the_run_is_put_on_each_store(rig: Rig) -> None:
    rig.code(TWO)
    assert rig.run().code == 0
    with open(f"{rig.output}/c", "w", encoding="utf-8") as file:
        file.write("three")
    done = later(rig)
    assert (done.code, done.run_json["phase"]) == (0, "Completed"), done.err
    assert rig.stored() == {"a": b"one", "b": b"two", "c": b"three"}
    assert manifest(rig) == {"a": 3, "b": 3, "c": 5}
    assert "everything is in its place already" in later(rig).err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--grace", "nan"), "--grace nan: expected seconds"),
        (("--grace", "-1"), "--grace -1: expected seconds"),
        (("--set", "a=1"), "belong to a --job"),
    ],
)
def test_a_wrong_command_line_is_2(local_rig: Rig, arguments: tuple[str, ...], said: str) -> None:
    done = later(local_rig, *arguments)
    assert (done.code, said in done.err) == (2, True), done.err


def test_a_log_that_is_sent_later_hides_a_secret_however_the_job_spelled_it(local_rig: Rig) -> None:
    secret = """pa'ss\\word"quoted-0123456789"""
    local_rig.algorithm["environments"] = {"MY_PASSWORD": secret}
    local_rig.code(
        "import os\nprint(repr(os.environ['MY_PASSWORD']), flush=True)\n"
        "log = os.environ['MA_LOG_DIR'] + '/' + os.environ['MA_CURRENT_INSTANCE_NAME'] + '.log'\n"
        "while 'quoted' not in open(log).read(): pass\n"
        "os.kill(os.getppid(), 9)\n"
    )
    job = local_rig.argv()[4]
    local_rig.run()
    assert later(local_rig, "--job", job).code == 0
    sent = local_rig.stored("log/")[LOG]
    assert (b"quoted" in sent, b"******" in sent) == (False, True)
