"""A search as one file of HTML that opens without a network: charts, the best values, all trials.

The charts are Optuna's, drawn by plotly's script, which is in the file. One that cannot be drawn is a sentence instead.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from launcher.adapters.study import page
from launcher.adapters.study.quiet import quiet
from launcher.adapters.study.rows import as_study
from launcher.core.search.documents import best_of, iteration

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from optuna import Study

    from launcher.core.search import Policy, Trial

Importances = tuple[tuple[str, float, float], ...]

MOST_LINES = 100
"""Trials in a chart that has a line for each; the best ones are drawn."""
MOST_COLUMNS = 12
"""Hyperparameters side by side; of more the most important."""
_LEAST_WIDTH = 230

_TAG = re.compile(r"<(?!br>|/?extra>)")


class _CannotBeDrawn(Exception):  # noqa: N818 - no error: there is nothing to see yet
    """Why a chart says nothing."""


def report_html(policy: Policy, trials: Sequence[Trial], importances: Importances, title: str) -> bytes:
    """The whole report. `importances` are (name, mean, deviation), the most important first or in any order."""
    from plotly.offline import get_plotlyjs

    kept = sorted((trial for trial in trials if trial.verdict != "superseded"), key=lambda trial: trial.number)
    wanted = _charts(policy, kept, importances)
    drawn = {name: _drawn(make) for name, _, _, make in wanted}
    sections = {name: page.chart(name, heading, meaning, *drawn[name]) for name, heading, meaning, _ in wanted}
    parts = [page.head(title), page.summary(policy, kept)]
    for names in (("history",), ("parallel",), ("importance", "intermediate"), ("slices",), ("timeline",)):
        inner = "".join(sections[name] for name in names)
        parts.append(f'<div class="pair">\n{inner}</div>\n' if len(names) > 1 else inner)
    parts.append(page.table(policy, kept))
    parts += page.scripts(get_plotlyjs(), [(name, figure) for name, (figure, _) in drawn.items() if figure])
    return "".join(parts).encode("utf-8", "replace")


def _charts(
    policy: Policy, trials: Sequence[Trial], importances: Importances
) -> Sequence[tuple[str, str, str, Callable[[], Any]]]:
    """The name, the heading and the meaning of each chart, and what makes it."""
    reward = policy.reward.name
    ranked = [name for name, mean, _ in sorted(importances, key=lambda each: -each[1]) if math.isfinite(mean)]
    names = [each.name for each in policy.space]
    chosen = sorted(names, key=lambda name: ranked.index(name) if name in ranked else len(ranked))[:MOST_COLUMNS]
    columns = [name for name in names if name in chosen]
    return (
        ("history", "Progress", f"Each trial's {reward}, and the best so far.", lambda: _history(policy, trials)),
        (
            "parallel",
            "Hyperparameters together",
            f"A line is a trial, its colour its {reward}.",
            lambda: _parallel(policy, trials, columns),
        ),
        (
            "importance",
            "Importance",
            f"How much of the variance of {reward} each hyperparameter accounts for.",
            lambda: _importance(importances),
        ),
        (
            "intermediate",
            "Within the trials",
            f"{reward} by iteration.",
            lambda: _intermediate(policy, trials),
        ),
        (
            "slices",
            "Hyperparameters one by one",
            f"{reward} over the values of each; the darker, the later.",
            lambda: _slices(policy, trials, columns),
        ),
        ("timeline", "Timeline", "When each trial ran.", lambda: _timeline(policy, trials)),
    )


def _drawn(make: Callable[[], Any]) -> tuple[str | None, str]:
    """A chart as JSON, or a sentence instead."""
    from plotly.io import to_json

    try:
        with quiet():
            figure = make()
            if not figure.data:
                return None, "There is nothing to be drawn yet."
            figure.update_layout(
                template="plotly_white", title=None, autosize=True, margin={"l": 60, "r": 20, "t": 20, "b": 50}
            )
            return str(to_json(_escaped(figure.to_dict()), validate=False)), ""
    except _CannotBeDrawn as reason:
        return None, str(reason)
    except Exception as error:  # noqa: BLE001 - a report without one chart is better than none
        return None, f"It cannot be drawn: {type(error).__name__}: {error}"


def _escaped(part: Any) -> Any:
    """A figure in which nothing of a user's is markup: plotly takes some tags, of which its own templates need two."""
    if isinstance(part, str):
        return _TAG.sub("&lt;", part.replace("&", "&amp;"))
    if isinstance(part, dict):
        return {key: _escaped(each) for key, each in part.items()}
    if isinstance(part, (list, tuple)):
        return [_escaped(each) for each in part]
    return part


