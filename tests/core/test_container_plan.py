"""A container, decided from a job, a command line and a machine: what it is given, and what it never is."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from test_planning import whole

from launcher.core.container import (
    HOLDS,
    LABEL,
    NAMED,
    Container,
    Decided,
    Host,
    Mount,
    Wishes,
    container,
    container_name,
)
from launcher.core.errors import LauncherError
from launcher.core.handing import Given, command, variables
from launcher.core.lending import Asked, Gpus, Loan, Owned, lend
from launcher.core.spec import InputChannel, Job, JobMetadata, OutputChannel

GIB = 1024**3
SECRET = "s3cr3t-of-somebody"
OWNED = Owned(cpus=8.0, memory_bytes=16 * GIB)
HOST = Host(uid=1007, gid=1007, owner="me", owned=OWNED, environ={})
GIVEN = Given(files={"job.json": b"{}"}, job="job.json")
WISHES = Wishes(image="any/image:1", name="launcher-x", given=GIVEN, folder="/tmp/passing")
NPUS = Owned(
    cpus=8.0,
    memory_bytes=16 * GIB,
    npus=(0, 1, 4, 5),
    npu_paths=("/dev/davinci_manager", "/dev/hisi_hdc", "/usr/local/Ascend/driver"),
    npu_groups=(1000,),
)


def flavor(kind: str = "CPU", **info: Any) -> Job:
    return whole(spec={"resource": {"flavor_detail": {"flavor_type": kind, "flavor_info": info}}})


def decided(job: Job | None = None, host: Host = HOST, **wishes: Any) -> Decided:
    return container(job or whole(), replace(WISHES, **wishes), host)


def made(job: Job | None = None, host: Host = HOST, **wishes: Any) -> Container:
    return decided(job, host, **wishes).container


def refused(call: Any) -> LauncherError:
    with pytest.raises(LauncherError) as found:
        call()
    return found.value


def test_the_plain_container() -> None:
    assert decided(given=replace(GIVEN, folder="/home/me/store")) == Decided(
        container=Container(
            image="any/image:1",
            name="launcher-x",
            argv=("launcher", "run", "/.launcher/job.json", "--store", "/store"),
            variables={"HOME": "/cache/home", "USER": "ma-user", "LOGNAME": "ma-user"},
            files={"/.launcher/job.json": b"{}"},
            mounts=(
                Mount(target="/home/ma-user/modelarts", source="/tmp/passing/home/ma-user/modelarts"),
                Mount(target="/cache", source="/tmp/passing/cache"),
                Mount(target="/store", source="/home/me/store"),
            ),
            top="/tmp/passing",
            make=("/tmp/passing/home/ma-user/modelarts", "/tmp/passing/cache", "/tmp/passing/cache/home"),
            owner=None,
            user="1007:1007",
            network=None,
            labels={LABEL: "me", NAMED: "launcher-x"},
            gpus=None,
            devices=(),
            groups=(),
            cpus=None,
            memory_bytes=None,
            shm_bytes=8 * GIB,
            confined=True,
            stop_s=35,
        ),
        mount="/tmp/passing/home/ma-user/modelarts",
    )


def test_one_that_holds_says_so_to_who_clears_up() -> None:
    found = made(shell=True, network="host", grace=100.5)
    assert found.argv[-1] == "--hold"
    assert found.labels == {LABEL: "me", NAMED: "launcher-x", HOLDS: "yes"}
    assert (found.network, found.stop_s) == ("host", 110)


def test_a_root_keeps_what_the_container_writes() -> None:
    found = decided(root="/home/me/root")
    assert found.container.mounts[0].source == "/home/me/root/home/ma-user/modelarts"
    assert found.mount == "/home/me/root/home/ma-user/modelarts"


ROOT = replace(HOST, uid=0, gid=0)


@pytest.mark.parametrize(
    ("host", "user", "wanted", "owner", "confined", "own_folders"),
    [
        (HOST, None, "1007:1007", None, True, True),
        (HOST, "1007", "1007:1007", None, True, True),
        (HOST, "1000:100", "1000:100", None, True, False),
        (HOST, "root", "0:0", None, False, False),
        (HOST, "image", None, None, True, False),
        (ROOT, None, "0:0", (0, 0), False, True),
        (ROOT, "1000:100", "1000:100", (1000, 100), True, True),
        (ROOT, "1000", "1000:1000", (1000, 1000), True, True),
        (ROOT, "image", None, None, True, False),
    ],
)
def test_who_runs_in_it(
    host: Host,
    user: str | None,
    wanted: str | None,
    owner: tuple[int, int] | None,
    *,
    confined: bool,
    own_folders: bool,
) -> None:
    found = decided(host=host, user=user)
    assert (found.container.user, found.container.owner, found.container.confined) == (wanted, owner, confined)
    assert (found.mount is not None) is own_folders
    home = "/cache/home" if own_folders else None if user in ("image", "root") else "/cache"
    assert found.container.variables.get("HOME") == home
    assert all((each.source is not None) is own_folders for each in found.container.mounts)
    assert bool(found.container.make) is own_folders


@pytest.mark.parametrize("user", ["somebody", "1000:users", "-1", "4294967295", "0:4294967295", "1:2:3", ""])
def test_a_user_is_a_number(user: str) -> None:
    assert refused(lambda: made(user=user)).exit_code == 2


def test_folders_that_the_job_names_are_the_container_s_too_and_none_twice() -> None:
    places = ("/data/in", "/data/in/more", "/home/ma-user/modelarts/x")
    job = whole()
    assert job.algorithm is not None
    algorithm = replace(
        job.algorithm,
        inputs=tuple(InputChannel(name=f"in{index}", local_dir=each) for index, each in enumerate(places)),
        outputs=(OutputChannel(name="out"),),
        local_code_dir="/home/own/",
    )
    found = made(replace(job, algorithm=algorithm))
    assert [each.target for each in found.mounts] == ["/home/ma-user/modelarts", "/cache", "/data/in", "/home/own"]
    assert made(replace(job, algorithm=None)).mounts[0].target == "/home/ma-user/modelarts"


@pytest.mark.parametrize("place", ["/opt", "/opt/launcher", "/opt/launcher/lib", "/store", "/store/x/", "/.launcher"])
def test_a_folder_of_the_job_s_may_not_hide_what_the_run_inside_needs(place: str) -> None:
    job = whole()
    assert job.algorithm is not None
    job = replace(job, algorithm=replace(job.algorithm, local_code_dir=place))
    given = replace(GIVEN, folder="/home/me/store")
    assert place.rstrip("/") in str(refused(lambda: made(job, given=given)))


@pytest.mark.parametrize("place", ["/opt/launcher-data", "/opt/data", "/store"])
def test_a_folder_that_is_only_called_alike_is_the_job_s(place: str) -> None:
    job = whole()
    assert job.algorithm is not None
    job = replace(job, algorithm=replace(job.algorithm, local_code_dir=place))
    assert place in [each.target for each in made(job).mounts]


@pytest.mark.parametrize(
    ("local", "code_dir", "wanted"),
    [
        ("/home/ma-user", "obs://bucket/my/code/", ["/home/ma-user/code"]),
        ("/home/", "/bucket/my/code", ["/home/code"]),
        ("/home/ma-user/modelarts", "obs://bucket/code/", []),
        ("/home/ma-user", "file:///opt/code", []),
        ("/home/ma-user", None, []),
        ("/home/ma-user-s", "obs://bucket/code/", ["/home/ma-user-s"]),
    ],
)
def test_a_folder_for_code_does_not_hide_the_home_of_the_image(
    local: str, code_dir: str | None, wanted: list[str]
) -> None:
    job = whole()
    assert job.algorithm is not None
    job = replace(job, algorithm=replace(job.algorithm, local_code_dir=local, code_dir=code_dir))
    assert [each.target for each in made(job).mounts][2:] == wanted


@pytest.mark.parametrize("name", ["", "x", "a b", "/x", "-x", "name\n"])
def test_a_name_that_no_container_can_have(name: str) -> None:
    assert refused(lambda: made(name=name)).exit_code == 2


def test_several_nodes_are_for_the_rehearsal() -> None:
    error = refused(lambda: made(whole(spec={"resource": {"node_count": 2}})))
    assert (error.exit_code, "--rehearse" in error.action) == (65, True)
    assert made(whole(spec={"resource": {"node_count": 1}})).name == "launcher-x"
    assert made(whole(spec={})).name == "launcher-x"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("digits", "launcher-digits-7"), ("--a b_c.", "launcher-a-b_c-7"), ("x" * 99, f"launcher-{'x' * 40}-7")],
)
def test_a_container_is_called_as_its_job(name: str, wanted: str) -> None:
    job = replace(whole(), metadata=JobMetadata(name=name))
    assert container_name(job, "7") == wanted


def test_a_job_whose_name_says_nothing_to_an_engine() -> None:
    assert container_name(replace(whole(), metadata=JobMetadata(name="数字")), "7") == "launcher-7"


# What is handed on


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"algorithm": "algorithms"}, ("--algorithm", "/.launcher/algorithms")),
        ({"algorithm": "obs://b/a.json"}, ("--algorithm", "obs://b/a.json")),
        ({"endpoint": "https://obs.there", "named": True}, ("--store", "https://obs.there")),
        ({"endpoint": "https://obs.there"}, ()),
        ({"values": (("lr", "0.1"), ("n", "@env:N"))}, ("--set", "lr=0.1", "--set", "n=@env:LAUNCHER_LOCAL_1")),
        ({"values": (("lr", "1"), ("api_key", SECRET))}, ("--set", "lr=1", "--set", "api_key=@env:LAUNCHER_LOCAL_1")),
        ({"values": (("db", f"pg://me:{SECRET}@db/"),)}, ("--set", "db=@env:LAUNCHER_LOCAL_0")),
        ({"environment": (("DB", f"pg://me:{SECRET}@db/"), ("A", "1"), ("A", "2"))}, ("--env", "A=2")),
        ({"environment": (("A", "1"), ("HUB_TOKEN", SECRET))}, ("--env", "A=1")),
        ({"datasets": (("i/v", "obs://b/d"),)}, ("--dataset", "i/v=obs://b/d")),
        ({"options": ("-q", "--grace", "3")}, ("-q", "--grace", "3")),
    ],
)
def test_the_command_line_inside(given: dict[str, Any], wanted: tuple[str, ...]) -> None:
    assert command(replace(GIVEN, **given), shell=False) == ("launcher", "run", "/.launcher/job.json", *wanted)


ENVIRON = {
    "PATH": "/bin",
    "LAUNCHER_TRANSFERS": "9",
    "LAUNCHER_JOB": "job.json",
    "LAUNCHER_CACHE": "/var/cache",
    "LAUNCHER_CA_BUNDLE": "/etc/ca.pem",
    "S3_ENDPOINT": "obs.there",
    "AWS_ACCESS_KEY_ID": "id",
    "AWS_PROFILE": "mine",
    "SECRET_ACCESS_KEY": SECRET,
    "https_proxy": "http://proxy",
    "MY_KEY": SECRET,
}


def test_a_store_that_is_a_folder_needs_no_keys() -> None:
    found = variables(replace(GIVEN, folder="/store"), ENVIRON, network=None)
    assert (found.variables, found.warnings) == ({"LAUNCHER_TRANSFERS": "9"}, ())


def test_a_store_on_a_server_gets_the_caller_s_keys_and_no_file_of_this_machine() -> None:
    given = replace(GIVEN, endpoint="https://obs.there", bundle="authorities.pem")
    found = variables(given, ENVIRON, network=None)
    kept = ("LAUNCHER_TRANSFERS", "S3_ENDPOINT", "AWS_ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "https_proxy")
    wanted = {**{name: ENVIRON[name] for name in kept}, "LAUNCHER_CA_BUNDLE": "/.launcher/authorities.pem"}
    assert (found.variables, found.warnings) == (wanted, ())
    assert "~/.aws" in variables(given, {}, network=None).warnings[0]
    assert variables(given, {"ACCESS_KEY_ID": "id"}, network=None).warnings == ()


def test_secrets_of_the_command_line_are_variables() -> None:
    values = (("lr", "0.1"), ("api_key", "@env:MY_KEY"), ("db_password", SECRET))
    given = replace(GIVEN, values=values, environment=(("A", "1"), ("HUB_TOKEN", "another-one"), ("HUB_TOKEN", SECRET)))
    found = variables(given, ENVIRON, network=None).variables
    assert found == {
        "LAUNCHER_TRANSFERS": "9",
        "LAUNCHER_LOCAL_1": SECRET,
        "LAUNCHER_LOCAL_2": SECRET,
        "HUB_TOKEN": SECRET,
    }
    assert SECRET not in str(command(given, shell=False))


@pytest.mark.parametrize("name", ["PATH", "HOME", "LD_LIBRARY_PATH"])
def test_a_variable_that_is_named_does_not_take_the_place_of_the_container_s(name: str) -> None:
    given = replace(GIVEN, values=(("place", f"@env:{name}"),))
    assert variables(given, {name: "/of/this/machine"}, network=None).variables == {
        "LAUNCHER_LOCAL_0": "/of/this/machine"
    }


def test_a_secret_variable_that_the_job_would_win_over_is_refused() -> None:
    given = replace(GIVEN, environment=(("HUB_TOKEN", SECRET),), fixed=frozenset({"HUB_TOKEN"}))
    error = refused(lambda: variables(given, {}, network=None))
    assert (error.exit_code, SECRET in str(error)) == (2, False)
    open_one = replace(given, environment=(("HUB_TOKEN", "short"),))
    assert command(open_one, shell=False)[-1] == "HUB_TOKEN=short"


def test_a_secret_variable_may_not_take_the_place_of_the_store_s_own() -> None:
    given = replace(GIVEN, endpoint="https://obs.there", environment=(("SECRET_ACCESS_KEY", "another-secret"),))
    assert refused(lambda: variables(given, ENVIRON, network=None)).exit_code == 2


@pytest.mark.parametrize(
    ("endpoint", "network", "well"),
    [
        ("http://localhost:9000", None, False),
        ("https://127.0.0.1", "mine", False),
        ("http://[::1]:9000", "none", False),
        ("LOCALHOST:9000", None, False),
        ("http://localhost:9000", "host", True),
        ("http://localhost.example.com", None, True),
        ("http://minio:9000", "mine", True),
    ],
)
def test_the_container_s_localhost_is_another_one(endpoint: str, network: str | None, *, well: bool) -> None:
    given = replace(GIVEN, endpoint=endpoint)
    if well:
        assert variables(given, {}, network=network).variables == {}
    else:
        assert "--network host" in refused(lambda: variables(given, {}, network=network)).action


# What is lent


def test_nothing_asked_is_nothing_lent() -> None:
    assert lend(whole(), Asked(), OWNED) == Loan()
    assert lend(flavor(), Asked(), OWNED) == Loan()
    assert Loan().shm_bytes is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("all", Gpus(count=-1)),
        ("none", None),
        ("0", None),
        ("2", Gpus(count=2)),
        ("0,1", Gpus(ids=("0", "1"))),
        ("3,", Gpus(ids=("3",))),
        ("GPU-8a56a4bc-ee2e,MIG-1", Gpus(ids=("GPU-8a56a4bc-ee2e", "MIG-1"))),
    ],
)
def test_gpus_by_the_command_line(text: str, wanted: Gpus | None) -> None:
    assert lend(flavor("GPU", gpu={"unit_num": 8}), Asked(gpus=text), replace(OWNED, gpus=8)) == Loan(gpus=wanted)


@pytest.mark.parametrize("text", ["", "two", "0,0", "0,,1", "-1", "1;2", "0 ,1"])
def test_devices_that_are_no_numbers(text: str) -> None:
    assert refused(lambda: lend(whole(), Asked(gpus=text), OWNED)).exit_code == 2
    assert refused(lambda: lend(whole(), Asked(npus=text), NPUS)).exit_code == 2


@pytest.mark.parametrize(
    ("has", "info", "wanted", "told"),
    [
        (8, {"gpu": {"unit_num": 2}}, Gpus(count=2), None),
        (1, {"gpu": {"unit_num": 2}}, Gpus(count=1), "1 of them"),
        (0, {"gpu": {"unit_num": 2}}, None, "none"),
        (4, {}, Gpus(count=4), None),
        (0, {}, None, "GPU devices"),
    ],
)
def test_gpus_by_the_flavor(has: int, info: dict[str, Any], wanted: Gpus | None, told: str | None) -> None:
    found = lend(flavor("GPU", **info), Asked(), replace(OWNED, gpus=has))
    assert found.gpus == wanted
    assert len(found.warnings) == (told is not None)
    assert (told or "") in "".join(found.warnings)


@pytest.mark.parametrize(
    ("text", "wanted"), [("all", (0, 1, 4, 5)), ("none", ()), ("2", (0, 1)), ("4,5", (4, 5)), ("5,", (5,))]
)
def test_npus_by_the_command_line(text: str, wanted: tuple[int, ...]) -> None:
    found = lend(flavor("Ascend", npu={"unit_num": 8}), Asked(npus=text), NPUS)
    control = ("/dev/davinci_manager", "/dev/hisi_hdc") if wanted else ()
    assert found == Loan(
        devices=(*(f"/dev/davinci{each}" for each in wanted), *control),
        driver=("/usr/local/Ascend/driver",) if wanted else (),
        groups=(1000,) if wanted else (),
    )


@pytest.mark.parametrize(
    ("text", "owned"), [("5", NPUS), ("2,3", NPUS), ("all", OWNED), ("1", OWNED), ("GPU-1,GPU-2", NPUS)]
)
def test_npus_that_are_not_here(text: str, owned: Owned) -> None:
    assert refused(lambda: lend(whole(), Asked(npus=text), owned)).exit_code == 71


@pytest.mark.parametrize(("count", "wanted", "told"), [(2, 2, 0), (8, 4, 1), (None, 4, 0)])
def test_npus_by_the_flavor(count: int | None, wanted: int, told: int) -> None:
    info = {"npu": {"unit_num": count}} if count else {}
    found = lend(flavor("Ascend", **info), Asked(), NPUS)
    assert (len([each for each in found.devices if each[-1].isdigit()]), len(found.warnings)) == (wanted, told)


def test_the_driver_is_lent_read_only() -> None:
    found = made(host=replace(HOST, owned=NPUS), asked=Asked(npus="1"))
    assert found.mounts[-1] == Mount(
        target="/usr/local/Ascend/driver", source="/usr/local/Ascend/driver", read_only=True
    )
    assert (found.devices, found.groups) == (("/dev/davinci0", "/dev/davinci_manager", "/dev/hisi_hdc"), (1000,))


@pytest.mark.parametrize(
    ("info", "asked", "wanted", "told"),
    [
        ({"cpu": {"core_num": 4}}, None, 4.0, 0),
        ({"cpu": {"core_num": 64}}, None, 8.0, 1),
        ({"cpu": {"core_num": 64}}, 0.5, 0.5, 0),
        ({"cpu": {}}, None, None, 0),
        ({}, 99.0, 8.0, 1),
    ],
)
def test_processors(info: dict[str, Any], asked: float | None, wanted: float | None, told: int) -> None:
    found = lend(flavor(**info), Asked(cpus=asked), OWNED)
    assert (found.cpus, len(found.warnings)) == (wanted, told)


@pytest.mark.parametrize(
    ("info", "asked", "wanted", "told"),
    [
        ({"memory": {"size": 8, "unit": "GiB"}}, None, 8 * GIB, 0),
        ({"memory": {"size": 8, "unit": "GB"}}, None, 8 * 10**9, 0),
        ({"memory": {"size": 64, "unit": "GiB"}}, None, 16 * GIB, 1),
        ({"memory": {"size": 8, "unit": "bushels"}}, None, None, 0),
        ({}, None, None, 0),
        ({"memory": {"size": 64, "unit": "GiB"}}, "2g", 2 * GIB, 0),
        ({}, "128M", 128 * 1024**2, 0),
        ({}, "1t", 16 * GIB, 1),
        ({}, "134217728", 128 * 1024**2, 0),
    ],
)
def test_memory(info: dict[str, Any], asked: str | None, wanted: int | None, told: int) -> None:
    found = lend(flavor(**info), Asked(memory=asked), OWNED)
    assert (found.memory_bytes, len(found.warnings)) == (wanted, told)
    assert found.shm_bytes == (None if wanted is None else wanted // 2)
    assert made(flavor(**info), asked=Asked(memory=asked)).shm_bytes == (wanted or 16 * GIB) // 2


@pytest.mark.parametrize("cpus", [float("nan"), 0.0, -1.0])
def test_processors_that_are_no_number(cpus: float) -> None:
    assert refused(lambda: lend(whole(), Asked(cpus=cpus), OWNED)).exit_code == 2


@pytest.mark.parametrize("text", ["", "lots", "8x", "63m", "1", "-1g", "8 g"])
def test_memory_that_is_no_size(text: str) -> None:
    assert refused(lambda: lend(whole(), Asked(memory=text), OWNED)).exit_code == 2
