from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema  # type: ignore[import-untyped]
import msgspec
from rig import ECHO

from launcher.core.plan import Plan

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


def test_preview_warns_of_what_the_boot_file_will_refuse(local_rig: Rig) -> None:
    local_rig.code("import argparse\np = argparse.ArgumentParser()\np.add_argument('--data_url')\np.parse_args()")
    assert "declares no --train_url" in local_rig.run(command="preview").err


def test_the_plan_fits_its_published_schema(local_rig: Rig) -> None:
    shown = json.loads(local_rig.run("--json", command="preview").out)
    jsonschema.validate(shown, msgspec.json.schema(Plan))
