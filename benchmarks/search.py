"""What a search costs beside its trials; `--quality`: how good its algorithms are, the table of docs/search.md.

    OMP_NUM_THREADS=1 python benchmarks/search.py [--quality] [--storage postgresql://…]

Without arguments: the processor time of one trial's claim, draw, report and end, after 100, 280 and 1,000 trials.
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import statistics
import tempfile
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import hyperopt
import msgspec
import numpy as np
import optuna
from bayes_opt import BayesianOptimization, acquisition

from launcher.adapters.study import open_study
from launcher.adapters.study.addresses import address
from launcher.adapters.study.quiet import quiet
from launcher.adapters.study.rows import ABOUT, as_study
from launcher.adapters.study.samplers import draw
from launcher.core.search import Anneal, Bayes, Dimension, Ending, Metric, Owner, Policy, Slot, Tpe, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from launcher.core.search import Algorithm

    Objective = Callable[[Sequence[float]], float]
    Method = Callable[["Objective", Sequence[Dimension], int, int], list[float]]

ROUNDS = 10
SEEDS = range(10)
COUNTS = (20, 50)
STORED = (100, 280, 1000)
ME = Owner(worker="benchmark", boot="", pid=os.getpid(), start=0)


def branin(x: Sequence[float]) -> float:
    a, b = x[0] * 15 - 5, x[1] * 15
    wave = (b - 5.1 / (4 * math.pi**2) * a * a + 5 / math.pi * a - 6) ** 2
    return wave + 10 * (1 - 1 / (8 * math.pi)) * math.cos(a) + 10 - 0.39788735772973816


def hartmann6(x: Sequence[float]) -> float:
    widths = [
        [10, 3, 17, 3.5, 1.7, 8],
        [0.05, 10, 17, 0.1, 8, 14],
        [3, 3.5, 1.7, 10, 17, 8],
        [17, 8, 0.05, 10, 0.1, 14],
    ]
    places = [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
              [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]  # fmt: skip
    total = 0.0
    for weight, wide, place in zip((1.0, 1.2, 3.0, 3.2), widths, places, strict=True):
        total += weight * math.exp(-sum(w * (v - p / 1e4) ** 2 for w, v, p in zip(wide, x, place, strict=True)))
    return 3.322368011415515 - total


def rosenbrock4(x: Sequence[float]) -> float:
    at = [v * 4 - 2 for v in x]
    return sum(100 * (b - a * a) ** 2 + (1 - a) ** 2 for a, b in itertools.pairwise(at))


PROBLEMS: Mapping[str, tuple[Objective, int]] = {
    "Branin": (branin, 2),
    "Hartmann6": (hartmann6, 6),
    "Rosenbrock4": (rosenbrock4, 4),
}


def policy(space: Sequence[Dimension], algorithm: Algorithm, seed: int, count: int) -> Policy:
    metric = Metric(name="loss", mode="min", regex="loss ([0-9.]+)")
    return Policy(space=tuple(space), reward=metric, algorithm=algorithm, seed=seed, num_samples=count)


def ours(algorithm: Algorithm) -> Method:
    def run(objective: Objective, space: Sequence[Dimension], seed: int, count: int) -> list[float]:
        asked = policy(space, algorithm, seed, count)
        trials: list[Trial] = []
        for index in range(count):
            values = draw(asked, Slot(index=index, draw=0), trials, print)
            reward = objective([float(values[dimension.name]) for dimension in space])
            trials.append(
                Trial(number=index, id=f"{index:08x}", slot=index, values=values, state="COMPLETE", reward=reward)
            )
        return [trial.reward or 0.0 for trial in trials]

    return run


def by_optuna(sampler: Callable[[int], Any]) -> Method:
    def run(objective: Objective, space: Sequence[Dimension], seed: int, count: int) -> list[float]:
        with quiet():
            study = optuna.create_study(sampler=sampler(seed))
        found: list[float] = []

        def evaluate(trial: optuna.Trial) -> float:
            found.append(objective([trial.suggest_float(each.name, each.low, each.high) for each in space]))
            return found[-1]

        study.optimize(evaluate, n_trials=count)
        return found

    return run


def by_hyperopt(algorithm: str, **settings: float) -> Method:
    def run(objective: Objective, space: Sequence[Dimension], seed: int, count: int) -> list[float]:
        found: list[float] = []

        def evaluate(point: Mapping[str, float]) -> float:
            found.append(float(objective([point[each.name] for each in space])))
            return found[-1]

        hyperopt.fmin(
            evaluate,
            {each.name: hyperopt.hp.uniform(each.name, each.low, each.high) for each in space},
            algo=partial(getattr(hyperopt, algorithm).suggest, **settings),
            max_evals=count,
            rstate=np.random.default_rng(seed),
            show_progressbar=False,
            verbose=False,
        )
        return found

    return run


def by_bayes_opt(objective: Objective, space: Sequence[Dimension], seed: int, count: int) -> list[float]:
    found: list[float] = []

    def evaluate(**point: float) -> float:
        found.append(objective([point[each.name] for each in space]))
        return -found[-1]

    search = BayesianOptimization(
        evaluate,
        {each.name: (each.low, each.high) for each in space},
        acquisition_function=acquisition.UpperConfidenceBound(kappa=2.5),
        random_state=seed,
        verbose=0,
        allow_duplicate_points=True,
    )
    search.maximize(init_points=10, n_iter=count - 10)
    return found


def by_chance(objective: Objective, space: Sequence[Dimension], seed: int, count: int) -> list[float]:
    chance = np.random.default_rng(seed)
    return [objective(chance.uniform(size=len(space)).tolist()) for _ in range(count)]


METHODS: Mapping[str, Method] = {
    "at random": by_chance,
    "**anneal_search** (avg_best_idx 2, shrink_coef 0.1)": ours(Anneal()),
    "hyperopt anneal, directly": by_hyperopt("anneal", avg_best_idx=2.0, shrink_coef=0.1),
    "**tpe_search** (n_initial_points 20, gamma 0.25)": ours(Tpe()),
    "**tpe_search**, n_initial_points 10": ours(Tpe(n_initial_points=10)),
    "**tpe_search**, n_initial_points 10, gamma 0.9": ours(Tpe(n_initial_points=10, gamma=0.9)),
    "hyperopt TPE, directly (20, 0.25)": by_hyperopt("tpe", n_startup_jobs=20, gamma=0.25),
    "Optuna TPE, directly (its defaults: 10)": by_optuna(lambda seed: optuna.samplers.TPESampler(seed=seed)),
    "**bayes_opt_search** ucb (kappa 2.5)": ours(Bayes()),
    "**bayes_opt_search** ei (xi 0)": ours(Bayes(kind="ei")),
    "**bayes_opt_search** poi (xi 0)": ours(Bayes(kind="poi")),
    "bayes_opt ucb, directly (kappa 2.5)": by_bayes_opt,
}


def quality(wanted: str) -> None:
    heads = [f"{problem} @{count}" for problem in PROBLEMS for count in COUNTS]
    print("| | " + " | ".join(heads) + " |\n|---|" + "---|" * len(heads), flush=True)
    for label, method in METHODS.items():
        if wanted not in label:
            continue
        cells = []
        for objective, wide in PROBLEMS.values():
            space = [Dimension(name=f"x{axis}", kind="float", low=0.0, high=1.0) for axis in range(wide)]
            runs = [method(objective, space, seed, max(COUNTS)) for seed in SEEDS]
            cells += [told([min(run[:count]) for run in runs]) for count in COUNTS]
        print(f"| {label} | " + " | ".join(cells) + " |", flush=True)


def told(found: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return f"{middle:.2g} [{low:.2g}, {high:.2g}]"


def overhead(storages: Mapping[str, str]) -> None:
    """The processor time of one trial, medians, in studies that were filled with finished trials at random."""
    print(
        "| algorithm, storage | "
        + " | ".join(f"after {count}" for count in STORED)
        + " |\n|---|"
        + "---|" * len(STORED)
    )
    space = [Dimension(name=f"x{axis}", kind="float", low=0.0, high=1.0) for axis in range(4)]
    for kept, url in storages.items():
        for algorithm in (Tpe(), Anneal(), Bayes()):
            cells = []
            for count in STORED:
                searched = policy(space, algorithm, 1, count + ROUNDS)
                name = f"{type(algorithm).__name__} {count}"
                filled(url, name, searched, count)
                cells.append(f"{statistics.median(costs(url, name, searched)) * 1e3:.0f} ms")
            print(f"| {type(algorithm).__name__}, {kept} | " + " | ".join(cells) + " |", flush=True)


def filled(url: str, name: str, searched: Policy, count: int) -> None:
    """Give a study finished trials, as a search would have left them."""
    study = open_study(url, name, ME)
    study.join(searched)
    study.close()
    chance = np.random.default_rng(1)
    trials = []
    for index in range(count):
        values = {dimension.name: float(chance.uniform()) for dimension in searched.space}
        trials.append(
            Trial(
                number=index,
                id=f"{index:08x}",
                slot=index,
                values=values,
                state="COMPLETE",
                reward=sum(values.values()),
            )
        )
    stored = optuna.storages.RDBStorage(address(url).url)
    rows = optuna.load_study(study_name=name, storage=stored)
    for row in as_study(searched, trials).trials:
        row.user_attrs[ABOUT] |= {"started": 0.0, "owner": msgspec.to_builtins(ME)}
        rows.add_trial(row)
    stored.engine.dispose()


def costs(url: str, name: str, searched: Policy) -> list[float]:
    study = open_study(url, name, ME)
    study.join(searched)
    found = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        trial = study.claim("0")
        if trial is None:
            raise SystemExit(f"{name}: nothing to be claimed")
        study.started(trial, 1)
        study.report(trial, 1, 0.5)
        study.beat([trial])
        study.finish(trial, Ending(state="COMPLETE", reward=0.5))
        found.append(time.process_time() - begun)
    study.close()
    return found[1:]  # the first one reads all that there is, once


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what a search costs, or how good it is.")
    parser.add_argument("--quality", action="store_true", help="the table of docs/search.md; takes some ten minutes")
    parser.add_argument("--only", default="", help="with --quality: the rows whose label contains this")
    parser.add_argument("--storage", action="append", default=[], help="another one, as postgresql://…")
    options = parser.parse_args()
    if options.quality:
        quality(options.only)
        return
    with tempfile.TemporaryDirectory() as folder:
        overhead({"SQLite": f"{folder}/study.db", **{url.partition("://")[0]: url for url in options.storage}})


if __name__ == "__main__":
    main()