def _study(policy: Policy, trials: Sequence[Trial], least: int) -> Study:
    """All trials, so that a chart gives them the numbers of the table; so many must have a reward."""
    count = sum(trial.finished and trial.reward is not None and math.isfinite(trial.reward) for trial in trials)
    if count < least:
        raise _CannotBeDrawn(f"It needs {least} finished trial{'' if least == 1 else 's'} with a reward, not {count}.")
    return as_study(policy, trials)


def _history(policy: Policy, trials: Sequence[Trial]) -> Any:
    from optuna.visualization import plot_optimization_history

    return plot_optimization_history(_study(policy, trials, 1), target_name=policy.reward.name)


def _intermediate(policy: Policy, trials: Sequence[Trial]) -> Any:
    from optuna.visualization import plot_intermediate_values

    sign = -1 if policy.reward.mode == "max" else 1
    stepped = [(best_of(policy, trial), trial) for trial in trials if trial.steps]
    known = sorted((sign * best, trial.number, trial) for best, trial in stepped if best is not None)
    if not known:
        raise _CannotBeDrawn("No trial has printed a reward yet.")
    chosen = sorted((trial for _, _, trial in known[:MOST_LINES]), key=lambda trial: trial.number)
    figure = plot_intermediate_values(as_study(policy, chosen))
    for trace, trial in zip(figure.data, chosen, strict=True):
        trace.update(name=trial.id, x=[iteration(position) for position in range(len(trial.steps))], mode="lines")
    figure.update_layout(showlegend=False, xaxis_title="iteration", yaxis_title=policy.reward.name)
    return figure


def _importance(importances: Importances) -> Any:
    import plotly.graph_objects as go

    known = sorted((each for each in importances if math.isfinite(each[1])), key=lambda each: each[1])
    if not known:
        raise _CannotBeDrawn("It needs more finished trials, and more than one hyperparameter.")
    names, means, deviations = zip(*known, strict=True)
    error = {"type": "data", "array": [each if math.isfinite(each) else 0.0 for each in deviations]}
    figure = go.Figure(go.Bar(x=means, y=names, orientation="h", error_x=error, marker_color="#2f6db3"))
    figure.update_layout(xaxis_title="share of the variance, and its standard deviation", yaxis_type="category")
    return figure


def _parallel(policy: Policy, trials: Sequence[Trial], columns: Sequence[str]) -> Any:
    from optuna.visualization import plot_parallel_coordinate

    study = _study(policy, trials, 2)
    return plot_parallel_coordinate(study, params=list(columns), target_name=policy.reward.name)


def _slices(policy: Policy, trials: Sequence[Trial], columns: Sequence[str]) -> Any:
    from optuna.visualization import plot_slice

    study = _study(policy, trials, 2)
    figure = plot_slice(study, params=list(columns), target_name=policy.reward.name)
    figure.update_layout(width=max(_LEAST_WIDTH * len(columns), 300) if len(columns) > 4 else None)  # noqa: PLR2004
    return figure


def _timeline(policy: Policy, trials: Sequence[Trial]) -> Any:
    from optuna.visualization import plot_timeline

    begun = [trial for trial in trials if trial.started is not None]
    if not begun:
        raise _CannotBeDrawn("No trial has begun yet.")
    return plot_timeline(as_study(policy, begun))
