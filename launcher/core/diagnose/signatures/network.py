"""The network, the object store as a script meets it, and what follows from the failure of another process (cascades).

The texts are those of Python's ssl and socket, requests, botocore, MoXing, c10d, NCCL, gloo, HCCL, Open MPI, Horovod.
"""
# ruff: noqa: RUF001 - Chinese punctuation

from __future__ import annotations

from launcher.core.diagnose.signatures.form import Signature, Words

_KEYS = "AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch"

TABLE = (
    Signature(
        code="certificate",
        find=(("CERTIFICATE_VERIFY_FAILED", ""), ("certificate verify failed", "")),
        en=Words(
            "The certificate of a server is not trusted",
            "Add its authority to the image and set SSL_CERT_FILE and REQUESTS_CA_BUNDLE to the bundle; check the "
            "node's clock.",
        ),
        zh=Words(
            "服务器证书不受信任",
            "请将其 CA 加入镜像，并把 SSL_CERT_FILE 和 REQUESTS_CA_BUNDLE 指向该证书包；同时检查节点时钟。",
        ),
    ),
    Signature(
        # UMN troubleshooting, "Internet access": pretrained=True and the like
        code="no-internet",
        find=(
            ("Max retries exceeded with url", r"(?:host='(?P<host>[^']{1,200})'.{0,80})Max retries exceeded"),
            ("We couldn't connect to '", r"We couldn't connect to '(?P<host>[^']{1,200})'"),
            ("Cannot send a request to", r"Cannot send a request to (?P<host>\S{1,200})"),
        ),
        en=Words(
            "The code wants to reach {host}, and this node cannot: training nodes have no Internet",
            "Download it beforehand, put it into the store and read it as an input of the job; set HF_HUB_OFFLINE=1 "
            "for models that are there already.",
        ),
        zh=Words(
            "代码要访问 {host}，但本节点无法访问：训练节点不能访问公网",
            "请提前下载并放入对象存储，作为作业的输入读取；模型已在本地时请设置 HF_HUB_OFFLINE=1。",
        ),
    ),
    Signature(
        code="no-internet",
        find=(
            ("urlopen error", r"urlopen error \[Errno -?(?:2|3|5|101|110|113)\]"),
            ("Network is unreachable", r"\[Errno 101\] Network is unreachable"),
        ),
        en=Words(
            "The code opens an address outside, and this node cannot reach it: training nodes have no Internet",
            "Download it beforehand, put it into the store and read it as an input of the job (pretrained weights: "
            "load them from that folder).",
        ),
        zh=Words(
            "代码要访问外部地址，但本节点无法访问：训练节点不能访问公网",
            "请提前下载并放入对象存储，作为作业的输入读取（预训练权重请从该目录加载）。",
        ),
    ),
    Signature(
        code="name-unresolved",
        find=(
            ("cannot be retrieved (gai error", r"network addresses of \(?(?P<host>[^,)]{1,200})"),
            ("Could not resolve host", r"Could not resolve host:? ?(?P<host>\S{1,200})"),
            ("name resolution", r"(?:^|\s)(?P<host>[\w.\-]{1,200}): Temporary failure in name resolution"),
        ),
        en=Words(
            "The name {host} cannot be resolved on this node",
            "Check the name (MASTER_ADDR, --init_method), and that the node of that name has started.",
        ),
        zh=Words("本节点无法解析名称 {host}", "请检查该名称（MASTER_ADDR、--init_method），并确认对应节点已启动。"),
    ),
    Signature(
        code="name-unresolved",
        find=(
            ("Temporary failure in name resolution", ""),
            ("Name or service not known", ""),
            ("nodename nor servname provided", ""),
        ),
        en=Words(
            "A host name cannot be resolved on this node",
            "Check MASTER_ADDR and --init_method; names of the Internet cannot be resolved on training nodes.",
        ),
        zh=Words(
            "本节点无法解析某个主机名",
            "请检查 MASTER_ADDR 和 --init_method；训练节点无法解析公网域名。",
        ),
    ),
    Signature(
        code="address-in-use",
        find=(
            ("Address already in use", ""),
            ("EADDRINUSE", ""),
        ),
        en=Words(
            "A port that the training listens on is taken already",
            "Choose another port (MA_MASTER_PORT, --master-port), and see that no former run is left on the node.",
        ),
        zh=Words(
            "训练要监听的端口已被占用",
            "请更换端口（MA_MASTER_PORT、--master-port），并确认节点上没有残留的上一次运行。",
        ),
    ),
    Signature(
        code="script-store-refused",
        find=(
            (
                "when calling the",
                rf"An error occurred \((?:403|{_KEYS}|ExpiredToken)\) when calling the (?P<call>\w{{1,60}})",
            ),
            ("errorCode:", rf"(?P<call>errorCode:(?:{_KEYS}))"),
        ),
        en=Words(
            "The object store refuses the script's own request ({call})",
            "Leave transfers to the job's inputs and outputs, or give the script keys with the right to do this.",
        ),
        zh=Words(
            "对象存储拒绝了脚本自己的请求（{call}）", "请改用作业的输入和输出传输数据，或为脚本配置有权限的密钥。"
        ),
    ),
    Signature(
        code="script-store-missing",
        find=(
            (
                "when calling the",
                r"An error occurred \((?:404|NoSuchKey|NoSuchBucket)\) when calling the (?P<call>\w{1,60})",
            ),
            ("errorCode:", r"(?P<call>errorCode:(?:NoSuchKey|NoSuchBucket))"),
        ),
        en=Words(
            "An object that the script itself asks for is not in the store ({call})",
            "Check bucket and key in the script, or make it an input of the job, which is checked before the start.",
        ),
        zh=Words(
            "脚本自己请求的对象不在对象存储中（{call}）",
            "请检查脚本中的桶名和对象键，或将其设为作业的输入（启动前会检查）。",
        ),
    ),
)
