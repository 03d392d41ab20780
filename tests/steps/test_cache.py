"""The node's cache on real files: right bytes or none, however it is treated, and no job that fails by it."""

from __future__ import annotations

import errno
import logging
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from fake_store import never

from launcher.cache import Cache
from launcher.cache.eviction import PART, create, on_disk
from launcher.core.errors import Cancelled, StageError
from launcher.core.stored import StoredObject

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024**2
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this to a folder")

# A launcher of its own, that brings objects whose content follows from their number, and looks at what it got.
WORKER = """
import os, resource, sys, threading
from launcher.cache import Cache
from launcher.core.stored import StoredObject

folder, out, limit, seed, rounds, objects, threads = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:8])
if len(sys.argv) > 8:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[8]),) * 2)
import logging, random
logging.basicConfig(format="%(message)s", stream=sys.stdout)
cache = Cache(folder, limit, "https://store")
print("ready", flush=True)

def content(number):
    return random.Random(number).randbytes(1000 + number * 7919 % 150_000)

filled = []

def work(seed):
    pick = random.Random(seed)
    for turn in range(rounds):
        number = pick.randrange(objects)
        wanted = content(number)
        item = StoredObject(f"key {number}", len(wanted), f'"etag {number}"')
        path = f"{out}/{seed}-{turn}"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        if cache.fill("bucket", item, file, lambda: False):
            filled.append(number)
        else:
            assert os.fstat(file).st_size == 0, "not empty"
            os.pwrite(file, wanted, 0)
            cache.keep("bucket", item, file, 0, lambda: False)
        got = os.pread(file, len(wanted) + 1, 0)
        # the boot file may write in place
        os.pwrite(file, b"spoilt", 0)
        os.close(file)
        os.unlink(path)
        if got != wanted:
            print("WRONG", number, flush=True)

crew = [threading.Thread(target=work, args=(seed * 1000 + each,)) for each in range(threads)]
[one.start() for one in crew]
[one.join() for one in crew]
print("filled", len(filled), flush=True)
"""


@contextmanager
def cache_in(folder: Path, limit: int = 1024 * MIB, endpoint: str = "https://store") -> Iterator[Cache]:
    cache = Cache(str(folder), limit, endpoint)
    try:
        yield cache
    finally:
        cache.close()


@contextmanager
def file_of(path: Path, content: bytes = b"") -> Iterator[int]:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        os.write(file, content)
        yield file
    finally:
        os.close(file)


def item_of(content: bytes, key: str = "data/a", etag: str = '"abc"') -> StoredObject:
    return StoredObject(key, len(content), etag)


def kept(
    cache: Cache,
    folder: Path,
    content: bytes,
    item: StoredObject | None = None,
    bucket: str = "bucket",
    *,
    spare: int = 0,
) -> None:
    with file_of(folder / "downloaded", content) as file:
        cache.keep(bucket, item or item_of(content), file, spare, never)


def filled(cache: Cache, folder: Path, item: StoredObject, bucket: str = "bucket") -> bytes | None:
    with file_of(folder / "target") as file:
        was_here = cache.fill(bucket, item, file, never)
    got = (folder / "target").read_bytes()
    assert was_here or got == b""
    return got if was_here else None


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("??/*") if not path.is_dir())


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("size", [0, 1, 4096, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 3 * MIB + 5])
def test_what_was_kept_is_delivered_by_another_launcher(tmp_path: Path, size: int) -> None:
    content = random.Random(size).randbytes(size)
    with cache_in(tmp_path / "cache") as cache:
        assert filled(cache, tmp_path, item_of(content)) is None
        kept(cache, tmp_path, content)
    with cache_in(tmp_path / "cache") as cache:
        assert filled(cache, tmp_path, item_of(content)) == content


