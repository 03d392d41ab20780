from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped]
import msgspec
from rig import ECHO

from launcher.cli.preview import tree
from launcher.core.plan import Document, Plan
from launcher.core.topology import Topology

if TYPE_CHECKING:
    from rig import Rig


def test_run_executes_exactly_what_preview_shows(rig: Rig) -> None:
    rig.code(ECHO)
    rig.algorithm["parameters"] = [{"name": "api_key", "value": "sesame-open-1"}, {"name": "lr", "value": "1"}]
    rig.algorithm["environments"] = {"HF_TOKEN": "hf_abcdefgh"}
    shown = json.loads(rig.run("--json", command="preview").out)
    result = rig.run()
    assert result.code == 0, result.err
    assert rig.plan() == shown
    (process,) = shown["processes"]
    assert process["argv"][2:] == [
        each if "api_key" not in each else "--api_key=******" for each in result.echo["argv"]
    ]
    assert (process["cwd"], process["env"]["HF_TOKEN"]) == (result.echo["cwd"], "******")
    for name, value in process["env"].items():
        assert name == "HF_TOKEN" or result.echo["env"][name] == value
    assert result.echo["env"]["HF_TOKEN"] == "hf_abcdefgh"


def test_preview_touches_nothing(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    before = sorted(local_rig.folder.rglob("*"))
    result = local_rig.run(command="preview", job="-", text=json.dumps(local_rig.job))
    assert (result.code, sorted(local_rig.folder.rglob("*"))) == (0, before)


def test_preview_is_for_people_one_argument_a_line(local_rig: Rig) -> None:
    local_rig.algorithm["parameters"] = [{"name": "title", "value": "a b"}]
    lines = local_rig.run(command="preview").out.splitlines()
    mount = local_rig.root / "home/ma-user/modelarts"
    assert f"    --data_url={mount}/inputs/data_url_0" in lines
    assert "    '--title=a b'" in lines
    assert f"input      data_url (Data Source): {mount}/inputs/data_url_0" in lines
    assert f"  from     obs://{local_rig.bucket}/data/" in lines


def test_channels_without_a_description_get_the_one_of_the_console(local_rig: Rig) -> None:
    chinese = local_rig.run("--json", command="preview", env={"LAUNCHER_LANG": "zh"})
    plan = json.loads(chinese.out)
    assert (plan["inputs"][0]["description"], plan["outputs"][0]["description"]) == ("数据来源", "输出数据")


def test_preview_needs_no_store(local_rig: Rig) -> None:
    assert local_rig.run(store=False, command="preview").code == 0


def test_a_volume_that_is_not_mounted_is_warned_of(local_rig: Rig) -> None:
    nfs = {"nfs_server_path": "server:/data", "local_path": "//mnt/data"}
    local_rig.job["spec"]["volumes"] = [{"nfs": nfs}]
    warned = "the job has a volume at /mnt/data, and nothing is mounted there"
    assert warned in local_rig.run(command="preview").err
    (local_rig.root / "mnt" / "data").mkdir(parents=True)
    assert warned not in local_rig.run(command="preview").err


def test_preview_warns_of_what_the_boot_file_will_refuse(local_rig: Rig) -> None:
    local_rig.code("import argparse\np = argparse.ArgumentParser()\np.add_argument('--data_url')\np.parse_args()")
    assert "declares no --train_url" in local_rig.run(command="preview").err


def test_the_plan_fits_its_published_schema(local_rig: Rig) -> None:
    shown = json.loads(local_rig.run("--json", command="preview").out)
    jsonschema.validate(shown, msgspec.json.schema(Plan))


def test_a_preview_of_several_nodes_says_what_only_a_cluster_tells(local_rig: Rig) -> None:
    local_rig.job["spec"]["resource"] = {"node_count": 4}
    result = local_rig.run(command="preview")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "job rig (job-1) on worker-0 of 4"
    assert "nodes      4 workers, as spec.resource.node_count says; this is worker-0" in lines
    assert "  worker-0 pending, port 6666 for the training" in lines
    assert "pending    which of them this node is: only a cluster tells" in lines
    shown = json.loads(local_rig.run("--json", command="preview").out)
    assert shown["pending"][:2] == [
        "which of them this node is: only a cluster tells",
        "the name of worker-0: only a cluster tells",
    ]
    jsonschema.validate(shown, msgspec.json.schema(Plan))


def test_a_preview_shows_the_node_that_the_command_line_names(local_rig: Rig) -> None:
    nodes = ("--nodes", "2", "--node-index", "1", "--master", "127.0.0.1:7000")
    local_rig.job["spec"]["resource"] = {"node_count": 4}
    result = local_rig.run(*nodes, command="preview")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0] == "job rig (job-1) on worker-1 of 2"
    assert "nodes      2 workers, as the command line says; this is worker-1" in lines
    assert "  worker-0 127.0.0.1, port 7000 for the training" in lines
    assert "--nodes is 2 on the command line, and stands over what else was said" in result.err
    assert "spec.resource.node_count is 4" in result.err
    assert not [line for line in lines if line.startswith("pending")]


