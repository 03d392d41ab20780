"""MindSpore's msrun: one on each node; that of worker-0 starts the scheduler beside its share of the processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.engines.peers import THIS_NODE, per_node, several
from launcher.core.engines.start import Engaged, Launch, boot

if TYPE_CHECKING:
    from launcher.core.engines.start import Start


def msrun(start: Start) -> Engaged:
    """Start msrun as a module of the boot file's own interpreter: the program of that name may be another Python's."""
    here = start.facts.topology
    processes, warnings = per_node(start)
    folder = f"{start.layout.log_dir}/msrun"
    program, env = _program(start)
    told = (
        f"--worker_num={here.workers * processes}",
        f"--local_worker_num={processes}",
        f"--master_addr={here.master if several(start) else THIS_NODE}",
        f"--master_port={here.port}",
        f"--node_rank={here.index}",
        f"--log_dir={folder}",
        "--join=True",  # else it ends at once, and nobody learns how its processes did
        f"--cluster_time_out={start.facts.settings.meeting.peers_s:.0f}",
    )
    argv = (start.interpreter, "-m", "mindspore.parallel.cluster.run", *told, program, *boot(start))
    launch = Launch(argv=argv, env=env, rank=here.index)
    return Engaged(launches=(launch,), per_node=processes, folders=(folder,), warnings=warnings)


def _program(start: Start) -> tuple[str, dict[str, str]]:
    """What msrun shall start the boot file by, and the PATH on which it is found.

    msrun takes `python` and `python3` alone, and looks them up; the launcher's own search ended at the same program,
    unless MA_SCRIPT_INTERPRETER named one.
    """
    folder, _, name = start.interpreter.rpartition("/")
    if name in ("python", "python3") and not start.said.get("MA_SCRIPT_INTERPRETER"):
        return name, {}
    program = name if name in ("python", "python3") else "python3"
    return program, {"PATH": f"{folder}:{start.variables.get('PATH', '')}"} if folder else {}
