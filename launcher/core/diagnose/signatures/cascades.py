"""What follows from a failure elsewhere: a peer that is gone, a collective that waits for it, a starter that says so.

None of these is ever the cause while another process tells one. The first of the table wins among them: what stands
last says least. The texts are those of c10d, NCCL, gloo, HCCL, TensorFlow, torchrun, MindSpore, Horovod, Open MPI.
"""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_LOOK = Words(
    "",
    "Look at the rank or node that failed first: its log has the cause. If none failed, check the network between the "
    "nodes, and whether all ranks make the same calls (uneven data in the last step).",
)
_LOOK_ZH = Words(
    "",
    "请查看最先失败的 rank 或节点的日志，原因在那里；"
    "若都没有失败，请检查节点间网络，以及各 rank 的调用是否一致（末步数据不均）。",
)

TABLE = (
    Signature(
        code="nccl-timeout",
        kind="cascade",
        find=(
            ("Watchdog caught collective operation timeout", ""),
            ("NCCL operations have failed or timed out", ""),
            ("ncclRemoteError", ""),
            ("ncclSystemError", ""),
            ("NCCL communicator was aborted", ""),
            ("Got completion from peer", r"NET/IB : Got completion from peer .{1,80} with (?:error|status)"),
            ("remote process exited or there was a network error", ""),
        ),
        en=Words("NCCL waited for another rank in vain", _LOOK.action),
        zh=Words("NCCL 一直等不到另一个 rank", _LOOK_ZH.action),
    ),
    Signature(
        # CANN EI0006 (socket), EI0002 (notify), EE1002 and 507046 (stream synchronisation)
        code="hccl-timeout",
        kind="cascade",
        find=(
            ("EI0006", r"\bEI0006\b"),
            ("EI0002", r"\bEI0002\b"),
            ("EE1002", r"\bEE1002\b"),
            ("507046", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507046\b"),
            ("Getting socket times out", ""),
            ("Notify register times out", ""),
        ),
        en=Words("HCCL waited for another rank in vain", _LOOK.action),
        zh=Words("HCCL 一直等不到另一个 rank", _LOOK_ZH.action),
    ),
    Signature(
        code="gloo-peer-lost",
        kind="cascade",
        find=(
            ("gloo/transport", ""),
            ("Gloo connectFullMesh failed", ""),
            ("Connection closed by peer", ""),
        ),
        en=Words("gloo lost another rank", _LOOK.action),
        zh=Words("gloo 与另一个 rank 断开", _LOOK_ZH.action),
    ),
    Signature(
        # torch/distributed: TCPStore, rendezvous
        code="rendezvous-timeout",
        kind="cascade",
        find=(
            ("connect() timed out", ""),
            ("waiting for clients", r"[Tt]imed out after [0-9]{1,8} seconds waiting for clients"),
            ("RendezvousTimeoutError", ""),
            ("RendezvousConnectionError", ""),
            ("wait timeout after", r"wait timeout after [0-9]{1,12} ?ms"),
        ),
        en=Words(
            "Not all ranks met in time",
            "See which rank is missing: its node may still be staging, or has failed; its log has the cause. Else "
            "check that worker-0 and its port are reachable, and raise the timeout of init_process_group.",
        ),
        zh=Words(
            "各 rank 未能按时汇合",
            "请查看缺少哪个 rank：其节点可能仍在下载数据，或已失败，原因在其日志中；"
            "否则请确认 worker-0 及其端口可达，并增大 init_process_group 的 timeout。",
        ),
    ),
    Signature(
        code="master-refused",
        kind="cascade",
        find=(
            ("The client socket has failed to connect to", r"failed to connect to \[?(?P<host>[^\]\s]{1,200})"),
            ("Connection refused", r"(?:ConnectionRefusedError.{0,40}|errno: 111 - )(?P<host>Connection refused)"),
            ("failed to connect to all addresses", r"failed to connect to (?P<host>all addresses)"),
        ),
        en=Words(
            "Nothing listens where another process is expected ({host})",
            "See why worker-0 (MASTER_ADDR) does not run: its log has the cause. Else check address and port.",
        ),
        zh=Words(
            "预期有另一进程监听的地址无人监听（{host}）",
            "请查看 worker-0（MASTER_ADDR）为何没有运行，原因在其日志中；否则请检查地址和端口。",
        ),
    ),
    Signature(
        code="peer-lost",
        kind="cascade",
        find=(
            ("Connection reset by peer", ""),
            ("Broken pipe", ""),
            ("BrokenPipeError", ""),
            ("Connection was likely closed", ""),
            ("failed to recv, got 0 bytes", ""),
            ("Socket closed", ""),
            ("Horovod has been shut down", ""),
        ),
        en=Words("Another process closed its connection", _LOOK.action),
        zh=Words("另一进程关闭了连接", _LOOK_ZH.action),
    ),
    Signature(
        code="mpi-process-failed",
        kind="cascade",
        find=(
            ("mpirun noticed that process rank", r"mpirun noticed that process rank (?P<rank>[0-9]{1,6})"),
            ("MPI_ABORT was invoked on rank", r"MPI_ABORT was invoked on rank (?P<rank>[0-9]{1,6})"),
            ("exited with non-zero status", ""),
        ),
        en=Words("mpirun stopped all ranks because one of them failed", "Find that rank's own last lines in the log."),
        zh=Words("某个 rank 失败后，mpirun 终止了所有 rank", "请在日志中查看该 rank 自己的最后几行。"),
    ),
    Signature(
        # torch/distributed/elastic, MindSpore's msrun, torch.multiprocessing
        code="worker-failed",
        kind="cascade",
        find=(
            ("ChildFailedError", ""),
            ("failed (exitcode:", ""),
            ("There's worker exits with exception, kill all other workers", ""),
            ("ProcessExitedException", ""),
            ("exits with return code =", ""),
            ("closing signal SIGTERM", ""),
        ),
        en=Words(
            "A worker process failed, and its starter (torchrun, msrun, spawn) stopped the others",
            "Find that worker's own traceback in the log; torchrun --log-dir keeps one file for each.",
        ),
        zh=Words(
            "某个工作进程失败，启动器（torchrun、msrun、spawn）随后终止了其他进程",
            "请在日志中查看该进程自己的 traceback；torchrun --log-dir 可为每个进程单独保存日志。",
        ),
    ),
    Signature(
        # CANN's inner errors accompany nearly every failure
        code="cann-inner-error",
        kind="cascade",
        find=(
            ("EE9999", r"\bEE9999\b"),
            ("E19999", r"\bE19999\b"),
            ("EI9999", r"\bEI9999\b"),
            ("EZ9999", r"\bEZ9999\b"),
        ),
        en=Words(
            "CANN reports an inner error, which accompanies most failures of NPUs",
            "Read the lines around it and plog (ASCEND_PROCESS_LOG_PATH) for the first error.",
        ),
        zh=Words(
            "CANN 报告内部错误，多数 NPU 故障都会伴随该错误",
            "请查看其前后的日志以及 plog（ASCEND_PROCESS_LOG_PATH）中的第一个错误。",
        ),
    ),
    Signature(
        code="stopped-by-others",
        kind="cascade",
        find=(
            ("SignalException", r"SignalException: Process [0-9]{1,10} got signal: (?:15|1|2)"),
            ("death signal", r"Received (?:15|1|2|SIGTERM|SIGINT|SIGHUP) death signal"),
            ("KeyboardInterrupt", r"^KeyboardInterrupt$"),
            ("terminate called without an active exception", ""),
            ("resource_tracker: There appear to be", ""),
        ),
        en=Words(
            "The process was stopped from outside, or went down while another failed",
            "Look for who stopped it, and at the ranks that ended before it.",
        ),
        zh=Words("进程被外部停止，或因其他进程失败而结束", "请查明是谁停止了它，并查看先于它结束的 rank。"),
    ),
)