def test_a_preview_asks_for_no_name_longer_than_a_moment(local_rig: Rig) -> None:
    nodes = {"VC_WORKER_HOSTS": "w-0.invalid,w-1.invalid", "VC_TASK_INDEX": "1"}
    result = local_rig.run(command="preview", env=nodes)
    assert result.code == 0, result.err
    assert "  workers  w-0.invalid, w-1.invalid" in result.out.splitlines()
    told = "pending    the address of worker-0: its name w-0.invalid does not resolve here"
    assert told in result.out.splitlines()


def test_a_preview_tells_of_devices_and_engine(local_rig: Rig) -> None:
    lines = local_rig.run(command="preview").out.splitlines()
    assert "engine     python" in lines
    (devices,) = [line for line in lines if line.startswith("devices ")]
    assert " processors" in devices
    assert "(limits of " in devices


def test_several_processes_are_shown_as_one_and_what_differs(local_rig: Rig) -> None:
    shown = json.loads(local_rig.run("--json", command="preview").out)
    plan = msgspec.convert(shown, Plan)
    (first,) = plan.processes
    others = [
        msgspec.structs.replace(first, rank=rank, local_rank=rank, env={**first.env, "RANK_ID": str(rank)})
        for rank in range(1, 8)
    ]
    elsewhere = msgspec.structs.replace(others[-1], cwd="/elsewhere", log="/log/7", argv=(*first.argv, "--last"))
    written = Document(path="/tmp/ranks.json", text="é{}")
    many = msgspec.structs.replace(
        plan,
        processes=(first, *others[:-1], elsewhere),
        documents=(written,),
        unmet=("8 devices are wanted, 0 are here",),
        precheck=True,
    )
    lines = list(tree(many, Topology()))
    assert sum(line.startswith("    MA_JOB_DIR=") for line in lines) == 1
    third = lines.index("process    2 (local rank 2)")
    assert lines[third + 1 : third + 4] == [
        "  environment, where it differs",
        "    RANK_ID=2",
        "process    3 (local rank 3)",
    ]
    last = lines.index("process    7 (local rank 7)")
    assert lines[last + 1 : last + 5] == ["  in       /elsewhere", "  log      /log/7", "  argv", "    --last"]
    assert "writes     /tmp/ranks.json (4 bytes)" in lines
    assert "unmet      8 devices are wanted, 0 are here (the run will be refused)" in lines
    assert "pre-check  of this node, before anything is staged" in lines


def test_a_wrong_command_line_is_told_as_one(local_rig: Rig) -> None:
    wrong = (("--nodes", "0"), ("--nodes", "x"), ("--nodes", "100001"), ("--node-index", "-1"), ("--master", ""))
    for option, value in wrong:
        result = local_rig.run(option, value, command="preview")
        assert result.code == 2
        assert option in result.err
    result = local_rig.run("--nodes", "2", "--node-index", "2", "--master", "h", command="preview")
    assert (result.code, result.errors[0][:45]) == (65, "error: --node-index is 2, and --nodes is 2: a")


def test_nothing_in_a_preview_steers_the_terminal(local_rig: Rig) -> None:
    local_rig.code("")
    result = local_rig.run(command="preview", env={"VC_WORKER_HOSTS": "", "MA_ENGINE": "x", "PATH": "/bin:\x1b[2Jgone"})
    assert result.code == 0, result.err
    assert "\x1b" not in result.out
    assert "\\x1b[2Jgone" in result.out
