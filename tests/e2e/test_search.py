"""`launcher search`: the boot file knows nothing of it, the budget is exact, and what was found can be run again."""

from __future__ import annotations

import json
import math
import os
import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ends import compiled
from searching import ACC, BOOT, LR, results, rows, searched, states, values

from launcher.study import Anneal, Bayes, Dimension, Ending, Metric, Policy, Tpe, join

if TYPE_CHECKING:
    from rig import Rig

    from launcher.core.search import Algorithm


def test_trials_are_run_and_the_best_of_them_is_told(rig: Rig) -> None:
    rig.code(BOOT)
    rig.algorithm["parameters"] = [{"name": "width", "value": "8"}]
    searched(rig, samples=4)
    result = rig.run(command="search")
    assert result.code == 0, result.err
    found = rows(rig)
    assert [(each["status"], each["done"], each["training_iteration"]) for each in found] == [
        ("TERMINATED", "True", "3")
    ] * 4
    assert len({each["trial_id"] for each in found}) == 4
    assert all(re.fullmatch(r"tensor\([0-9.]+, grad_fn=<MseLossBackward>\)", each["loss"]) for each in found)
    best = json.loads((results(rig) / "best.json").read_text())
    assert best["reward"]["value"] == max(float(each["reward_attr"]) for each in found)
    assert f"--lr={best['values']['lr']}" in best["command"]
    assert best["trial_id"] in result.out
    stored = rig.stored()
    assert {name for name in stored if name.startswith("autosearch/")} >= {
        "autosearch/trials.json",
        "autosearch/trials.csv",
        "autosearch/best.json",
        "autosearch/best-job.json",
        "autosearch/report.html",
        "autosearch/study.db",
    }
    for each in found:
        assert stored[f"trials/{each['trial_id']}/model"] == repr(each["config"]["lr"]).encode()
    assert (result.run_json["phase"], result.run_json["exit_code"]) == ("Completed", 0)


