"""Last lines of programs that failed, as their authors wrote them: one for each pattern of the signatures."""
# ruff: noqa: E501 - a line of a log is one line

from __future__ import annotations

import json

LINES: tuple[tuple[str, str, str], ...] = (
    # code, line, what the sentence must name
    ("shared-memory", "RuntimeError: unable to mmap 1024 bytes from file </torch_77_1>: Cannot allocate memory (12)", "/dev/shm"),
    ("shared-memory", "OSError: [Errno 28] No space left on device: '/dev/shm/pym-9-x'", "/dev/shm"),
    ("dataloader-killed", "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Killed. ", "4711"),
    ("dataloader-killed", "RuntimeError: DataLoader worker (pid(s) 12, 13) exited unexpectedly", "12, 13"),
    ("worker-crashed", "RuntimeError: DataLoader worker (pid 4711) is killed by signal: Segmentation fault. ", "Segmentation"),
    ("worker-crashed", "  traceback : Signal 11 (SIGSEGV) received by PID 99", "SIGSEGV"),
    ("worker-crashed", "torch.multiprocessing.spawn.ProcessExitedException: process 1 terminated with signal SIGSEGV", "SIGSEGV"),
    ("worker-crashed", "mpirun noticed that process rank 1 with PID 0 on node n exited on signal 11 (Segmentation fault).", "signal 11"),
    ("worker-killed", "  traceback : Signal 9 (SIGKILL) received by PID 99", "Signal 9"),
    ("worker-killed", "torch.multiprocessing.spawn.ProcessExitedException: process 1 terminated with signal SIGKILL", "SIGKILL"),
    ("worker-killed", "subprocess.CalledProcessError: Command '['x']' died with <Signals.SIGKILL: 9>.", "SIGKILL"),
    ("worker-killed", "[launch.py:325:main] ['/usr/bin/python', 'train.py'] exits with return code = -9", "-9"),
    ("worker-killed", "mpirun noticed that process rank 1 with PID 0 on node n exited on signal 9 (Killed).", "signal 9"),
    ("worker-killed", "  exitcode  : -9 (pid: 99)", "exitcode  : -9"),
    ("worker-killed", "failed (exitcode: -9) local_rank: 1 (pid: 99) of binary: /usr/bin/python", "exitcode: -9"),
    (
        "worker-killed",
        "concurrent.futures.process.BrokenProcessPool: A process in the process pool was terminated abruptly while ...",
        "process pool",
    ),
    ("worker-killed", "run.sh: line 3:    77 Killed                  python train.py", "Killed"),
    ("checkpoint-mismatch", "RuntimeError: Error(s) in loading state_dict for ResNet:", "ResNet"),
    ("tensor-shapes", "RuntimeError: mat1 and mat2 shapes cannot be multiplied (32x10 and 20x5)", "32x10"),
    (
        "tensor-shapes",
        "RuntimeError: The size of tensor a (3) must match the size of tensor b (4) at non-singleton dimension 1",
        "tensor a (3)",
    ),
    (
        "tensor-shapes",
        "RuntimeError: Sizes of tensors must match except in dimension 0. Expected size 3 but got size 4",
        "Expected size 3",
    ),
    (
        "rendezvous-variable",
        ("ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable MASTER_ADDR "
        "expected, but not set"),
        "MASTER_ADDR",
    ),
    ("npu-memory", "EL0004: [PID: 9] 2024-01-01 Failed to allocate memory.", "NPU"),
    ("npu-ecc", "RuntimeError: synchronize: error code is 507054", "NPU"),
    ("npu-kernel", "RuntimeError: ACL stream synchronize failed, error code:507015", "NPU"),
    ("npu-kernel", "RuntimeError: aclrtSynchronizeStream failed, error code is 507018", "NPU"),
    ("npu-kernel", "RuntimeError: SyncStream failed, retCode=0x7bcfb, errno:507035", "NPU"),
    ("npu-kernel", "[ERROR] rtStreamSynchronize execute failed, ret=507014", "NPU"),
    ("rank-table-invalid", "EI0004: [PID: 9] The ranktable or rank is invalid,Reason:[rank_id]. Please check", "HCCL"),
    ("rank-table-invalid", "EI0001: [PID: 9] Environment variable [RANK_ID] is invalid.", "HCCL"),
    ("rank-table-invalid", "EI0005: [PID: 9] The arguments for collective communication are inconsistent", "HCCL"),
    ("hccl-port", "EJ0001: [PID: 9] Failed to initialize the HCCP process. Reason: Maybe the last training process", "HCCP"),
    ("no-npu", "RuntimeError: open device 0 failed, device id 0", "NPU"),
    ("no-npu", "RuntimeError: aclrtSetDevice, error code is 507033", "NPU"),
    (
        "gpu-memory",
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of ...",
        "20.00 GiB",
    ),
    (
        "gpu-memory",
        "tensorflow.python.framework.errors_impl.ResourceExhaustedError: OOM when allocating tensor with shape[64,9] and",
        "shape[64,9]",
    ),
    ("no-gpu", "RuntimeError: CUDA_ERROR_NO_DEVICE", "GPU"),
    ("no-gpu", "RuntimeError: cudaGetDeviceCount: no CUDA-capable device is detected", "GPU"),
    ("cudnn", "RuntimeError: cuDNN error: CUDNN_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_NOT_INITIALIZED"),
    ("cudnn", "UnknownError: Failed to get convolution algorithm. This is probably because cuDNN failed to initialize", "cuDNN"),
    ("cudnn", "RuntimeError: CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate`", "CUBLAS"),
    ("npu-module-missing", "ModuleNotFoundError: No module named 'npu_bridge.npu_init'", "npu_bridge"),
    ("module-missing", "ModuleNotFoundError: No module named 'torchvision'", "torchvision"),
    ("module-missing", "/usr/bin/python: No module named flask.__main__", "flask.__main__"),
    (
        "name-not-in-module",
        "ImportError: cannot import name 'Foo' from 'bar' (/usr/lib/python3/dist-packages/bar/__init__.py)",
        "Foo",
    ),
    ("cann-missing", "ImportError: libhccl.so: cannot open shared object file: No such file or directory", "libhccl.so"),
    ("library-missing", "ImportError: libGL.so.1: cannot open shared object file: No such file or directory", "libGL.so.1"),
    (
        "library-missing",
        "./train: error while loading shared libraries: libmpi.so.40: cannot open shared object file: No such file",
        "libmpi.so.40",
    ),
    (
        "library-too-old",
        "ImportError: /lib/libstdc++.so.6: version `GLIBCXX_3.4.29' not found (required by /opt/x.so)",
        "GLIBCXX_3.4.29",
    ),
    ("undefined-symbol", "ImportError: /opt/flash.so: undefined symbol: _ZN3c104cudaE", "_ZN3c104cudaE"),
    ("tensorflow-version", "AttributeError: module 'tensorflow' has no attribute 'Session'", "Session"),
    (
        "package-version",
        "pkg_resources.ContextualVersionConflict: (numpy 1.2 (/x), Requirement.parse('numpy>=2'), {'y'})",
        "numpy>=2",
    ),
    ("package-version", "pkg_resources.DistributionNotFound: The 'six' distribution was not found", "six"),
    (
        "package-version",
        "ImportError: tokenizers>=0.11.1 is required for a normal functioning of this module, but found tokenizers==0.10",
        "tokenizers>=0.11.1",
    ),
    ("wheel-unsupported", "ERROR: torch-2.0-cp39-cp39-linux_x86_64.whl is not a supported wheel on this platform.", "cp39"),
    ("package-not-found", "ERROR: No matching distribution found for nosuch==9", "nosuch==9"),
    (
        "package-not-found",
        "ERROR: Could not find a version that satisfies the requirement nosuch==9 (from versions: none)",
        "nosuch==9",
    ),
    ("arguments-unrecognized", "train.py: error: unrecognized arguments: --data_url=/x --init_method=tcp://a", "--data_url"),
    (
        "arguments-unrecognized",
        "absl.flags._exceptions.UnrecognizedFlagError: Unknown command line flag 'task_index'. Did you mean: x ?",
        "task_index",
    ),
    ("arguments-unrecognized", "Error: No such option: --train_url", "--train_url"),
    ("arguments-missing", "train.py: error: the following arguments are required: --epochs", "--epochs"),
    ("arguments-missing", "Error: Missing option '--epochs'.", "--epochs"),
    ("argument-invalid", "train.py: error: argument --lr: invalid float value: 'fast'", "--lr"),
    ("argument-invalid", "Error: Invalid value for '--lr': 'fast' is not a valid float.", "--lr"),
    (
        "boot-file-missing",
        "/usr/bin/python: can't open file '/home/ma-user/x/train.py': [Errno 2] No such file or directory",
        "/home/ma-user/x/train.py",
    ),
    ("syntax-error", "SyntaxError: invalid syntax", "invalid syntax"),
    ("syntax-error", "IndentationError: unexpected indent", "unexpected indent"),
    ("syntax-error", "TabError: inconsistent use of tabs and spaces in indentation", "inconsistent"),
    ("text-encoding", "UnicodeDecodeError: 'ascii' codec can't decode byte 0xe4 in position 0", "ascii"),
    ("text-encoding", "UnicodeEncodeError: 'latin-1' codec can't encode characters in position 0-1", "latin-1"),
    ("not-picklable", "AttributeError: Can't pickle local object 'main.<locals>.f'", "main.<locals>.f"),
    ("not-picklable", "TypeError: cannot pickle '_io.TextIOWrapper' object", "TextIOWrapper"),
    (
        "no-internet",
        ("requests.exceptions.ConnectionError: HTTPSConnectionPool(host='download.pytorch.org', port=443): Max retries "
        "exceeded with url: /models/resnet50.pth"),
        "download.pytorch.org",
    ),
    ("no-internet", "OSError: We couldn't connect to 'https://huggingface.co' to load this file", "huggingface.co"),
    (
        "no-internet",
        "huggingface_hub.errors.OfflineModeIsEnabled: Cannot send a request to https://huggingface.co: offline mode",
        "huggingface.co",
    ),
    ("no-internet", "urllib.error.URLError: <urlopen error [Errno -3] Temporary failure in name resolution>", "Internet"),
    ("no-internet", "OSError: [Errno 101] Network is unreachable", "Internet"),
    (
        "name-unresolved",
        "RuntimeError: The IPv6 network addresses of (job-worker-0.job, 6666) cannot be retrieved (gai error: -2 - Name)",
        "job-worker-0.job",
    ),
    ("name-unresolved", "fatal: unable to access 'x': Could not resolve host: github.com", "github.com"),
    ("name-unresolved", "ping: worker-0: Temporary failure in name resolution", "worker-0"),
    (
        "script-store-refused",
        "botocore.exceptions.ClientError: An error occurred (AccessDenied) when calling the PutObject operation: no",
        "PutObject",
    ),
    ("script-store-refused", "ERROR:root:stat:403 errorCode:AccessDenied errorMessage:Access Denied", "AccessDenied"),
    (
        "script-store-missing",
        "botocore.errorfactory.NoSuchKey: An error occurred (NoSuchKey) when calling the GetObject operation: gone",
        "GetObject",
    ),
    ("script-store-missing", "ERROR:root:stat:404 errorCode:NoSuchKey errorMessage:gone", "NoSuchKey"),
    ("obs-path", "FileNotFoundError: [Errno 2] No such file or directory: 'obs://bucket/data/a.csv'", "obs://bucket/data/a.csv"),
    ("obs-path", "tensorflow.python.framework.errors_impl.NotFoundError: s3 not found: s3://bucket/a", "s3://bucket/a"),
    ("obs-path", "FileNotFoundError: [Errno 2] No such file or directory: '/home/x/obs:/bucket/a'", "obs:/bucket/a"),
    ("old-path", "FileNotFoundError: [Errno 2] No such file or directory: '/home/work/user-job-dir/a'", "/home/work/user-job-dir"),
    ("file-missing", "FileNotFoundError: [Errno 2] No such file or directory: 'a.csv'", "a.csv"),
    ("file-missing", "FileNotFoundError: no checkpoint in /cache", "no checkpoint"),
    ("file-missing", "bash: line 1: ./x.sh: No such file or directory", "./x.sh"),
    ("permission-denied", "PermissionError: [Errno 13] Permission denied: '/data/x'", "/data/x"),
    ("permission-denied", "bash: ./x.sh: Permission denied", "./x.sh"),
    ("permission-denied", "PermissionError: [Errno 1] Operation not permitted: '/data/y'", "/data/y"),
    ("no-space", "OSError: [Errno 28] No space left on device: '/cache/ckpt.pt'", "/cache/ckpt.pt"),
    ("no-space", "cp: error writing '/tmp/x': No space left on device", "/tmp/x"),
    ("io-error", "OSError: [Errno 5] Input/output error", "disk"),
    ("io-error", "cat: /mnt/x: Input/output error", "disk"),
    ("command-missing", "bash: line 1: torchrum: command not found", "torchrum"),
    (
        "host-memory",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 745. GiB for an array with shape (9, 9)",
        "745. GiB",
    ),
    (
        "host-memory",
        ("RuntimeError: [enforce fail at alloc_cpu.cpp:75] err == 0. DefaultCPUAllocator: can't allocate memory: you "
        "tried to allocate 4000000000 bytes."),
        "4000000000 bytes",
    ),
    ("host-memory", "MemoryError", "memory"),
    ("host-memory", "OSError: [Errno 12] Cannot allocate memory", "memory"),
    ("nccl-timeout", "n1:9:9 [0] NET/IB : Got completion from peer 10.0.0.1<5> with error 12, opcode 0", "NCCL"),
    ("hccl-timeout", "EI0006: [PID: 9] Getting socket times out. Reason: 1.", "HCCL"),
    ("hccl-timeout", "EI0002: [PID: 9] The wait execution of the Notify register times out.", "HCCL"),
    ("hccl-timeout", "EE1002: [PID: 9] Stream synchronize timeout", "HCCL"),
    ("hccl-timeout", "RuntimeError: ACL stream synchronize failed, error code:507046", "HCCL"),
    ("rendezvous-timeout", "RuntimeError: Timed out after 901 seconds waiting for clients. 1/2 clients joined.", "ranks"),
    ("rendezvous-timeout", "torch.distributed.DistStoreError: wait timeout after 300000ms, keys: /x", "ranks"),
    (
        "master-refused",
        ("[W socket.cpp:601] [c10d] The client socket has failed to connect to [worker-0]:6666 (errno: 111 - Connection "
        "refused)."),
        "worker-0",
    ),
    ("master-refused", "ConnectionRefusedError: [Errno 111] Connection refused", "Connection refused"),
    ("master-refused", "UnavailableError: failed to connect to all addresses; last error: ", "all addresses"),
    ("mpi-process-failed", "mpirun noticed that process rank 1 with PID 0 on node n exited on signal 6 (Aborted).", "mpirun"),
    ("mpi-process-failed", "MPI_ABORT was invoked on rank 0 in communicator MPI_COMM_WORLD", "mpirun"),
    ("cann-inner-error", "EE9999: Inner Error!", "CANN"),
    ("cann-inner-error", "E19999: Inner Error!", "CANN"),
    ("cann-inner-error", "EI9999: Inner Error!", "CANN"),
    ("cann-inner-error", "EZ9999: Inner Error!", "CANN"),
    (
        "stopped-by-others",
        "torch.distributed.elastic.multiprocessing.api.SignalException: Process 9 got signal: 15",
        "stopped",
    ),
    ("stopped-by-others", "WARNING:torch.distributed.elastic.agent.server.api:Received 15 death signal, shutting down", "stopped"),
    ("stopped-by-others", "KeyboardInterrupt", "stopped"),
)  # fmt: skip


def traceback(final: str, *, file: str = "/home/ma-user/modelarts/user-job-dir/code/train.py", line: int = 12) -> str:
    """A traceback as Python 3.11 writes it."""
    return (
        "Traceback (most recent call last):\n"
        f'  File "{file}", line {line}, in <module>\n'
        "    main()\n"
        '  File "/usr/lib/python3.11/site-packages/torch/x.py", line 3, in main\n'
        f"    raise Error({json.dumps('not this')})\n"
        "    ^^^^^^^^^^^^^^^^\n"
        f"{final}\n"
    )
