"""NPUs. The texts are those of torch_npu and MindSpore, the codes those of CANN's runtime (ACL_ERROR_RT_*, E*nnnn)."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

TABLE = (
    Signature(
        # torch_npu's allocator, MindSpore's memory pool, CANN EL0004
        code="npu-memory",
        find=(
            ("NPU out of memory", ""),
            ("memory isn't enough and alloc failed", ""),
            ("EL0004", r"\bEL0004\b"),
        ),
        en=Words(
            "The memory of the NPU is used up",
            "Lower the batch size, use recomputation or more NPUs; see with npu-smi info whether another process holds "
            "memory of it.",
        ),
        zh=Words("NPU 内存已用尽", "请减小 batch size、使用重计算或增加 NPU；用 npu-smi info 查看是否有其他进程占用。"),
    ),
    Signature(
        code="npu-ecc",
        find=(
            ("HBM_MULTI_BIT_ECC", ""),
            ("507054", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507054\b"),
            ("UCE ERROR", ""),
        ),
        en=Words(
            "The NPU reports a memory error that cannot be corrected: the hardware is at fault",
            "Start the job again on another node and have this one taken out of the pool (npu-smi info -t ecc).",
        ),
        zh=Words(
            "NPU 报告了无法纠正的内存错误：硬件故障",
            "请换一个节点重新启动作业，并将该节点移出资源池（npu-smi info -t ecc）。",
        ),
        early=True,
    ),
    Signature(
        # CANN: ACL_ERROR_RT_AICORE_EXCEPTION and its siblings of AI CPU and vector core
        code="npu-kernel",
        find=(
            ("507015", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507015\b"),
            ("507018", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507018\b"),
            ("507035", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507035\b"),
            ("507014", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507014\b"),
            ("aicore exception", ""),
            ("The aicore execution is abnormal", ""),
        ),
        en=Words(
            "An operator failed on the NPU",
            "Look into plog (ASCEND_PROCESS_LOG_PATH) for the operator's name; check its inputs for bad indices and "
            "NaN, and that CANN, driver and framework belong together.",
        ),
        zh=Words(
            "算子在 NPU 上执行失败",
            "请在 plog（ASCEND_PROCESS_LOG_PATH）中查找算子名称；检查其输入是否有越界下标和 NaN，"
            "并确认 CANN、驱动与框架版本配套。",
        ),
        early=True,
    ),
    Signature(
        # CANN EI0004, EI0001: the cluster's own description is wrong, no peer is at fault
        code="rank-table-invalid",
        find=(("EI0004", r"\bEI0004\b"), ("EI0001", r"\bEI0001\b"), ("EI0005", r"\bEI0005\b")),
        en=Words(
            "HCCL refuses the description of the cluster: rank table, environment or arguments differ between ranks",
            "Compare RANK_TABLE_FILE, RANK_ID, RANK_SIZE and the order of collective calls of all ranks.",
        ),
        zh=Words(
            "HCCL 拒绝集群描述：各 rank 的 rank table、环境变量或通信参数不一致",
            "请核对所有 rank 的 RANK_TABLE_FILE、RANK_ID、RANK_SIZE 以及集合通信的调用顺序。",
        ),
        early=True,
    ),
    Signature(
        code="hccl-port",
        find=(("EJ0001", r"\bEJ0001\b"),),
        en=Words(
            "HCCP, the network service of the NPU, could not be initialised: another process uses this NPU",
            "End what a former job left on the node (npu-smi info shows it), or start the job on another node.",
        ),
        zh=Words(
            "NPU 的网络服务 HCCP 初始化失败：该 NPU 被其他进程占用",
            "请结束节点上残留的进程（npu-smi info 可查看），或换一个节点启动作业。",
        ),
        early=True,
    ),
    Signature(
        code="no-npu",
        find=(
            ("open device", r"[Oo]pen device ?[0-9]{1,3} failed"),
            ("ascend_hal device count", ""),
            ("507033", r"(?:error ?code|ret(?:code)?|errno|err)[^0-9]{0,20}507033\b"),
            ("No NPUs are available", ""),
        ),
        en=Words(
            "The process cannot open an NPU",
            "Choose an Ascend flavor, leave ASCEND_RT_VISIBLE_DEVICES to the platform, and check with npu-smi "
            "info that no other process holds it.",
        ),
        zh=Words(
            "进程无法打开 NPU",
            "请选择昇腾规格，不要修改平台设置的 ASCEND_RT_VISIBLE_DEVICES，并用 npu-smi info 确认没有被其他进程占用。",
        ),
        early=True,
    ),
)