def test_run_searches_where_the_job_says_so(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    result = local_rig.run()
    assert result.code == 0, result.err
    assert len(rows(local_rig)) == 2
    assert [phase["phase"] for phase in result.run_json["timeline"]] == ["stage", "search", "sync"]


def test_the_best_job_runs_by_itself(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    assert local_rig.run(command="search").code == 0
    best = json.loads((results(local_rig) / "best.json").read_text())
    result = local_rig.run(job=str(results(local_rig) / "best-job.json"))
    assert result.code == 0, result.err
    assert local_rig.stored()["model"] == best["values"]["lr"].encode()


def test_code_and_inputs_are_staged_once_and_each_trial_has_its_own_of_the_rest(local_rig: Rig) -> None:
    told = {
        "data": "options.data_url",
        "output": "options.train_url",
        "in": "os.getcwd()",
        "scratch": "os.environ['TMPDIR']",
        "port": "os.environ['MASTER_PORT']",
    }
    local_rig.code(BOOT + "".join(f"\nprint('{name}=', {value}, sep='')" for name, value in told.items()))
    wanted = [{"name": name, "mode": "max", "regex": f"^{name}=(.*)"} for name in told]
    searched(local_rig, samples=3, rewards=[ACC, *wanted])
    assert local_rig.run("--jobs", "3", command="search").code == 0
    found = {name: {each[name] for each in rows(local_rig)} for name in told}
    assert found["data"] == {f"{local_rig.root}/home/ma-user/modelarts/inputs/data_url_0"}
    assert found["in"] == {f"{local_rig.root}/home/ma-user/modelarts/user-job-dir/code"}
    assert [len(found[name]) for name in ("output", "scratch", "port")] == [3, 3, 3]


def test_the_input_of_a_search_may_be_a_dataset(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    local_rig.job["algorithm"]["inputs"][0]["remote"] = {"dataset": {"id": "d", "version_id": "v"}}
    place = f"d/v=obs://{local_rig.bucket}/data/"
    assert local_rig.run("--dataset", place, command="search").code == 0
    assert len(rows(local_rig)) == 2
    assert local_rig.run(job=str(results(local_rig) / "best-job.json")).code == 0


def test_a_bad_space_is_refused_before_anything_is_done(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, {**LR, "upper_bound": "-1"}, rewards=[{**ACC, "mode": ""}])
    result = local_rig.run(command="search")
    assert result.code == 65
    assert [line for line in result.errors if "search_params[0]" in line]
    assert [line for line in result.errors if "reward_attrs[0].mode" in line]
    assert not results(local_rig).exists()


def test_a_job_without_a_policy_cannot_be_searched(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    result = local_rig.run(command="search")
    assert result.code == 65
    assert "algorithm.policies.auto_search: is missing" in result.err


def test_three_trials_without_a_reward_end_the_search(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=10, rewards=[{**ACC, "regex": "accuracy=([0-9]+)"}])
    result = local_rig.run(command="search")
    assert (result.code, result.cause) == (1, "search-no-reward"), result.err
    assert "accuracy=([0-9]+)" in result.errors[0]
    assert "acc=" in result.errors[0]
    assert len(states(local_rig)) == 3


def test_failed_trials_do_not_count(local_rig: Rig) -> None:
    local_rig.code(BOOT + "\nsys.exit(7 if options.lr < 0.5 else 0)\n")
    searched(local_rig, samples=5)
    result = local_rig.run("--max-failed", "100", command="search")
    assert result.code == 0, result.err
    assert len(values(local_rig)) == 5
    assert min(values(local_rig)) >= 0.5
    failed = [each for each in rows(local_rig) if each["status"] == "ERROR"]
    assert failed
    assert "exit code 7" in result.err


def test_too_many_failed_trials_end_the_search_and_a_mended_boot_file_goes_on(local_rig: Rig) -> None:
    local_rig.code(BOOT + "\nsys.exit(7)\n")
    searched(local_rig, samples=4)
    result = local_rig.run("--max-failed", "1", command="search")
    assert (result.code, result.cause) == (1, "search-too-many-failed"), result.err
    assert states(local_rig) == ["FAIL"] * 2
    local_rig.code(BOOT)
    again = local_rig.run("--max-failed", "1", command="search")
    assert again.code == 0, again.err
    assert len(values(local_rig)) == 4


@pytest.mark.parametrize("algorithm", ["tpe_search", "anneal_search", "bayes_opt_search"])
def test_the_same_seed_tries_the_same_values(local_rig: Rig, algorithm: str) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=4, algorithm=algorithm)
    first = []
    for name in ("one", "two"):
        assert local_rig.run("--study", name, command="search").code == 0
        first.append(values(local_rig))
    assert first[0] == first[1]
    assert len(set(first[0])) == 4


def test_a_finished_search_has_nothing_left_to_do(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    first = local_rig.run(command="search")
    again = local_rig.run(command="search")
    assert (first.code, again.code) == (0, 0)
    assert again.out == first.out
    assert len(states(local_rig)) == 2
    searched(local_rig, samples=3)
    assert local_rig.run(command="search").code == 0
    assert len(values(local_rig)) == 3


def test_another_search_of_the_same_name_is_refused(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    assert local_rig.run(command="search").code == 0
    searched(local_rig, {**LR, "upper_bound": "0.5"}, samples=2)
    result = local_rig.run(command="search")
    assert (result.code, result.cause) == (65, "study-differs"), result.err
    assert "--study" in result.errors[0]


def test_a_search_goes_on_from_its_copy_in_the_output(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=3)
    assert local_rig.run(command="search").code == 0
    before = values(local_rig)
    local_rig.root = local_rig.folder / "another-node"
    local_rig.log_dir = local_rig.root / "home/ma-user/modelarts/log"
    searched(local_rig, samples=5)
    assert local_rig.run(command="search").code == 0
    assert values(local_rig)[:3] == before
    assert len(values(local_rig)) == 5


def test_bad_trials_are_ended_early_where_that_is_asked_for(local_rig: Rig) -> None:
    local_rig.code(
        BOOT.replace(
            "os.makedirs(options.train_url", "time.sleep(3 * (options.lr < 0.5)); os.makedirs(options.train_url"
        )
    )
    discrete = {"name": "lr", "param_type": "discrete", "discrete_values": ["0.9", "0.8", "0.1"]}
    searched(local_rig, discrete, samples=12, algorithm="tpe_search", n_initial_points=12)
    result = local_rig.run("--pruner", "percentile", "--jobs", "2", command="search")
    assert result.code == 0, result.err
    assert "PRUNED" in states(local_rig)
    assert len([each for each in rows(local_rig) if each["status"] == "TERMINATED"]) == 12


def test_no_secret_is_written_into_the_results(local_rig: Rig) -> None:
    local_rig.code(BOOT + "\nprint('key', os.environ['API_TOKEN'])\n")
    searched(local_rig, samples=2, rewards=[ACC, {"name": "key", "mode": "max", "regex": "key (.*)"}])
    local_rig.algorithm["environments"] = {"API_TOKEN": "s3cret-token-value"}
    assert local_rig.run(command="search").code == 0
    stored = {name: content for name, content in local_rig.stored().items() if not name.endswith("study.db")}
    assert stored
    assert [name for name, content in stored.items() if b"s3cret-token-value" in content] == []


def test_a_node_that_cannot_run_a_trial_ends_its_worker_and_spoils_no_budget(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    trials = local_rig.root / "cache/trials"
    trials.parent.mkdir(parents=True)
    trials.write_text("in the way")
    result = local_rig.run(command="search")
    assert (result.code, result.cause) == (71, "node-unfit"), result.err
    assert str(trials) in result.errors[0]
    trials.unlink()
    assert local_rig.run(command="search").code == 0
    assert len(values(local_rig)) == 2


def test_the_time_of_the_job_is_the_searchs(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    local_rig.job["spec"]["auto_stop"] = {"time_unit": "HOURS", "duration": 2}
    assert json.loads(local_rig.run("--json", command="preview").out)["stop_after"] == 7200


def test_who_runs_the_best_job_gives_its_secrets_again(local_rig: Rig) -> None:
    local_rig.code(BOOT.replace('"--lr"', '"--token"); parser.add_argument("--lr"'))
    searched(local_rig, samples=2)
    local_rig.algorithm["parameters"] = [{"name": "token", "value": "x"}]
    secret = {"SAID": "s3cret-token-value"}
    result = local_rig.run("--set", "token=@env:SAID", command="search", env=secret)
    assert result.code == 0, result.err
    assert "'--set=token=…'" in result.out
    best = results(local_rig) / "best-job.json"
    assert "token" not in [each["name"] for each in json.loads(best.read_text())["algorithm"]["parameters"]]
    assert [path for path in local_rig.root.rglob("*") if path.is_file() and b"s3cret-token" in path.read_bytes()] == []


def test_preview_shows_a_trial_and_says_that_run_searches(local_rig: Rig) -> None:
    local_rig.code(BOOT)
    searched(local_rig, samples=2)
    result = local_rig.run(command="preview")
    assert result.code == 0, result.err
    assert (
        "warning: the job is searched: 2 trials by anneal_search, for the most of acc; this is one of them"
        in result.err
    )
    assert "warning: lr from 0 to 1" in result.err


BRANIN = """
import math, sys
values = dict(token.lstrip("-").split("=") for token in sys.argv[1:])
x, y = float(values["x"]), float(values["y"])
bent = y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6
print("branin", repr(bent * bent + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10))
"""


@pytest.mark.parametrize("algorithm", ["tpe_search", "anneal_search", "bayes_opt_search"])
def test_boot_files_and_a_loop_in_python_are_told_the_same_numbers(local_rig: Rig, algorithm: str) -> None:
    local_rig.code(BRANIN)
    space = [
        {"name": "x", "lower_bound": "-5", "upper_bound": "10"},
        {"name": "y", "lower_bound": "0", "upper_bound": "15"},
    ]
    early = {"n_initial_points": 2} if algorithm == "tpe_search" else {}
    reward = {"name": "branin", "mode": "min", "regex": "branin (.*)"}
    searched(local_rig, *space, samples=12, algorithm=algorithm, rewards=[reward], **early)
    assert local_rig.run(command="search").code == 0
    told = [(each["config"]["x"], each["config"]["y"], float(each["branin"])) for each in rows(local_rig)]
    assert told == in_python(local_rig.folder, algorithm)


def in_python(folder: Path, algorithm: str) -> list[tuple[float, float, float]]:
    kinds: dict[str, Algorithm] = {
        "tpe_search": Tpe(n_initial_points=2),
        "anneal_search": Anneal(),
        "bayes_opt_search": Bayes(),
    }
    policy = Policy(
        space=(
            Dimension(name="x", kind="float", low=-5.0, high=10.0),
            Dimension(name="y", kind="float", low=0.0, high=15.0),
        ),
        reward=Metric(name="branin", mode="min", regex="-"),
        algorithm=kinds[algorithm],
        num_samples=12,
    )
    made = []
    with closing(join(policy, str(folder / "own.db"), "branin")) as study:
        while trial := study.claim("here"):
            x, y = (float(trial.values[name]) for name in ("x", "y"))
            bent = y - 5.1 * x * x / (4 * math.pi**2) + 5 * x / math.pi - 6
            value = bent * bent + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
            made.append((x, y, value))
            study.finish(trial, Ending(state="COMPLETE", reward=value))
    return made


VENDORS = Path(__file__).resolve().parents[1] / "data/modelarts/create-algorithm.autosearch.request.json"


def test_the_services_own_request_is_searched_once_its_places_are_real(local_rig: Rig) -> None:
    body = json.loads(VENDORS.read_text())
    config = body["job_config"]
    config["code_dir"] = f"/{local_rig.bucket}/code/"
    config["boot_file"] = f"/{local_rig.bucket}/code/train.py"
    (local_rig.folder / "algorithm.json").write_text(json.dumps(body))
    own = local_rig.algorithm
    local_rig.job["algorithm"] = {"name": body["metadata"]["name"], "inputs": own["inputs"], "outputs": own["outputs"]}
    local_rig.code("import sys\nprint(sys.argv[1:], 'reached 10.0')\n")
    result = local_rig.run("--algorithm", str(local_rig.folder / "algorithm.json"), command="search")
    assert result.code == 0, result.err
    found = rows(local_rig)
    assert len(found) == 20
    assert {each["reward_attr"] for each in found} == {"10.0"}
    assert all(1 <= each["config"]["test_search"] <= 10 for each in found)


def test_each_trial_has_a_device_of_its_own(local_rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "nvml").mkdir()
    os.rename(compiled(tmp_path / "nvml", "nvml_stub", "-shared", "-fPIC"), tmp_path / "nvml/libnvidia-ml.so.1")
    told = {"seen": "os.environ['CUDA_VISIBLE_DEVICES']", "gpus": "os.environ['MA_NUM_GPUS']"}
    local_rig.code(BOOT + "".join(f"\nprint('{name}=', {value}, sep='')" for name, value in told.items()))
    wanted = [{"name": name, "mode": "max", "regex": f"^{name}=(.*)"} for name in told]
    searched(local_rig, samples=12, rewards=[ACC, *wanted])
    result = local_rig.run(command="search", env={"LD_LIBRARY_PATH": str(tmp_path / "nvml"), "NVML_STUB_GPUS": "2"})
    assert result.code == 0, result.err
    found = rows(local_rig)
    assert {each["gpus"] for each in found} == {"1"}
    assert len({each["seen"] for each in found}) == result.run_json["devices"]["count"] > 1
