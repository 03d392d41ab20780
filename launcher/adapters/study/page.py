"""The page of a search's report: text, tables and places for charts; whatever is a user's is escaped here.

It draws nothing and knows no library: what a chart is comes as JSON, and the script that draws it as text.
"""

from __future__ import annotations

from html import escape
from shlex import quote
from typing import TYPE_CHECKING

from launcher.core.search.documents import elapsed, iteration
from launcher.core.search.shown import duration, number, safe, value
from launcher.core.search.slots import standing
from launcher.core.search.space import values_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from launcher.core.search import Policy, Trial

MOST_ROWS = 1000
_LONGEST = 300
_STATES = {"RUNNING": "running", "COMPLETE": "done", "PRUNED": "ended early", "FAIL": "failed"}

_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c2733; background: #f4f6f8; margin: 0; }
main { max-width: 1180px; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 0; }
p { margin: .25rem 0 .75rem; color: #52606d; }
section { background: #fff; border: 1px solid #dde3e9; border-radius: 8px; padding: 1rem 1.25rem; margin-top: 1rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
.pair > section { min-width: 0; }
.wide { overflow-x: auto; }
.reward { font-size: 2rem; font-weight: 600; color: #0b6e4f; }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #eef1f4; vertical-align: top; }
td { white-space: nowrap; }
td.why { white-space: normal; max-width: 26rem; overflow-wrap: anywhere; }
tr.best td { background: #e8f6f0; font-weight: 600; }
pre { background: #f4f6f8; border-radius: 6px; padding: .6rem .8rem; overflow-x: auto; margin: .5rem 0 0; }
@media (max-width: 900px) { .pair { grid-template-columns: 1fr; } }
"""


def head(title: str) -> str:
    """The begin of the page, up to the first section. Whatever would need a network is forbidden."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{_text(title)}</h1>\n"
    )


def summary(policy: Policy, trials: Sequence[Trial]) -> str:
    """How far it is, the best trial, and how to run it again."""
    found = standing(policy, trials)
    metric = policy.reward
    failed = f", {found.failed} failed" if found.failed else ""
    goal = "maximum" if metric.mode == "max" else "minimum"
    far = f"<p>{found.finished} of {policy.num_samples} trials done, {found.running} running{failed}; "
    far += f"the {goal} of {_text(metric.name)} is looked for.</p>\n"
    best = found.best
    if best is None:
        return f"{far}<section><h2>No best trial yet</h2><p>No trial has given a reward.</p></section>\n"
    drawn = [each for each in policy.space if each.name in best.values]
    texts = {each.name: values_of(each, best.values[each.name]) for each in drawn}
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(text)}</td></tr>" for name, text in texts.items())
    options = "\n  ".join(f"{_quoted(f'--{name}={text}')} \\" for name, text in texts.items()).removesuffix(" \\")
    return (
        f'{far}<div class="pair">\n<section><h2>Best {_text(metric.name)}</h2>'
        f'<div class="reward">{number(best.reward)}</div>'
        f"<p>trial {_text(best.id)} ({best.slot + 1} of {policy.num_samples})</p><table>{rows}</table></section>\n"
        f"<section><h2>Run it again</h2><p>The boot file with the best values:</p><pre>BOOT_FILE \\\n  {options}</pre>"
        "</section>\n</div>\n"
    )


def chart(name: str, title: str, meaning: str, drawn: str | None, instead: str) -> str:
    """A section with the place for a chart, or with a sentence instead of it."""
    body = f'<div class="wide"><div class="chart" id="{name}"></div></div>' if drawn else f"<p>{_text(instead)}</p>"
    return f"<section><h2>{_text(title)}</h2><p>{_text(meaning)}</p>{body}</section>\n"


def table(policy: Policy, trials: Sequence[Trial]) -> str:
    """The trials as rows; of very many the last ones."""
    best = standing(policy, trials).best
    names = [each.name for each in policy.space]
    titles = ("#", "trial", "state", policy.reward.name, "iterations", "time", *names, "why")
    rows = "".join(_row(policy, trial, best, index) for index, trial in list(enumerate(trials))[-MOST_ROWS:])
    left = f" The last {MOST_ROWS} of {len(trials)} are shown." if len(trials) > MOST_ROWS else ""
    cells = "".join(f"<th>{_text(title)}</th>" for title in titles)
    return (
        f"<section><h2>Trials</h2><p>In the order in which they were begun.{left}</p>"
        f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{rows}</tbody></table></div></section>\n'
    )


def scripts(library: str, charts: Sequence[tuple[str, str]]) -> Iterator[str]:
    """What draws: the library, and a call for each chart. A JSON text cannot end the script that it stands in."""
    yield "<noscript><p>The charts need JavaScript.</p></noscript>\n</main>\n<script>"
    yield library
    yield "</script>\n<script>\n"
    options = '{"responsive": true, "displayModeBar": false}'
    for name, figure in charts:
        safe_json = figure
        for char in "<>&\u2028\u2029":
            safe_json = safe_json.replace(char, f"\\u{ord(char):04x}")
        yield f"(f => Plotly.newPlot({name!r}, f.data, f.layout, {options}))({safe_json});\n"
    yield "</script>\n</body>\n</html>\n"


def _row(policy: Policy, trial: Trial, best: Trial | None, index: int) -> str:
    took = elapsed(trial, trial.started or 0.0) if trial.ended is not None else None
    reward = trial.steps[-1] if trial.reward is None and trial.steps else trial.reward
    values = [value(trial.values[each.name]) if each.name in trial.values else "" for each in policy.space]
    cells = (
        str(index),
        trial.id,
        _STATES[trial.state],
        number(reward),
        str(iteration(len(trial.steps) - 1)),
        "-" if took is None else duration(took),
        *values,
    )
    whose = ' class="best"' if best is not None and best.number == trial.number else ""
    why = f'<td class="why">{_text(trial.why or "")}</td>'
    return f"<tr{whose}>{''.join(f'<td>{_text(cell)}</td>' for cell in cells)}{why}</tr>\n"


def _quoted(argument: str) -> str:
    return escape(quote(argument))


def _text(text: str) -> str:
    return escape(safe(text, _LONGEST))
