"""Every setting of the launcher's own, `LAUNCHER_*`: one table, from which they are read and documented."""

from __future__ import annotations

from launcher.core.settings.checks import CHECKS
from launcher.core.settings.form import Setting
from launcher.core.settings.resilience import RESILIENCE

TABLE = (
    Setting(
        name="LAUNCHER_JOB",
        kind="text",
        default="",
        meaning="The job when the command line names none: a file, an `obs://` URL, or the JSON itself.",
    ),
    Setting(
        name="LAUNCHER_ALGORITHMS",
        kind="text",
        default="",
        meaning="An algorithm body or a folder of them, as `--algorithm`.",
    ),
    Setting(
        name="LAUNCHER_CODE_MAX_FILES",
        kind="number",
        default="1024",
        meaning="Most files and folders in a code directory.",
    ),
    Setting(
        name="LAUNCHER_CODE_MAX_BYTES",
        kind="number",
        default=str(5 * 1024**3),
        meaning="Most bytes in a code directory.",
    ),
    Setting(name="LAUNCHER_CODE_MAX_DEPTH", kind="number", default="32", meaning="Deepest level in a code directory."),
    Setting(
        name="LAUNCHER_GRACE",
        kind="seconds",
        default="25",
        meaning="Seconds from SIGTERM to the end, as `--grace`; boot process and last uploads share them.",
    ),
    Setting(
        name="LAUNCHER_AUTO_STOP",
        kind="seconds",
        default="",
        meaning="Seconds that the whole job may take (exit code 124), in place of the hours of its `spec.auto_stop`.",
    ),
    Setting(
        name="LAUNCHER_STAGED",
        kind="text",
        default="",
        meaning="A root in which another launcher has staged and installed the same job: its code, inputs and packages "
        "are used where they lie. A search sets it for its trials.",
    ),
    Setting(
        name="LAUNCHER_PARENT",
        kind="number",
        default="",
        meaning="The pid of the launcher that started this one: when it is gone, the run ends as by SIGTERM. "
        "A search sets it for its trials, a rehearsal for its nodes.",
    ),
    Setting(
        name="LAUNCHER_STORAGE",
        kind="text",
        default="",
        meaning="Where a search keeps its study, as `--storage`: it may hold a password.",
    ),
    Setting(
        name="LAUNCHER_STUDY_PATIENCE",
        kind="seconds",
        default="600",
        meaning="Seconds for which the database of a search is waited for when it is gone; its trials go on meanwhile.",
    ),
    Setting(
        name="LAUNCHER_LOG_SEGMENT",
        kind="number",
        default="64",
        meaning="MiB after which the log file goes on in a new one; the full ones are `….log.1`, `….log.2` and on.",
    ),
    Setting(
        name="LAUNCHER_LOG_RATE",
        kind="number",
        default="2048",
        meaning="MiB of output that the log file takes in a minute; what is more is dropped there and counted.",
    ),
    Setting(
        name="LAUNCHER_RANK_PREFIX",
        kind="0|1",
        default="1",
        meaning="1 begins each line with its rank where a node runs several processes.",
    ),
    Setting(
        name="LAUNCHER_TRANSFERS",
        kind="number",
        default="128",
        meaning="Most transfers under way at once; as many are begun as the store answers well, from 8 up to these.",
    ),
    Setting(
        name="LAUNCHER_TRANSFER_MEMORY",
        kind="number",
        default="256",
        meaning="MiB of memory for transfers; fewer are begun where more would not fit.",
    ),
    Setting(
        name="LAUNCHER_STAGE_TIMEOUT",
        kind="seconds",
        default="",
        meaning="Seconds that staging may take in all (exit code 69).",
    ),
    Setting(
        name="LAUNCHER_STORE_PATIENCE",
        kind="seconds",
        default="60",
        meaning="Seconds for which a store that has answered before is waited for when it is gone, or too busy.",
    ),
    Setting(
        name="LAUNCHER_CACHE",
        kind="text",
        default="",
        meaning="A folder of this node that keeps what was downloaded, for restarts and other jobs of this user.",
    ),
    Setting(
        name="LAUNCHER_CACHE_SIZE", kind="number", default="100", meaning="GiB that the cache of the node may grow to."
    ),
    Setting(
        name="LAUNCHER_EXTRACT_RATIO",
        kind="number",
        default="100",
        meaning="How many times its own size an archive may grow to when it is unpacked.",
    ),
    Setting(
        name="LAUNCHER_DATASET_MISSING",
        kind="share",
        default="0",
        meaning="Share of a dataset's samples, 0 to 1, that may be missing; they are left out of its manifests.",
    ),
    Setting(
        name="LAUNCHER_DATASET_BUCKETS",
        kind="text",
        default="",
        meaning="Other buckets that a dataset's samples may lie in, separated by commas.",
    ),
    Setting(
        name="LAUNCHER_OUTPUT_IN_USE",
        kind="refuse|warn",
        default="refuse",
        meaning="What to do where another run that is alive writes to the same output.",
    ),
    Setting(
        name="LAUNCHER_PROCESSES",
        kind="number",
        default="",
        meaning="Processes that an engine starts on a node, in place of one for each device.",
    ),
    Setting(
        name="LAUNCHER_SERVICE",
        kind="text",
        default="",
        meaning="Headless service of a Kubernetes Indexed Job, below which its pods' names are found [the Job's name].",
    ),
    Setting(
        name="LAUNCHER_PEERS_TIMEOUT",
        kind="seconds",
        default="600",
        meaning="Seconds for which the other nodes are waited for: until their names resolve, and until they call.",
    ),
    Setting(
        name="LAUNCHER_READY_TIMEOUT",
        kind="seconds",
        default="3600",
        meaning="Seconds that a node which is ready to train waits for the others to be.",
    ),
    Setting(
        name="LAUNCHER_RENDEZVOUS_PORT",
        kind="number",
        default="6665",
        meaning="Port of worker-0 at which the launchers of a job's nodes meet; MA_MASTER_PORT is the training's own.",
    ),
    Setting(
        name="LAUNCHER_NONCE",
        kind="text",
        default="",
        meaning="A secret that a job's nodes share: no launcher that lacks it is let into their rendezvous.",
    ),
    Setting(
        name="LAUNCHER_SSH_PORT",
        kind="number",
        default="2222",
        meaning="Port at which mpirun reaches the other nodes by ssh.",
    ),
    Setting(
        name="LAUNCHER_RANK_TABLE_TIMEOUT",
        kind="seconds",
        default="600",
        meaning="Seconds for which an Ascend rank table is waited for until it is completed.",
    ),
    Setting(
        name="LAUNCHER_V1_NAMES",
        kind="0|1",
        default="0",
        meaning="1 gives boot files the variables of the service's first generation as well (DLS_*, BATCH_*).",
    ),
    *CHECKS,
    *RESILIENCE,
    Setting(
        name="LAUNCHER_CA_BUNDLE",
        kind="text",
        default="",
        meaning="A file of certificates (PEM) to trust for https beside the system's.",
    ),
    Setting(
        name="LAUNCHER_SSE",
        kind="encryption",
        default="",
        meaning="How the store shall encrypt what is uploaded: `AES256`, `aws:kms`, or `aws:kms:KEY-ID`.",
    ),
    Setting(name="LAUNCHER_LANG", kind="en|zh", default="en", meaning="Language of diagnosis and default texts."),
    Setting(
        name="LAUNCHER_TERMINATION_LOG",
        kind="text",
        default="/dev/termination-log",
        meaning="Where the termination message goes; by default only if the file is there.",
    ),
    Setting(
        name="LAUNCHER_S3_ADDRESSING",
        kind="path|virtual",
        default="",
        meaning="How a bucket is addressed; unset: path style for an IP address, localhost or a host without a dot.",
    ),
    Setting(
        name="LAUNCHER_DEBUG",
        kind="0|1",
        default="0",
        meaning="1 shows the traceback behind every error.",
    ),
)
