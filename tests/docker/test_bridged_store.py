"""The launcher in one container, its store in another, far apart on a bridge: what is cut, hangs, or starts again."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
from bridge import FAR_S, bridged
from incontainer import in_docker
from rig import COPY_TREE, tree

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bridge import Box, Bridge
    from rig import Rig

pytestmark = [pytest.mark.docker, in_docker]

PATIENCE_S = 5
HELD = 3 << 20
"""Bytes from the store after which the cable holds: the code and the small ones are there, the rest is under way."""
RETRIED = "trying again in"
OUTPUT = "import signal, sys\nout = next(a for a in sys.argv if a.startswith('--train_url=')).split('=')[1]\n"
STAYS = "print('ready', flush=True)\nwhile True: signal.pause()\n"
SAVES_AT_SIGTERM = (
    OUTPUT
    + "def save(*_):\n    open(out + '/last.ckpt', 'wb').write(b'epoch 7' * 1000)\n    sys.exit(0)\n"
    + "signal.signal(signal.SIGTERM, save)\n"
    + STAYS
)
IGNORES_SIGTERM = (
    OUTPUT
    + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nopen(out + '/last.ckpt', 'wb').write(b'epoch 6' * 1000)\n"
    + STAYS
)
GRACE_S = 14
"""More than the ten seconds that Docker has by itself, also without what is reserved for the uploads."""


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    with bridged() as found:
        yield found


@pytest.fixture
def far_rig(local_rig: Rig) -> Rig:
    """A job that copies its input, some megabytes of it, to its output; its store is a folder that a server serves."""
    chance = random.Random(1)
    objects = {f"data/{number % 3}/{number:02}.bin": chance.randbytes(number * 40_000) for number in range(24)}
    local_rig.code(COPY_TREE)
    local_rig.store.seed(local_rig.bucket, {**objects, "data/large.bin": chance.randbytes(5 << 20)})
    return local_rig


def run_json(rig: Rig) -> Any:
    """run.json as it came to the store."""
    return json.loads(rig.stored("log/")["modelarts-job-job-1-worker-0.run.json"])


def assert_whole(rig: Rig, launcher: Box) -> None:
    """The job ended well, and its output is its input, byte for byte."""
    assert launcher.wait() == 0, launcher.said()[1]
    assert rig.stored() == rig.stored("data/")
    assert len(rig.stored()) == 26
    assert not [name for name in tree(rig.folder / "store") if "launcher-part" in name]


def assert_unreachable(launcher: Box, *words: str) -> None:
    """The job ended with 69 before the boot file began, and the one error names the store, and what to look at."""
    assert launcher.wait() == 69
    out, err = launcher.said()
    assert out == ""
    (error,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [word for word in words if word not in error] == [], error


def test_a_job_with_a_far_store_is_whole(bridge: Bridge, far_rig: Rig) -> None:
    cable = bridge.lay_cable(bridge.serve(far_rig.folder / "store"))
    assert_whole(far_rig, bridge.launch(far_rig, cable.role))
    staging = next(each for each in run_json(far_rig)["timeline"] if each["phase"] == "stage")
    began, ended = (datetime.fromisoformat(staging[word]) for word in ("started", "ended"))
    assert (ended - began).total_seconds() > 4 * FAR_S, "the cable was not long"


@pytest.mark.parametrize("cut", ["store", "launcher"])
def test_a_cut_in_the_middle_of_staging_is_waited_out(bridge: Bridge, far_rig: Rig, cut: str) -> None:
    store = bridge.serve(far_rig.folder / "store")
    cable = bridge.lay_cable(store, HELD)
    launcher = bridge.launch(far_rig, cable.role)
    boxes = {box.role: box for box in (store, cable, launcher)}
    cable.await_word("holds")
    boxes[cut].cut()
    cable.kill("USR1")
    told = launcher.await_word(RETRIED)
    assert "copied" not in told
    boxes[cut].join()
    assert_whole(far_rig, launcher)


def test_a_cut_that_lasts_is_told_with_the_name_of_the_store(bridge: Bridge, far_rig: Rig) -> None:
    cable = bridge.lay_cable(bridge.serve(far_rig.folder / "store"), HELD)
    launcher = bridge.launch(far_rig, cable.role, env={"LAUNCHER_STORE_PATIENCE": str(PATIENCE_S)})
    cable.await_word("holds")
    cable.cut()
    assert_unreachable(launcher, "http://cable:9000", far_rig.bucket)


def test_a_store_that_is_paused_and_goes_on_is_waited_out(bridge: Bridge, far_rig: Rig) -> None:
    store = bridge.serve(far_rig.folder / "store")
    cable = bridge.lay_cable(store, HELD)
    launcher = bridge.launch(far_rig, cable.role)
    cable.await_word("holds")
    store.pause()
    cable.kill("USR1")
    assert "copied" not in launcher.await_word(RETRIED)
    store.resume()
    assert_whole(far_rig, launcher)


def test_a_store_that_hangs_is_told_with_its_name(bridge: Bridge, far_rig: Rig) -> None:
    store = bridge.serve(far_rig.folder / "store")
    store.pause()
    assert_unreachable(bridge.launch(far_rig, store.role), "http://store:9000", "no answer in time")


def test_a_store_that_starts_again_is_waited_out(bridge: Bridge, far_rig: Rig) -> None:
    store = bridge.serve(far_rig.folder / "store")
    cable = bridge.lay_cable(store, HELD)
    launcher = bridge.launch(far_rig, cable.role)
    cable.await_word("holds")
    store.kill()
    cable.kill("USR1")
    assert "copied" not in launcher.await_word(RETRIED)
    store.restart()
    assert_whole(far_rig, launcher)


def test_a_store_whose_name_nobody_knows_is_told_with_it(bridge: Bridge, far_rig: Rig) -> None:
    assert_unreachable(bridge.launch(far_rig, "nowhere"), "http://nowhere:9000", "DNS")


def test_docker_stop_brings_the_last_checkpoint_to_a_far_store(bridge: Bridge, far_rig: Rig) -> None:
    far_rig.code(SAVES_AT_SIGTERM)
    cable = bridge.lay_cable(bridge.serve(far_rig.folder / "store"))
    launcher = bridge.launch(far_rig, cable.role)
    launcher.await_word("ready")
    launcher.stop()
    assert launcher.state["ExitCode"] == 143, launcher.said()[1]
    assert far_rig.stored() == {"last.ckpt": b"epoch 7" * 1000}
    found = run_json(far_rig)
    assert (found["phase"], found["cause"]["code"]) == ("Terminated", "interrupted")


def test_a_stop_timeout_above_the_grace_saves_what_a_deaf_boot_file_left(bridge: Bridge, far_rig: Rig) -> None:
    far_rig.code(IGNORES_SIGTERM)
    cable = bridge.lay_cable(bridge.serve(far_rig.folder / "store"))
    allowed = ("--stop-timeout", str(GRACE_S + 5))
    launcher = bridge.launch(far_rig, cable.role, *allowed, arguments=("--grace", str(GRACE_S)))
    launcher.await_word("ready")
    launcher.stop()
    found = run_json(far_rig)
    assert (launcher.state["ExitCode"], found["phase"]) == (137, "Terminated"), launcher.said()[1]
    assert far_rig.stored() == {"last.ckpt": b"epoch 6" * 1000}
