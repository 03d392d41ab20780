from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rig import ECHO

if TYPE_CHECKING:
    from rig import Rig

FIXTURES = Path(__file__).parent.parent / "data" / "modelarts"


def test_a_job_comes_from_standard_input(local_rig: Rig) -> None:
    local_rig.code("print('ran')")
    assert local_rig.run(job="-", text=json.dumps(local_rig.job)).out == "ran\n"


def test_a_job_comes_from_the_environment_as_json_or_by_name(local_rig: Rig) -> None:
    local_rig.code("print('ran')")
    assert local_rig.run(job="", env={"LAUNCHER_JOB": json.dumps(local_rig.job)}).out == "ran\n"
    path = local_rig.folder / "elsewhere.json"
    path.write_text(json.dumps(local_rig.job))
    assert local_rig.run(job="", env={"LAUNCHER_JOB": str(path)}).out == "ran\n"


def test_a_job_comes_from_the_store(rig: Rig) -> None:
    rig.code("print('ran')")
    rig.store.seed(rig.bucket, {"jobs/one.json": json.dumps(rig.job).encode()})
    assert rig.run(job=f"obs://{rig.bucket}/jobs/one.json").out == "ran\n"
    missing = rig.run(job=f"obs://{rig.bucket}/jobs/two.json")
    assert (missing.code, f"obs://{rig.bucket}/jobs/two.json" in missing.err) == (66, True)


