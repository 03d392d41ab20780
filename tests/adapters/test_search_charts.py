from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest
from searched import IMPORTANCES, policy_of, trials_of

from launcher.core.search import Dimension, Metric, Policy, Trial

pytest.importorskip("plotly")
from launcher.adapters.study.charts import MOST_LINES, report_html
from launcher.adapters.study.page import MOST_ROWS

CHARTS = ["history", "parallel", "importance", "intermediate", "slices", "timeline"]
HOSTILE = ("</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a & <b>b</b>\u2028")


def figures(page: str) -> dict[str, Any]:
    """The charts of a report, by their names."""
    calls = re.findall(r"Plotly\.newPlot\('(\w+)', [^\n]*?\)\)\((.*)\);\n", page)
    return {name: json.loads(text) for name, text in calls}


def report(policy: Policy, trials: tuple[Trial, ...], importances: Any = IMPORTANCES, title: str = "a search") -> str:
    return report_html(policy, trials, importances, title).decode()


def without_library(page: str) -> str:
    """The page without plotly's own script, which has any text in it."""
    begin = page.index("</main>\n<script>")
    return page[:begin] + page[page.index("</script>\n<script>\n", begin) :]


def test_a_report_has_all_charts_the_best_values_and_the_trials() -> None:
    policy = policy_of()
    page = report(policy, trials_of(policy, 20))
    assert list(figures(page)) == CHARTS
    assert all(figure["data"] for figure in figures(page).values())
    text = without_library(page)
    assert "19 of 20 trials done, 0 running, 1 failed; the maximum of accuracy is looked for." in text
    assert "--activation=gelu" in text
    assert "CUDA out of memory. Tried to allocate 2.00 GiB" in text
    assert text.count('<tr class="best">') == 1
    assert "cannot be drawn" not in text
    assert len(page) < 6_000_000


def test_a_report_needs_no_network() -> None:
    policy = policy_of()
    page = without_library(report(policy, trials_of(policy, 20)))
    assert "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:" in page
    assert re.findall(r'(?:src|href)="?(?!\')[^"> ]+', page.partition("<style>")[2]) == []
    assert "http" not in page.replace("http-equiv", "")


def test_charts_give_trials_the_numbers_and_names_of_the_table() -> None:
    policy = policy_of()
    trials = trials_of(policy, 20)
    drawn = figures(report(policy, trials))
    assert [each["name"] for each in drawn["intermediate"]["data"]] == [each.id for each in trials if each.steps]
    assert drawn["importance"]["data"][0]["y"] == ["activation", "hidden_units", "dropout", "learning_rate"]


@pytest.mark.parametrize(
    ("count", "missing"),
    [(0, CHARTS), (1, ["parallel", "importance", "slices"]), (2, ["importance"])],
)
def test_a_chart_that_cannot_be_drawn_yet_is_a_sentence(count: int, missing: list[str]) -> None:
    policy = policy_of()
    page = report(policy, trials_of(policy, count), ())
    assert list(figures(page)) == [name for name in CHARTS if name not in missing]
    text = without_library(page)
    assert "cannot be drawn" not in text
    assert ("No best trial yet" in text) == (count == 0)
    assert ("It needs 2 finished trials with a reward, not" in text) == (count < 2)


def test_trials_that_run_or_failed_without_a_word_are_in_the_report() -> None:
    policy = policy_of()
    running = Trial(number=0, id="aaaaaaaa", slot=0, steps=(0.5,), started=5.0)
    waiting = Trial(number=1, id="bbbbbbbb", slot=1)
    superseded = Trial(number=2, id="cccccccc", slot=1, state="FAIL", verdict="superseded")
    page = report(policy, (waiting, running, superseded), ())
    assert "aaaaaaaa" in page
    assert "cccccccc" not in page
    assert list(figures(page)) == ["intermediate", "timeline"]


def test_one_hyperparameter_is_enough() -> None:
    policy = Policy(
        space=(Dimension(name="x", kind="float", low=0.0, high=1.0),),
        reward=Metric(name="loss", mode="min", regex="loss=(.*)"),
    )
    trials = tuple(
        Trial(number=n, id=f"{n:08x}", slot=n, values={"x": n / 5}, state="COMPLETE", reward=1.0 - n / 5, started=1.0)
        for n in range(5)
    )
    page = report(policy, trials, (("x", float("nan"), float("nan")),))
    assert set(CHARTS) - set(figures(page)) == {"importance", "intermediate"}
    assert "more than one hyperparameter" in page


def test_no_name_and_no_value_gets_out_of_its_place() -> None:
    policy = policy_of(activations=HOSTILE)
    renamed = msgspec.structs.replace(
        policy, reward=Metric(name="<b>acc</b></script><script>alert(3)</script>", mode="max", regex="x")
    )
    page = report(renamed, trials_of(policy, 20), title="</title></script><script>alert(2)</script>")
    text = without_library(page)
    assert "alert(2)" in text
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "<b>" not in text
    assert (text.count("<script>"), text.count("</script>")) == (1, 2)  # the end of the library is the other one
    inside = json.dumps(figures(page), ensure_ascii=False)
    assert "<img" not in inside
    assert "<b>" not in inside


def test_very_many_trials_are_a_report_all_the_same() -> None:
    policy = policy_of(MOST_ROWS + 5)
    one = trials_of(policy, 1)[0]
    trials = tuple(
        msgspec.structs.replace(one, number=n, slot=n, id=f"{n:08x}", reward=n / 1e4, steps=(n / 1e4,))
        for n in range(MOST_ROWS + 5)
    )
    page = report(policy, trials)
    assert len(figures(page)["intermediate"]["data"]) == MOST_LINES
    assert f"The last {MOST_ROWS} of {MOST_ROWS + 5} are shown." in page
    assert without_library(page).count("<tr") < MOST_ROWS + 10