def test_the_files_handed_in_stand_where_they_stood(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        with file_of(tmp_path / "downloaded", b"content") as file:
            os.lseek(file, 3, os.SEEK_SET)
            cache.keep("bucket", item_of(b"content"), file, 0, never)
            assert os.lseek(file, 0, os.SEEK_CUR) == 3
        with file_of(tmp_path / "target") as file:
            assert cache.fill("bucket", item_of(b"content"), file, never)
            assert os.lseek(file, 0, os.SEEK_CUR) == 0


@pytest.mark.parametrize(
    ("endpoint", "bucket", "item"),
    [
        ("https://other", "bucket", StoredObject("data/a", 7, '"abc"')),
        ("https://store", "other", StoredObject("data/a", 7, '"abc"')),
        ("https://store", "bucket", StoredObject("data/b", 7, '"abc"')),
        ("https://store", "bucket", StoredObject("data/a", 7, '"abd"')),
        ("https://store", "bucket", StoredObject("data/a", 8, '"abc"')),
        ("https://store", "bucketd", StoredObject("ata/a", 7, '"abc"')),
    ],
)
def test_another_object_is_another_entry(tmp_path: Path, endpoint: str, bucket: str, item: StoredObject) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
    with cache_in(tmp_path / "cache", endpoint=endpoint) as cache:
        assert filled(cache, tmp_path, item, bucket) is None


@pytest.mark.parametrize(
    "item", [StoredObject("a", 7, ""), StoredObject("a", 7, 'W/"abc"'), StoredObject("a", -1, "x")]
)
def test_an_object_whose_mark_vouches_for_nothing_is_not_kept(tmp_path: Path, item: StoredObject) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content", item)
        assert filled(cache, tmp_path, item) is None
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("found", [b"conten", b"content and more"])
def test_a_file_that_is_not_as_long_as_its_object_is_not_kept(tmp_path: Path, found: bytes) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, found, item_of(b"content"))
        assert entries(tmp_path / "cache") == []
        kept(cache, tmp_path, b"content")
        assert filled(cache, tmp_path, item_of(b"content")) == b"content"


def test_who_writes_in_place_hurts_nobody_else(tmp_path: Path) -> None:
    content = b"content" * MIB
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, content)
        for name in ("downloaded", "target"):
            assert filled(cache, tmp_path, item_of(content)) == content
            (tmp_path / "kept").write_bytes((tmp_path / "target").read_bytes())
            with open(tmp_path / name, "r+b") as file:
                file.write(b"SPOILT")
        assert filled(cache, tmp_path, item_of(content)) == content
    (entry,) = entries(tmp_path / "cache")
    assert entry.stat().st_nlink == 1


def test_entries_are_for_this_user_alone(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
    (entry,) = entries(tmp_path / "cache")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (entry, entry.parent, tmp_path / "cache")]
    assert modes == [0o600, 0o700, 0o700]


@pytest.mark.parametrize("where", [0, 3 * MIB // 2, -33, -32, -1])
def test_a_flipped_bit_is_seen_told_and_removed(tmp_path: Path, where: int, caplog: pytest.LogCaptureFixture) -> None:
    content = random.Random(1).randbytes(2 * MIB)
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, content)
        (entry,) = entries(tmp_path / "cache")
        spoilt = bytearray(entry.read_bytes())
        spoilt[where] ^= 1
        entry.write_bytes(spoilt)
        assert filled(cache, tmp_path, item_of(content)) is None
        assert entries(tmp_path / "cache") == []
        assert warnings(caplog) == ["the cache's copy of 'data/a' is spoilt: removed, the object is downloaded"]
        kept(cache, tmp_path, content)
        assert filled(cache, tmp_path, item_of(content)) == content


@pytest.mark.parametrize("size", [0, 6, 7 + 31, 7 + 33])
def test_an_entry_of_another_length_is_removed(tmp_path: Path, size: int, caplog: pytest.LogCaptureFixture) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
        os.truncate(entries(tmp_path / "cache")[0], size)
        assert filled(cache, tmp_path, item_of(b"content")) is None
    assert entries(tmp_path / "cache") == []
    assert warnings(caplog) == ["the cache's copy of 'data/a' has another size: removed, the object is downloaded"]


def test_an_entry_under_anothers_name_is_no_entry(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"1234567", item_of(b"1234567", "a"))
        (one,) = entries(tmp_path / "cache")
        kept(cache, tmp_path, b"7654321", item_of(b"7654321", "b"))
        (other,) = (path for path in entries(tmp_path / "cache") if path != one)
        shutil.copyfile(one, other)
        assert filled(cache, tmp_path, item_of(b"7654321", "b")) is None
        assert filled(cache, tmp_path, item_of(b"1234567", "a")) == b"1234567"


@pytest.mark.parametrize("hostile", ["link", "fifo", "writable by all"])
def test_an_entry_that_is_no_file_of_this_users_alone_is_removed(tmp_path: Path, hostile: str) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
        (entry,) = entries(tmp_path / "cache")
        if hostile == "writable by all":
            entry.chmod(0o666)
        else:
            entry.rename(tmp_path / "elsewhere")
            os.mkfifo(entry) if hostile == "fifo" else entry.symlink_to(tmp_path / "elsewhere")
        assert filled(cache, tmp_path, item_of(b"content")) is None
        assert entries(tmp_path / "cache") == []
        kept(cache, tmp_path, b"content")
        assert filled(cache, tmp_path, item_of(b"content")) == b"content"


def test_a_folder_inside_that_is_a_link_is_not_followed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
        (entry,) = entries(tmp_path / "cache")
        entry.parent.rename(tmp_path / "elsewhere")
        entry.parent.symlink_to(tmp_path / "elsewhere")
        assert filled(cache, tmp_path, item_of(b"content")) is None
        kept(cache, tmp_path, b"content")
    assert len(warnings(caplog)) == 1


@AS_ROOT
def test_an_entry_of_another_user_is_removed(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
        os.chown(entries(tmp_path / "cache")[0], 1000, 1000)
        assert filled(cache, tmp_path, item_of(b"content")) is None
    assert entries(tmp_path / "cache") == []


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o1777])
def test_a_folder_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(mode)
    with pytest.raises(StageError, match=f"not this user's alone to write.*mode {mode:04o}") as refused:
        Cache(str(tmp_path / "cache"), MIB, "e")
    assert refused.value.exit_code == 77


