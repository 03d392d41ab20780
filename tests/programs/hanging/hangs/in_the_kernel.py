"""A process in state D: the parent of a vfork whose child never becomes another program.

manner: stuck
"""

import os
import shutil
import subprocess
import tempfile

SOURCE = "#include <unistd.h>\nint main(void) { if (!vfork()) for (;;) pause(); return 0; }\n"
with tempfile.TemporaryDirectory() as folder:
    if shutil.which("cc") is None:
        print("skipped: there is no C compiler here", flush=True)
        raise SystemExit(0)
    with open(f"{folder}/stuck.c", "w") as file:
        file.write(SOURCE)
    subprocess.run(("cc", "-w", "-o", f"{folder}/stuck", file.name), check=True)
    print("stands", flush=True)
    os.spawnv(os.P_WAIT, f"{folder}/stuck", ["stuck"])
