from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from launcher.disk import Stamp
from launcher.sync.journal import BYTES_MOST, HEADING_MOST, LINE_MOST, Noted, begin, heading, load, resume

if TYPE_CHECKING:
    from pathlib import Path

SHA = "0" * 64
ONE: dict[str, Any] = {
    "channel": "train_url",
    "target": "obs://b/train_url/",
    "key": "a/x.pt",
    "size": 3,
    "mtime_ns": 7,
    "inode": 9,
    "sha256": SHA,
    "time": "2024-05-06T07:08:09Z",
}


def noted(**changes: Any) -> Noted:
    return Noted(**{**ONE, **changes})


def line(**changes: Any) -> bytes:
    return json.dumps({**ONE, **changes}).encode() + b"\n"


def test_what_is_noted_is_read_back(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = begin(path, ["DB_PASSWORD"])
    journal.note(noted(), noted(key="y", sha256=None))
    journal.note()
    journal.close()
    told = tuple(load(path))
    assert told == (noted(), noted(key="y", sha256=None))
    assert told[0].stamp == Stamp(3, 7, 9)
    entry = told[0].entry
    assert entry is not None
    assert (entry.key, entry.size, entry.sha256, entry.time) == ("a/x.pt", 3, SHA, "2024-05-06T07:08:09Z")
    assert told[1].entry is None
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_run_begins_anew_and_a_later_upload_goes_on(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    for key, journal in (("a", begin), ("b", begin), ("c", resume)):
        opened = journal(path)
        opened.note(noted(key=key))
        opened.close()
    assert [one.key for one in load(path)] == ["b", "c"]


def test_a_closed_journal_notes_nothing_more(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    journal = begin(path)
    journal.close()
    journal.close()
    journal.note(noted())
    assert tuple(load(path)) == ()


def test_a_line_that_was_cut_takes_no_other_with_it(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line(key="a") + line(key="b")[:40])
    assert [one.key for one in load(str(path))] == ["a"]
    journal = resume(str(path))
    journal.note(noted(key="c"))
    journal.close()
    assert [one.key for one in load(str(path))] == ["a", "c"]


@pytest.mark.parametrize(
    "odd",
    [
        b"\xff\xfe\x00 garbage\n",
        b"null\n",
        b"\n",
        b"[" * 5000 + b"\n",
        b"x" * (3 * LINE_MOST) + b"\n",
        line(key="x" * (2 * LINE_MOST)),
        line(size="3"),
        line(size=-1),
        line(size=3.5),
        line(inode=None),
        line(key=""),
        line(key="a/"),
        line(key="/etc/passwd"),
        line(key="../x"),
        line(key="a\x00b"),
        line(key=".launcher/manifest-worker-0.json"),
        line(key="a/.launcher-part-1"),
        line(sha256="AB"),
        line(channel=["train_url"]),
        json.dumps({"environment": [1]}).encode() + b"\n",
    ],
)
def test_lines_that_make_no_sense_are_left_out(tmp_path: Path, odd: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(odd + line() + odd + line(key="z"))
    assert [one.key for one in load(str(path))] == ["a/x.pt", "z"]
    assert heading(str(path)) is None


def test_a_journal_without_end_is_read_to_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(line())
    with path.open("r+b") as file:
        file.truncate(BYTES_MOST + 5)  # a hole, which reads as zeros and takes no room
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + line(key="far"))
    assert [one.key for one in load(str(path))] == ["a/x.pt"]


def test_a_journal_that_is_not_there_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "journal")
    assert (heading(path), tuple(load(path)), caplog.messages) == (None, (), [])


@pytest.mark.parametrize("kind", ["link", "hard link", "fifo", "folder"])
def test_what_lies_in_the_place_of_a_journal_is_not_written(
    tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, other = tmp_path / "journal", tmp_path / "other"
    other.write_bytes(b"mine\n")
    if kind == "link":
        path.symlink_to(other)
    elif kind == "hard link":
        path.hardlink_to(other)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.mkdir()
    journal = resume(str(path))
    journal.note(noted())
    journal.note(noted())
    assert other.read_bytes() == b"mine\n"
    assert len([text for text in caplog.messages if "cannot be written" in text]) == 1
    assert (tuple(load(str(path))), heading(str(path))) == ((), None)


def test_a_folder_in_its_place_does_not_stop_a_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "journal"
    path.mkdir()
    begin(str(path), ["A"]).note(noted())
    assert len(caplog.messages) == 1


FULL = """
import logging, resource, signal, sys
from launcher.sync.journal import Noted, begin
logging.basicConfig(stream=sys.stdout, format="%(message)s")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = begin(sys.argv[1])
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
def note(key): journal.note(Noted(channel="c", target="t", key=key, size=1, mtime_ns=1, inode=1))
resource.setrlimit(resource.RLIMIT_FSIZE, (200, most))
for number in range(5): note(f"early-{number}")
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
note("late")
"""


@pytest.mark.skipif(resource.getrlimit(resource.RLIMIT_FSIZE)[1] != resource.RLIM_INFINITY, reason="files are limited")
def test_a_full_disk_is_said_once_and_spoils_one_line_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    done = subprocess.run([sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.count("cannot be written") == 1
    keys = [one.key for one in load(str(path))]
    assert (keys[0], keys[-1], len(keys) < 6) == ("early-0", "late", True)


SECRETS = ("correct-horse-battery", "p\u00e4ss\udce9word", "lone\ud800surrogate")


def test_the_heading_tells_what_is_secret_and_holds_no_secret(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    salts = set()
    for _ in range(2):
        begin(str(path), ["DB_PASSWORD"], SECRETS).close()
        first = heading(str(path))
        assert first is not None
        salts.add(first.salt)
        assert (first.environment, len(first.digests)) == (("DB_PASSWORD",), 3)
        assert b"horse" not in path.read_bytes()
    assert len(salts) == 2


def test_a_secret_of_another_value_is_not_known(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    begin(path, ["DB_PASSWORD"], SECRETS).close()
    first = heading(path)
    assert first is not None
    assert (first.knows(SECRETS[0]), first.knows("correct-horse-rotated"), first.knows("")) == (True, False, False)
    assert first.covered((*SECRETS, "one more"))
    assert not first.covered(SECRETS[1:])
    assert not first.covered(())


def test_without_secrets_nothing_has_to_be_known(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    begin(path).close()
    first = heading(path)
    assert first is not None
    assert first.covered(())


def test_a_heading_of_many_secrets_is_read_whole(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    secrets = [f"secret-number-{number}" for number in range(2000)]
    begin(path, [f"NAME_{number}_TOKEN" for number in range(2000)], secrets).note(noted())
    first = heading(path)
    assert first is not None
    assert (first.covered(secrets), first.covered(secrets[1:])) == (True, False)
    assert tuple(load(path)) == (noted(),)


LONELY = """
import sys
from launcher.sync.journal import heading
def read(): return int(open("/proc/self/io").readline().split()[1])
before = read()
assert heading(sys.argv[1]).environment == ("DB_PASSWORD",)
print(read() - before)
"""


def test_only_the_first_line_is_read_for_the_heading(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    begin(str(path), ["DB_PASSWORD"]).close()
    with path.open("ab") as file:
        file.truncate(file.tell() + 100 * HEADING_MOST)
    done = subprocess.run([sys.executable, "-c", LONELY, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2 * HEADING_MOST
    path.write_bytes(b" " * HEADING_MOST + path.read_bytes()[:200])
    assert heading(str(path)) is None


def test_a_run_without_secrets_needs_no_digests(tmp_path: Path) -> None:
    told = "import sys; from launcher.sync.journal import begin; begin(sys.argv[1], (), sys.argv[2:]);"
    told += " print(*sys.modules)"
    for secrets, needed in (((), False), (SECRETS[:1], True)):
        command = [sys.executable, "-c", told, str(tmp_path / "journal"), *secrets]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert ("hashlib" in done.stdout.split()) is needed
