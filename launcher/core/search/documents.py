"""A search's results as the service's API has them: its header, its cells, all of them text but the configuration.

What is superseded was told twice and is in none of them. Nothing here writes a file or masks a secret.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from launcher.core.search import Policy, Scalar, Trial

PAGE = 50
"""The service's `limit`; all trials are on one page here."""
_STATUS = {"RUNNING": "RUNNING", "COMPLETE": "TERMINATED", "PRUNED": "TERMINATED", "FAIL": "ERROR"}
_CONFIG = 3
_BEFORE = ("", "done", "pid", "config", "trial_id", "training_iteration", "time_total_s", "worker_index")
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,15})")
_FLOAT = re.compile(r"-?[0-9]{1,16}(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?")
_SURROGATE = re.compile("[\ud800-\udfff]")


def header(policy: Policy) -> list[str]:
    """The names of the columns."""
    return [*_BEFORE, "reward_attr", "status", *map(_text, _metrics(policy)), "best_reward"]


def trials_document(policy: Policy, trials: Sequence[Trial], now: float) -> dict[str, Any]:
    """All trials, one row for each."""
    rows = [_row(policy, trial, now, index) for index, trial in enumerate(_shown(trials))]
    return _page(policy, rows)


def trial_document(policy: Policy, trial: Trial, now: float) -> dict[str, Any]:
    """One trial, one row for each of its iterations that are kept; what is known of the end only is in the last one."""
    rows = []
    for position, value in enumerate(trial.steps):
        row = _row(policy, trial, now, position)
        last = position == len(trial.steps) - 1
        row[1] = row[1] if last else "False"
        row[5] = str(iteration(position))
        row[6] = row[6] if last else ""
        reward = {policy.reward.name: _number(value)}
        texts = {**trial.metrics, **reward} if last else reward
        row[len(_BEFORE)] = _number(value)
        row[len(_BEFORE) + 1] = row[len(_BEFORE) + 1] if last else "RUNNING"
        row[len(_BEFORE) + 2 :] = [
            *(_text(texts.get(name, "")) for name in _metrics(policy)),
            _number(_best(policy, trial.steps[: position + 1])),
        ]
        rows.append(row)
    return _page(policy, rows)


def trials_csv(policy: Policy, trials: Sequence[Trial], now: float) -> str:
    """The same as `trials_document` for a spreadsheet, each hyperparameter in a column of its own at the end."""
    names = [dimension.name for dimension in policy.space]
    lines = [_line([*header(policy), *(f"param/{name}" for name in names)])]
    for index, trial in enumerate(_shown(trials)):
        row = _row(policy, trial, now, index)
        row[_CONFIG] = json.dumps(row[_CONFIG])
        values = [typed(trial.values[name]) if name in trial.values else "" for name in names]
        lines.append(_line([*row, *(value if isinstance(value, str) else repr(value) for value in values)]))
    return "".join(lines)


def parameter_analysis(importances: Sequence[tuple[str, float, float]]) -> dict[str, Any]:
    """How much each hyperparameter matters: its name, and the mean and the standard deviation of its importance."""
    data = [[_text(name), f"{_rounded(mean)}/{_rounded(deviation)}"] for name, mean, deviation in importances]
    return {
        "total": len(data),
        "count": len(data),
        "limit": max(PAGE, len(data)),
        "offset": 0,
        "group_by": "",
        "items": {"header": ["parameters", "the mean/std of importance"], "data": data},
    }


def best_document(policy: Policy, trial: Trial, values: Mapping[str, str]) -> dict[str, Any]:
    """The best trial: its reward, its values as the boot file gets them, and as options of a command line."""
    options = [f"--{_text(name)}={_text(value)}" for name, value in values.items()]
    return {
        "trial_id": trial.id,
        "reward": {
            "name": _text(policy.reward.name),
            "mode": policy.reward.mode,
            "value": _json_number(trial.reward),
        },
        "values": {_text(name): _text(value) for name, value in values.items()},
        "config": {_text(name): typed(value) for name, value in trial.values.items()},
        "metrics": {_text(name): _text(text) for name, text in trial.metrics.items()},
        "options": options,
        "command": shlex.join(options),
    }


