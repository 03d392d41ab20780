"""Files, disks, memory of the host, limits of the kernel. The texts are those of Python's OSError, libc and shells."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_PATH = r"(?P<path>[^'\"]{1,300})"
_GONE = r"(?:No such file or directory|not found|does not exist|cannot find)[^'\"]{0,40}['\"]?"

_PLACES = (
    Signature(
        # UMN troubleshooting, "No such file or directory": OBS paths in code
        code="obs-path",
        find=(
            (
                "obs://",
                rf"{_GONE}(?P<path>obs:/{{1,2}}[^\s'\"]{{1,300}})",
            ),
            (
                "s3://",
                rf"{_GONE}(?P<path>s3:/{{1,2}}[^\s'\"]{{1,300}})",
            ),
            ("obs:/", r"No such file or directory[^'\"]{0,40}'(?P<path>[^']{0,200}obs:/[^']{1,300})'"),
        ),
        en=Words(
            "The code opens {path} as a file, but the object store is no file system",
            "Make it an input of the job and read the local folder at the channel's argument (such as --data_url), "
            "not obs://; write to the folder of an output channel.",
        ),
        zh=Words(
            "代码把 {path} 当作文件打开，但对象存储不是文件系统",
            "请将其设为作业的输入，并读取该通道参数（如 --data_url）给出的本地目录，而不是 obs://；结果请写入输出通道的目录。",
        ),
    ),
    Signature(
        # FAQ, "Switching from old to new": the folders of the former generation
        code="old-path",
        find=(("/home/work", r"No such file or directory:? ?'?(?P<path>/home/work[^'\"]{0,300})"),),
        en=Words(
            "{path} is a folder of the former generation of training jobs and is not made any more",
            "Take the folders from the arguments of inputs and outputs, and MA_JOB_DIR for the code.",
        ),
        zh=Words(
            "{path} 是旧版训练作业的目录，现在不再提供",
            "请使用输入、输出参数给出的目录，代码目录请使用 MA_JOB_DIR。",
        ),
    ),
    Signature(
        code="line-ends",
        find=(("^M: bad interpreter", ""), ("$'\\r': command not found", ""), ("/env: ‘bash\\r’", "")),
        en=Words(
            "A script has the line ends of Windows",
            "Save it with the line ends of Unix (dos2unix, or sed -i 's/\\r$//' FILE) and upload it again.",
        ),
        zh=Words(
            "脚本使用了 Windows 换行符",
            "请将其保存为 Unix 换行符（dos2unix，或 sed -i 's/\\r$//' 文件名）后重新上传。",
        ),
    ),
    Signature(
        code="file-missing",
        find=(
            ("No such file or directory", rf"FileNotFoundError: .{{0,200}}No such file or directory: b?['\"]{_PATH}"),
            ("FileNotFoundError", r"FileNotFoundError: (?P<path>.{1,200})"),
            ("No such file or directory", r"(?:^|: )(?P<path>[^\s:]{1,300}): No such file or directory$"),
        ),
        en=Words(
            "A file is not there: {path}",
            "Compare it with the folders that launcher preview shows: inputs lie in the folder of their channel's "
            "argument, code below MA_JOB_DIR; paths that are not absolute begin at the working directory.",
        ),
        zh=Words(
            "文件不存在：{path}",
            "请与 launcher preview 列出的目录对照：输入位于其通道参数给出的目录，"
            "代码位于 MA_JOB_DIR 下；相对路径从工作目录算起。",
        ),
    ),
    Signature(
        # UMN troubleshooting, "Permission denied"
        code="permission-denied",
        find=(
            ("ermission denied", rf"PermissionError: .{{0,100}}ermission denied: b?['\"]{_PATH}"),
            ("ermission denied", r"(?:^|: )(?P<path>[^\s:]{1,300}): [Pp]ermission denied"),
            ("Operation not permitted", rf"PermissionError: .{{0,100}}Operation not permitted: b?['\"]{_PATH}"),
        ),
        en=Words(
            "The operating system refuses {path} to uid {uid}",
            "Write only to the folders of outputs, /cache and /tmp; give a mounted folder to uid {uid} (chown on the "
            "file server), and make scripts executable (chmod +x) or start them with bash.",
        ),
        zh=Words(
            "操作系统拒绝 uid {uid} 访问 {path}",
            "请只写入输出目录、/cache 和 /tmp；挂载的目录请在文件服务器上将属主改为 uid {uid}；"
            "脚本请加可执行权限（chmod +x）或用 bash 启动。",
        ),
    ),
    Signature(
        code="read-only",
        find=(("Read-only file system", ""),),
        en=Words(
            "The code writes where the file system is read-only",
            "Write to the folder of an output channel, to /cache or to /tmp (TMPDIR).",
        ),
        zh=Words("代码写入了只读文件系统", "请写入输出通道的目录、/cache 或 /tmp（TMPDIR）。"),
    ),
    Signature(
        # a full /dev/shm shows in other words; see the table of PyTorch
        code="no-space",
        find=(
            ("No space left on device", rf"No space left on device: b?['\"]{_PATH}"),
            ("No space left on device", r"['\" :](?P<path>/[^\s'\":]{1,300})['\"]?: No space left on device"),
        ),
        en=Words(
            "No space is left on the file system of {path}",
            "Write to /cache (the largest disk), delete old checkpoints and unpacked archives, set TMPDIR=/cache/tmp; "
            "df -h and df -i tell whether bytes or inodes are used up.",
        ),
        zh=Words(
            "{path} 所在的文件系统没有剩余空间",
            "请写入 /cache（容量最大的磁盘），删除旧检查点和解压后的文件，并设置 TMPDIR=/cache/tmp；"
            "用 df -h 和 df -i 查看耗尽的是空间还是 inode。",
        ),
        early=True,
    ),
    Signature(
        code="no-space",
        find=(("No space left on device", ""),),
        en=Words(
            "A file system is full; the text does not tell which",
            "See df -h and df -i on the node; write to /cache (the largest disk) and set TMPDIR=/cache/tmp.",
        ),
        zh=Words(
            "某个文件系统已满，日志没有说明是哪一个",
            "请在节点上查看 df -h 和 df -i；写入 /cache（容量最大的磁盘），并设置 TMPDIR=/cache/tmp。",
        ),
        early=True,
    ),
    Signature(
        code="disk-quota",
        find=(("Disk quota exceeded", ""),),
        en=Words(
            "The quota of a file system is used up",
            "Delete what is not needed there, or have the quota raised (SFS, home folder).",
        ),
        zh=Words("文件系统的配额已用尽", "请删除不需要的文件，或申请提高配额（SFS、家目录）。"),
    ),
    Signature(
        # NFS: the file was replaced on the server while it was open
        code="stale-file",
        find=(("Stale file handle", ""), ("Stale NFS file handle", "")),
        en=Words(
            "A file on a network file system was deleted or replaced while it was open",
            "Let no other job write to this folder during the training, then start the job again.",
        ),
        zh=Words(
            "网络文件系统上的文件在打开期间被删除或替换",
            "训练期间请勿让其他作业写入该目录，然后重新启动作业。",
        ),
    ),
    Signature(
        code="io-error",
        find=(("Input/output error", r"(?:OSError: \[Errno 5\] |: )Input/output error"),),
        en=Words(
            "The operating system could not read or write a disk or a mounted file system",
            "Start the job again on another node; if it happens there too, the mounted file system is at fault.",
        ),
        zh=Words(
            "操作系统无法读写磁盘或挂载的文件系统",
            "请换一个节点重新启动作业；若仍然出现，则是挂载的文件系统有故障。",
        ),
    ),
    Signature(
        code="command-missing",
        find=(("command not found", r"(?:^|: )(?P<program>[^\s:]{1,200}): command not found"),),
        en=Words(
            "The shell finds no program {program}",
            "Install it in the image, correct its name, or write its full path; PATH is that of launcher preview.",
        ),
        zh=Words(
            "shell 找不到程序 {program}",
            "请在镜像中安装该程序、修改其名称，或写出完整路径；PATH 可用 launcher preview 查看。",
        ),
    ),
)

_LIMITS = (
    Signature(
        code="too-many-open-files",
        find=(("Too many open files", ""), ("received 0 items of ancdata", "")),
        en=Words(
            "The process has too many files open",
            "Close files after use, lower num_workers, or call torch.multiprocessing.set_sharing_strategy("
            "'file_system'); the limit is ulimit -n.",
        ),
        zh=Words(
            "进程打开的文件过多",
            "请在使用后关闭文件、减小 num_workers，或调用 torch.multiprocessing.set_sharing_strategy('file_system')；"
            "上限见 ulimit -n。",
        ),
    ),
    Signature(
        code="too-many-threads",
        find=(
            ("can't start new thread", ""),
            ("pthread_create failed", ""),
            ("Thread creation failed", ""),
            ("fork: retry: Resource temporarily unavailable", ""),
            ("[Errno 11] Resource temporarily unavailable", ""),
        ),
        en=Words(
            "No further thread or process may be started here",
            "Set OMP_NUM_THREADS=1 and lower num_workers; raise the pod's limit of processes (pids) or ulimit -u.",
        ),
        zh=Words(
            "无法再创建线程或进程",
            "请设置 OMP_NUM_THREADS=1 并减小 num_workers；或提高 pod 的进程数上限（pids）或 ulimit -u。",
        ),
    ),
    Signature(
        # numpy, glibc++, c10/core/impl/alloc_cpu.cpp
        code="host-memory",
        find=(
            ("Unable to allocate", r"Unable to allocate (?P<size>[0-9.]{1,20} [KMGTPE]?i?B)"),
            ("can't allocate memory: you tried to allocate", r"tried to allocate (?P<size>[0-9]{1,20} bytes)"),
        ),
        en=Words(
            "The host's memory could not give {size}; {memory}",
            "Load data in parts (np.memmap, a Dataset that reads on demand), lower batch size and num_workers, or "
            "choose a flavor with more memory.",
        ),
        zh=Words(
            "主机内存无法分配 {size}；{memory}",
            "请分块加载数据（np.memmap、按需读取的 Dataset），减小 batch size 和 num_workers，或选择内存更大的规格。",
        ),
    ),
    Signature(
        code="host-memory",
        find=(
            ("MemoryError", r"^(?:\w{1,40}\.){0,8}_?(?:Array)?MemoryError\b"),
            ("std::bad_alloc", ""),
            ("Cannot allocate memory", r"\[Errno 12\] Cannot allocate memory|: Cannot allocate memory$"),
        ),
        en=Words(
            "The process could get no more of the host's memory; {memory}",
            "Load data in parts, lower batch size and num_workers, or choose a flavor with more memory.",
        ),
        zh=Words(
            "进程无法再获得主机内存；{memory}",
            "请分块加载数据，减小 batch size 和 num_workers，或选择内存更大的规格。",
        ),
    ),
)

TABLE = (*_PLACES, *_LIMITS)
