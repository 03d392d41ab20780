"""MPI: mpirun on worker-0 starts the processes of all nodes; the others serve it, each by an sshd of the job's own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from launcher.core.engines.peers import per_node, several, workers
from launcher.core.engines.start import Engaged, Launch, boot
from launcher.core.errors import PlanError
from launcher.core.interfaces import training_interface
from launcher.core.plan import Document

if TYPE_CHECKING:
    from launcher.core.engines.start import Start

SSHD = "/usr/sbin/sshd"
"""sshd wants to be started by an absolute path, and this is where every distribution has it."""

KEY = "id_ed25519"
"""The node's own key below the folder of keys: by it worker-0 is let in, and by it a node shows that it is itself."""
AUTHORIZED, KNOWN = "authorized_keys", "known_hosts"

OWN_VARIABLES = frozenset(
    {
        *("PATH", "LD_LIBRARY_PATH", "TMPDIR"),
        *("VC_TASK_INDEX", "MA_TASK_INDEX", "DLS_TASK_INDEX", "MA_NUM_GPUS"),
        *("MA_CURRENT_IP", "MA_CURRENT_HOST_IP", "MA_CURRENT_INSTANCE_NAME", "BATCH_TASK_CURRENT_INSTANCE"),
        *("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME"),
        *("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"),
        *("ASCEND_RT_VISIBLE_DEVICES", "ASCEND_VISIBLE_DEVICES"),
        *("HOSTNAME", "HOST", "POD_NAME", "POD_IP", "POD_UID", "NODE_NAME", "HOST_IP", "JOB_COMPLETION_INDEX"),
        *("PET_NODE_RANK", "VK_TASK_INDEX", "RANK_TABLE_FILE"),
    }
)
"""Variables that differ between nodes: each node tells its own to what mpirun starts there."""

_OF_A_SHELL = frozenset({"_", "PWD", "OLDPWD", "SHLVL", "TERM", "DISPLAY"})
_NOT_HANDED_ON = re.compile(r"(LAUNCHER|SSH|OMPI|OPAL|ORTE|PMIX|PRTE|XDG)_.*")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./+,@:=-]+")

_MPIRUN = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PYTHONUNBUFFERED": ""}
"""What mpirun finds in its environment: that root may start it, and that Python writes whole lines.

mpirun gives each process a terminal for its stdout, on which Python flushes at every line's end. Unbuffered it would
flush within a line, and mpirun would put the other ranks' pieces between.
"""


def mpi(start: Start) -> Engaged:
    """Start mpirun on worker-0, sshd elsewhere; on one node mpirun for several processes, and plain Python for one."""
    processes, warnings = per_node(start)
    if several(start):
        return _over_nodes(start, processes, warnings)
    program = (start.interpreter, *boot(start))
    if processes == 1:
        return Engaged(launches=(Launch(argv=program),), warnings=warnings)
    argv = ("mpirun", "-np", str(processes), "--host", f"localhost:{processes}", *_manners(start), *program)
    return Engaged(
        launches=(Launch(argv=argv, env=_MPIRUN),),
        per_node=processes,
        folders=(_logs(start),),
        warnings=warnings,
    )


def _over_nodes(start: Start, processes: int, warnings: tuple[str, ...]) -> Engaged:
    here = start.facts.topology
    names, pending = workers(start, "MPI")
    folder = ssh_folder(start)
    own = {name: start.variables[name] for name in sorted(OWN_VARIABLES) if name in start.variables}
    if here.index:
        documents: tuple[Document, ...] = (Document(path=f"{folder}/sshd_config", text=_sshd_config(start, folder)),)
        argv: tuple[str, ...] = (SSHD, "-D", "-e", "-f", f"{folder}/sshd_config")
        env = own  # `launcher.ssh` tells them to those whom it lets in
    else:
        documents = (
            Document(path=f"{folder}/hostfile", text="".join(f"{name} slots={processes}\n" for name in names)),
            Document(path=f"{folder}/ssh_config", text=_ssh_config(start, folder)),
        )
        argv = _mpirun(start, folder, here.workers * processes)
        env = _MPIRUN
    return Engaged(
        launches=(Launch(argv=argv, env=env, rank=here.index),),
        per_node=processes,
        documents=documents,
        folders=(folder, _logs(start)),
        serves=here.index > 0,
        ssh=folder,
        pending=pending,
        warnings=warnings,
    )


def ssh_folder(start: Start) -> str:
    """Where this node's keys lie. Raises PlanError where mpirun could not name it to ssh."""
    folder = f"{start.layout.mount}/.launcher-ssh/worker-{start.facts.topology.index}"
    if not _PLAIN.fullmatch(folder):
        raise PlanError(
            f"{folder} holds characters that mpirun and ssh would take apart",
            code="ssh-folder",
            action="Give --root a folder of letters, digits and . _ + - alone.",
        )
    return folder


