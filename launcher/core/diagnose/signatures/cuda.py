"""GPUs. The texts are those of the CUDA runtime, NVIDIA's driver, PyTorch (c10/cuda) and TensorFlow."""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_SAID = r"^(?!.{0,2000}failed call to cuInit)"
"""TensorFlow says so on every node without a GPU, and goes on."""

TABLE = (
    Signature(
        # PyTorch c10/cuda/CUDACachingAllocator
        code="gpu-memory",
        find=(
            ("CUDA out of memory", r"CUDA out of memory\. Tried to allocate (?P<size>[0-9.]{1,20} [KMGT]?i?B)"),
            ("OOM when allocating tensor", r"OOM when allocating (?P<size>tensor with shape ?\[[0-9, ]{0,100}\])"),
        ),
        en=Words(
            "The memory of the GPU is used up: {size} more were not to be had",
            "Lower the batch size or the sequence length, use gradient accumulation, checkpointing or mixed precision; "
            "PYTORCHTABLE_ALLOC_CONF=expandable_segments:True helps against fragmentation.",
        ),
        zh=Words(
            "GPU 显存已用尽：无法再分配 {size}",
            "请减小 batch size 或序列长度，使用梯度累积、重计算或混合精度；"
            "显存碎片可用 PYTORCHTABLE_ALLOC_CONF=expandable_segments:True 缓解。",
        ),
    ),
    Signature(
        code="gpu-memory",
        find=(
            ("CUDA error: out of memory", ""),
            ("CUDA out of memory", ""),
            ("CUDA_ERROR_OUT_OF_MEMORY", ""),
            ("cudaErrorMemoryAllocation", ""),
            ("CUBLAS_STATUS_ALLOC_FAILED", ""),
        ),
        en=Words(
            "The memory of the GPU is used up",
            "Lower the batch size; see with nvidia-smi whether another process holds memory of this GPU.",
        ),
        zh=Words("GPU 显存已用尽", "请减小 batch size，并用 nvidia-smi 查看是否有其他进程占用该 GPU 的显存。"),
    ),
    Signature(
        # UMN troubleshooting, "ECC error"
        code="gpu-ecc",
        find=(
            ("uncorrectable ECC error", ""),
            ("CUDA_ERROR_ECC_UNCORRECTABLE", ""),
            ("uncorrectable NVLink error", ""),
        ),
        en=Words(
            "The GPU reports a memory or link error that cannot be corrected: the hardware is at fault",
            "Start the job again on another node and have this one taken out of the pool (nvidia-smi -q -d ECC).",
        ),
        zh=Words(
            "GPU 报告了无法纠正的显存或链路错误：硬件故障",
            "请换一个节点重新启动作业，并将该节点移出资源池（nvidia-smi -q -d ECC）。",
        ),
        early=True,
    ),
    Signature(
        code="gpu-lost",
        find=(
            ("has fallen off the bus", ""),
            ("Unable to determine the device handle for", ""),
            ("GPU is lost", ""),
            ("CUDA error: hardware stack error", ""),
        ),
        en=Words(
            "A GPU is no longer reachable: the hardware or its driver is at fault",
            "Start the job again on another node and have this one looked at (dmesg shows Xid messages).",
        ),
        zh=Words(
            "GPU 已无法访问：硬件或驱动故障",
            "请换一个节点重新启动作业，并检查该节点（dmesg 中有 Xid 消息）。",
        ),
        early=True,
    ),
    Signature(
        code="cuda-assert",
        find=(("device-side assert triggered", ""), ("CUDA_ERROR_ASSERT", "")),
        en=Words(
            "A check inside a CUDA kernel failed, most often an index or a class label out of range",
            "Check labels against the number of classes and ids against the size of the embedding; "
            "CUDA_LAUNCH_BLOCKING=1 or a run on the CPU names the line.",
        ),
        zh=Words(
            "CUDA 核函数内的检查失败，通常是下标或类别标签越界",
            "请核对标签与类别数、id 与词表大小；设置 CUDA_LAUNCH_BLOCKING=1 或在 CPU 上运行可定位到行。",
        ),
    ),
    Signature(
        code="cuda-illegal-access",
        find=(
            ("an illegal memory access was encountered", ""),
            ("CUDA_ERROR_ILLEGAL_ADDRESS", ""),
            ("CUDA error: misaligned address", ""),
            ("CUDA error: unspecified launch failure", ""),
            ("CUDA_ERROR_LAUNCH_FAILED", ""),
        ),
        en=Words(
            "A CUDA kernel touched memory that is not its own",
            "Run once with CUDA_LAUNCH_BLOCKING=1 to see which call it is; update or leave out custom extensions.",
        ),
        zh=Words(
            "CUDA 核函数访问了非法显存地址",
            "请设置 CUDA_LAUNCH_BLOCKING=1 运行一次以定位调用；升级或去掉自定义扩展。",
        ),
    ),
    Signature(
        code="device-ordinal",
        find=(("invalid device ordinal", ""), ("CUDA_ERROR_INVALID_DEVICE", "")),
        en=Words(
            "The code asks for a GPU with a number that this node does not have",
            "Use LOCAL_RANK as the device's number, leave CUDA_VISIBLE_DEVICES alone, or choose a flavor with "
            "more GPUs.",
        ),
        zh=Words(
            "代码使用了本节点上不存在的 GPU 编号",
            "请以 LOCAL_RANK 作为设备编号，不要修改 CUDA_VISIBLE_DEVICES，或选择 GPU 更多的规格。",
        ),
    ),
    Signature(
        # PyTorch torch/cuda/__init__.py: a wheel without CUDA
        code="torch-without-cuda",
        find=(("Torch not compiled with CUDA enabled", ""),),
        en=Words(
            "The installed PyTorch is the build for CPUs",
            "Leave torch out of pip-requirements.txt so that the image's own stays, or name the build for this CUDA.",
        ),
        zh=Words(
            "已安装的 PyTorch 是 CPU 版本",
            "请从 pip-requirements.txt 中去掉 torch 以保留镜像自带版本，或指定与该 CUDA 对应的版本。",
        ),
    ),
    Signature(
        code="driver-too-old",
        find=(
            ("driver on your system is too old", ""),
            ("CUDA driver version is insufficient for CUDA runtime version", ""),
            ("forward compatibility was attempted on non supported HW", ""),
        ),
        en=Words(
            "The node's NVIDIA driver is too old for the CUDA of this image",
            "Choose an image with an older CUDA, or nodes with a newer driver; the image must bring no driver of "
            "its own.",
        ),
        zh=Words(
            "节点的 NVIDIA 驱动版本过低，不支持该镜像的 CUDA",
            "请选择 CUDA 版本较低的镜像或驱动较新的节点；镜像中不得自带驱动。",
        ),
    ),
    Signature(
        code="no-gpu",
        find=(
            ("No CUDA GPUs are available", ""),
            ("Found no NVIDIA driver on your system", ""),
            ("no CUDA-capable device is detected", _SAID),
            ("torch.cuda.is_available() is False", ""),
            ("CUDA_ERROR_NO_DEVICE", _SAID),
        ),
        en=Words(
            "The code needs a GPU, and the process sees none",
            "Choose a GPU flavor and leave CUDA_VISIBLE_DEVICES unset; on CPUs load checkpoints with "
            "map_location='cpu'.",
        ),
        zh=Words(
            "代码需要 GPU，但进程看不到任何 GPU",
            "请选择 GPU 规格，并不要设置 CUDA_VISIBLE_DEVICES；在 CPU 上加载检查点请使用 map_location='cpu'。",
        ),
    ),
    Signature(
        code="gpu-architecture",
        find=(("no kernel image is available for execution on the device", ""),),
        en=Words(
            "PyTorch or an extension was not built for this model of GPU",
            "Take a build that lists this GPU's architecture (torch.cuda.get_arch_list()), and rebuild extensions with "
            "TORCHTABLE_ARCH_LIST.",
        ),
        zh=Words(
            "PyTorch 或其扩展不是为该型号 GPU 构建的",
            "请使用支持该 GPU 架构的版本（torch.cuda.get_arch_list()），并用 TORCHTABLE_ARCH_LIST 重新编译扩展。",
        ),
    ),
    Signature(
        code="cudnn",
        find=(
            ("CUDNN_STATUS_", r"(?P<status>CUDNN_STATUS_[A-Z_]{1,60})"),
            ("cuDNN failed to initialize", r"(?P<status>cuDNN failed to initialize)"),
            ("CUBLAS_STATUS_", r"(?P<status>CUBLAS_STATUS_[A-Z_]{1,60})"),
        ),
        en=Words(
            "A library of CUDA failed: {status}",
            "Most often the GPU's memory is nearly full (lower the batch size) or cuDNN is not the one that the "
            "framework was built for (see LD_LIBRARY_PATH).",
        ),
        zh=Words(
            "CUDA 库调用失败：{status}",
            "多数情况是显存即将用尽（请减小 batch size），"
            "或 cuDNN 与框架构建时的版本不一致（请检查 LD_LIBRARY_PATH）。",
        ),
    ),
    Signature(
        code="cuda-after-fork",
        find=(("Cannot re-initialize CUDA in forked subprocess", ""),),
        en=Words(
            "A worker that was forked uses CUDA, which its parent had used before",
            "Start workers by 'spawn' (multiprocessing.set_start_method('spawn')), and keep CUDA out of the Dataset.",
        ),
        zh=Words(
            "父进程已使用 CUDA，fork 出的子进程又使用 CUDA",
            "请用 'spawn' 方式启动子进程（multiprocessing.set_start_method('spawn')），"
            "并且不要在 Dataset 中使用 CUDA。",
        ),
    ),
)
