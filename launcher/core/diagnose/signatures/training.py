"""What goes wrong inside a training: data loaders, checkpoints, models, the set-up of several processes.

The texts are those of PyTorch (torch/utils/data, torch/distributed, c10d), NCCL, Open MPI.
"""
# ruff: noqa: RUF001, S108 - Chinese punctuation; /dev/shm is what the texts name

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_WORKERS = (
    Signature(
        # torch/utils/data/_utils/signal_handling.py, ATen/MapAllocator.cpp
        code="shared-memory",
        find=(
            ("insufficient shared memory (shm)", ""),
            ("unable to allocate shared memory(shm)", ""),
            ("unable to open shared memory object", ""),
            ("unable to write to file </torch_", ""),
            ("unable to mmap", r"unable to mmap [0-9]{1,20} bytes from file </torch_"),
            ("is killed by signal: Bus error", ""),
            ("/dev/shm", r"No space left on device.{0,100}/dev/shm|/dev/shm.{0,200}No space left on device"),
        ),
        en=Words(
            "Shared memory (/dev/shm) is used up: DataLoader workers hand their batches over through it",
            "Lower num_workers or the batch size, give the container more shared memory (docker --shm-size; in "
            "Kubernetes an emptyDir of medium Memory at /dev/shm).",
        ),
        zh=Words(
            "共享内存（/dev/shm）已用尽：DataLoader 的工作进程通过它传递批数据",
            "请减小 num_workers 或 batch size，或增大容器共享内存（docker --shm-size；Kubernetes 在 /dev/shm 挂载 "
            "medium 为 Memory 的 emptyDir）。",
        ),
    ),
    Signature(
        code="dataloader-killed",
        find=(
            (
                "DataLoader worker",
                (
                    r"DataLoader worker \(pid(?:\(s\))? (?P<pid>[0-9, ]{1,60})\) "
                    r"(?:is killed by signal: Killed|exited unexpectedly)"
                ),
            ),
        ),
        en=Words(
            "A DataLoader worker (pid {pid}) was killed or ended unexpectedly; {memory}",
            "Lower num_workers and prefetch_factor, and load data on demand; with num_workers=0 the worker's own error "
            "becomes visible.",
        ),
        zh=Words(
            "DataLoader 工作进程（pid {pid}）被杀死或意外退出；{memory}",
            "请减小 num_workers 和 prefetch_factor，按需加载数据；设 num_workers=0 可看到工作进程自身的错误。",
        ),
    ),
    Signature(
        code="worker-crashed",
        find=(
            (
                "DataLoader worker",
                r"DataLoader worker \(pid(?:\(s\))? [0-9, ]{1,60}\) is killed by signal: (?P<how>[\w ]{1,40})",
            ),
            ("Signal 11 (SIGSEGV)", r"(?P<how>Signal 11 \(SIGSEGV\))"),
            ("terminated with signal SIGSEGV", r"(?P<how>signal SIGSEGV)"),
            ("on signal 11 (Segmentation fault)", r"(?P<how>signal 11 \(Segmentation fault\))"),
        ),
        en=Words(
            "A worker process of the boot file crashed: {how}",
            "Set PYTHONFAULTHANDLER=1 in the job's variables to see its stack; suspect packages of C code that were "
            "built for other versions.",
        ),
        zh=Words(
            "启动文件的工作进程崩溃：{how}",
            "请在作业环境变量中设置 PYTHONFAULTHANDLER=1 以查看其调用栈；重点检查为其他版本编译的 C 扩展。",
        ),
    ),
    Signature(
        # torchrun, torch.multiprocessing.spawn, DeepSpeed, subprocess, concurrent.futures, Open MPI, bash
        code="worker-killed",
        find=(
            (
                "SIGKILL",
                r"(?P<how>Signal 9 \(SIGKILL\)|terminated with signal SIGKILL|died with <Signals\.SIGKILL: 9>)",
            ),
            ("return code = -9", r"(?P<how>return code = -9)\b"),
            ("on signal 9 (Killed)", r"(?P<how>on signal 9 \(Killed\))"),
            ("exitcode", r"(?P<how>exitcode {0,4}: -9)\b"),
            ("process pool", r"(?P<how>process in the process pool was terminated abruptly)"),
            (" Killed ", r": line [0-9]{1,6}: {1,4}[0-9]{1,10} (?P<how>Killed)\b"),
        ),
        en=Words(
            "A process that the boot file started was killed ({how}); {memory}",
            "Lower memory use per process if that may be it; else ask who stops processes on this node.",
        ),
        zh=Words(
            "启动文件所启动的进程被杀死（{how}）；{memory}",
            "若可能是内存原因，请降低每个进程的内存用量；否则请查明是谁在该节点上终止了进程。",
        ),
    ),
)

