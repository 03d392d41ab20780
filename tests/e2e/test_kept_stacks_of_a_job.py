"""A job that is asked where it stands: a sentence in the events, a file beside the log in the store, and it goes on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from typing import TYPE_CHECKING

import pytest
from ends import Ends, await_line, until
from servers import LOCALFS, AnyStore

if TYPE_CHECKING:
    from pathlib import Path

SPY = shutil.which("py-spy", path=f"{os.path.dirname(sys.executable)}:{os.environ.get('PATH', os.defpath)}")
BOOT = """
import signal
def waits_for_a_peer():
    print("ready", flush=True)
    signal.sigwait([signal.SIGUSR1])
    print("went on")
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
waits_for_a_peer()
"""


@pytest.mark.skipif(SPY is None, reason="py-spy is not installed")
def test_a_job_that_is_asked_says_where_it_stands_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = AnyStore("localfs", LOCALFS, ("--store", str(tmp_path / "store")), directory=tmp_path / "store")
    ends = Ends(store, tmp_path)
    ends.code(BOOT)
    with ends.running() as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGQUIT)
        until(lambda: any("All stacks are in" in event for event in ends.events()))
        ends.send(process, signal.SIGUSR1)
        result = ends.finish(process)
    assert (result.code, result.out) == (0, "went on\n")
    told = " ".join(ends.events())
    if "nothing is known" in told and os.geteuid() != 0:
        pytest.skip("no right to trace a process here")
    stands = r"rank 0 is in sigwait \(signal\.py:\d+\), called at train\.py:5 \(waits_for_a_peer\)\."
    assert re.search(stands, told), told
    (name,) = [key for key in ends.stored("log/") if ".stacks-" in key]
    assert re.fullmatch(r"modelarts-job-\S+-worker-0\.stacks-1\.txt", name.rpartition("/")[2])
    assert b"waits_for_a_peer" in ends.stored("log/")[name]
    synced = result.run_json["synced"]
    assert [each["failed"] for each in synced if each["channel"] == "log"] == [[]]


@pytest.mark.skipif(SPY is None, reason="py-spy is not installed")
def test_a_secret_on_the_command_line_is_in_nothing_that_is_shown_of_where_a_job_stands(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    store = AnyStore("localfs", LOCALFS, ("--store", str(tmp_path / "store")), directory=tmp_path / "store")
    ends = Ends(store, tmp_path)
    ends.code(BOOT)
    ends.algorithm["parameters"] = [{"name": "password", "value": "kept-to-itself-4711"}]
    with ends.running() as process:
        await_line(process, "ready")
        ends.send(process, signal.SIGQUIT)
        until(lambda: any("All stacks are in" in event for event in ends.events()))
        ends.send(process, signal.SIGUSR1)
        result = ends.finish(process)
    assert result.code == 0, result.err
    if "--password=" not in result.err:
        pytest.skip("no right to trace a process here")
    assert "kept-to-itself-4711" not in result.err
    assert not [key for key, content in ends.stored("log/").items() if b"kept-to-itself-4711" in content]
