"""A job's auto search as a policy: what becomes of each word of it, and everything that a person is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.errors import SpecError
from launcher.core.parse.algorithm import parse_algorithm
from launcher.core.parse.cursor import At, Log
from launcher.core.parse.search import AUTO_SEARCH
from launcher.core.parse.text import read_document
from launcher.core.search import Anneal, Bayes, Dimension, Metric, Policy, Tpe
from launcher.core.search.policy import Decided, engine_warning, point, policy, policy_of, values_of
from launcher.core.searchspace import AlgoConfig, AutoSearch, RewardAttr, SearchParam
from launcher.core.spec import Constraint, Engine, Hyperparameter, InputChannel, JobAlgorithm, Policies, Tag

DATA = Path(__file__).parent.parent / "data" / "modelarts"
PATH = "algorithm.policies.auto_search"
LR = {"name": "lr", "lower_bound": "0.001", "upper_bound": "0.1"}
REWARD = {"name": "acc", "mode": "max", "regex": "acc=([0-9.]+)"}
TPE = {"name": "tpe_search", "params": [{"key": "n_initial_points", "value": "5"}]}


def hyper(name: str = "lr", **constraint: Any) -> Hyperparameter:
    return Hyperparameter(name=name, value="1", constraint=Constraint(**constraint) if constraint else None)


def written(*params: Any, **more: Any) -> AutoSearch:
    """A search as a document has it."""
    document = {"search_params": params or [LR], "reward_attrs": [REWARD], "algo_configs": [TPE], **more}
    log = Log()
    search = AUTO_SEARCH.read(At(read_document(json.dumps(document).encode(), "s.json"), "", log))
    assert log.problems == log.warnings == []
    assert search is not None
    return search


def decided(*params: Any, parameters: tuple[Hyperparameter, ...] = (), **more: Any) -> Decided:
    return policy(written(*params, **more), parameters)


def warned(*params: Any, **more: Any) -> list[str]:
    return [str(each).removeprefix(f"{PATH}.") for each in decided(*params, **more).warnings]


def problems(search: AutoSearch, *parameters: Hyperparameter) -> list[str]:
    with pytest.raises(SpecError) as error:
        policy(search, parameters)
    return [str(each).removeprefix(f"{PATH}.") for each in error.value.problems]


def refused(*params: Any, parameters: tuple[Hyperparameter, ...] = (), **more: Any) -> list[str]:
    return problems(written(*params, **more), *parameters)


def algo(name: str, **params: str) -> dict[str, Any]:
    made = [{"key": key, "value": value} for key, value in params.items()]
    return {"name": name, "params": made}


def test_a_search_becomes_a_policy() -> None:
    made = decided(LR, parameters=(hyper(type="Float"),))
    assert made == Decided(
        policy=Policy(
            space=(Dimension(name="lr", kind="float", low=0.001, high=0.1),),
            reward=Metric(name="acc", mode="max", regex="acc=([0-9.]+)"),
            algorithm=Tpe(n_initial_points=5),
            num_samples=20,
            seed=1,
            take="last",
            pruner=None,
            most_failed=10,
        )
    )


def test_the_wishes_of_the_command_line_are_part_of_it() -> None:
    made = policy(written(), (), take="best", pruner="median", most_failed=0).policy
    assert (made.take, made.pruner, made.most_failed) == ("best", "median", 0)


@pytest.mark.parametrize(("samples", "wanted"), [("10", 5), ("12", 6), ("1", 3), ("7", 3)])
def test_half_of_the_trials_may_fail(samples: str, wanted: int) -> None:
    assert decided(algo_configs=[algo("anneal_search", num_samples=samples)]).policy.most_failed == wanted


def test_the_vendors_own_request_is_understood() -> None:
    body = (DATA / "create-algorithm.autosearch.request.json").read_bytes()
    algorithm = parse_algorithm(read_document(body, "a.json"), Log())
    assert algorithm.advanced_config is not None
    assert algorithm.advanced_config.auto_search is not None
    made = policy(algorithm.advanced_config.auto_search, algorithm.job_config.parameters)
    assert made == Decided(
        policy=Policy(
            space=(Dimension(name="test_search", kind="float", low=1.0, high=10.0),),
            reward=Metric(name="max_search", mode="max", regex="10.0"),
            algorithm=Bayes(kind="ucb", kappa=2.5, xi=0.0),
            num_samples=20,
            seed=1,
            most_failed=10,
        )
    )


@pytest.mark.parametrize("index", [0, 1, 2])
def test_the_vendors_own_defaults_are_those_of_an_algorithm_without_settings(index: int) -> None:
    listed = json.loads((DATA / "search-algorithms.response.json").read_bytes())["search_algo_list"][index]
    said = decided(algo_configs=[{"name": listed["name"], "params": listed["params"]}]).policy
    assert said == decided(algo_configs=[{"name": listed["name"]}]).policy


@pytest.mark.parametrize(
    ("param", "constraint", "wanted"),
    [
        ({"lower_bound": "1e-5", "upper_bound": "1"}, {}, {"kind": "float", "low": 1e-5, "high": 1.0}),
        (
            {"param_type": "continuous", "lower_bound": "-1", "upper_bound": "1", "discrete_points_num": ""},
            {"type": "Float", "valid_type": "Range", "valid_range": ("-1", "")},
            {"kind": "float", "low": -1.0, "high": 1.0},
        ),
        (
            {"lower_bound": "1e-5", "upper_bound": "1", "scale": "log"},
            {"type": "Float"},
            {"kind": "float", "low": 1e-5, "high": 1.0, "log": True},
        ),
        (
            {"lower_bound": "16", "upper_bound": "64", "scale": "linear"},
            {"type": "Integer"},
            {"kind": "int", "low": 16.0, "high": 64.0},
        ),
        (
            {"lower_bound": "16", "upper_bound": "64", "discrete_points_num": "4"},
            {"type": "Integer"},
            {"kind": "int", "low": 16.0, "high": 64.0, "points": 4},
        ),
        (
            {"lower_bound": "1", "upper_bound": "2", "discrete_points_num": "100000"},
            {},
            {"kind": "float", "low": 1.0, "high": 2.0, "points": 100000},
        ),
        (
            {"param_type": "discrete", "discrete_values": ["16", "32"], "discrete_points_num": "2"},
            {"type": "Integer", "valid_type": "Choice", "valid_range": ("16", "32", "64")},
            {"kind": "choice", "choices": ("16", "32")},
        ),
        (
            {"param_type": "discrete", "discrete_values": "adam, sgd", "scale": "linear"},
            {"type": "String"},
            {"kind": "choice", "choices": ("adam", "sgd")},
        ),
        (
            {"param_type": "discrete", "discrete_values": ["0.1", "0.10"]},
            {},
            {"kind": "choice", "choices": ("0.1", "0.10")},
        ),
    ],
)
def test_a_search_parameter_becomes_a_dimension(param: Any, constraint: Any, wanted: Any) -> None:
    made = policy(
        written({"name": "lr", **param}, algo_configs=[algo("anneal_search", num_samples="10")]), (hyper(**constraint),)
    )
    assert made.policy.space == (Dimension(name="lr", **wanted),)


INTEGER = {"type": "Integer"}
NARROW = {"type": "Float", "valid_type": "Range", "valid_range": ("0", "1")}
BOUNDS = {"lower_bound": "1", "upper_bound": "2"}
AT = "search_params[0]"


@pytest.mark.parametrize(
    ("param", "constraint", "wanted"),
    [
        (
            {},
            {},
            [
                f"{AT}.lower_bound: is missing; a continuous parameter needs both bounds (ModelArts.2770)",
                f"{AT}.upper_bound: is missing; a continuous parameter needs both bounds (ModelArts.2770)",
            ],
        ),
        (
            {"lower_bound": "1", "upper_bound": ""},
            {},
            [f"{AT}.upper_bound: is missing; a continuous parameter needs both bounds (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "1", "upper_bound": "1.0"},
            {},
            [f"{AT}.lower_bound: expected less than the upper bound 1, found 1 (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "-1e308", "upper_bound": "1e308"},
            {},
            [f"{AT}.upper_bound: the range is wider than any number; bring its ends nearer (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "1", "upper_bound": "2.5"},
            INTEGER,
            [f"{AT}.upper_bound: expected a whole number, found '2.5' (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "0", "upper_bound": "9007199254740993"},
            INTEGER,
            [
                (
                    f"{AT}.upper_bound: expected a whole number from -9007199254740992 to 9007199254740992, found"
                    " 9007199254740993 (ModelArts.2770)"
                )
            ],
        ),
        (
            {"lower_bound": "-1", "upper_bound": "2"},
            NARROW,
            [
                (
                    f"{AT}.lower_bound: the hyperparameter itself does not allow it: expected 0 to 1, found -1"
                    " (ModelArts.2769)"
                ),
                (
                    f"{AT}.upper_bound: the hyperparameter itself does not allow it: expected 0 to 1, found 2"
                    " (ModelArts.2769)"
                ),
            ],
        ),
        (
            {**BOUNDS, "discrete_points_num": "1"},
            {},
            [
                (
                    f"{AT}.discrete_points_num: expected 2 to 100000 points, both bounds among them, found 1"
                    " (ModelArts.2770)"
                )
            ],
        ),
        (
            {**BOUNDS, "discrete_points_num": "100001"},
            {},
            [
                (
                    f"{AT}.discrete_points_num: expected 2 to 100000 points, both bounds among them, found 100001"
                    " (ModelArts.2770)"
                )
            ],
        ),
        (
            {"lower_bound": "16", "upper_bound": "64", "discrete_points_num": "6"},
            INTEGER,
            [
                f"{AT}.discrete_points_num: 6 points from 16 to 64 are not whole; 3, 4, 5 or 7 are (ModelArts.2770)",
            ],
        ),
        (
            {"lower_bound": "1", "upper_bound": "2", "discrete_points_num": "6"},
            INTEGER,
            [f"{AT}.discrete_points_num: 6 points from 1 to 2 are not whole; 2 are (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "2", "upper_bound": "2", "discrete_points_num": "6"},
            INTEGER,
            [f"{AT}.lower_bound: expected less than the upper bound 2, found 2 (ModelArts.2770)"],
        ),
        (
            {"lower_bound": "0", "upper_bound": "2", "scale": "log"},
            {},
            [f"{AT}.lower_bound: a log scale needs more than 0, found 0 (ModelArts.2770)"],
        ),
        (
            {**BOUNDS, "scale": "log", "discrete_points_num": "2"},
            {},
            [
                (
                    f"{AT}.discrete_points_num: points are evenly apart, and a log scale has none; keep one of the two"
                    " (ModelArts.2788)"
                )
            ],
        ),
        (
            BOUNDS,
            {"type": "Boolean"},
            [
                (
                    f"{AT}.param_type: a Boolean hyperparameter has no values between two bounds; write param_type"
                    " discrete and its discrete_values, or make it a Float (ModelArts.2768)"
                )
            ],
        ),
        (
            BOUNDS,
            {"type": "String"},
            [
                (
                    f"{AT}.param_type: a String hyperparameter has no values between two bounds; write param_type"
                    " discrete and its discrete_values, or make it a Float (ModelArts.2768)"
                )
            ],
        ),
        (
            BOUNDS,
            {"type": "Integer", "valid_type": "Choice", "valid_range": ("1", "2")},
            [
                (
                    f"{AT}.param_type: 'lr' may only be one of 1, 2; write param_type discrete and its discrete_values"
                    " (ModelArts.2770)"
                )
            ],
        ),
        (
            {"discrete_values": ["1"]},
            {},
            [f"{AT}.param_type: is continuous and has no bounds; write param_type discrete (ModelArts.2770)"],
        ),
        (
            BOUNDS,
            {"type": "Float", "editable": False},
            [f"{AT}: the algorithm fixes 'lr' (editable is false), so it cannot be searched (ModelArts.2814)"],
        ),
        (
            {"param_type": "discrete", "discrete_values": ["1", "2"], "scale": "log"},
            {},
            [f"{AT}.scale: discrete values have no scale; leave it out (ModelArts.2770)"],
        ),
        (
            {"param_type": "discrete", "discrete_values": ["1", "2", "x"]},
            NARROW,
            [
                f"{AT}.discrete_values[1]: expected 0 to 1, found 2 (ModelArts.2769)",
                f"{AT}.discrete_values[2]: expected a number such as 0.1 or 1e-3, found 'x' (ModelArts.2768)",
            ],
        ),
        (
            {"param_type": "discrete", "discrete_values": ["0.1", "0.2", "0.10"]},
            NARROW,
            [
                f"{AT}.discrete_values[2]: '0.10' is the same as '0.1'; name each value once (ModelArts.2767)",
            ],
        ),
        (
            {"param_type": "discrete", "discrete_values": ["true", "True"]},
            {"type": "Boolean"},
            [f"{AT}.discrete_values[1]: 'True' is the same as 'true'; name each value once (ModelArts.2767)"],
        ),
        (
            {"param_type": "discrete", "discrete_values": ["a", "a"]},
            {},
            [f"{AT}.discrete_values[1]: 'a' is the same as 'a'; name each value once (ModelArts.2767)"],
        ),
    ],
)
def test_a_space_that_cannot_be_is_refused(param: Any, constraint: Any, wanted: list[str]) -> None:
    assert refused({"name": "lr", **param}, parameters=(hyper(**constraint),)) == wanted


def test_what_the_parser_would_have_refused_is_refused_here_too() -> None:
    search = AutoSearch(
        reward_attrs=(RewardAttr(name="acc", mode="max", regex="("),),
        search_params=(
            SearchParam(name="a", param_type="discrete"),
            SearchParam(name="b", lower_bound="2", upper_bound="1"),
        ),
        algo_configs=(AlgoConfig(name="grid"),),
    )
    assert problems(search) == [
        "search_params[0].discrete_values: a discrete parameter needs at least one value (ModelArts.2770)",
        "search_params[1].lower_bound: expected less than the upper bound 1, found 2 (ModelArts.2770)",
        (
            "reward_attrs[0].regex: expected a regular expression, found '(': missing ), unterminated subpattern at"
            " position 0 (ModelArts.2788)"
        ),
        (
            "algo_configs[0].name: expected one of bayes_opt_search, tpe_search, anneal_search, found 'grid'"
            " (ModelArts.2788)"
        ),
    ]


def test_everything_that_is_missing_is_told_at_once() -> None:
    assert problems(AutoSearch(reward_attrs=(RewardAttr(name="val_acc"), RewardAttr(regex="x")))) == [
        (
            "search_params: is empty; name a hyperparameter to search, with lower_bound and upper_bound or its"
            " discrete_values (ModelArts.2788)"
        ),
        "reward_attrs[0].mode: is missing; write max where more of it is better, else min (ModelArts.2788)",
        (
            "reward_attrs[0].regex: is missing; write how the boot file prints it, for example"
            " val_acc=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?) (ModelArts.2788)"
        ),
        "reward_attrs[1].name: is missing; name what the boot file prints, for example accuracy (ModelArts.2788)",
        "reward_attrs[1].mode: is missing; write max where more of it is better, else min (ModelArts.2788)",
    ]


def test_a_metric_without_anything_is_told_with_an_example() -> None:
    assert refused(reward_attrs=[{}])[2] == (
        "reward_attrs[0].regex: is missing; write how the boot file prints it, for example"
        " accuracy=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?) (ModelArts.2788)"
    )


def test_a_search_without_a_reward_is_refused() -> None:
    assert refused(reward_attrs=[]) == [
        (
            "reward_attrs: is missing; say what a trial is judged by, for example name accuracy, mode max, regex"
            " accuracy=([-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?) (ModelArts.2788)"
        )
    ]


def test_of_several_metrics_the_first_is_the_reward() -> None:
    loss: dict[str, Any] = {"name": "loss", "mode": "min", "regex": "loss=(.*)"}
    made = decided(reward_attrs=[REWARD, loss]).policy
    assert (made.reward.name, made.others) == ("acc", (Metric(**loss),))
    assert warned(reward_attrs=[REWARD, loss]) == []


def test_two_metrics_of_one_name_are_refused() -> None:
    assert refused(reward_attrs=[REWARD, REWARD]) == [
        "reward_attrs[1].name: the metric 'acc' stands already above; rename one of them (ModelArts.2767)"
    ]


def test_an_expression_that_matches_nothing_at_all_is_warned_of() -> None:
    assert warned(reward_attrs=[{**REWARD, "regex": "([0-9.]*)"}]) == [
        "reward_attrs[0].regex: matches nothing at all too, and so any line; say what stands before the number"
    ]


@pytest.mark.parametrize("skip", ["lr,n", "lr; n", " lr\tn ", "n;;lr"])
def test_parameters_to_skip_are_not_searched_whatever_stands_between_them(skip: str) -> None:
    wrong_but_skipped = {"name": "n"}
    made = decided(LR, wrong_but_skipped, {**LR, "name": "m"}, skip_search_params=skip)
    assert [each.name for each in made.policy.space] == ["m"]
    assert made.warnings == ()


def test_the_places_of_the_parameters_stay_theirs_beside_one_that_is_skipped() -> None:
    assert refused(LR, {"name": "n", **BOUNDS, "scale": "log", "lower_bound": "0"}, skip_search_params="lr") == [
        "search_params[1].lower_bound: a log scale needs more than 0, found 0 (ModelArts.2770)"
    ]


def test_a_name_to_skip_that_nothing_has_is_warned_of() -> None:
    assert warned(LR, parameters=(hyper("momentum"),), skip_search_params="momentum, momentun, zzz") == [
        "skip_search_params: nothing is called 'momentun'; did you mean momentum?",
        "skip_search_params: nothing is called 'zzz'",
    ]


def test_a_search_of_which_all_is_skipped_is_refused() -> None:
    assert refused(LR, skip_search_params="lr") == [
        "skip_search_params: skips every search parameter, so that nothing is searched (ModelArts.2788)"
    ]


@pytest.mark.parametrize(
    ("param", "wanted"),
    [
        (
            {"param_type": "discrete", "discrete_values": ["1", "2"], "discrete_points_num": "3"},
            f"{AT}.discrete_points_num: is left alone: the values are the 2 of discrete_values",
        ),
        (
            {"param_type": "discrete", "discrete_values": ["1", "2"], "lower_bound": "1"},
            f"{AT}.lower_bound: is left alone: a discrete parameter has the values of discrete_values",
        ),
        (
            {"param_type": "discrete", "discrete_values": ["1", "2"], "upper_bound": "1"},
            f"{AT}.upper_bound: is left alone: a discrete parameter has the values of discrete_values",
        ),
        (
            {"param_type": "discrete", "discrete_values": ["1"]},
            f"{AT}.discrete_values: has one value, so that every trial has n=1 and it is not searched",
        ),
        (
            {**BOUNDS, "discrete_values": ["1", "2"]},
            (
                f"{AT}.discrete_values: is left alone: the parameter is continuous; write param_type discrete to search"
                " these values"
            ),
        ),
    ],
)
def test_what_is_left_alone_is_told(param: Any, wanted: str) -> None:
    assert warned({"name": "n", **param}, LR) == [wanted]


CONFIG = "algo_configs[0].params[0]"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (algo("tpe_search", gamma="0.5", n_initial_points="3"), Tpe(gamma=0.5, n_initial_points=3)),
        (algo("anneal_search", avg_best_idx="1", shrink_coef="0"), Anneal(avg_best_idx=1.0, shrink_coef=0.0)),
        (algo("anneal_search", avg_best_idx="", shrink_coef="3e-1"), Anneal(shrink_coef=0.3)),
        (algo("bayes_opt_search", kind="poi", kappa="0", xi="0.1"), Bayes(kind="poi", kappa=0.0, xi=0.1)),
        (algo("bayes_opt_search", kind="ei"), Bayes(kind="ei")),
        ({"name": "bayes_opt_search", "params": [{"key": "kappa", "value": 1.5, "type": "String"}]}, Bayes(kappa=1.5)),
    ],
)
def test_the_settings_of_an_algorithm_are_read_from_their_texts(config: Any, wanted: Any) -> None:
    made = decided(algo_configs=[config])
    assert (made.policy.algorithm, made.warnings) == (wanted, ())
    assert isinstance(made.policy.num_samples, int)


def test_the_number_of_trials_and_the_seed_are_settings_too() -> None:
    made = decided(algo_configs=[algo("anneal_search", num_samples="12", seed="4294967295")]).policy
    assert (made.num_samples, made.seed) == (12, 2**32 - 1)


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (algo("tpe_search", gamma="0"), "expected a number between 0 and 1, neither of them included, found '0'"),
        (algo("tpe_search", gamma="1"), "expected a number between 0 and 1, neither of them included, found '1'"),
        (algo("tpe_search", n_initial_points="0"), "expected a whole number of at least 1, found '0'"),
        (algo("tpe_search", n_initial_points="2.5"), "expected a whole number of at least 1, found '2.5'"),
        (algo("anneal_search", avg_best_idx="0.9"), "expected a number of at least 1, found '0.9'"),
        (algo("anneal_search", shrink_coef="-1"), "expected a number of at least 0, found '-1'"),
        (algo("bayes_opt_search", kappa="x"), "expected a number of at least 0, found 'x'"),
        (algo("bayes_opt_search", kind="lcb"), "expected one of ucb, ei, poi, found 'lcb'"),
        (algo("bayes_opt_search", num_samples="0"), "expected a whole number from 1 to 100000, found '0'"),
        (algo("bayes_opt_search", num_samples="100001"), "expected a whole number from 1 to 100000, found '100001'"),
        (algo("bayes_opt_search", seed="-1"), "expected a whole number from 0 to 4294967295, found '-1'"),
        (algo("tpe_search", seed="4294967296"), "expected a whole number from 0 to 4294967295, found '4294967296'"),
    ],
)  # fmt: skip
def test_a_setting_out_of_its_range_is_refused(config: Any, wanted: str) -> None:
    assert refused(algo_configs=[config]) == [f"{CONFIG}.value: {wanted} (ModelArts.2788)"]


def test_settings_that_an_algorithm_does_not_have_are_refused() -> None:
    config = algo("tpe_search", n_initial_point="3", kappa="2.5")
    assert refused(algo_configs=[config]) == [
        (
            f"{CONFIG}.key: the algorithm has no setting 'n_initial_point'; did you mean n_initial_points?"
            " (ModelArts.2788)"
        ),
        (
            "algo_configs[0].params[1].key: the algorithm has no setting 'kappa'; it has gamma, n_initial_points,"
            " num_samples, seed (ModelArts.2788)"
        ),
    ]


def test_a_setting_that_stands_twice_is_refused() -> None:
    twice = {"name": "tpe_search", "params": [{"key": "seed", "value": "1"}, {"key": "seed"}]}
    assert refused(algo_configs=[twice]) == [
        "algo_configs[0].params[1].key: 'seed' stands already above; keep one of them (ModelArts.2767)"
    ]


def test_without_an_algorithm_one_is_taken_that_learns() -> None:
    made = decided(algo_configs=[])
    assert (made.policy.algorithm, made.policy.num_samples) == (Tpe(n_initial_points=5), 20)
    assert warned(algo_configs=[]) == [
        (
            "algo_configs: is missing: tpe_search is taken, with n_initial_points 5; name one of bayes_opt_search,"
            " tpe_search, anneal_search"
        )
    ]


def test_of_several_algorithms_the_first_is_taken() -> None:
    configs = [algo("anneal_search"), algo("tpe_search", gamma="7"), algo("bayes_opt_search")]
    assert decided(algo_configs=configs).policy.algorithm == Anneal()
    assert warned(algo_configs=configs) == [
        "algo_configs[1]: a job searches by one algorithm: anneal_search is taken, and not tpe_search, bayes_opt_search"
    ]


DRAWN = "the first n_initial_points"


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (
            algo("tpe_search"),
            [
                (
                    f"algo_configs[0].params: {DRAWN} 20 trials are drawn at random, and there are 20 in all, so that"
                    " nothing would be learned from any; write n_initial_points 5"
                )
            ],
        ),
        (
            algo("tpe_search", num_samples="4", n_initial_points="4"),
            [
                "algo_configs[0].params[0].value: the service advises 10 to 20 for num_samples, and here are 4",
                (
                    f"algo_configs[0].params[1].value: {DRAWN} 4 trials are drawn at random, and there are 4 in all,"
                    " so that nothing would be learned from any; write n_initial_points 3"
                ),
            ],
        ),
        (
            algo("tpe_search", n_initial_points="2", num_samples="1"),
            [
                "algo_configs[0].params[1].value: the service advises 10 to 20 for num_samples, and here are 1",
                (
                    f"algo_configs[0].params[0].value: {DRAWN} 2 trials are drawn at random, and there are 1 in all,"
                    " so that nothing would be learned from any; try more"
                ),
            ],
        ),
        (
            algo("anneal_search", num_samples="21"),
            ["algo_configs[0].params[0].value: the service advises 10 to 20 for num_samples, and here are 21"],
        ),
        (algo("anneal_search", num_samples="10"), []),
        (algo("tpe_search", n_initial_points="19"), []),
    ],
)
def test_a_search_that_would_learn_little_is_warned_of(config: Any, wanted: list[str]) -> None:
    assert warned(algo_configs=[config]) == wanted


@pytest.mark.parametrize(
    ("param", "wide"),
    [
        ({"lower_bound": "1e-5", "upper_bound": "1e-2"}, True),
        ({"lower_bound": "1e-5", "upper_bound": "0.99e-2"}, False),
        ({"lower_bound": "0", "upper_bound": "1"}, False),
        ({"lower_bound": "-1", "upper_bound": "1000"}, False),
        ({"lower_bound": "1e-5", "upper_bound": "1", "scale": "log"}, False),
        ({"lower_bound": "1e-5", "upper_bound": "1", "discrete_points_num": "30"}, False),
        ({"param_type": "discrete", "discrete_values": [str(number) for number in range(20)]}, False),
    ],
)
def test_a_wide_linear_range_is_warned_of_where_the_algorithm_needs_a_log_scale(param: Any, wide: bool) -> None:  # noqa: FBT001
    told = warned({"name": "lr", **param}, algo_configs=[algo("bayes_opt_search")])
    assert told == (
        [
            (
                f"{AT}: 1e-5 to 1e-2 spans several powers of ten, of which bayes_opt_search sees the largest alone;"
                " write scale: log"
            )
        ]
        if wide
        else []
    )
    assert warned({"name": "lr", **param}) == []


def few(name: str, many: int) -> dict[str, Any]:
    return {"name": name, "param_type": "discrete", "discrete_values": [str(number) for number in range(many)]}


@pytest.mark.parametrize(
    ("params", "total"),
    [
        ([few("a", 4)], 4),
        ([few("a", 4), {"name": "n", "lower_bound": "1", "upper_bound": "3"}], 12),
        ([few("a", 3), {**LR, "discrete_points_num": "6"}], 18),
        ([few("a", 20)], None),
        ([few("a", 2), LR], None),
    ],
)
def test_more_trials_than_there_are_values_are_warned_of(params: list[Any], total: int | None) -> None:
    told = [
        (
            "search_params: there are "
            f"{total} different values in all for 20 trials, so that some are tried again; lower num_samples to {total}"
        )
    ]
    assert warned(*params, parameters=(hyper("n", type="Integer"),)) == (told if total else [])


@pytest.mark.parametrize(
    ("dimension", "value", "wanted"),
    [
        (Dimension(name="a", kind="float"), 0.1, "0.1"),
        (Dimension(name="a", kind="float"), 1, "1.0"),
        (Dimension(name="a", kind="float"), 1e-5, "1e-05"),
        (Dimension(name="a", kind="int"), 16.0, "16"),
        (Dimension(name="a", kind="int"), 16, "16"),
        (Dimension(name="a", kind="choice"), "0.10", "0.10"),
    ],
)
def test_values_are_passed_as_texts_that_mean_the_same(dimension: Dimension, value: Any, wanted: str) -> None:
    assert values_of(dimension, value) == wanted


@pytest.mark.parametrize(
    ("low", "high", "points", "wanted"),
    [
        (0.1, 0.9, 9, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        (-0.3, 0.3, 7, [-0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3]),
        (0.0, 1.0, 4, [0.0, 1 / 3, 2 / 3, 1.0]),
        (1e-15, 1.0, 2, [1e-15, 1.0]),
    ],
)
def test_points_are_evenly_apart_and_have_no_noise(low: float, high: float, points: int, wanted: list[float]) -> None:
    made = Dimension(name="a", kind="float", low=low, high=high, points=points)
    assert [repr(point(made, index)) for index in range(points)] == [repr(value) for value in wanted]


def test_points_of_whole_numbers_are_whole() -> None:
    made = Dimension(name="a", kind="int", low=16.0, high=64.0, points=4)
    assert [repr(point(made, index)) for index in range(4)] == ["16", "32", "48", "64"]


@given(
    low=st.floats(-1e9, 1e9),
    width=st.floats(1e-6, 1e9),
    points=st.integers(2, 50),
)
def test_points_are_in_their_order_and_between_the_bounds(low: float, width: float, points: int) -> None:
    made = Dimension(name="a", kind="float", low=low, high=low + width, points=points)
    found = [point(made, index) for index in range(points)]
    assert found == sorted(found)
    assert (found[0], found[-1]) == (made.low, made.high)


@pytest.mark.parametrize(
    ("engine", "wanted"),
    [
        (None, None),
        (Engine(image_url="org/image:1", engine_name="whatever"), None),
        (Engine(engine_id="e-1"), None),
        (Engine(engine_name="PyTorch"), None),
        (Engine(engine_name="PyTorch", engine_version="1.8.0"), None),
        (Engine(engine_name="PyTorch", engine_version="PyTorch-1.4.0-python3.6-v2"), None),
        (Engine(engine_version="TF-1.13.1-python3.6-v2"), None),
        (Engine(engine_version="pytorch_1.8.0-cuda_10.2-py_3.7-ubuntu_18.04-x86_64"), None),
        (Engine(engine_version="tensorflow_2.1.0-cuda_10.1-py_3.7-ubuntu_18.04-x86_64"), None),
        (Engine(engine_name="PyTorch", engine_version="PyTorch-1.3.0-python3.6"), "PyTorch-1.3.0-python3.6"),
        (Engine(engine_version="horovod_0.20.0-tensorflow_2.1.0"), "horovod_0.20.0-tensorflow_2.1.0"),
        (Engine(engine_name="MindSpore"), "MindSpore"),
        (Engine(engine_name="own", tags=(Tag(key="other", value="True"),)), "own"),
    ],
)  # fmt: skip
def test_an_engine_that_the_service_may_refuse_is_warned_of(engine: Engine | None, wanted: str | None) -> None:
    sentence = "is not among the engines that the service searches with, and it may refuse the job; here it runs"
    assert engine_warning(engine) == (f"{wanted} {sentence}" if wanted else None)


@pytest.mark.parametrize(
    ("value", "warns"), [("True", False), ("1", False), ("False", True), (" no ", True), (None, True)]
)
def test_the_tag_of_an_engine_decides(value: str | None, warns: bool) -> None:  # noqa: FBT001
    tags = (Tag(key="auto_search", value=value),)
    sentence = "its tag auto_search says that the service does not search with it; here it does"
    assert engine_warning(Engine(engine_name="MindSpore", tags=tags)) == (sentence if warns else None)


@pytest.mark.parametrize("policies", [None, Policies()])
def test_a_job_that_searches_nothing_has_no_policy(policies: Policies | None) -> None:
    assert policy_of(JobAlgorithm(policies=policies)) is None


def test_the_policy_of_a_whole_job_looks_at_its_engine_too() -> None:
    engine = Engine(engine_name="MindSpore")
    algorithm = JobAlgorithm(policies=Policies(auto_search=written()), engine=engine, parameters=(hyper(),))
    made = policy_of(algorithm, take="best", pruner="patient", most_failed=7)
    assert made is not None
    assert made.policy == policy(written(), (), take="best", pruner="patient", most_failed=7).policy
    assert [(each.path, each.message) for each in made.warnings] == [("algorithm.engine", engine_warning(engine))]


def test_a_search_parameter_with_the_name_of_a_channel_is_refused_with_all_else() -> None:
    search = written(LR, {"name": "data_url", **BOUNDS}, reward_attrs=[{"name": "acc", "regex": "a"}])
    algorithm = JobAlgorithm(policies=Policies(auto_search=search), inputs=(InputChannel(name="data_url"),))
    with pytest.raises(SpecError) as error:
        policy_of(algorithm)
    assert [str(each).removeprefix(f"{PATH}.") for each in error.value.problems] == [
        (
            "search_params[1].name: 'data_url' is also the name of an input or an output; rename one of them"
            " (ModelArts.2767)"
        ),
        "reward_attrs[0].mode: is missing; write max where more of it is better, else min (ModelArts.2788)",
    ]


def test_the_scale_is_a_word_of_the_document() -> None:
    search = written({**LR, "scale": "log"})
    assert search.search_params[0].scale == "log"
    assert AUTO_SEARCH.dump(search)["search_params"] == [{**LR, "scale": "log"}]
    assert AUTO_SEARCH.schema["properties"]["search_params"]["anyOf"][0]["items"]["properties"]["scale"] == {
        "anyOf": [{"enum": ["linear", "log"]}, {"type": "null"}]
    }


def test_a_scale_that_is_none_is_refused() -> None:
    log = Log()
    AUTO_SEARCH.read(At({"search_params": [{"name": "lr", "scale": "ln"}]}, "", log))
    assert [str(each) for each in log.problems] == [
        "search_params[0].scale: expected one of linear, log, found 'ln' (ModelArts.2788)"
    ]