@AS_ROOT
def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir(mode=0o700)
    os.chown(tmp_path / "cache", 1000, 1000)
    with pytest.raises(StageError, match="uid 1000") as refused:
        Cache(str(tmp_path / "cache"), MIB, "e")
    assert refused.value.exit_code == 77


@pytest.mark.parametrize("kind", ["link", "link/", "file", "below a file"])
def test_a_cache_that_is_no_folder_is_refused(tmp_path: Path, kind: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    with pytest.raises(StageError, match="a link or no folder") as refused:
        Cache(f"{tmp_path}/{'file/cache' if kind == 'below a file' else kind}", MIB, "e")
    assert refused.value.exit_code == 71


def test_the_cache_keeps_to_its_limit_and_forgets_what_was_not_used_for_longest(tmp_path: Path) -> None:
    limit, content = 4 * MIB, bytes(60_000)
    with cache_in(tmp_path / "cache", limit) as cache:
        for number in range(200):
            kept(cache, tmp_path, content, item_of(content, f"{number}"))
            assert sum(on_disk(path.stat().st_size) for path in entries(tmp_path / "cache")) <= limit
            for path in entries(tmp_path / "cache"):  # as if a minute went by
                os.utime(path, (0, path.stat().st_mtime - 61))
            assert filled(cache, tmp_path, item_of(content, "0")) == content
        assert filled(cache, tmp_path, item_of(content, "1")) is None
        assert filled(cache, tmp_path, item_of(content, "199")) == content
        assert len(entries(tmp_path / "cache")) > 40


def test_what_is_still_coming_in_counts(tmp_path: Path) -> None:
    limit, large, small = 4 * MIB, bytes(19 * MIB // 10), bytes(60_000)
    with cache_in(tmp_path / "cache", limit) as cache, file_of(tmp_path / "large", large) as file:
        rest = iter(range(80))

        def meanwhile() -> bool:
            for number in rest:
                kept(cache, tmp_path, small, item_of(small, f"{number}"))
            return False

        cache.keep("bucket", item_of(large, "large"), file, 0, meanwhile)
        assert filled(cache, tmp_path, item_of(large, "large")) == large
    assert sum(on_disk(path.stat().st_size) for path in entries(tmp_path / "cache")) <= limit


def test_what_was_there_before_counts(tmp_path: Path) -> None:
    content = bytes(60_000)
    for number in range(100):
        with cache_in(tmp_path / "cache", 2 * MIB) as cache:
            kept(cache, tmp_path, content, item_of(content, f"{number}"))
    assert sum(on_disk(path.stat().st_size) for path in entries(tmp_path / "cache")) <= 2 * MIB


def test_an_object_of_more_than_half_of_the_limit_pushes_nothing_out(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache", MIB) as cache:
        kept(cache, tmp_path, b"content")
        kept(cache, tmp_path, bytes(MIB // 2 + 1), item_of(bytes(MIB // 2 + 1), "large"))
        assert len(entries(tmp_path / "cache")) == 1


def test_who_reads_an_entry_gets_all_of_it_though_it_is_evicted(tmp_path: Path) -> None:
    content = random.Random(2).randbytes(900_000)
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, content)

        def evict() -> bool:
            cache.room.release(len(content))
            return False

        with file_of(tmp_path / "target") as file:
            assert cache.fill("bucket", item_of(content), file, evict)
        assert entries(tmp_path / "cache") == []
    assert (tmp_path / "target").read_bytes() == content


def test_room_is_given_back_from_what_was_not_used_for_longest(tmp_path: Path) -> None:
    content = bytes(4096 * 10 - 32)
    with cache_in(tmp_path / "cache") as cache:
        for number in range(10):
            kept(cache, tmp_path, content, item_of(content, f"{number}"))
            (newest,) = (path for path in entries(tmp_path / "cache") if path.stat().st_mtime > 1e9)
            os.utime(newest, (0, number))
        assert not cache.free("/proc", 4096), "another file system gets nothing from it"
        assert cache.free(str(tmp_path), 4096 * 25)
        assert [filled(cache, tmp_path, item_of(content, f"{number}")) is None for number in range(10)] == (
            [True] * 3 + [False] * 7
        )


def test_what_the_job_needs_of_the_disk_is_left_to_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with cache_in(tmp_path / "cache") as cache:
        for key in "ab":
            kept(cache, tmp_path, b"content", item_of(b"content", key), spare=1 << 60)
        assert entries(tmp_path / "cache") == []
        assert len(warnings(caplog)) == 1
        kept(cache, tmp_path, b"content")
        assert len(entries(tmp_path / "cache")) == 1


def test_asked_to_stop_it_stops_and_leaves_nothing_half(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        with file_of(tmp_path / "downloaded", b"content") as file, pytest.raises(Cancelled):
            cache.keep("bucket", item_of(b"content"), file, 0, lambda: True)
        assert entries(tmp_path / "cache") == []
        kept(cache, tmp_path, b"content")
        with file_of(tmp_path / "target") as file, pytest.raises(Cancelled):
            cache.fill("bucket", item_of(b"content"), file, lambda: True)


def test_a_target_that_takes_nothing_leaves_the_entry_as_it_is(tmp_path: Path) -> None:
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
        with open("/dev/full", "wb") as full, pytest.raises(OSError, match="Invalid argument"):
            cache.fill("bucket", item_of(b"content"), full.fileno(), never)  # what cannot be emptied is told
        assert filled(cache, tmp_path, item_of(b"content")) == b"content"


def part_of(shard: Path, *, dead: bool) -> str:
    folder = os.open(shard, os.O_RDONLY)
    name, file = create(folder)
    os.close(folder)
    if dead:
        os.close(file)
    return name


def test_what_dead_writers_left_is_swept_and_the_living_are_let_be(tmp_path: Path) -> None:
    shard = tmp_path / "cache" / "00"
    (tmp_path / "cache").mkdir(mode=0o700)
    shard.mkdir(mode=0o700)
    part_of(shard, dead=True)
    living = part_of(shard, dead=False)
    elsewhere, forgotten = shard / f"{PART}ffffffff-1", shard / f"{PART}ffffffff-2"
    for path in (elsewhere, forgotten):
        path.write_bytes(b"")
    os.utime(forgotten, (0, 0))
    with cache_in(tmp_path / "cache") as cache:
        kept(cache, tmp_path, b"content")
    assert sorted(path.name for path in shard.glob(f"{PART}*")) == sorted((living, elsewhere.name))


SWEEPER = """
import fcntl, os, sys, time

shard = os.open(sys.argv[1], os.O_RDONLY)
print("ready", flush=True)
done = set()
while not os.path.exists(sys.argv[2]):
    for name in set(os.listdir(shard)) - done:
        done.add(name)
        try:
            part = os.open(name, os.O_RDWR, dir_fd=shard)
            fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(0.001)  # a slow one
            os.unlink(name, dir_fd=shard)
        except OSError:
            pass
        os.close(part)
"""


def test_no_writer_goes_on_with_a_part_that_is_being_swept(tmp_path: Path) -> None:
    (tmp_path / "shard").mkdir()
    shard = os.open(tmp_path / "shard", os.O_RDONLY)
    argv = (sys.executable, "-c", SWEEPER, str(tmp_path / "shard"), str(tmp_path / "over"))
    lost = []
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as sweeper:
        assert sweeper.stdout is not None
        assert sweeper.stdout.readline() == b"ready\n"
        for _ in range(60):
            parts = [create(shard) for _ in range(100)]
            lost += [name for name, part in parts if not os.fstat(part).st_nlink]
            for name, part in parts:
                os.unlink(tmp_path / "shard" / name)
                os.close(part)
        (tmp_path / "over").touch()
    os.close(shard)
    assert lost == []


def test_a_launcher_that_sits_on_the_lock_holds_up_nobody(tmp_path: Path) -> None:
    with (
        cache_in(tmp_path / "cache") as cache,
        cache_in(tmp_path / "cache") as other,
        other.room._alone(never) as alone,
    ):
        assert alone
        cache.room._looks = 2
        for key in "abc":
            kept(cache, tmp_path, b"content", item_of(b"content", key))
        assert entries(tmp_path / "cache") == []


def launched(*arguments: object, wrap: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    argv = (*wrap, sys.executable, "-c", WORKER, *map(str, arguments))
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def size_of(path: Path) -> int:
    try:
        return on_disk(path.stat().st_size)
    except FileNotFoundError:
        return 0


def test_several_launchers_at_once_get_right_bytes_and_keep_to_the_limit(tmp_path: Path) -> None:
    limit, launchers, threads, largest = 4 * MIB, 4, 4, 152 * 1024
    (tmp_path / "out").mkdir()
    running = [
        launched(tmp_path / "cache", tmp_path / "out", limit, seed, 150, 100, threads) for seed in range(launchers)
    ]
    slack = (launchers - 1) * (limit // 16 + threads * largest)
    highest = 0
    while any(process.poll() is None for process in running):
        highest = max(highest, sum(size_of(path) for path in (tmp_path / "cache").glob("??/*")))
    said = [process.communicate()[0] for process in running]
    assert [process.returncode for process in running] == [0] * launchers, said
    assert all(line.startswith("filled ") for line in said), said
    assert sum(int(line.split()[1]) for line in said) > 100
    assert limit // 2 < highest <= limit + slack
    assert list((tmp_path / "cache").glob(f"??/{PART}*")) == []


def test_a_cache_whose_launchers_were_killed_at_any_moment_is_whole(tmp_path: Path) -> None:
    chance = random.Random(7)
    (tmp_path / "out").mkdir()
    for turn in range(12):
        (out := tmp_path / "out" / f"{turn}").mkdir()
        process = launched(tmp_path / "cache", out, 4 * MIB, turn, 100_000, 100, 4)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(chance.random() * 0.3)
        process.send_signal(signal.SIGKILL)
        assert process.communicate()[0] == ""
    assert entries(tmp_path / "cache") != []
    (out := tmp_path / "out" / "last").mkdir()
    said = launched(tmp_path / "cache", out, 4 * MIB, 99, 300, 100, 1).communicate()[0]
    assert said.startswith("filled "), said
    assert int(said.split()[1]) > 0
    assert list((tmp_path / "cache").glob(f"??/{PART}*")) == []


def test_where_files_may_not_grow_the_cache_is_left_and_the_job_is_not(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    largest = max(1000 + number * 7919 % 150_000 for number in range(100))  # an entry is 32 bytes longer than that
    process = launched(tmp_path / "cache", tmp_path / "out", 64 * MIB, 1, 200, 100, 2, largest + 10)
    said = process.communicate()[0].splitlines()
    assert said[0] == f"the cache {tmp_path}/cache takes in nothing more: {os.strerror(errno.EFBIG).lower()}", said
    assert len(said) == 2
    assert said[1].startswith("filled ")
    assert list((tmp_path / "cache").glob(f"??/{PART}*")) == []


def mounted(tmp_path: Path, mount: str) -> tuple[str, ...]:
    """How to start a program that alone sees something mounted at `mnt`; skips where that cannot be done."""
    (tmp_path / "mnt").mkdir()
    wrap = ("unshare", "-m", "sh", "-c", f'{mount} "$0/mnt" || exit 99; exec "$@"', str(tmp_path))
    tried = subprocess.run((*wrap, "true"), capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"nothing can be mounted here: {tried.stderr.strip()}")
    return wrap


def test_on_a_full_disk_the_cache_is_left_and_the_job_is_not(tmp_path: Path) -> None:
    wrap = mounted(tmp_path, "mount -t tmpfs -o size=1m tmpfs")
    (tmp_path / "out").mkdir()
    # what the job itself needs is not known here, so the cache fills the disk
    filler = ("sh", "-c", 'head -c 900000 /dev/zero > "$0/ballast"; exec "$@"', f"{tmp_path}/mnt")
    program = WORKER.replace("cache = Cache(", "os.mkdir(folder, 0o700); cache = Cache(").replace(
        "item, file, 0, lambda", "item, file, -(1 << 60), lambda"
    )
    argv = (*wrap, *filler, sys.executable, "-c", program, f"{tmp_path}/mnt/cache", str(tmp_path / "out"))
    done = subprocess.run(
        (*argv, str(64 * MIB), "1", "100", "100", "2"), capture_output=True, text=True, check=False, timeout=60
    )
    said = done.stdout.splitlines()
    assert done.returncode == 0, done
    assert said[:2] == ["ready", f"the cache {tmp_path}/mnt/cache takes in nothing more: no space left on device"]
    assert len(said) == 3


CLONES = """
import os, sys
from launcher.cache import Cache
from launcher.core.stored import StoredObject

def used():
    os.sync()
    room = os.statvfs(top)
    return (room.f_blocks - room.f_bfree) * room.f_frsize

top, size = sys.argv[1], 32 * 1024**2 + 5
content = os.urandom(size)
item = StoredObject("key", size, "etag")
cache = Cache(top + "/cache", 1 << 30, "e")
files = [os.open(f"{top}/{number}", os.O_RDWR | os.O_CREAT) for number in range(4)]
os.write(files[0], content)
before = used()
cache.keep("b", item, files[0], 0, lambda: False)
assert all(cache.fill("b", item, file, lambda: False) for file in files[1:])
assert used() - before < 8 * 1024**2, used() - before
assert all(os.fstat(file).st_size == size and os.pread(file, size + 1, 0) == content for file in files)
for file in files[:2]:
    os.pwrite(file, b"spoilt", 1000)
assert os.pread(files[2], size, 0) == content
os.ftruncate(files[1], 0)
assert cache.fill("b", item, files[1], lambda: False) and os.pread(files[1], size, 0) == content
((folder, _, (entry,)),) = [found for found in os.walk(top + "/cache") if not found[1]]
with open(f"{folder}/{entry}", "r+b") as spoilt:
    spoilt.write(b"spoilt")
os.ftruncate(files[1], 0)
assert not cache.fill("b", item, files[1], lambda: False) and os.fstat(files[1]).st_size == 0
print("shared")
"""


@pytest.mark.parametrize(("make", "size"), [(("mkfs.xfs", "-q", "-m", "reflink=1"), 320), (("mkfs.btrfs", "-q"), 200)])
def test_where_files_can_share_blocks_they_do_until_one_is_written_to(
    tmp_path: Path, make: tuple[str, ...], size: int
) -> None:
    program = shutil.which(make[0], path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        pytest.skip(f"no {make[0]} here")
    image = tmp_path / "image"
    with open(image, "wb") as file:
        file.truncate(size * MIB)
    subprocess.run((program, *make[1:], str(image)), check=True, capture_output=True)
    wrap = mounted(tmp_path, f"mount -o loop '{image}'")
    done = subprocess.run(
        (*wrap, sys.executable, "-c", CLONES, f"{tmp_path}/mnt"), capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "shared\n"), done.stderr