_MODELS = (
    Signature(
        code="checkpoint-mismatch",
        find=(("Error(s) in loading state_dict for", r"Error\(s\) in loading state_dict for (?P<model>[\w.]{1,100})"),),
        en=Words(
            "The checkpoint does not fit the model {model}",
            "Build the model with the settings of the checkpoint; keys that begin with 'module.' come from "
            "DistributedDataParallel and must lose that prefix.",
        ),
        zh=Words(
            "检查点与模型 {model} 不匹配",
            "请按检查点的配置构建模型；以 'module.' 开头的键来自 DistributedDataParallel，需去掉该前缀。",
        ),
    ),
    Signature(
        code="checkpoint-broken",
        find=(
            ("PytorchStreamReader failed", ""),
            ("UnpicklingError: invalid load key", ""),
            ("UnpicklingError: pickle data was truncated", ""),
            ("The file might be corrupted", ""),
            ("EOFError: Ran out of input", ""),
            ("Error while deserializing header", ""),
            ("file signature not found", ""),
        ),
        en=Words(
            "A checkpoint or data file is cut off or is no such file at all",
            "Compare its size with that in the store; load an earlier checkpoint, and write new ones under a temporary "
            "name that is renamed when whole.",
        ),
        zh=Words(
            "检查点或数据文件不完整，或格式不对",
            "请与对象存储中的大小对照；加载较早的检查点，并先以临时名称写入、完整后再改名。",
        ),
    ),
    Signature(
        code="weights-only",
        find=(("Weights only load failed", ""),),
        en=Words(
            "torch.load refuses the file: since PyTorch 2.6 it loads weights only, and this one holds other objects",
            "Pass weights_only=False for files that you trust, or save model.state_dict() alone.",
        ),
        zh=Words(
            "torch.load 拒绝加载该文件：PyTorch 2.6 起默认只加载权重，而该文件含有其他对象",
            "对可信文件请传入 weights_only=False，或只保存 model.state_dict()。",
        ),
    ),
    Signature(
        code="tensor-devices",
        find=(("Expected all tensors to be on the same device", ""),),
        en=Words(
            "Tensors of one operation lie on different devices",
            "Move the model, inputs and buffers to one device with .to(device); register constants as buffers.",
        ),
        zh=Words(
            "同一运算的张量位于不同设备",
            "请用 .to(device) 将模型、输入和缓冲区移到同一设备；常量请注册为 buffer。",
        ),
    ),
    Signature(
        code="tensor-shapes",
        find=(
            ("shapes cannot be multiplied", r"(?P<shapes>mat1 and mat2 shapes cannot be multiplied.{0,60})"),
            ("must match the size of tensor b", r"(?P<shapes>The size of tensor a .{1,120})"),
            ("Sizes of tensors must match", r"(?P<shapes>Sizes of tensors must match.{0,120})"),
        ),
        en=Words("Shapes of tensors do not fit: {shapes}", "Print the shapes before the line that the evidence names."),
        zh=Words("张量形状不匹配：{shapes}", "请在下列依据所指的行之前打印各张量的形状。"),
    ),
    Signature(
        code="unused-parameters",
        find=(("Expected to have finished reduction in the prior iteration", ""),),
        en=Words(
            "DistributedDataParallel waits for gradients of parameters that took no part in the loss",
            "Pass find_unused_parameters=True, or see that every output of forward() goes into the loss.",
        ),
        zh=Words(
            "DistributedDataParallel 在等待未参与损失计算的参数的梯度",
            "请传入 find_unused_parameters=True，或确保 forward() 的所有输出都参与损失计算。",
        ),
    ),
    Signature(
        code="compiler-missing",
        find=(
            ("Failed to find C compiler", ""),
            ("unable to execute 'gcc'", ""),
            ("command 'gcc' failed: No such file", ""),
            ("command 'x86_64-linux-gnu-gcc' failed: No such file", ""),
            ("CUDA_HOME environment variable is not set", ""),
            ("Ninja is required to load C++ extensions", ""),
        ),
        en=Words(
            "Something is to be compiled, and the image lacks the compiler for it",
            "Take an image with gcc, ninja and (for CUDA code) nvcc with CUDA_HOME, or wheels that are built already.",
        ),
        zh=Words(
            "需要编译代码，而镜像中缺少相应的编译器",
            "请使用带有 gcc、ninja 以及（CUDA 代码所需的）nvcc 和 CUDA_HOME 的镜像，或使用已编译好的 wheel。",
        ),
    ),
)

