"""A real process that never lets its files be, a real store in a folder: no object is ever of two states."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

from fake_store import FakeClock, FakeRecord, make_output, make_plan, never
from writer import was

from launcher.adapters.localfs import LocalStore
from launcher.core.manifest import parse_manifest
from launcher.sync import Sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from launcher.core.urls import Location

SECONDS = 4
FINISHES = 6
WRITER = os.path.join(os.path.dirname(__file__), "writer.py")
MANIFEST = ".launcher/manifest-worker-0.json"


class Looked(LocalStore):
    """A store that shows every object as it has just become, before another may take its place."""

    def __init__(self, directory: str) -> None:
        super().__init__(directory)
        self.directory = directory
        self.seen: Counter[str] = Counter()
        self.mixed: list[str] = []
        self._looking = threading.Lock()

    def put(self, at: Location, chunks: Iterator[bytes], size: int) -> None:
        super().put(at, chunks, size)
        with self._looking, open(os.path.join(self.directory, at.bucket, at.key), "rb") as file:
            content = file.read()
        if at.name.startswith(("file-", "log-", "slab-")) and not at.name.endswith(".tmp"):
            self.seen[at.name] += 1
            if not was(at.name, content):
                self.mixed.append(f"{at.name}: {len(content)} bytes")


def test_no_object_is_ever_of_two_states(tmp_path: Path) -> None:
    plan = make_plan(str(tmp_path), outputs=(make_output(str(tmp_path)),), transfers=8)
    folder = tmp_path / "outputs/train_url_0"
    folder.mkdir(parents=True)
    (tmp_path / "store/b").mkdir(parents=True)
    store = Looked(str(tmp_path / "store"))

    writer = subprocess.Popen([sys.executable, WRITER, str(folder), str(SECONDS), "7"])
    try:
        rounds = 0
        while rounds < FINISHES or writer.poll() is None:
            sync = Sync(plan, store, FakeRecord(), FakeClock(), {})
            meanwhile = threading.Thread(target=sync.periodic, args=(never,))
            meanwhile.start()
            with suppress(subprocess.TimeoutExpired):
                writer.wait(0.4)
            sync.finish(never)
            meanwhile.join()
            rounds += 1
    finally:
        writer.kill()
        writer.wait()
    assert writer.returncode == 0
    (entry,) = Sync(plan, store, FakeRecord(), FakeClock(), {}).finish(never)
    assert store.mixed == []
    assert len(store.seen) == 8, "every file has been in the store"
    assert entry.failed == (), "all stand still now"
    target = tmp_path / "store/b/train_url"
    listed = {one.key: one.size for one in parse_manifest((target / MANIFEST).read_bytes()).objects}
    assert listed == {file.name: file.stat().st_size for file in folder.iterdir() if file.suffix != ".tmp"}
    for name in listed:
        assert (target / name).read_bytes() == (folder / name).read_bytes()
