"""The algorithm that searches, out of its settings as texts; defaults and meanings are the service's own.

They are those of its list of search algorithms (`GET /v2/{project_id}/search-algorithms`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from launcher.core.frozen import Record
from launcher.core.parse.cursor import INVALID_PARAMETER, At
from launcher.core.parse.parameters import DUPLICATE
from launcher.core.parse.search import ALGORITHMS
from launcher.core.search import Algorithm, Anneal, Bayes, Tpe
from launcher.core.values import number, wrong_type

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.parse.cursor import Log
    from launcher.core.searchspace import AlgoConfig, AlgoParam

PATH = "algorithm.policies.auto_search.algo_configs"
FEWEST, USUAL = 10, 20
"""The numbers of samples that the service advises."""
DRAWN = 5
"""So many trials are enough to begin with, where the launcher has to choose."""


class Number(Record, frozen=True, kw_only=True):
    """A setting that is a number: its default, and from where to where it goes; an open end is not in it itself."""

    default: float
    whole: bool = False
    least: float = 0.0
    most: float | None = None
    open: bool = False

    @property
    def meaning(self) -> str:
        """What is expected, in words."""
        kind = "a whole number" if self.whole else "a number"
        if self.most is None:
            return f"{kind} of at least {self.least:g}"
        if self.open:
            return f"{kind} between {self.least:g} and {self.most:g}, neither of them included"
        return f"{kind} from {self.least:.0f} to {self.most:.0f}"

    def holds(self, value: float) -> bool:
        """Whether a value is within."""
        if self.open:
            return self.least < value < (self.most or value)
        return self.least <= value and (self.most is None or value <= self.most)


KINDS = ("ucb", "ei", "poi")
_BOTH = {
    "num_samples": Number(default=20, whole=True, least=1, most=100_000),
    "seed": Number(default=1, whole=True, most=2**32 - 1),
}
SETTINGS: Mapping[str, Mapping[str, Number | None]] = {
    "bayes_opt_search": {"kind": None, "kappa": Number(default=2.5), "xi": Number(default=0.0), **_BOTH},
    "tpe_search": {
        "gamma": Number(default=0.25, most=1.0, open=True),
        "n_initial_points": Number(default=20, whole=True, least=1),
        **_BOTH,
    },
    # The mean of a geometric distribution: its inverse is a chance.
    "anneal_search": {"avg_best_idx": Number(default=2.0, least=1.0), "shrink_coef": Number(default=0.1), **_BOTH},
}
"""The settings of each algorithm; None stands for one of KINDS."""


class Chosen(Record, frozen=True, kw_only=True):
    """The algorithm with its settings, how many trials, and the seed of all that it draws."""

    algorithm: Algorithm
    num_samples: int
    seed: int


def chosen(configs: Sequence[AlgoConfig], log: Log) -> Chosen | None:
    """The first of the algorithms, as the console takes one; None where it cannot be understood."""
    if not configs:
        At(None, PATH, log).warn(
            f"is missing: tpe_search is taken, with n_initial_points {DRAWN}; name one of {', '.join(ALGORITHMS)}"
        )
        return Chosen(algorithm=Tpe(n_initial_points=DRAWN), num_samples=USUAL, seed=1)
    config = configs[0]
    if configs[1:]:
        names = ", ".join(each.name for each in configs[1:])
        At(None, f"{PATH}[1]", log).warn(f"a job searches by one algorithm: {config.name} is taken, and not {names}")
    known = SETTINGS.get(config.name)
    if known is None:
        wanted = ", ".join(ALGORITHMS)
        At(None, f"{PATH}[0].name", log).wrong(f"expected one of {wanted}, found {config.name!r}")
        return None
    values = _values(config.params, known, log)
    made = _made(config.name, values)
    _check_samples(made, config.params, log)
    return made


def _values(params: Sequence[AlgoParam], known: Mapping[str, Number | None], log: Log) -> dict[str, float | str]:
    """The value of every setting; one that is wrong has its default, and the log says so."""
    values: dict[str, float | str] = {key: each.default if each else KINDS[0] for key, each in known.items()}
    seen: set[str] = set()
    for index, param in enumerate(params):
        at = At(None, f"{PATH}[0].params[{index}]", log)
        if param.key not in known:
            at.key("key").wrong(_unknown(param.key, known))
        elif param.key in seen:
            at.key("key").wrong(f"{param.key!r} stands already above; keep one of them", DUPLICATE)
        elif param.value:
            wrong = _wrong(known[param.key], param.value)
            if wrong:
                at.key("value").wrong(wrong, INVALID_PARAMETER)
            else:
                values[param.key] = number(param.value) if known[param.key] else param.value
        seen.add(param.key)
    return values


def _unknown(key: str, known: Mapping[str, object]) -> str:
    import difflib  # noqa: PLC0415 - only a document with an unknown key pays for it

    near = difflib.get_close_matches(key, known, n=1)
    hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(known)}"
    return f"the algorithm has no setting {key!r}; {hint}"


def _wrong(setting: Number | None, written: str) -> str | None:
    """What is wrong with the text of a setting, or None."""
    if setting is None:
        return None if written in KINDS else f"expected one of {', '.join(KINDS)}, found {written!r}"
    if wrong_type("Integer" if setting.whole else "Float", written) or not setting.holds(number(written)):
        return f"expected {setting.meaning}, found {written!r}"
    return None


def _made(name: str, values: Mapping[str, float | str]) -> Chosen:
    algorithm: Algorithm
    if name == "bayes_opt_search":
        kind = cast("Literal['ucb', 'ei', 'poi']", values["kind"])
        algorithm = Bayes(kind=kind, kappa=float(values["kappa"]), xi=float(values["xi"]))
    elif name == "tpe_search":
        algorithm = Tpe(gamma=float(values["gamma"]), n_initial_points=int(values["n_initial_points"]))
    else:
        algorithm = Anneal(avg_best_idx=float(values["avg_best_idx"]), shrink_coef=float(values["shrink_coef"]))
    return Chosen(algorithm=algorithm, num_samples=int(values["num_samples"]), seed=int(values["seed"]))


def _check_samples(made: Chosen, params: Sequence[AlgoParam], log: Log) -> None:
    def place(key: str) -> At:
        """Where a setting stands, else the algorithm, which has it by default."""
        index = next((index for index, each in enumerate(params) if each.key == key), None)
        return At(None, f"{PATH}[0].params" if index is None else f"{PATH}[0].params[{index}].value", log)

    if not FEWEST <= made.num_samples <= USUAL:
        place("num_samples").warn(
            f"the service advises {FEWEST} to {USUAL} for num_samples, and here are {made.num_samples}"
        )
    drawn = made.algorithm.n_initial_points if isinstance(made.algorithm, Tpe) else 0
    if drawn >= made.num_samples:
        cure = f"write n_initial_points {min(DRAWN, made.num_samples - 1)}" if made.num_samples > 1 else "try more"
        place("n_initial_points").warn(
            f"the first n_initial_points {drawn} trials are drawn at random, and there are {made.num_samples} in all,"
            f" so that nothing would be learned from any; {cure}"
        )