_SETUP = (
    Signature(
        # torch/distributed/rendezvous.py
        code="rendezvous-variable",
        find=(("expected, but not set", r"environment variable (?P<variable>[A-Z_]{1,60}) expected, but not set"),),
        en=Words(
            "torch.distributed is to be set up from the environment, and {variable} is not set",
            "Start the boot file by torchrun, or use the platform's --init_method, --rank and --world_size.",
        ),
        zh=Words(
            "torch.distributed 要从环境变量初始化，但没有设置 {variable}",
            "请用 torchrun 启动，或使用平台传入的 --init_method、--rank 和 --world_size。",
        ),
    ),
    Signature(
        code="nccl-interface",
        find=(("no socket interface found", ""),),
        en=Words(
            "NCCL finds no network interface of the name that NCCL_SOCKET_IFNAME gives",
            "Set NCCL_SOCKET_IFNAME to an interface that every node has (ip -br addr), or leave it unset.",
        ),
        zh=Words(
            "NCCL 找不到 NCCL_SOCKET_IFNAME 指定的网络接口",
            "请将 NCCL_SOCKET_IFNAME 设为每个节点都有的接口（ip -br addr），或不设置。",
        ),
        early=True,
    ),
    Signature(
        code="nccl-duplicate-gpu",
        find=(("Duplicate GPU detected", ""),),
        en=Words(
            "Two ranks use the same GPU",
            "Call torch.cuda.set_device(int(os.environ['LOCAL_RANK'])) first, and start no more processes than GPUs.",
        ),
        zh=Words(
            "两个 rank 使用了同一块 GPU",
            "请先调用 torch.cuda.set_device(int(os.environ['LOCAL_RANK']))，并且进程数不要超过 GPU 数。",
        ),
        early=True,
    ),
    Signature(
        code="nccl-missing",
        find=(("Distributed package doesn't have NCCL", ""), ("have NCCL built in", "")),
        en=Words(
            "The installed PyTorch has no NCCL: it is a build for CPUs or another system",
            "Use the build for CUDA, or backend='gloo' on CPUs and 'hccl' with torch_npu on NPUs.",
        ),
        zh=Words(
            "已安装的 PyTorch 不含 NCCL：它是 CPU 版本或其他系统的版本",
            "请使用 CUDA 版本；CPU 上用 backend='gloo'，NPU 上用 torch_npu 的 'hccl'。",
        ),
    ),
    Signature(
        code="mpi-as-root",
        find=(("mpirun has detected an attempt to run as root", ""),),
        en=Words(
            "Open MPI does not run as root",
            "Set OMPI_ALLOW_RUN_AS_ROOT=1 and OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1, or run as another user.",
        ),
        zh=Words(
            "Open MPI 不允许以 root 运行",
            "请设置 OMPI_ALLOW_RUN_AS_ROOT=1 和 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1，或改用其他用户。",
        ),
    ),
    Signature(
        code="mpi-slots",
        find=(("There are not enough slots available in the system", ""),),
        en=Words(
            "mpirun is to start more processes than the nodes have slots",
            "Lower -np, or give slots=N in the hostfile as many as each node has devices.",
        ),
        zh=Words("mpirun 要启动的进程数超过了节点的 slots", "请减小 -np，或在 hostfile 中按设备数设置 slots=N。"),
    ),
    Signature(
        code="mpi-daemons",
        find=(("ORTE was unable to reliably start one or more daemons", ""),),
        en=Words(
            "mpirun could not start its daemon on another node",
            "Check that sshd runs there, the key is accepted, and Open MPI lies at the same path on every node.",
        ),
        zh=Words(
            "mpirun 无法在另一节点上启动其守护进程",
            "请确认该节点的 sshd 正在运行、密钥可用，并且各节点上 Open MPI 路径一致。",
        ),
    ),
)

TABLE = (*_WORKERS, *_MODELS, *_SETUP)
