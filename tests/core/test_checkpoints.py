"""Which files are checkpoints, and which of them is the newest: every tool's way of naming them, in its own order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gathered import gather
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.checkpoints import Checkpoint, File, Gathering, is_further, newest, part_of

if TYPE_CHECKING:
    import random


def of(*paths: str, patterns: tuple[str, ...] = ()) -> Checkpoint | None:
    return newest(gather([File(path=path, size=1) for path in paths], patterns))


def one(path: str, *, size: int = 1, mtime: int = 0) -> Checkpoint:
    (found,) = gather([File(path=path, size=size, mtime_ns=mtime)])
    return found


@pytest.mark.parametrize(
    "name",
    [
        *("model.pt", "a/b/model.PTH", "checkpoint.pth.tar", "last.ckpt", "model.safetensors", "weights.h5", "w.keras"),
        *("state.npz", "model.pkl", "svm.joblib", "net.om", "net.mindir", "model.ckpt-7.index", "flax.msgpack"),
        *("model.ckpt-7.data-00000-of-00002", "pytorch_model.bin", "adapter_model.bin", "model-00001-of-00002.bin"),
        *("rl_model_1000_steps.zip", "net.pdparams", "x/__0_0.distcp", "7/_METADATA", "ckpt-50.pt.tmp"),
    ],
)
def test_files_of_these_names_hold_checkpoints(name: str) -> None:
    assert of(name) is not None


@pytest.mark.parametrize(
    "name",
    ["a.txt", "image-10.png", "events.out.tfevents.1", "step_10.json", "data.bin", "x.npy", "epoch_3/sample.png"],
)
def test_files_of_other_names_do_not(name: str) -> None:
    assert of(name) is None


def test_patterns_say_it_in_place_of_names() -> None:
    assert of("a.state", "b.pt", patterns=("*.state",)) == one_of("a.state")
    assert of("step_10/a.state", "step_9/a.state", "step_11/a.pt", patterns=("*.state",)) == one_of("step_10/a.state")


def one_of(path: str) -> Checkpoint | None:
    (found,) = gather([File(path=path, size=1)], ("*.state",))
    return found


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ("ckpt-9.pt", "ckpt-10.pt"),
        ("ckpt_99.pt", "ckpt_0100.pt"),
        ("step_9000.pt", "step_10k.pt"),
        ("epoch=9-val_loss=0.9.ckpt", "epoch=10-val_loss=0.05.ckpt"),
        ("epoch=2-step=750.ckpt", "epoch=3-step=1000.ckpt"),
        ("weights.9-0.99.h5", "weights.10-0.35.h5"),
        ("net-1_1875.ckpt", "net-2_3.ckpt"),
        ("net-2_9.ckpt", "net-2_10.ckpt"),
        ("rl_model_999_steps.zip", "rl_model_1000_steps.zip"),
        ("run_20240131-235959.pt", "run_20240201-000001.pt"),
        ("run_20240131_2359.pt", "run_20240201_0001.pt"),
        ("epoch_1/step_100.pt", "epoch_2/step_50.pt"),
        ("runs/a/epoch_1/step_100.pt", "runs/a/epoch_2/step_50.pt"),
        ("checkpoint-500/model.pt", "checkpoint-1000/model.pt"),
        ("global_step9/mp_rank_00_model_states.pt", "global_step10/mp_rank_00_model_states.pt"),
        ("iter_0000900/mp_rank_00/model_optim_rng.pt", "iter_0001000/mp_rank_00/model_optim_rng.pt"),
        ("900/default/_METADATA", "1000/default/_METADATA"),
        ("model.ckpt-900.index", "model.ckpt-1000.index"),
        ("m-step9-00001-of-00002.safetensors", "m-step10-00001-of-00002.safetensors"),
        ("last.ckpt", "ckpt-1.pt"),
        ("best.pt", "model_3.pt"),
        ("seed_9-ckpt-1.pt", "seed_1-ckpt-2.pt"),
    ],
)
def test_the_newer_of_two_by_name(older: str, newer: str) -> None:
    for paths in ((older, newer), (newer, older)):
        found = of(*paths)
        assert found is not None
        assert newer.startswith((found.name.rstrip("/"), found.name[:6]))
        assert found.name != one(older).name
    assert is_further(one(newer), one(older))
    assert not is_further(one(older), one(newer))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("resnet50.pth", None),
        ("llama-7b.safetensors", None),
        ("exp_100epochs/last.pt", None),
        ("step.pt", None),
        ("loss-0.25.pt", None),
        ("v2-epoch-3.pt", 3),
        ("epoch3.pt", 3),
        ("model_12.pt", 12),
        ("step=5-epoch=1-last/weights.pt", 5),
        ("epoch=1-step=5.ckpt/checkpoint/mp_rank_00_model_states.pt", 5),
    ],
)
def test_the_number_that_a_name_tells(name: str, number: int | None) -> None:
    found = of(name)
    assert found is not None
    assert found.number == number


def test_whether_a_word_says_what_is_counted() -> None:
    assert one("step_3.pt").said
    assert not one("model_3.pt").said


def test_what_has_no_number_goes_by_time_and_then_by_size() -> None:
    found = gather([File(path="best.pt", size=1, mtime_ns=5), File(path="last.pt", size=1, mtime_ns=7)])
    assert newest(found) == one("last.pt", mtime=7)
    alike = gather([File(path="a.pt", size=1, mtime_ns=5), File(path="b.pt", size=2, mtime_ns=5)])
    assert newest(alike) == one("b.pt", size=2, mtime=5)
    assert newest(()) is None


def test_what_is_written_again_and_again_is_told_from_what_is_best() -> None:
    assert one("last.ckpt").lasting
    assert one("latest/model.pt").lasting
    assert not one("best.ckpt").lasting
    assert not one("checkpoint-3.pt").lasting


def test_a_folder_counts_as_one_with_all_that_lies_in_it() -> None:
    found = gather(
        [
            File(path="checkpoint-500/model.safetensors", size=10, mtime_ns=3),
            File(path="checkpoint-500/config.json", size=1, mtime_ns=9),
            File(path="checkpoint-500/global_step500/mp_rank_00_model_states.pt", size=5, mtime_ns=1),
            File(path="checkpoint-500/rng_state_0.pth", size=2, mtime_ns=2),
        ]
    )
    assert [(each.name, each.number, each.size, each.mtime_ns, len(each.files)) for each in found] == [
        ("checkpoint-500/", 500, 18, 9, 4)
    ]


def test_shards_and_ranks_make_one_checkpoint() -> None:
    paths = ("m-step5-00001-of-00002.bin", "model-00001-of-00002.bin", "model-00002-of-00002.bin")
    names = ("step_5_rank_0.pt", "step_5_rank_1.pt", "t.ckpt-5.index", "t.ckpt-5.data-00000-of-00001")
    found = gather([File(path=path, size=1) for path in (*paths[1:], *names)])
    assert sorted((each.name, len(each.files)) for each in found) == [
        ("model.bin", 2),
        ("step_5.pt", 2),
        ("t.ckpt-5", 2),
    ]


@pytest.mark.parametrize(
    "name",
    ["tmp-checkpoint-9/model.pt", "ckpt-9.pt.tmp", "step_9.partial/x.pt.part", "9.orbax-checkpoint-tmp-17/_METADATA"],
)
def test_a_name_may_say_that_it_is_still_being_written(name: str) -> None:
    found = of(name)
    assert found is not None
    assert found.making


def test_an_epoch_above_counts_only_where_its_folder_groups() -> None:
    assert one("data3/step_5.pt").outer is None
    assert one("epoch_2/step_5.pt").outer == 2
    assert one("epoch_2/run/step_5.pt").outer == 2
    assert one("epoch_2/model.pt").name == "epoch_2/"
    assert one("epoch_2/epoch_2.pt").name == "epoch_2/"


def test_no_more_is_held_than_may_be() -> None:
    gathering = Gathering(most=2)
    for path in ("a_1.pt", "a_2.pt", "a_3.pt"):
        part = gathering.part(path)
        assert part is not None
        gathering.add(part, File(path=path, size=1))
    assert gathering.cut
    assert len(gathering.found()) == 2


NAMES = st.sampled_from(
    [
        "ckpt-{}.pt",
        "model_step_{}.pth",
        "epoch={}.ckpt",
        "a/checkpoint-{}/model.pt",
        "iter_{:07}/mp_rank_00/m.pt",
        "m.{}.h5",
    ]
)


@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=20, unique=True), NAMES, st.randoms())
def test_the_highest_number_is_the_newest_whatever_the_order_and_the_times(
    numbers: list[int], name: str, chance: random.Random
) -> None:
    files = [File(path=name.format(each), size=chance.randrange(9), mtime_ns=chance.randrange(9)) for each in numbers]
    chance.shuffle(files)
    found = newest(gather(files))
    assert found is not None
    assert found.number == max(numbers)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30)), min_size=1, max_size=20, unique=True))
def test_epochs_come_before_steps_within_them(pairs: list[tuple[int, int]]) -> None:
    for name in ("net-{}_{}.ckpt", "epoch={}-step={}.ckpt", "epoch_{}/step_{}.pt"):
        found = newest(gather([File(path=name.format(*pair), size=1) for pair in pairs]))
        assert found is not None
        assert found.name == name.format(*max(pairs))


@given(st.text(max_size=300))
def test_any_name_is_judged(path: str) -> None:
    part = part_of(path)
    assert part is None or part.unit
    newest(gather([File(path=path, size=0), File(path=f"{path}.pt", size=0)]))
