"""The process `launcher`, also `python -m launcher`: the command line between a quick start and a quick end."""

from __future__ import annotations

import gc
import os
import signal
import sys
from contextlib import suppress
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and end the process with its code."""
    # A closed one of the fds 0 to 2 would be given to the next file that is opened, and our lines with it.
    while (descriptor := os.open(os.devnull, os.O_WRONLY)) <= 2:  # noqa: PLR2004 - stderr
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for number in (signal.SIGTERM, signal.SIGINT):  # PID 1 would not hear them until a command listens
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    gc.disable()  # starting makes many objects and no garbage: 5 ms; `run` switches it on for the job
    try:
        from launcher.cli import main as command_line  # noqa: PLC0415 - after the line above

        code = command_line()
    except KeyboardInterrupt:
        code = 130
    except Exception:  # noqa: BLE001 - even what cannot be told any more ends with the code of a defect
        code = 70
        with suppress(Exception):
            import traceback  # noqa: PLC0415 - here alone

            traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # whoever read it has gone, or it was never open
            stream.flush()
    os._exit(code)  # the ordinary way takes 10 ms to tear down modules, and waits for nothing that matters


def _stop(number: int, _: object) -> NoReturn:
    os._exit(128 + number)


if __name__ == "__main__":
    main()
