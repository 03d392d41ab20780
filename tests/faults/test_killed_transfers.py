"""A launcher that is killed at any moment of staging and syncing; the next one in its root ends as if nothing had been.

Half of the moments lie anywhere in the time that an undisturbed run takes, half of them at any of its requests. They
are random by a seed: KILLED_TRANSFERS_SEED sets another, KILLED_TRANSFERS_ROUNDS another number of rounds.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import pytest
from fronts import Fault, Front, front
from rig import COPY_TREE, Rig, tree
from servers import AnyStore, fresh_bucket

from launcher.stage.transfer import LITTLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from subprocess import Popen

    from servers import S3Server

SEED = int(os.environ.get("KILLED_TRANSFERS_SEED", "1"))
ROUNDS = int(os.environ.get("KILLED_TRANSFERS_ROUNDS", "25"))
EVERY_LARGE = 8
"""Every so many-th round moves a large object too."""
MEBIBYTE = 1024**2
RANGE = 16 * MEBIBYTE
LARGE = "large.bin"
TRANSFERS = 3
"""Most transfers under way at once: what is lost by a kill is theirs."""
MEMORY = 8 * MEBIBYTE
WAITING = MEMORY // 4 // LITTLE
"""Little files that have come and wait for the one thread that writes for all; each worker may add one at once."""
SMALL = 60
"""Little objects of a round: more than may be lost."""


@dataclass(frozen=True)
class Undisturbed:
    """What a run takes that nobody kills."""

    seconds: float
    requests: int


@dataclass
class Place:
    """One server behind one front, the objects that every round begins with, and what it takes to move them."""

    server: S3Server
    front: Front
    bucket: str
    small: dict[str, bytes]
    large: dict[str, bytes]
    taken: dict[bool, Undisturbed] = field(default_factory=dict)

    def rig(self, folder: Path, number: object, *, large: bool) -> Rig:
        """A job with this round's own output, and a root of its own."""
        folder.mkdir()
        env = {**self.server.env, "S3_ENDPOINT": self.front.endpoint, "LAUNCHER_TRANSFERS": str(TRANSFERS)}
        env["LAUNCHER_TRANSFER_MEMORY"] = str(MEMORY // MEBIBYTE)
        rig = Rig(AnyStore("moto", self.server.capability, env=env, server=self.server), folder)
        at = f"obs://{self.bucket}"
        rig.bucket = self.bucket
        rig.with_job(
            code_dir=f"{at}/code/",
            boot_file=f"{at}/code/train.py",
            inputs=[{"name": "data_url", "remote": {"obs": {"obs_url": f"{at}/{'large' if large else 'small'}/"}}}],
            outputs=[{"name": "train_url", "remote": {"obs": {"obs_url": f"{at}/out-{number}/"}}}],
        )
        rig.job["spec"] = {"log_export_path": {"obs_url": f"{at}/log-{number}/"}}
        self.front.clear()
        self.front.forget()
        return rig

    def expected(self, *, large: bool) -> dict[str, bytes]:
        """What is staged, and put in place."""
        return self.large if large else self.small

    def undisturbed(self, folder: Path, *, large: bool) -> Undisturbed:
        """Run once as it should be, and measure."""
        if large not in self.taken:
            rig, began = self.rig(folder, f"undisturbed-{large}", large=large), time.monotonic()
            result = rig.run(timeout=90)
            assert result.code == 0, result.err
            self.taken[large] = Undisturbed(time.monotonic() - began, len(self.front.seen))
            self.assert_final(rig, f"undisturbed-{large}", large=large)
            assert self.again(f"undisturbed-{large}", large=large) == ({}, {}), "an undisturbed run moves all but once"
        return self.taken[large]

    def assert_final(self, rig: Rig, number: object, *, large: bool) -> None:
        """What is on the node and in the store is what an undisturbed run leaves, and no more."""
        expected, out = self.expected(large=large), f"out-{number}/"
        assert tree(rig.inputs) == expected
        assert rig.stored(out) == expected
        manifest = json.loads(self.server.read(self.bucket, f"{out}.launcher/manifest-worker-0.json"))
        assert {each["key"]: each["size"] for each in manifest["objects"]} == {k: len(v) for k, v in expected.items()}
        own = [key for key in self.server.listing(self.bucket, out) if "/.launcher/" in key]
        assert own == [f"{out}.launcher/manifest-worker-0.json"]
        assert not list(rig.folder.rglob("*.launcher-part-*"))

    def again(self, number: object, *, large: bool) -> tuple[dict[str, int], dict[str, int]]:
        """Bytes that went down, and came up, beyond one time each, by key."""
        counted = []
        for bodies, prefix in (
            (self.front.down, f"/{self.bucket}/{'large' if large else 'small'}/"),
            (self.front.up, f"/{self.bucket}/out-{number}/"),
        ):
            more = Counter({key: bodies[prefix + key] - len(each) for key, each in self.expected(large=large).items()})
            counted.append(dict(+more))
        return counted[0], counted[1]


@pytest.fixture(scope="module")
def place(moto_server: S3Server) -> Iterator[Place]:
    """moto behind a front for all rounds of this worker."""
    chance = random.Random(SEED)
    small = {f"{number % 5}/{number:02}.bin": chance.randbytes(number * 1250) for number in range(SMALL)}
    large = {LARGE: chance.randbytes(3 * RANGE + 12345), "small.bin": b"small"}
    bucket = fresh_bucket()
    moto_server.seed(bucket, {"code/train.py": COPY_TREE.encode()})
    moto_server.seed(bucket, {f"small/{key}": content for key, content in small.items()})
    moto_server.seed(bucket, {f"large/{key}": content for key, content in large.items()})
    with front(moto_server.endpoint) as proxy:
        yield Place(moto_server, proxy, bucket, small, large)


def kill(process: Popen[str], place: Place, chance: random.Random, taken: Undisturbed, *, by_request: bool) -> str:
    """Kill a launcher at its moment, which may come after its end."""
    if by_request:
        number = chance.randrange(taken.requests)
        place.front.lay(Fault("pass", skip=number, times=1, after=process.kill))
        process.wait(timeout=90)
        return f"at request {number} of {taken.requests}"
    moment = chance.uniform(0, taken.seconds)
    with suppress(TimeoutExpired):
        process.wait(moment)
    process.kill()
    return f"after {moment:.3f} of {taken.seconds:.3f} s"


@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_killed_run_is_made_good_by_the_next_one_and_little_is_moved_twice(
    place: Place, tmp_path: Path, number: int
) -> None:
    large = number % EVERY_LARGE == EVERY_LARGE - 1
    chance = random.Random(f"{SEED} {number}")
    taken = place.undisturbed(tmp_path / "undisturbed", large=large)
    rig = place.rig(tmp_path / "killed", number, large=large)
    with rig.running() as process:
        moment = kill(process, place, chance, taken, by_request=number % 2 == 1)
    place.front.clear()
    assert_no_half_objects(place, rig, number, large=large)
    result = rig.run(timeout=90)
    assert result.code == 0, result.err
    place.assert_final(rig, number, large=large)
    down, up = place.again(number, large=large)
    print(f"seed {SEED}, round {number}: killed {moment}; moved again, down: {down}, up: {up}")
    assert_bounded(place, down, large=large)
    # What is put in place comes from the boot file, which runs again and writes everything anew: once more at the most,
    # and what was under way of that counts for it.
    assert all(more <= len(place.expected(large=large)[key]) for key, more in up.items()), up


def assert_no_half_objects(place: Place, rig: Rig, number: int, *, large: bool) -> None:
    """What the killed launcher has put in place is whole, and it promises no more than is there."""
    expected, stored = place.expected(large=large), rig.stored(f"out-{number}/")
    assert [key for key, content in stored.items() if expected[key] != content] == []
    here = tree(rig.inputs) if rig.inputs.is_dir() else {}
    whole = {key: content for key, content in here.items() if ".launcher-part-" not in key}
    assert [key for key, content in whole.items() if expected[key] != content] == []
    if f"out-{number}/.launcher/manifest-worker-0.json" in place.server.listing(place.bucket, f"out-{number}/"):
        assert stored == expected


def assert_bounded(place: Place, down: dict[str, int], *, large: bool) -> None:
    """Only what was under way is downloaded again: so many transfers, each a small object or one range of a large one.

    A little object that had come, and waited to be written, was under way as well. A range that had been received in
    part only is no more than a range; so is one that the front had sent and the launcher had not yet marked.
    """
    sizes = {key: len(content) for key, content in place.expected(large=large).items()}
    assert len(down) <= 2 * TRANSFERS + WAITING < SMALL, down
    assert all(more <= min(sizes[key], TRANSFERS * RANGE) for key, more in down.items()), down


def test_a_killed_download_of_a_large_object_goes_on_with_the_ranges_that_it_lacks(
    place: Place, tmp_path: Path
) -> None:
    # The launcher is killed when it asks for the last range, with one transfer at a time: the others have been marked.
    rig = place.rig(tmp_path / "killed", "ranges", large=True)
    rig.store.env["LAUNCHER_TRANSFERS"] = "1"  # type: ignore[index]
    with rig.running() as process:
        last = f"bytes={3 * RANGE}-"
        place.front.lay(
            Fault("pass", method="GET", when=lambda one: one.header("range").startswith(last), after=process.kill)
        )
        process.wait(timeout=90)
    place.front.clear()
    place.front.forget()
    result = rig.run(timeout=90)
    assert result.code == 0, result.err
    place.assert_final(rig, "ranges", large=True)
    assert place.front.moved(f"/large/{LARGE}")[0] <= RANGE
