from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rig import Rig


def test_an_interrupt_that_was_ignored_at_the_start_ends_nothing(local_rig: Rig) -> None:
    local_rig.code("print('done')")
    written = local_rig.argv()[4]
    job = local_rig.folder / "fifo"
    os.mkfifo(job)
    command = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh", *local_rig.argv(job=str(job)))
    with subprocess.Popen(command, env=local_rig.env(), stderr=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            with job.open("wb") as file, open(written, "rb") as document:  # opened once the launcher reads from it
                process.send_signal(signal.SIGINT)
                file.write(document.read())
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (0, b"done\n"), err
