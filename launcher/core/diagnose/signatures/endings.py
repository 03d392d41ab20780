"""What the ways to end mean where no words tell more: signals, the exit codes of a shell, and what stays unknown."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from signal import (
    SIGABRT,
    SIGBUS,
    SIGFPE,
    SIGHUP,
    SIGILL,
    SIGINT,
    SIGKILL,
    SIGPIPE,
    SIGQUIT,
    SIGSEGV,
    SIGTERM,
    SIGXCPU,
    SIGXFSZ,
)

import msgspec

from launcher.core.diagnose.signatures.form import Words


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """One way to end; `{signal}`, `{how}`, `{memory}` and the like are facts of the run."""

    code: str
    en: Words
    zh: Words


OOM = Ending(
    code="oom-killed",
    en=Words(
        "The kernel killed {what} for want of memory: {kills} in this run, memory limit {limit}, peak {peak}",
        "Choose a flavor with more memory or raise the container's memory limit, or lower batch size, num_workers and "
        "what is cached in memory; /dev/shm and /tmp on tmpfs count too.",
    ),
    zh=Words(
        "内核因内存不足杀死了{what}：本次运行共 {kills}，内存上限 {limit}，峰值 {peak}",
        "请选择内存更大的规格或提高容器内存上限，或减小 batch size、num_workers 以及内存缓存；"
        "/dev/shm 和 tmpfs 上的 /tmp 也计入内存。",
    ),
)

_STOPPED = Ending(
    code="terminated",
    en=Words(
        "The boot process was ended by {signal}: somebody else stopped it, not the launcher",
        "Look for who sends it: the boot file's own code, another process of the container, or an operator.",
    ),
    zh=Words(
        "启动进程被 {signal} 终止：由其他方停止，而非启动器",
        "请查明信号的来源：启动文件自身的代码、容器内的其他进程，或运维操作。",
    ),
)

SIGNALS = {
    int(SIGKILL): Ending(
        code="killed",
        en=Words(
            "The boot process was killed ({how}), {memory}",
            "Ask who stops processes on this node: the pod's eviction, the node's own memory (dmesg), an operator, or "
            "the boot file itself.",
        ),
        zh=Words(
            "启动进程被杀死（{how}），{memory}",
            "请查明是谁在该节点上终止进程：pod 驱逐、节点自身内存不足（dmesg）、运维操作，或启动文件自身。",
        ),
    ),
    int(SIGSEGV): Ending(
        code="segfault",
        en=Words(
            "The boot process crashed in native code ({how})",
            "Set PYTHONFAULTHANDLER=1 in the job's variables to see where; suspect packages of C code that were added "
            "or upgraded last, and versions that do not belong together.",
        ),
        zh=Words(
            "启动进程在本地代码中崩溃（{how}）",
            "请在作业环境变量中设置 PYTHONFAULTHANDLER=1 以定位；重点检查最近新增或升级的 C 扩展以及不匹配的版本。",
        ),
    ),
    int(SIGABRT): Ending(
        code="aborted",
        en=Words(
            "The boot process aborted itself ({how}): a library found a state that it cannot go on with",
            "Read the last lines of stderr: they name the library and the check.",
        ),
        zh=Words(
            "启动进程自行中止（{how}）：某个库检测到无法继续的状态",
            "请查看 stderr 的最后几行，其中有库名和检查项。",
        ),
    ),
    int(SIGBUS): Ending(
        code="bus-error",
        en=Words(
            "The boot process was ended by a bus error ({how}): a mapped file or shared memory could not give a page",
            "Look at the size of /dev/shm first (df -h /dev/shm): give the container more of it, or lower num_workers; "
            "then at mapped files that were cut short.",
        ),
        zh=Words(
            "启动进程因总线错误结束（{how}）：映射文件或共享内存无法提供内存页",
            "请先检查 /dev/shm 的大小（df -h /dev/shm）：增大共享内存或减小 num_workers；再检查被截断的映射文件。",
        ),
    ),
    int(SIGILL): Ending(
        code="illegal-instruction",
        en=Words(
            "The boot process executed an instruction that this CPU does not have ({how})",
            "Use builds for this CPU (x86_64 or aarch64, without AVX where it lacks them).",
        ),
        zh=Words(
            "启动进程执行了当前 CPU 不支持的指令（{how}）",
            "请使用适合该 CPU 的版本（x86_64 或 aarch64；CPU 不支持 AVX 时使用不含 AVX 的版本）。",
        ),
    ),
    int(SIGFPE): Ending(
        code="arithmetic-error",
        en=Words(
            "Native code divided by zero or overflowed ({how})",
            "Set PYTHONFAULTHANDLER=1 in the job's variables to see where.",
        ),
        zh=Words("本地代码出现除零或溢出（{how}）", "请在作业环境变量中设置 PYTHONFAULTHANDLER=1 以定位。"),
    ),
    int(SIGPIPE): Ending(
        code="pipe-closed",
        en=Words(
            "The boot process wrote to a pipe or socket that nobody reads any more ({how})",
            "See which process it pipes into (such as head or tee in the command), and why that one ended.",
        ),
        zh=Words(
            "启动进程写入了已无人读取的管道或套接字（{how}）",
            "请检查它输出到哪个进程（例如命令中的 head 或 tee），以及该进程为何结束。",
        ),
    ),
    int(SIGXCPU): Ending(
        code="cpu-time-limit",
        en=Words("The boot process used up its limit of CPU time ({how})", "Raise ulimit -t."),
        zh=Words("启动进程用尽了 CPU 时间上限（{how}）", "请提高 ulimit -t。"),
    ),
    int(SIGXFSZ): Ending(
        code="file-size-limit",
        en=Words("The boot process wrote a file larger than its limit ({how})", "Raise ulimit -f, or write parts."),
        zh=Words("启动进程写入的文件超过大小上限（{how}）", "请提高 ulimit -f，或分文件写入。"),
    ),
    **{int(number): _STOPPED for number in (SIGTERM, SIGINT, SIGHUP, SIGQUIT)},
}

OTHER_SIGNAL = Ending(
    code="boot-killed",
    en=Words("Training failed: the boot process was ended by {signal}", "Read the last lines of the log."),
    zh=Words("训练失败：启动进程被 {signal} 终止", "请查看日志的最后几行。"),
)

CODES = {
    126: Ending(
        code="command-not-executable",
        en=Words(
            "The command's shell ended with 126: a program is there but cannot be executed",
            "Make it executable (chmod +x), begin it with #!, or start it by its interpreter (bash x.sh).",
        ),
        zh=Words(
            "命令的 shell 以 126 结束：程序存在但无法执行",
            "请加可执行权限（chmod +x）、在首行写 #!，或用解释器启动（bash x.sh）。",
        ),
    ),
    127: Ending(
        code="command-missing",
        en=Words(
            "The command's shell ended with 127: it found no such program",
            "Correct the name or PATH in the command, or install the program in the image.",
        ),
        zh=Words("命令的 shell 以 127 结束：找不到程序", "请修改命令中的名称或 PATH，或在镜像中安装该程序。"),
    ),
}

UNKNOWN = Ending(
    code="boot-failed",
    en=Words(
        "Training failed: the boot process ended with {how}{quoted}. Looked at: {looked}",
        "Read the evidence and the last lines of the log.",
    ),
    zh=Words("训练失败：启动进程以{how}结束{quoted}。已查看：{looked}", "请查看下列依据和日志的最后几行。"),
)

LOGGED = Ending(
    code="boot-failed",
    en=Words(
        "The last error in this log is unknown{quoted}. Looked at: {looked}",
        "Read the evidence; the run.json of the run also has its exit status and memory counters.",
    ),
    zh=Words(
        "该日志中的最后一个错误不是已知故障{quoted}。已查看：{looked}",
        "请查看下列依据；该次运行的 run.json 还有其退出状态和内存计数。",
    ),
)

NOTHING = Ending(
    code="nothing-found",
    en=Words(
        "Nothing in this log is known as a failure. Looked at: {looked}",
        "Give the run.json of the run, which has its exit status and memory counters.",
    ),
    zh=Words("该日志中没有已知的故障。已查看：{looked}", "请提供该次运行的 run.json，其中有退出状态和内存计数。"),
)


class Phrases(msgspec.Struct, frozen=True, kw_only=True):
    """The parts that sentences are made of, in one language."""

    code: str
    by_code: str
    quoted: str
    looked: str
    placed: str
    no_status: str
    counted: str
    not_counted: str
    grown: str
    uncounted: str
    no_counters: str
    no_limit: str
    not_told: str
    boot_process: str
    child: str
    kills: str
    first: str
    ranked: str
    follows: str
    beside: str
    nobody: str


PHRASES = {
    "en": Phrases(
        code="exit code {code}",
        by_code="exit code {code}, {signal}",
        quoted=": {final}",
        placed=": {final} at {place}",
        looked="{status}, {memory}, the last {stderr} lines of stderr and {stdout} of stdout, {count} known failures",
        no_status="no exit status",
        counted="memory counters",
        not_counted="no memory counters",
        grown="the kernel counted {kills} in this run, peak {peak} of limit {limit}",
        uncounted="not by this container's memory limit: no OOM kill was counted (limit {limit}; peak of the "
        "container, from its making on: {peak})",
        no_counters="the node tells no counters of memory kills, so want of memory is neither shown nor ruled out",
        no_limit="none",
        not_told="not told",
        boot_process="the boot process",
        child="a process of the job",
        kills="{count} OOM kill(s)",
        first="Rank {rank} failed first: {message}",
        ranked="Rank {rank}: {message}",
        follows="rank {rank} ended with {how} ({code}): it follows from another failure",
        beside="rank {rank} ended with {how} ({code})",
        nobody="unknown",
    ),
    "zh": Phrases(
        code="退出码 {code}",
        by_code="退出码 {code}，{signal}",
        quoted="：{final}",
        placed="：{final}，位于 {place}",
        looked="{status}、{memory}、stderr 最后 {stderr} 行和 stdout 最后 {stdout} 行、{count} 种已知故障",
        no_status="无退出状态",
        counted="内存计数",
        not_counted="无内存计数",
        grown="内核在本次运行中记录了 {kills}，峰值 {peak}，上限 {limit}",
        uncounted="并非本容器的内存上限所致：没有 OOM kill 计数（上限 {limit}；容器创建以来的峰值 {peak}）",
        no_counters="节点没有提供内存终止计数，无法判断是否为内存不足",
        no_limit="无",
        not_told="未提供",
        boot_process="启动进程",
        child="作业的某个进程",
        kills="{count} 次 OOM kill",
        first="rank {rank} 最先失败：{message}",
        ranked="rank {rank}：{message}",
        follows="rank {rank} 以{how}结束（{code}）：由其他故障引起",
        beside="rank {rank} 以{how}结束（{code}）",
        nobody="未知",
    ),
}
