"""`launcher verify` on real stores, and what a real run leaves for it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from rig import LAUNCHER, Rig

from launcher.core.manifest import Entry, Manifest, dump_manifest
from launcher.core.occupancy import Marker, dump_marker

if TYPE_CHECKING:
    from collections.abc import Mapping

TIME = "2024-05-06T07:08:09.000+00:00"
FILES = {"a.pt": b"a" * 1000, "ckpt/1.pt": b"1" * 70_000, "ckpt/empty": b"", "z name.txt": b"z"}
BOOT = """
import os, sys
out = [each.partition("=")[2] for each in sys.argv if each.startswith("--train_url=")][0]
os.makedirs(out + "/ckpt", exist_ok=True)
for name, text in (("a.pt", "a" * 1000), ("ckpt/1.pt", "1" * 70_000), ("ckpt/empty", "")):
    open(f"{out}/{name}", "w").write(text)
"""


def verify(
    rig: Rig, *arguments: str, url: str | None = None, store: bool = True, **env: str
) -> subprocess.CompletedProcess[str]:
    argv = (*LAUNCHER, "verify", url or f"obs://{rig.bucket}/out/", *(rig.store.launcher_args if store else ()))
    return subprocess.run(
        (*argv, *arguments), env=rig.env(env), capture_output=True, check=False, timeout=60, text=True
    )


def seed(rig: Rig, files: Mapping[str, bytes], **more: bytes) -> None:
    """Lay an output and its manifest into the store."""
    objects = tuple(
        Entry(key=key, size=len(content), sha256=hashlib.sha256(content).hexdigest(), time=TIME)
        for key, content in FILES.items()
    )
    raw = dump_manifest(Manifest(job="job-1", worker=0, workers=1, objects=objects))
    rig.store.seed(rig.bucket, {f"out/{key}": content for key, content in files.items()})
    rig.store.seed(rig.bucket, {"out/.launcher/manifest-worker-0.json": raw})
    rig.store.seed(rig.bucket, {f"out/.launcher/{key}": content for key, content in more.items()})


def test_a_whole_output_is_said_to_be_whole(rig: Rig) -> None:
    seed(rig, FILES)
    for options, compared in (((), "sizes"), (("--content",), "content")):
        done = verify(rig, *options)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == (
            f"obs://{rig.bucket}/out/: whole: 4 objects, 69.3 KB of job 'job-1', 1 worker; {compared} compared\n"
        )


def test_all_that_differs_is_told_and_the_exit_code_is_73(rig: Rig) -> None:
    seed(rig, {"a.pt": b"a" * 999, "ckpt/1.pt": b"2" * 70_000, "ckpt/empty": b"", "new": b""})
    done = verify(rig, "--content")
    assert done.returncode == 73
    lines = done.stderr.splitlines()
    assert lines[0] == "error: a.pt: expected 1,000 bytes, found 999 bytes"
    assert lines[1].startswith("error: ckpt/1.pt: expected SHA-256 ")
    assert lines[2:] == [
        "error: z name.txt: expected 1 bytes, found no object",
        "warning: 1 objects are there that no manifest names",
    ]
    assert ": not whole, 3 problems: " in done.stdout


def test_json_is_all_of_it_and_nothing_else(local_rig: Rig) -> None:
    seed(local_rig, {"a.pt": b"a" * 1000})
    done = verify(local_rig, "--json")
    assert (done.returncode, done.stderr) == (73, "")
    found = json.loads(done.stdout)
    assert (found["whole"], found["objects"], found["bytes"], found["workers"]) == (False, 1, 1000, 1)
    assert found["problems"][0] == {"key": "ckpt/1.pt", "expected": "70,000 bytes", "found": "no object"}
    assert len(found["problems"]) == 3


def test_a_long_list_is_cut_for_people(local_rig: Rig) -> None:
    objects = tuple(Entry(key=f"{n:03d}", size=1, sha256="a" * 64, time=TIME) for n in range(25))
    raw = dump_manifest(Manifest(job="j", worker=0, workers=1, objects=objects))
    local_rig.store.seed(local_rig.bucket, {"out/.launcher/manifest-worker-0.json": raw})
    lines = verify(local_rig).stderr.splitlines()
    assert len(lines) == 21
    assert lines[-1] == "error: and 5 more; --json names them all"


def test_a_run_that_is_still_at_it_is_told(local_rig: Rig) -> None:
    marker = Marker(
        job="job-2",
        label="x",
        worker=0,
        workers=1,
        host="h\x1b[2J",
        owner=None,
        token="a" * 32,
        started=TIME,
        beat=TIME,
        every=30.0,
    )
    seed(local_rig, FILES, **{"running-x.json": dump_marker(marker)})
    done = verify(local_rig)
    assert done.returncode == 0
    assert done.stderr == f"warning: job 'job-2' (worker-0 on 'h\\x1b[2J') writes there, last sign of it {TIME}\n"


def test_where_there_is_no_manifest_the_exit_code_is_66(rig: Rig) -> None:
    rig.store.seed(rig.bucket, {"out/a": b"a"})
    done = verify(rig)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (66, "", 1)
    assert "no manifest at obs://" in done.stderr
    assert verify(rig, url=f"obs://{rig.bucket}/nothing/").returncode == 66


@pytest.mark.parametrize("url", ["file:///x", "out", "obs://B/x/", "obs://bucket/../x"])
def test_what_is_no_url_is_a_wrong_command_line(local_rig: Rig, url: str) -> None:
    done = verify(local_rig, url=url)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)


def test_a_store_must_be_known(local_rig: Rig) -> None:
    done = verify(local_rig, store=False)
    assert done.returncode == 2
    assert "--store DIR" in done.stderr


def test_a_store_that_cannot_be_reached_is_69(local_rig: Rig) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "secret-key"}
    done = verify(local_rig, "--store", "http://127.0.0.1:1", store=False, **keys)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (69, "", 1)
    assert done.stderr.startswith("error: ")


def test_what_a_run_leaves_is_whole_until_it_is_changed(rig: Rig) -> None:
    rig.code(BOOT)
    result = rig.run()
    assert result.code == 0, result.err
    done = verify(rig, "--content", "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert (found["objects"], found["unnamed"], found["job"], found["running"]) == (3, 0, "job-1", [])
    rig.store.seed(rig.bucket, {"out/a.pt": b"x" * 1000})
    assert verify(rig).returncode == 0
    assert verify(rig, "--content").returncode == 73
