"""Which call of a stack tells a person what goes on."""

from __future__ import annotations

import pytest

from launcher.core.spots import Own, Spot, spot
from launcher.core.stacktexts import Frame, Thread

OWN = Own(code="/job/code", packages="/job/packages")
SITE = "/venv/lib/python3.11/site-packages"
TRAIN = Frame("train", "/job/code/train.py", 41)
MODULE = Frame("<module>", "/job/code/train.py", 90)


def of(*frames: Frame) -> Spot | None:
    return spot(Thread(frames=frames, main=True), OWN)


@pytest.mark.parametrize(
    ("frames", "told"),
    [
        (
            (
                Frame("all_reduce", f"{SITE}/torch/distributed/distributed_c10d.py", 2806),
                Frame("wrapper", f"{SITE}/torch/distributed/c10d_logger.py", 83),
                TRAIN,
                MODULE,
            ),
            ("all_reduce", "torch/distributed/distributed_c10d.py", 2806, "train", "train.py", 41, True),
        ),
        (
            (
                Frame("Condition.wait", "/usr/lib/python3.11/threading.py", 327),
                Frame("Queue.get", "/usr/lib/python3.11/queue.py", 171),
                Frame("_BaseDataLoaderIter.__next__", f"{SITE}/torch/utils/data/dataloader.py", 630),
                TRAIN,
            ),
            ("_BaseDataLoaderIter.__next__", "torch/utils/data/dataloader.py", 630, "train", "train.py", 41, False),
        ),
        (
            (
                Frame("_recv_bytes", "/job/packages/tool/wire.py", 7),
                Frame("fetch", "/job/packages/tool/client.py", 3),
                Frame("__call__", "/job/packages/tool/client.py", 1),
                TRAIN,
            ),
            ("fetch", "tool/client.py", 3, "train", "train.py", 41, False),
        ),
        (
            (Frame("load", "/job/code/sets/pictures.py", 12), Frame("run", f"{SITE}/x.py", 1), TRAIN, MODULE),
            ("load", "sets/pictures.py", 12, "train", "train.py", 41, False),
        ),
        ((Frame("<module>", "<string>", 3),), ("<module>", "<string>", 3, "", "", 0, False)),
        (
            (Frame("_find", "<frozen importlib._bootstrap>", 9), MODULE),
            ("_find", "<frozen importlib._bootstrap>", 9, "<module>", "train.py", 90, False),
        ),
        ((Frame("main", f"{SITE}/torch/run.py", 5),), ("main", "torch/run.py", 5, "", "", 0, False)),
        (
            (Frame("barrier", f"{SITE}/torch/distributed/distributed_c10d.py", 4), Frame("main", f"{SITE}/lit.py", 5)),
            ("barrier", "torch/distributed/distributed_c10d.py", 4, "", "", 0, True),
        ),
        ((Frame("barrier", f"{SITE}/party.py", 4), TRAIN), ("barrier", "party.py", 4, "train", "train.py", 41, False)),
        ((Frame("wrapper", f"{SITE}/a.py", 1), TRAIN), ("train", "train.py", 41, "", "", 0, False)),
        ((Frame("f\n\x1b[2J", "/elsewhere/a\u2028b.py", 1),), ("f??[2J", "/elsewhere/a?b.py", 1, "", "", 0, False)),
    ],
)
def test_the_telling_call_is_found(frames: tuple[Frame, ...], told: tuple[object, ...]) -> None:
    one = of(*frames)
    assert one is not None
    found = (one.function, one.file, one.line, one.caller, one.caller_file, one.caller_line, one.waits)
    assert found == told


def test_without_a_frame_nothing_is_told() -> None:
    assert of() is None
    assert of(Frame("wrapper", f"{SITE}/a.py", 1)) is None


def test_without_a_folder_of_code_a_name_is_whole() -> None:
    one = spot(Thread(frames=(TRAIN,)), Own())
    assert one is not None
    assert one.file == "/job/code/train.py"