def test_a_job_can_be_yaml(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    text = f"""
kind: job
metadata: {{name: yaml, id: y-1}}
algorithm:
  code_dir: /{local_rig.bucket}/code/
  boot_file: /{local_rig.bucket}/code/train.py
  parameters:
    - {{name: lr, value: 1e-3, constraint: {{type: Float}}}}
    - {{name: verbose, value: yes}}
"""
    path = local_rig.folder / "job.yaml"
    path.write_text(text)
    assert local_rig.run(job=str(path)).echo["argv"] == ["--lr=1e-3", "--verbose=yes"]


@pytest.mark.parametrize("as_folder", [True, False])
def test_a_job_that_names_its_algorithm_is_completed(local_rig: Rig, as_folder: bool) -> None:  # noqa: FBT001
    algorithm = json.loads((FIXTURES / "pytorch.create-algorithm.response.json").read_text())
    algorithm["job_config"] |= {
        "code_dir": f"/{local_rig.bucket}/code/",
        "boot_file": f"/{local_rig.bucket}/code/train.py",
    }
    folder = local_rig.folder / "algorithms"
    folder.mkdir()
    (folder / "one.json").write_text(json.dumps(algorithm))
    job = json.loads((FIXTURES / "pytorch.create-job.request.json").read_text())
    job["algorithm"]["parameters"] = [{"name": "dist", "value": "true"}, {"name": "mine", "value": "1"}]
    for channel, key in ((job["algorithm"]["inputs"][0], "data"), (job["algorithm"]["outputs"][0], "out")):
        channel["remote"]["obs"]["obs_url"] = f"/{local_rig.bucket}/{key}/"
    job["spec"]["log_export_path"]["obs_url"] = ""
    local_rig.job = job
    local_rig.code(ECHO)
    named = str(folder if as_folder else folder / "one.json")
    options = local_rig.run("--algorithm", named).echo["argv"]
    assert options[2:] == ["--dist=True", "--world_size=1", "--mine=1"]
    alone = local_rig.run()
    assert (alone.code, "--algorithm" in alone.err) == (65, True)


def test_the_job_record_of_the_service_runs_unchanged(local_rig: Rig) -> None:
    fixture = FIXTURES / "pytorch.create-job.response.json"
    base = "pytorch/fast_example"
    local_rig.store.seed(
        "cnnorth4-job-test-v2", {f"{base}/code/cpu/test-pytorch.py": ECHO.encode(), f"{base}/data/x": b""}
    )
    result = local_rig.run(job=str(fixture))
    assert result.code == 0, result.err
    mount = local_rig.root / "home/ma-user/modelarts"
    assert result.echo["argv"] == [
        f"--data_url={mount}/inputs/data_url_0",
        f"--train_url={mount}/outputs/train_url_0",
        "--dist=False",
        "--world_size=1",
    ]
    logs = local_rig.store.listing("cnnorth4-job-test-v2", f"{base}/log/")
    assert f"{base}/log/modelarts-job-66ff6991-fd66-40b6-8101-0829a46d3731-worker-0.log" in logs


def test_set_and_env_lie_over_the_job_and_are_checked(local_rig: Rig) -> None:
    local_rig.code(ECHO)
    constraint = {"type": "Float", "valid_type": "Range", "valid_range": ["0", "1"]}
    local_rig.algorithm["parameters"] = [{"name": "lr", "value": "0.5", "constraint": constraint}]
    echo = local_rig.run("--set", "lr=0.25", "--set", "key=@env:WHERE", "--env", "A=b", env={"WHERE": "from here"}).echo
    assert echo["argv"][2:] == ["--lr=0.25", "--key=from here"]
    assert echo["env"]["A"] == "b"
    wrong = local_rig.run("--set", "lr=2", "--env", "1A=b", "--set", "l r=1")
    assert wrong.code == 65
    value, name, variable = wrong.errors
    assert value == "error: --set lr: expected 0 to 1, found 2 (ModelArts.2769)"
    assert name.startswith("error: --set l r: expected a hyperparameter name of 1 to 64 letters, digits, '-' and '_'")
    assert variable.startswith("error: --env 1A: expected a variable name (letters, digits and '_', no digit first)")
    missing = local_rig.run("--set", "lr=@env:NOT_THERE")
    assert (missing.code, "NOT_THERE" in missing.err) == (2, True)


def test_a_dataset_is_found_by_the_command_line(local_rig: Rig) -> None:
    local_rig.code("import os, sys; print(os.listdir(sys.argv[1].partition('=')[2]))")
    local_rig.algorithm["inputs"][0]["remote"] = {"dataset": {"id": "d1", "version_id": "v1"}}
    unknown = local_rig.run()
    assert (unknown.code, "--dataset d1/v1=" in unknown.err, "ModelArts.2782" in unknown.err) == (65, True, True)
    assert local_rig.run("--dataset", f"d1/v1=obs://{local_rig.bucket}/data/").out == "['a.csv']\n"


@pytest.mark.parametrize(
    ("document", "code", "message"),
    [
        ("", 65, "the document is empty"),
        ("[]", 65, "expected a job or an algorithm, found a list"),
        ('{"metadata": {"name": "a"}, "job_config": {}}', 65, "expected a job, found an algorithm"),
        ('{"kind": "job", "kind": "job"}', 65, "the key 'kind' stands twice"),
    ],
)
def test_what_is_no_job_is_told_with_its_file(local_rig: Rig, document: str, code: int, message: str) -> None:
    path = local_rig.folder / "odd.json"
    path.write_text(document)
    result = local_rig.run(job=str(path))
    assert (result.code, f"{path}: {message}" in result.err, "Traceback" in result.err) == (code, True, False)


def test_a_job_file_that_is_not_there_is_66(local_rig: Rig) -> None:
    result = local_rig.run(job=str(local_rig.folder / "none.json"))
    assert (result.code, "No such file" in result.err) == (66, True)


def test_validate_tells_every_problem_of_every_file(local_rig: Rig) -> None:
    good = FIXTURES / "pytorch.create-job.response.json"
    bad = local_rig.folder / "bad.json"
    bad.write_text(json.dumps({"kind": "jbo", "metadata": {"name": ""}, "algorithm": {"id": "x"}}))
    result = local_rig.validate(str(good), str(bad))
    assert (result.code, result.out) == (65, f"{good}: ok\n")
    assert [line.split(": ")[2] for line in result.errors] == ["kind", "metadata.name"]


def test_validate_accepts_every_body_of_the_service(local_rig: Rig) -> None:
    bodies = sorted(map(str, FIXTURES.glob("*create*.json")))
    result = local_rig.validate(*bodies)
    assert (result.code, result.out.count(": ok\n")) == (0, len(bodies))
    told = local_rig.validate("--json", *bodies)
    assert all(each["ok"] for each in json.loads(told.out))


def test_validate_sees_what_shows_only_when_job_and_algorithm_are_laid_together(local_rig: Rig) -> None:
    local_rig.algorithm["outputs"][0]["name"] = "data_url"
    path = local_rig.folder / "clash.json"
    path.write_text(json.dumps(local_rig.job))
    result = local_rig.validate(str(path))
    (error,) = result.errors
    assert error == (
        f"error: {path}: algorithm.outputs[0].name: 'data_url' is also the name of inputs[0]; rename one of them "
        "(ModelArts.2767)"
    )


@pytest.mark.parametrize("kind", ["job", "algorithm"])
def test_the_schema_accepts_the_bodies_of_the_service(local_rig: Rig, kind: str) -> None:
    import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415 - only here

    schema = json.loads(local_rig.validate("--schema", kind).out)
    for body in FIXTURES.glob(f"*create-{kind}*.json"):
        jsonschema.validate(json.loads(body.read_text()), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"metadata": 3}, schema)
