"""What the launcher costs over running the boot file by hand: whole processes, in a clean virtual environment.

    python benchmarks/startup.py [--rounds 15] [--no-peer]

The boot file does nothing, so that all that is measured is the way to it and back. The peer is
sagemaker-training-toolkit, if it installs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
from typing import TYPE_CHECKING

import measuring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BUILD = "build/bench"
PLAIN, CODE, WHOLE, PEER = "python boot.py", "launcher run (code)", "launcher run (all)", "sagemaker-training"
CLICK, HELP = 'python -c "import click"', "launcher --help"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a start through the launcher costs.")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--no-peer", action="store_true", help="leave sagemaker-training out")
    options = parser.parse_args()
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD)
    with tempfile.TemporaryDirectory() as work:
        cases = [*launcher_cases(venv, work), *([] if options.no_peer else peer_cases(work))]
        costs = measuring.in_turns(cases, options.rounds)
        print(f"\nFrom the command to its end, medians of {options.rounds} runs in turns, the boot file does nothing:")
        measuring.table(costs, PLAIN)
        says_what_was_aimed_at(costs)
        costs = measuring.in_turns(help_cases(venv), options.rounds)
        print("\nThe command line by itself:")
        measuring.table(costs, CLICK)


def launcher_cases(venv: str, work: str) -> Sequence[measuring.Case]:
    store = f"{work}/store"
    code = f"{store}/bench-bucket/code"
    measuring.lay_down(
        {
            f"{code}/boot.py": "pass\n",
            f"{code}/model.py": "LAYERS = 3\n",
            f"{code}/notes.txt": "three files\n",
            f"{store}/bench-bucket/data/one.csv": "1,2,3\n",
            f"{work}/code.json": job(),
            f"{work}/whole.json": job(channels=True),
        }
    )
    env = measuring.clean_environment(venv)

    def run(document: str) -> tuple[str, ...]:
        return (f"{venv}/bin/launcher", "run", document, "--store", store, "--root", f"{work}/root")

    def clear() -> None:
        for folder in (f"{work}/root", f"{store}/bench-bucket/output", f"{store}/bench-bucket/log"):
            shutil.rmtree(folder, ignore_errors=True)

    def log_came_back() -> None:
        if not os.listdir(f"{store}/bench-bucket/log"):
            raise SystemExit("error: the run put no log in its place")

    return (
        measuring.Case(PLAIN, (f"{venv}/bin/python", f"{code}/boot.py"), env),
        measuring.Case(CODE, run(f"{work}/code.json"), env, clear),
        measuring.Case(WHOLE, run(f"{work}/whole.json"), env, clear, log_came_back),
    )


def job(*, channels: bool = False) -> str:
    bucket = "obs://bench-bucket"
    algorithm: dict[str, object] = {"code_dir": f"{bucket}/code/", "boot_file": f"{bucket}/code/boot.py"}
    spec: dict[str, object] = {"resource": {"flavor_id": "bench", "node_count": 1}}
    if channels:
        algorithm["parameters"] = [{"name": "lr", "value": "0.1"}]
        algorithm["inputs"] = [{"name": "data_url", "remote": {"obs": {"obs_url": f"{bucket}/data/"}}}]
        algorithm["outputs"] = [{"name": "train_url", "remote": {"obs": {"obs_url": f"{bucket}/output/"}}}]
        spec["log_export_path"] = {"obs_url": f"{bucket}/log/"}
    return json.dumps({"kind": "job", "metadata": {"name": "bench"}, "algorithm": algorithm, "spec": spec})


def peer_cases(work: str) -> Sequence[measuring.Case]:
    venv = os.path.abspath(f"{BUILD}/peer")
    if not os.path.exists(f"{venv}/bin/train"):
        wrong = measuring.make_venv(venv, "sagemaker-training")
        if wrong:
            print(f"sagemaker-training is not compared: it did not install ({wrong})")
            return ()
    base = f"{work}/peer"
    measuring.lay_down(
        {
            f"{base}/code/boot.py": "pass\n",
            f"{base}/code/model.py": "LAYERS = 3\n",
            f"{base}/code/notes.txt": "three files\n",
            f"{base}/input/config/inputdataconfig.json": "{}",
            # it waits until its host's name resolves
            f"{base}/input/config/resourceconfig.json": '{"current_host": "localhost", "hosts": ["localhost"]}',
            f"{base}/input/config/hyperparameters.json": json.dumps(
                {"sagemaker_program": "boot.py", "sagemaker_submit_directory": f"{base}/code"}
            ),
        }
    )
    env = {**measuring.clean_environment(venv), "SAGEMAKER_BASE_DIR": base}
    return (measuring.Case(PEER, (f"{venv}/bin/train",), env),)


def help_cases(venv: str) -> Sequence[measuring.Case]:
    env = measuring.clean_environment(venv)
    return (
        measuring.Case(CLICK, (f"{venv}/bin/python", "-c", "import click"), env),
        measuring.Case(HELP, (f"{venv}/bin/launcher", "--help"), env),
    )


def says_what_was_aimed_at(costs: Mapping[str, Sequence[measuring.Cost]]) -> None:
    plain, ours = (statistics.median(cost.cpu for cost in costs[name]) for name in (PLAIN, CODE))
    # the kernel reports the largest process of the tree, and no less than what this benchmark itself had when it forked
    floor, peak = (max(cost.peak for cost in costs[name]) / 2**20 for name in (PLAIN, WHOLE))
    print(
        f"\nlauncher run (code): {(ours - plain) * 1e3:+.0f} ms CPU, {ours / plain:.1f} x plain python"
        f" (at most +75 ms and 8 x; aim +45 ms and 5 x)"
        f"\npeak of the launcher: {peak:.1f} MiB (at most 30); {floor:.1f} is the least that shows here"
    )


if __name__ == "__main__":
    main()