def iteration(position: int) -> int:
    """Which iteration a kept reward is of (`recorded`): each of the first hundred, every 10th to 1,000, and so on."""
    number, every = position + 1, 1
    while number > 100:  # noqa: PLR2004 - see recorded
        number, every = number - 90, every * 10
    return number * every


def typed(value: Scalar) -> Scalar:
    """A value as JSON has it: a choice that is a number is one, and what is no finite number is text."""
    if isinstance(value, str):
        if _INTEGER.fullmatch(value):
            return int(value)
        return float(value) if _FLOAT.fullmatch(value) and math.isfinite(float(value)) else _text(value)
    return value if math.isfinite(value) else repr(value)


def best_of(policy: Policy, trial: Trial) -> float | None:
    """The best reward of a trial, on its way or at its end."""
    known = trial.steps if trial.reward is None else (*trial.steps, trial.reward)
    return _best(policy, known)


def _shown(trials: Sequence[Trial]) -> Iterator[Trial]:
    return (trial for trial in sorted(trials, key=lambda each: each.number) if trial.verdict != "superseded")


def _page(policy: Policy, rows: list[list[Any]]) -> dict[str, Any]:
    return {
        "total": len(rows),
        "count": len(rows),
        "limit": max(PAGE, len(rows)),
        "offset": 0,
        "group_by": "",
        "items": {"header": header(policy), "data": rows},
    }


def _metrics(policy: Policy) -> list[str]:
    return [policy.reward.name, *(metric.name for metric in policy.others)]


def _row(policy: Policy, trial: Trial, now: float, index: int) -> list[Any]:
    reward = trial.steps[-1] if trial.reward is None and trial.steps else trial.reward
    texts = {policy.reward.name: _number(reward), **trial.metrics}
    return [
        str(index),
        str(trial.state != "RUNNING"),
        "" if trial.pid is None else str(trial.pid),
        _config(trial, index),
        trial.id,
        str(iteration(len(trial.steps) - 1)),
        _number(elapsed(trial, now)),
        _text(trial.worker),
        _number(reward),
        _STATUS[trial.state],
        *(_text(texts.get(name, "")) for name in _metrics(policy)),
        _number(best_of(policy, trial)),
    ]


def elapsed(trial: Trial, now: float) -> float | None:
    """The seconds that a trial has taken; clocks of several nodes differ, so that it may be none."""
    if trial.started is None:
        return None
    return max((now if trial.ended is None else trial.ended) - trial.started, 0.0)


def _config(trial: Trial, index: int) -> dict[str, Scalar]:
    values = {_text(name): typed(value) for name, value in trial.values.items()}
    return {**values, "trial_index": index, **{f"param/{name}": value for name, value in values.items()}}


def _best(policy: Policy, rewards: Sequence[float]) -> float | None:
    finite = [reward for reward in rewards if math.isfinite(reward)]
    return (max if policy.reward.mode == "max" else min)(finite, default=None)


def _number(value: float | None) -> str:
    return "" if value is None else repr(float(value))


def _json_number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _rounded(value: float) -> str:
    return f"{value:.4f}" if math.isfinite(value) else "n/a"


def _text(text: str) -> str:
    """Half a character, as damaged names have them, is in no UTF-8."""
    return _SURROGATE.sub("\ufffd", text)


def _line(cells: Sequence[str]) -> str:
    return ",".join(map(_cell, cells)) + "\r\n"


def _cell(text: str) -> str:
    """A cell, quoted where it must be. A spreadsheet must not take for a formula what a boot file printed."""
    if text[:1] in ("=", "+", "-", "@", "\t", "\r", "\n") and not _FLOAT.fullmatch(text.removeprefix("+")):
        text = f"'{text}" if text else ""
    return '"' + text.replace('"', '""') + '"' if re.search(r'[",\r\n]', text) else text
