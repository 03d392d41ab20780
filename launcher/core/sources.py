"""Where inputs come from: datasets that have become places, and what an algorithm demands of their data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from launcher.core.parse.cursor import At
from launcher.core.parse.places import BAD_CHANNEL
from launcher.core.spec import InputRemote, ObsPlace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.core.dataset import Rules
    from launcher.core.parse.cursor import Log
    from launcher.core.spec import InputChannel

UNKNOWN_DATASET = "ModelArts.2782"


def placed(inputs: tuple[InputChannel, ...], datasets: Sequence[tuple[str, str]], log: Log) -> tuple[InputChannel, ...]:
    """Inputs whose datasets have become places; a dataset's place comes from its body or from `--dataset`."""
    known = dict(datasets)
    found = [one.remote.dataset for one in inputs if one.remote and one.remote.dataset]
    wanted = [f"{dataset.id}/{dataset.version_id}" for dataset in found]
    for name in sorted(known.keys() - set(wanted)):
        At(None, f"--dataset {name}", log).warn(
            f"no input of the job is this dataset; it has: {', '.join(wanted) or 'none'}"
        )
    placed = []
    for index, each in enumerate(inputs):
        dataset = each.remote.dataset if each.remote else None
        if dataset is None:
            placed.append(each)
            continue
        at = At(None, f"algorithm.inputs[{index}].remote.dataset", log)
        name = f"{dataset.id}/{dataset.version_id}"
        url = known.get(name) or dataset.obs_url
        if not url:
            at.wrong(
                f"only the service knows where dataset {name} lies; say it with --dataset {name}=obs://bucket/key/",
                UNKNOWN_DATASET,
            )
            continue
        placed.append(msgspec.structs.replace(each, remote=InputRemote(obs=ObsPlace(obs_url=url), dataset=dataset)))
    return tuple(placed)


def check_constraints(inputs: Sequence[InputChannel], log: Log) -> None:
    """What an algorithm demands of its inputs' data, and whether their places can be that."""
    for index, each in enumerate(inputs):
        if not each.remote_constraints:
            continue
        from launcher.core.dataset.rules import read_rules, wrong_source  # noqa: PLC0415 - most inputs have none

        path = f"algorithm.inputs[{index}]"
        rules, problems = read_rules(each.remote_constraints, f"{path}.remote_constraints")
        for problem in problems:
            At(None, problem.path, log).wrong(problem.message, problem.code or BAD_CHANNEL)
        wrong = wrong_source(rules, dataset=is_dataset(each)) if each.remote else None
        if wrong:
            At(None, f"{path}.remote", log).wrong(f"is {wrong}", BAD_CHANNEL)


def is_dataset(channel: InputChannel) -> bool:
    """Whether an input is a dataset: by what the job says, or because its place is a manifest."""
    remote = channel.remote
    return remote is not None and (
        remote.dataset is not None or (remote.obs is not None and remote.obs.obs_url.endswith(".manifest"))
    )


def rules_of(channel: InputChannel, missing: float, buckets: tuple[str, ...]) -> Rules | None:
    """What is demanded of an input that is a dataset; None for any other."""
    if not is_dataset(channel):
        return None
    from launcher.core.dataset.rules import read_rules  # noqa: PLC0415 - as above

    return read_rules(channel.remote_constraints, "", missing=missing, buckets=buckets)[0]