def _mpirun(start: Start, folder: str, processes: int) -> tuple[str, ...]:
    interface = training_interface(start.facts)
    networks = ("btl_tcp_if_include", "oob_tcp_if_include") if interface else ()
    return (
        *("mpirun", "-np", str(processes), "--hostfile", f"{folder}/hostfile"),
        *("--mca", "plm", "rsh", "--mca", "plm_rsh_agent", "ssh", "--mca", "plm_rsh_args", f"-F {folder}/ssh_config"),
        # Only worker-0's key opens doors; and a name without its domain is not resolved in a cluster.
        *("--mca", "plm_rsh_no_tree_spawn", "1", "--mca", "orte_keep_fqdn_hostnames", "1"),
        *(token for name in networks for token in ("--mca", name, interface or "")),
        *_manners(start),
        *(token for name in _handed_on(start) for token in ("-x", name)),
        *(start.interpreter, *boot(start)),
    )


def _manners(start: Start) -> tuple[str, ...]:
    """How processes are placed (node by node, free to use all its processors) and where their words go."""
    tags = ("--tag-output",) if start.facts.settings.logs.rank_prefix else ()
    return ("--map-by", "slot", "--bind-to", "none", *tags, "--output-filename", _logs(start))


def _logs(start: Start) -> str:
    return f"{start.layout.log_dir}/mpi"


def _handed_on(start: Start) -> tuple[str, ...]:
    """The variables that worker-0 gives to the processes of other nodes, by name: their values are in no argument."""
    return tuple(
        name
        for name in sorted(start.variables)
        if _NAME.fullmatch(name)
        and name not in OWN_VARIABLES
        and name not in _OF_A_SHELL
        and not _NOT_HANDED_ON.fullmatch(name)
    )


def _ssh_config(start: Start, folder: str) -> str:
    """How worker-0 uses ssh: by this job's keys and no other way. A node that does not listen yet is tried again."""
    return "\n".join(
        (
            "Host *",
            f"  Port {start.facts.settings.ssh_port}",
            f"  IdentityFile {folder}/{KEY}",
            "  IdentitiesOnly yes",
            "  PreferredAuthentications publickey",
            f"  UserKnownHostsFile {folder}/{KNOWN}",
            "  GlobalKnownHostsFile /dev/null",
            "  StrictHostKeyChecking yes",
            "  HostKeyAlgorithms ssh-ed25519",
            "  CheckHostIP no",
            "  BatchMode yes",
            "  ConnectTimeout 10",
            "  ConnectionAttempts 60",
            "  ServerAliveInterval 15",
            "  ServerAliveCountMax 4",
            "  ForwardAgent no",
            "  ForwardX11 no",
            "  ControlMaster no",
            "  ControlPath none",
            "  LogLevel ERROR",
            "",
        )
    )


def _own_address(start: Start) -> tuple[str, ...]:
    """Listen at this node's own address alone where it is one of loopback: other nodes are on the same machine."""
    here = start.facts.topology
    name = here.hosts[here.index] if here.index < len(here.hosts) else ""
    return (f"ListenAddress {name}",) if name.startswith("127.") else ()


def _sshd_config(start: Start, folder: str) -> str:
    """How a node is served by sshd: it lets in worker-0's key and nobody else, by whatever user it runs.

    StrictModes is off because a mount may be writable by a group, which says nothing of this folder: it is its user's
    alone. PermitUserEnvironment lets the node's own variables stand beside the key (`launcher.ssh`); SetEnv, which says
    the same more plainly, is not known to the sshd of older images.
    """
    return "\n".join(
        (
            f"Port {start.facts.settings.ssh_port}",
            *_own_address(start),
            f"HostKey {folder}/{KEY}",
            f"AuthorizedKeysFile {folder}/{AUTHORIZED}",
            "PidFile none",
            "AuthenticationMethods publickey",
            "PubkeyAuthentication yes",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "HostbasedAuthentication no",
            "PermitRootLogin prohibit-password",
            "PermitUserEnvironment yes",
            "StrictModes no",
            "UsePAM no",
            "UseDNS no",
            "AllowAgentForwarding no",
            "AllowTcpForwarding no",
            "X11Forwarding no",
            "PermitTunnel no",
            "PrintMotd no",
            "PrintLastLog no",
            "ClientAliveInterval 15",
            "ClientAliveCountMax 4",
            "LogLevel INFO",
            "",
        )
    )
