"""What `launcher devices` costs: on a node without accelerators, and what NVML adds to it with eight GPUs.

    python benchmarks/devices.py [--rounds 25]

NVML is the stub of the tests, which answers at once: what is measured is ours and nvidia-ml-py's, no driver's time. A
machine that has GPUs of its own is measured with them as "without", and that is said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile

import measuring

BUILD = "build/bench"
STUB = "tests/programs/nvml_stub.c"
GPUS = 8
HELP, NONE, NVML = "launcher --help", "launcher devices", f"launcher devices ({GPUS} stub GPUs)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what looking for devices costs.")
    parser.add_argument("--rounds", type=int, default=25)
    options = parser.parse_args()
    print(measuring.machine())
    venv = measuring.launcher_venv(BUILD)
    env = measuring.clean_environment(venv)
    program = f"{venv}/bin/launcher"
    with tempfile.TemporaryDirectory() as work:
        cases = [measuring.Case(HELP, (program, "--help"), env), measuring.Case(NONE, (program, "devices"), env)]
        stub = compiled(work)
        if stub is None:
            print("NVML is not measured: there is no C compiler here")
        else:
            with_gpus = {**env, "LD_LIBRARY_PATH": stub, "NVML_STUB_GPUS": str(GPUS)}
            says_so(program, with_gpus, GPUS)
            cases.append(measuring.Case(NVML, (program, "devices"), with_gpus))
        here = found(program, env)
        if here["type"] != "CPU":
            print(f"this machine has devices of its own ({here['type']}, {here['count']}): nothing here is without")
        costs = measuring.in_turns(cases, options.rounds)
    print(f"\nFrom the command to its end, medians of {options.rounds} runs in turns:")
    measuring.table(costs, HELP)
    cpu, wall = (
        {name: statistics.median(getattr(cost, field) for cost in runs) for name, runs in costs.items()}
        for field in ("cpu", "wall")
    )
    print(
        f"\n{NONE}: {cpu[NONE] / cpu[HELP]:.2f} x CPU and {wall[NONE] / wall[HELP]:.2f} x wall of {HELP} (at most 1.5)"
    )
    if NVML in cpu:
        print(
            f"NVML with {GPUS} GPUs adds {(cpu[NVML] - cpu[NONE]) * 1e3:.1f} ms CPU and"
            f" {(wall[NVML] - wall[NONE]) * 1e3:.1f} ms wall (at most 20)"
        )


def compiled(folder: str) -> str | None:
    """The folder with the stub as libnvidia-ml.so.1; None where nothing can compile it."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    subprocess.run((compiler, "-O1", "-shared", "-fPIC", "-o", f"{folder}/libnvidia-ml.so.1", STUB), check=True)
    return folder


def found(program: str, env: dict[str, str]) -> dict[str, object]:
    """What the command tells."""
    done = subprocess.run((program, "devices", "--json"), env=env, check=True, capture_output=True)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def says_so(program: str, env: dict[str, str], count: int) -> None:
    """What is measured must be what is meant: all the GPUs, and no fallback."""
    told = found(program, env)
    if (told["type"], told["count"], told["notes"]) != ("GPU", count, []):
        raise SystemExit(f"error: the stub was not met as NVML: {told}")


if __name__ == "__main__":
    main()
