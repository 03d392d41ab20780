"""The record by which a run is made again: what it holds, what it leaves out, and what lies beside it later."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from kube_cases import body
from msgspec.structs import replace

from launcher.core import freeze
from launcher.core.devices import ONE_CPU, Device
from launcher.core.errors import SpecError
from launcher.core.listed import Listed
from launcher.core.origin import Origin
from launcher.core.parse.cursor import Log
from launcher.core.parse.job import job_document, parse_job
from launcher.core.parse.reproduce import MOST, parse_reproduce
from launcher.core.plan import CodeLimits, Files, JobName, LogRules, Node, Plan, Process, Transfers
from launcher.core.replayed import SHOWN, Lying, differences, table
from launcher.core.replayjob import missing, with_outputs
from launcher.core.reproduce import (
    Code,
    Git,
    Hardware,
    Hidden,
    Nodes,
    Packages,
    Reproduce,
    Source,
    digest_of,
    hide,
    is_code,
    of_origin,
    of_plan,
    tree_digest,
)
from launcher.core.spec import Job, JobMetadata

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "sesame-open-now-1"
IMAGE = "swr/team/train@sha256:" + "a" * 64


def make_plan(engine: str = "python") -> Plan:
    process = Process(
        rank=0,
        local_rank=0,
        argv=("/bin/python", "/r/code/train.py", "--lr=0.1"),
        env={"MA_ENGINE_VERSION": "pytorch_1.8"},
        cwd="/r/code",
    )
    return Plan(
        job=JobName(id="1", name="j", label="modelarts-job-1-worker-0"),
        node=Node(index=0, count=1, host="h"),
        root="/r",
        folders=(),
        code=None,
        inputs=(),
        outputs=(),
        processes=(process,),
        packages="/r/packages",
        scratch=None,
        pip_index=(),
        files=Files(
            log="", run_json="", events="", plan="", staged="", uploads="", roll="", termination=None, report=None
        ),
        log_target=None,
        limits=CodeLimits(),
        logs=LogRules(),
        grace=25.0,
        stop_after=None,
        transfers=Transfers(),
        in_use="refuse",
        language="en",
        warnings=(),
        engine=engine,
        devices=msgspec.structs.replace(ONE_CPU, type="GPU", count=1, devices=(Device(index=0, name="A"),), driver="5"),
        interpreter="/bin/python",
    )


def make_job(**algorithm: Any) -> Job:
    return parse_job(body(algorithm=algorithm), Log())


def record(**more: Any) -> Reproduce:
    plain = Reproduce(
        launcher="1",
        root="/r",
        engine="python",
        node=Nodes(index=0, count=1),
        argv=("/bin/python", "/r/code/train.py", "--lr=0.1"),
        cwd="/r/code",
        interpreter="/bin/python",
        devices=Hardware(type="CPU", count=0),
        code=Code(source="obs://b/code/", files=1, bytes=2, listed="l", tree="t" * 64, hashes={"train.py": "1" * 64}),
        packages=Packages(python="3.11.2", versions={"numpy": "2.0"}),
    )
    return replace(plain, **more)


def source(**more: Any) -> Source:
    plain = Source(
        name="data_url", kind="input", source="obs://b/d/", objects=1, bytes=2, digest="d" * 64, files=(("a", 2, "m"),)
    )
    return replace(plain, **more)


def told(then: Reproduce, now: Reproduce, installed: str | None = None) -> dict[str, tuple[str, str]]:
    return {row.what: (row.then, row.now) for row in differences(then, now, installed)}


def test_two_listings_of_one_digest_are_one() -> None:
    one = Listed(name="n", kind="input", source="obs://b/x/", objects=1, bytes=2, digest="d")
    assert one == replace(one, files=())
    assert one != replace(one, digest="e")


def test_the_tree_is_defined_to_the_byte() -> None:
    files = [("b.sh", True, 2, "2"), ("a.py", False, 1, "1")]
    assert tree_digest(files, hashlib.sha256()) == hashlib.sha256(b"a.py\0-\x001\x001\nb.sh\0x\x002\x002\n").hexdigest()


@pytest.mark.parametrize(
    ("path", "counts"),
    [("a.py", True), (".git/HEAD", False), ("a/__pycache__/b.pyc", False), ("a/.git", True), (".gitignore", True)],
)
def test_what_git_and_the_interpreter_keep_is_no_code(path: str, counts: bool) -> None:  # noqa: FBT001
    assert is_code(path) is counts


def test_the_plan_and_the_job_are_taken_over() -> None:
    job = make_job(
        engine={"image_url": IMAGE},
        parameters=[{"name": "random_seed", "value": "7"}, {"name": "speed", "value": "8"}, {"name": "no_seed"}],
        environments={"MODE": "fast", "TORCH_SEED": "3"},
    )
    origin = Origin(job=job, kernel="Linux 6", limits={"nofile": 10}, hashseed="0")
    made = of_origin(of_plan(make_plan(), "1.0"), origin, job_document(job), Hidden())
    assert (made.argv[0], made.engine_version, made.interpreter) == ("/bin/python", "pytorch_1.8", "/bin/python")
    assert made.devices == Hardware(type="GPU", count=1, names=("A",), driver="5")
    assert made.seeds == {"random_seed": "7", "TORCH_SEED": "3", "PYTHONHASHSEED": "0"}
    assert made.env == {"MODE": "fast", "TORCH_SEED": "3"}
    assert made.image is not None
    assert (made.image.digest, made.kernel, made.limits) == ("sha256:" + "a" * 64, "Linux 6", {"nofile": 10})
    assert parse_job(made.job, Log()) == job


def test_a_job_that_says_little_is_recorded_too() -> None:
    job = Job(kind="job", metadata=JobMetadata(name="j"))
    made = of_origin(of_plan(make_plan("command"), "1"), Origin(job=job, kernel="k", limits={}), {}, Hidden())
    assert (made.image, made.env, made.seeds, made.interpreter) == (None, {}, {}, None)
    assert "a command decides" in made.notes[0]
    assert digest_of("swr/team/train:1.0") is None
    assert hide(job, ()) == (replace(job, algorithm=hide(job, ())[0].algorithm), Hidden())


def test_no_secret_is_recorded_and_its_name_is() -> None:
    job = make_job(
        parameters=[
            {"name": "lr", "value": "0.1"},
            {"name": "token", "value": SECRET},
            {"name": "url", "value": f"http://x/{SECRET}"},
            {"name": "pin", "value": "1234", "constraint": {"sensitive": True}},
            {"name": "later", "constraint": {"sensitive": True}},
        ],
        environments={"DB_PASSWORD": "correct-horse", "MODE": "fast"},
    )
    hidden_job, hidden = hide(job, (SECRET,))
    assert hidden == Hidden(set=("pin", "token", "url"), env=("DB_PASSWORD",))
    text = msgspec.json.encode(job_document(hidden_job)).decode()
    assert not [each for each in (SECRET, "1234", "correct-horse") if each in text]
    assert [each["name"] for each in job_document(hidden_job)["algorithm"]["parameters"]][:3] == ["lr", "token", "url"]
    assert missing(hidden, ["pin", "url"], []) == ("--set token=@env:VARIABLE", "--env DB_PASSWORD=VALUE")
    assert missing(hidden, ["pin", "url", "token"], ["DB_PASSWORD"]) == ()


def test_a_hidden_variable_is_no_seed_and_no_environment() -> None:
    job = make_job(parameters=[{"name": "seed", "value": "1"}], environments={"MY_SEED": "2"})
    origin = Origin(job=job, kernel="k", limits={})
    made = of_origin(of_plan(make_plan(), "1"), origin, {}, Hidden(set=("seed",), env=("MY_SEED",)))
    assert (made.env, made.seeds) == ({}, {})


def test_outputs_and_log_go_elsewhere() -> None:
    document = job_document(parse_job(body(spec={"log_export_path": {"obs_url": "obs://bucket/log/"}}), Log()))
    moved = with_outputs(document, "obs://other/x/")
    assert [each["remote"]["obs"]["obs_url"] for each in moved["algorithm"]["outputs"]] == [
        "obs://other/x/outputs/train_url/"
    ]
    assert moved["spec"]["log_export_path"]["obs_url"] == "obs://other/x/log/"
    assert with_outputs({"kind": "job"}, "obs://o/") == {"kind": "job", "algorithm": {"outputs": []}}
    assert with_outputs({"spec": {"auto_stop": 1}}, "obs://o/")["spec"] == {"auto_stop": 1}


@pytest.mark.parametrize("odd", ["x", [1], 7, True])
def test_outputs_of_what_is_no_job_are_left_for_whoever_reads_the_job(odd: object) -> None:
    for job in (
        {"algorithm": odd},
        {"spec": odd},
        {"algorithm": {"outputs": odd}},
        {"algorithm": {"outputs": [odd]}},
        {"spec": {"log_export_path": odd}},
    ):
        moved = with_outputs(job, "obs://o/")
        assert {key: moved[key] for key in job} == job


def test_an_interpreter_tells_what_it_has(tmp_path: Path) -> None:
    folder = tmp_path / "packages"
    (folder / "Some_Thing-1.2.dist-info").mkdir(parents=True)
    (folder / "old.egg-info").mkdir()
    (folder / "old.egg-info/PKG-INFO").write_text("Name: old\nVersion: 0.9\n")
    (folder / "bare.egg-info").mkdir()
    (folder / "~broken-1.dist-info").mkdir()
    argv = freeze.question(sys.executable, f"{folder}:{tmp_path}/none")
    done = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    packages = freeze.told(done.stdout, "end")
    assert packages is not None
    assert packages.python == ".".join(map(str, sys.version_info[:3]))
    assert packages.asked == "end"
    found = {name: packages.versions.get(name) for name in ("some-thing", "old", "pytest", "broken")}
    assert found == {"some-thing": "1.2", "old": "0.9", "pytest": pytest.__version__, "broken": None}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nothing\n",
        f"{freeze.MARK}python 3.11\n",
        f"{freeze.MARK}over 1\n",
        f"{freeze.MARK}python x\n{freeze.MARK}over 1",
    ],
)
def test_an_answer_that_is_not_whole_is_none(text: str) -> None:
    assert freeze.told(text) is None


def test_what_is_no_package_is_passed_over() -> None:
    lines = ("python 3.6.9", "has good 1", "has ba;d 1", "has worse", "over 5")
    packages = freeze.told("noise\n" + "\n".join(freeze.MARK + line for line in lines))
    assert packages == Packages(python="3.6.9", versions={"good": "1"}, left_out=4)


def test_the_same_differs_in_nothing() -> None:
    whole = record(inputs=(source(),), limits={"nofile": 1})
    assert differences(whole, whole) == ()
    bare = record(code=None, interpreter=None, packages=None)
    assert differences(bare, bare) == ()
    elsewhere = record(root="/other", argv=("/bin/python", "/other/code/train.py", "--lr=0.1"), cwd="/other/code")
    assert differences(record(), elsewhere) == ()
    real = record(root="/", argv=("/bin/python", "/code/train.py", "--lr=0.1"), cwd="/code")
    assert differences(record(), real) == ()


def test_arguments_are_named_one_by_one() -> None:
    changed = record(argv=("/bin/python", "/r/code/train.py", "--lr=0.2"))
    assert told(record(), changed) == {"arguments": ("--lr=0.1", "--lr=0.2")}
    assert told(record(), record(argv=record().argv[:2])) == {"arguments": ("--lr=0.1", "-")}
    turned = record(argv=("/bin/python", "--lr=0.1", "/r/code/train.py"))
    assert told(record(), turned) == {"arguments": ("-", "the same, otherwise ordered")}


def test_what_the_boot_file_is_given_is_named() -> None:
    then = record(env={"A": "1", "B": "1"}, seeds={"B": "1", "seed": "1"}, engine_version="x")
    now = record(env={"A": "2"}, seeds={}, cwd="/r", node=Nodes(index=1, count=2))
    assert told(then, now) == {
        "working directory": ("/code", "/r"),
        "engine": ("python x", "python"),
        "nodes": ("worker 0 of 1, 1 processes", "worker 1 of 2, 1 processes"),
        "variable A": ("1", "2"),
        "variable B": ("1", "-"),
        "seed seed": ("1", "-"),
    }


def test_a_trial_is_laid_beside_what_its_search_had_staged() -> None:
    """Code and inputs lie below the root of the search, and what the trial writes below its own."""
    trial = record(
        root="/s/cache/trials/1",
        staged="/s",
        argv=("/bin/python", "/s/code/train.py", "--data=/s/inputs/0", "--out=/s/cache/trials/1/outputs/0"),
        cwd="/s/code",
        packages=None,
    )
    now = record(
        argv=("/bin/python", "/r/code/train.py", "--data=/r/inputs/0", "--out=/r/outputs/0"), inputs=(source(),)
    )
    assert told(trial, now) == {
        "input data_url": ("not known", f"1 objects, 2 bytes, {'d' * 12}"),
        "packages": ("not known", "1 packages of Python 3.11.2"),
    }
    assert [row.known for row in differences(trial, now)] == [False, False]
    of_all = replace(trial, root="/cache/trials/1", staged="/", cwd="/code", argv=("/bin/python", "/code/train.py"))
    assert list(told(of_all, record(argv=record().argv[:2]))) == ["packages"]
    assert of_plan(replace(make_plan(), staged="/s"), "1").staged == "/s"


@pytest.mark.parametrize("option", ["--init_method=tcp://{}:6666", "--master_addr={}"])
def test_the_name_of_the_host_where_nodes_meet_decides_nothing(option: str) -> None:
    then, now = (
        record(argv=("python", "a.py", option.format(name)), node=Nodes(index=1, count=2)) for name in ("a-0", "[::1]")
    )
    (row,) = differences(then, now)
    assert (row.what, row.then, row.now, row.decides) == ("host where the nodes meet", "a-0", "[::1]", False)
    assert differences(then, then) == ()
    one = Nodes(index=0, count=1)
    assert list(told(replace(then, node=one), replace(now, node=one))) == ["arguments"], (
        "there it is an argument of the job's own"
    )
    if "tcp" in option:
        other = replace(now, argv=("python", "a.py", option.format("[::1]").replace("6666", "7777")))
        assert told(then, other)["arguments"] == ("--init_method=tcp://HOST:6666", "--init_method=tcp://HOST:7777")


def test_a_folder_that_holds_more_than_the_job_brings_is_named() -> None:
    folders = (
        Lying(name="train_url", brought=0, files=1, first="ckpt-10.pt"),
        Lying(name="data_url", brought=2, files=10_000, first=None, whole=False),
    )
    rows = differences(record(), record(), folders=folders)
    assert {row.what: (row.then, row.now) for row in rows} == {
        "folder of train_url": ("empty", "1 files, among them ckpt-10.pt"),
        "folder of data_url": ("2 files", "10,000 files or more"),
    }
    assert all(row.decides and row.known for row in rows)
    odd = Lying(name="code", brought=1, files=2, first="a\udcff")
    assert differences(record(), record(), folders=(odd,))[0].now == "2 files, among them a\\udcff"


def test_changed_code_is_named_by_its_files() -> None:
    git = Git(commit="c" * 40, dirty=True)
    then = record(code=replace(record().code or Code(source="", files=0, bytes=0), git=git))
    now = record(code=Code(source="", files=2, bytes=2048, tree="u" * 64, hashes={"train.py": "2" * 64, "b": "3" * 64}))
    assert told(then, now) == {
        "code": (
            f"1 files, 2 bytes, tree {'t' * 12}, commit {'c' * 12} and changes",
            f"2 files, 2.0 KB, tree {'u' * 12}",
        ),
        "code file b": ("-", "3" * 12),
        "code file train.py": ("1" * 12, "2" * 12),
    }
    many = record(code=Code(source="", files=2, bytes=2, tree="u" * 64))
    assert list(told(record(), many)) == ["code"]


def test_code_without_a_tree_is_the_same_by_its_listing_only() -> None:
    unsure = Code(source="", files=1, bytes=2, listed="l", git=Git())
    assert told(record(), record(code=unsure)) == {}
    (row,) = differences(record(), record(code=replace(unsure, listed=None)))
    assert (row.now, row.known, row.decides) == ("1 files, 2 bytes, tree not known", False, True)
    (row,) = differences(record(code=unsure), record(code=None))
    assert (row.now, row.known) == ("not known", False)


def test_a_changed_input_is_named_by_its_objects() -> None:
    now = source(digest="e" * 64, objects=2, files=(("a", 2, "n"), ("b", 1, "m")))
    assert told(record(inputs=(source(),)), record(inputs=(now,))) == {
        "input data_url": (f"1 objects, 2 bytes, {'d' * 12}", f"2 objects, 2 bytes, {'e' * 12}"),
        "input data_url: a": ("2 bytes, m", "2 bytes, n"),
        "input data_url: b": ("-", "1 bytes, m"),
    }
    for files in ((), (("a", 2, "n"),)):
        large = source(digest="e" * 64, objects=9 if not files else 1, files=files)
        assert list(told(record(inputs=(large,)), record(inputs=(source(objects=9, files=()),)))) == ["input data_url"]
    assert told(record(inputs=(source(),)), record()) == {"input data_url": (f"1 objects, 2 bytes, {'d' * 12}", "-")}
    assert told(record(), record(inputs=(source(),)))["input data_url"][0] == "-"


def test_other_marks_of_the_same_content_are_no_difference() -> None:
    then, now = source(hashes={"a": "1" * 64}), source(digest="e" * 64, hashes={"a": "1" * 64})
    assert told(record(inputs=(then,)), record(inputs=(now,))) == {}
    changed = replace(now, hashes={"a": "2" * 64})
    assert told(record(inputs=(then,)), record(inputs=(changed,)))["input data_url: a"] == ("1" * 12, "2" * 12)


def test_changed_packages_are_named() -> None:
    now = record(packages=Packages(python="3.12.0", versions={"numpy": "2.1", "torch": "2"}))
    assert told(record(), now) == {
        "python": ("3.11.2", "3.12.0"),
        "package numpy": ("2.0", "2.1"),
        "package torch": ("-", "2"),
    }
    assert told(record(), record(packages=None)) == {"packages": ("1 packages of Python 3.11.2", "not known")}


def test_what_a_pip_file_will_bring_is_a_warning() -> None:
    (row,) = differences(record(), record(packages=Packages(python="3.11.2", versions={})), "requirements.txt")
    assert (row.what, row.then, row.now, row.decides) == ("packages", "numpy", "to come by requirements.txt", False)


def test_only_so_many_are_shown() -> None:
    many = record(packages=Packages(python="3.11.2", versions={f"p{each}": "1" for each in range(SHOWN + 3)}))
    rows = differences(record(packages=Packages(python="3.11.2", versions={})), many)
    assert (len(rows), rows[-1].then) == (SHOWN + 1, "and 3 more that differ")


def test_the_node_around_is_a_warning_and_comes_last() -> None:
    then = record(limits={"nofile": 10, "core": None, "old": 1}, kernel="Linux 5", launcher="0")
    now = record(
        limits={"nofile": None, "core": 0},
        devices=Hardware(type="GPU", count=None, names=("A", "A"), driver="5", cpus=2.5),
        image=None,
        interpreter="/usr/bin/python",
        packages=Packages(python="3.11.2", versions={}),
    )
    rows = differences(then, now)
    assert [row.decides for row in rows] == [True] + [False] * (len(rows) - 1)
    assert {row.what: row.now for row in rows[1:]} == {
        "devices": "? x A",
        "driver": "5",
        "processors": "2.5",
        "kernel": "-",
        "launcher": "1",
        "interpreter": "/usr/bin/python",
        "limit core": "0",
        "limit nofile": "unlimited",
    }
    assert table(rows)[0].split() == ["what", "then", "now"]
    assert any(line.startswith("kernel (a warning)") for line in table(rows))


def test_an_image_is_told_by_its_digest() -> None:
    job = make_job(engine={"image_url": IMAGE})
    pinned = of_origin(record(), Origin(job=job, kernel="k", limits={}), {}, Hidden())
    rows = told(pinned, record())
    assert rows["image"] == ("sha256:" + "a" * 64, "-")


def run_json(reproduce: Any) -> dict[str, Any]:
    return {"version": 1, "phase": "Completed", "exit_code": 0, "reproduce": reproduce}


def test_a_record_is_read_back() -> None:
    whole = record(job={"kind": "job"}, inputs=(source(),))
    assert parse_reproduce(run_json(msgspec.to_builtins(whole))) == whole


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (None, "it holds no record"),
        ({"job": None}, "reproduce.job: it holds no job"),
        ({"root": "r"}, "expected an absolute path"),
        ({"version": 2}, "version"),
        ({"argv": ["a"] * (MOST + 1)}, "expected at most"),
        ({"devices": {"type": "CPU", "count": 0, "cpus": float("nan")}}, "expected a number"),
        ({"packages": 3}, "packages"),
    ],
)
def test_a_hostile_record_is_refused(change: dict[str, Any] | None, said: str) -> None:
    document = None if change is None else {**msgspec.to_builtins(record(job={"kind": "job"})), **change}
    with pytest.raises(SpecError, match=said):
        parse_reproduce(run_json(document))
