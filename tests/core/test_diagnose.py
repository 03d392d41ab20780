from __future__ import annotations

import re
from signal import SIGKILL
from typing import TYPE_CHECKING

import pytest
from failures import LINES, traceback
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.core.diagnose import CODES_OF_CAUSES, VAGUE, Evidence, Witness, diagnose, human
from launcher.core.diagnose.signatures import TABLE
from launcher.core.record import Memory

if TYPE_CHECKING:
    from launcher.core.record import Cause

BARE = [(each.code, words) for each in TABLE for words, pattern in each.find if not pattern]
GIB = 1024**3


def memory(kills: int | None, *, limit: int | None = 4 * GIB, peak: int | None = 3 * GIB) -> Memory:
    return Memory(source="cgroup v2", limit_bytes=limit, peak_bytes=peak, oom_kills=kills)


def cause_of(*witnesses: Witness, language: str = "en", several: bool = False, **counters: Memory | None) -> Cause:
    return diagnose(Evidence(witnesses=witnesses, uid=1000, several=several, **counters), language)


def of(text: str, code: int | None = 1, language: str = "en") -> Cause:
    return cause_of(Witness(code=code, stderr=text, rank=0), language=language)


@pytest.mark.parametrize(("code", "line", "named"), LINES, ids=lambda each: each[:40])
def test_a_known_failure_is_told_in_both_languages(code: str, line: str, named: str) -> None:
    text = (
        traceback(line)
        if re.match(r"[\w.]+(Error|Interrupt|Conflict|NotFound|Exception|Pool)\b", line)
        else f"epoch 1\n{line}\n"
    )
    english, chinese = of(text), of(text, language="zh")
    assert (english.code, chinese.code) == (code, code)
    assert named in english.message
    assert line.strip() in "\n".join(english.evidence)
    for cause in (english, chinese):
        assert cause.message
        assert cause.action
        assert not re.search(r"\{\w+\}|\bNone\b", cause.message + cause.action)
        assert len(cause.message) < 800
    assert re.search("[\u4e00-\u9fff]", chinese.message)
    assert not re.search("[\u4e00-\u9fff]", english.message + english.action)


@pytest.mark.parametrize(("code", "words"), BARE, ids=lambda each: each[:40])
def test_words_that_need_no_pattern_are_known_too(code: str, words: str) -> None:
    assert of(traceback(f"RuntimeError: {words} x")).code == code


@pytest.mark.parametrize(("code", "words", "pattern"), [(s.code, *pair) for s in TABLE for pair in s.find if pair[1]])
def test_every_pattern_has_a_line_that_it_knows(code: str, words: str, pattern: str) -> None:
    assert [line for each, line, _ in LINES if each == code and words in line and re.search(pattern, line)]


def test_every_pattern_is_bounded() -> None:
    for signature in TABLE:
        for _, pattern in signature.find:
            assert not re.search(r"(?<!\\)[*+]|\{\d+,\}", re.sub(r"\\.|\[[^]]*\]", "x", pattern)), pattern


def test_there_are_enough_of_them() -> None:
    assert len({each.code for each in TABLE}) >= 40
    assert {each.code for each in TABLE} < CODES_OF_CAUSES


# -- memory


@pytest.mark.parametrize(
    "ended", [Witness(code=137, signal=9, rank=0), Witness(code=137, rank=0), Witness(code=247, rank=0)]
)
def test_an_oom_kill_is_one_that_the_kernel_counted(ended: Witness) -> None:
    cause = cause_of(ended, before=memory(1), after=memory(3, peak=4 * GIB))
    assert cause.code == "oom-killed"
    assert cause.message.startswith("The kernel killed the boot process for want of memory: 2 OOM kill(s)")
    assert "memory limit 4.00 GiB (4,294,967,296 bytes), peak 4.00 GiB" in cause.message
    assert "4.00 GiB" in cause_of(ended, before=memory(1), after=memory(3), language="zh").message


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (memory(0), memory(0), "no OOM kill was counted (limit 4.00 GiB"),
        (memory(2), memory(2, limit=None, peak=None), "no OOM kill was counted (limit none; "),
        (None, memory(0), "no OOM kill was counted"),
        (None, memory(1), "the node tells no counters"),
        (memory(None), memory(1), "the node tells no counters"),
        (memory(1), memory(None), "the node tells no counters"),
        (memory(1), None, "the node tells no counters"),
        (None, None, "the node tells no counters"),
    ],
)
def test_a_kill_that_nobody_counted_is_never_called_oom(
    before: Memory | None, after: Memory | None, words: str
) -> None:
    cause = cause_of(Witness(code=137, signal=9, rank=0), before=before, after=after)
    assert cause.code == "killed"
    assert words in cause.message
    assert "SIGKILL" in cause.message


@pytest.mark.parametrize(
    "said", ["RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed. ", "SystemError: odd"]
)
def test_a_killed_child_makes_memory_the_root_cause(said: str) -> None:
    cause = cause_of(Witness(code=1, stderr=traceback(said), rank=0), before=memory(0), after=memory(1))
    assert cause.code == "oom-killed"
    assert "killed a process of the job for want of memory: 1 OOM kill(s)" in cause.message
    assert said.strip() in cause.evidence


def test_a_child_that_was_killed_is_found_before_a_later_traceback() -> None:
    text = "  exitcode  : -9 (pid: 99)\n" + "x\n" * 200 + traceback("ModuleNotFoundError: No module named 'a'")
    assert cause_of(Witness(code=1, stderr=text), before=memory(0), after=memory(1)).code == "oom-killed"
    assert cause_of(Witness(code=1, stderr=text), before=memory(1), after=memory(1)).code == "module-missing"


def test_a_kill_beside_a_known_cause_is_told_and_no_more() -> None:
    cause = cause_of(
        Witness(code=1, stderr=traceback("ModuleNotFoundError: No module named 'a'")), before=memory(0), after=memory(1)
    )
    assert cause.code == "module-missing"
    assert cause.evidence[-1].startswith("the kernel counted 1 OOM kill(s) in this run")


def test_a_worker_killed_by_somebody_else_is_not_oom() -> None:
    cause = cause_of(
        Witness(code=1, stderr="  traceback : Signal 9 (SIGKILL) received by PID 99"), before=memory(0), after=memory(0)
    )
    assert cause.code == "worker-killed"
    assert "no OOM kill was counted" in cause.message


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1536, "1.50 KiB (1,536 bytes)"),
        (2**63 - 1, "8.00 EiB (9,223,372,036,854,775,807 bytes)"),
        (2**73, "8192.00 EiB (9,444,732,965,739,290,427,392 bytes)"),
    ],
)
def test_sizes_are_words_and_numbers(size: int, words: str) -> None:
    assert human(size) == words


# -- ways to end


@pytest.mark.parametrize(
    ("code", "signal", "slug", "words"),
    [
        (139, 11, "segfault", "native code (exit code 139, SIGSEGV)"),
        (139, None, "segfault", "SIGSEGV"),
        (134, 6, "aborted", "SIGABRT"),
        (135, 7, "bus-error", "SIGBUS"),
        (132, 4, "illegal-instruction", "SIGILL"),
        (136, 8, "arithmetic-error", "SIGFPE"),
        (141, 13, "pipe-closed", "SIGPIPE"),
        (143, 15, "terminated", "SIGTERM"),
        (130, 2, "terminated", "SIGINT"),
        (129, 1, "terminated", "SIGHUP"),
        (152, 24, "cpu-time-limit", "SIGXCPU"),
        (153, 25, "file-size-limit", "SIGXFSZ"),
        (138, 10, "boot-killed", "ended by SIGUSR1"),
        (163, 35, "boot-killed", "ended by signal 35"),
        (138, None, "boot-failed", "exit code 138"),
        (126, None, "command-not-executable", "126"),
        (127, None, "command-missing", "127"),
        (
            3,
            None,
            "boot-failed",
            "Training failed: the boot process ended with exit code 3. Looked at: exit code 3, no memory",
        ),
    ],
)
def test_each_way_to_end_is_decoded(code: int, signal: int | None, slug: str, words: str) -> None:
    witness = Witness(code=code, signal=signal, rank=0)
    cause = cause_of(witness)
    assert (cause.code, cause.rank) == (slug, 0)
    assert words in cause.message
    assert cause_of(witness, language="zh").message != cause.message
    assert slug in CODES_OF_CAUSES


def test_a_crash_shows_the_stack_that_faulthandler_wrote() -> None:
    stack = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x00007f (most recent call first):\n" + "".join(
        f'  File "/code/m{each}.py", line {each} in f\n' for each in range(99)
    )
    cause = cause_of(Witness(code=139, signal=11, stderr=f"loss 1\n{stack}"))
    assert cause.code == "segfault"
    assert cause.evidence[0] == "Fatal Python error: Segmentation fault"
    assert len(cause.evidence) == 40
    assert any("lines left out" in line for line in cause.evidence)


def test_words_before_a_signal_from_outside_explain_nothing() -> None:
    text = traceback("ModuleNotFoundError: No module named 'a'")
    assert [cause_of(Witness(code=128 + n, signal=n, stderr=text)).code for n in (9, 15)] == ["killed", "terminated"]
    assert cause_of(Witness(code=134, signal=6, stderr=text)).code == "module-missing"


def test_a_watchdog_that_aborts_tells_of_a_peer() -> None:
    text = "[E ProcessGroupNCCL.cpp:607] [Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1)\n"
    assert cause_of(Witness(code=134, signal=6, stderr=text)).code == "nccl-timeout"
    assert cause_of(Witness(code=139, signal=11, stderr=text)).code == "segfault"


# -- what stays unknown


def test_an_unknown_exception_is_quoted_with_its_line() -> None:
    text = traceback("ValueError: bad batch")
    cause = of(text)
    assert cause.code == "boot-failed"
    assert cause.message == (
        "Training failed: the boot process ended with exit code 1: ValueError: bad batch at code/train.py:12. "
        "Looked at: exit code 1, no memory counters, the last 7 lines of stderr and 0 of stdout, "
        f"{len(TABLE)} known failures"
    )
    assert "\n".join(cause.evidence) + "\n" == text
    assert "ValueError: bad batch，位于 code/train.py:12" in of(text, language="zh").message


def test_an_exception_without_frames_is_quoted_alone() -> None:
    assert "exit code 1: KeyError: 1. Looked at" in of("Traceback (most recent call last):\nKeyError: 1\n").message


def test_the_text_of_system_exit_is_evidence() -> None:
    cause = cause_of(Witness(code=1, stderr="loading\nthe data folder is empty\n", stdout="epoch 1\n"))
    assert (cause.code, cause.evidence) == ("boot-failed", ("loading", "the data folder is empty", "epoch 1"))


def test_counters_that_were_read_are_named_among_what_was_looked_at() -> None:
    assert (
        "exit code 3, memory counters, the last" in cause_of(Witness(code=3), after=memory(0), before=memory(0)).message
    )


def test_a_log_has_no_exit_status() -> None:
    assert cause_of(Witness(code=None, stderr="epoch 1\n")).code == "nothing-found"
    cause = of(traceback("ValueError: bad"), None)
    assert cause.code == "boot-failed"
    assert cause.message.startswith("The last error in this log is unknown: ValueError: bad at code/train.py:12.")
    assert of(traceback("MemoryError"), None).code == "host-memory"
    assert cause_of(Witness(code=None, signal=int(SIGKILL))).message.startswith(
        "The boot process was killed (no exit status)"
    )


def test_no_witness_at_all_is_no_error() -> None:
    assert cause_of().code == "nothing-found"


# -- root causes and cascades

NCCL = traceback("torch.distributed.DistBackendError: NCCL error: ncclRemoteError: A call failed possibly")
ROOT = traceback("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has")
UNKNOWN = traceback("ValueError: bad batch")


def rank(number: int, text: str, code: int = 1, signal: int | None = None) -> Witness:
    return Witness(rank=number, code=code, signal=signal, stderr=text)


@pytest.mark.parametrize(
    ("witnesses", "slug", "number"),
    [
        ((rank(0, NCCL), rank(1, ROOT)), "gpu-memory", 1),
        ((rank(3, NCCL), rank(1, NCCL), rank(0, ROOT)), "gpu-memory", 0),
        ((rank(2, ROOT), rank(0, traceback("ModuleNotFoundError: No module named 'a'"))), "gpu-memory", 2),
        ((rank(0, NCCL), rank(1, UNKNOWN)), "boot-failed", 1),
        ((rank(1, UNKNOWN), rank(0, ROOT)), "boot-failed", 1),
        ((rank(0, NCCL), rank(1, "", 139, 11)), "segfault", 1),
        ((rank(0, NCCL), rank(1, "", 143, 15)), "nccl-timeout", 0),
        ((rank(0, NCCL), rank(1, "", 137, 9)), "nccl-timeout", 0),
        ((rank(1, "", 137, 9), rank(0, NCCL)), "killed", 1),
        ((rank(1, "bye", 3), rank(0, NCCL)), "boot-failed", 1),
        ((rank(1, NCCL), rank(0, "bye", 3)), "nccl-timeout", 1),
        ((rank(1, "bye", 3), rank(0, ROOT)), "gpu-memory", 0),
        ((rank(1, traceback("BrokenPipeError: [Errno 32] Broken pipe")), rank(0, NCCL)), "peer-lost", 1),
    ],
)
def test_a_root_cause_beats_every_cascade(witnesses: tuple[Witness, ...], slug: str, number: int) -> None:
    cause = cause_of(*witnesses, several=True)
    assert (cause.code, cause.rank) == (slug, number)
    first = witnesses[0].rank == number
    assert cause.message.startswith(f"Rank {number} failed first: " if first else f"Rank {number}: ")
    others = [each.rank for each in witnesses if each.rank != number]
    assert [
        f"rank {each} ended with exit code" in line
        for each, line in zip(others, cause.evidence[-len(others) :], strict=True)
    ]


def test_a_rank_that_is_not_known_is_not_named() -> None:
    cause = cause_of(Witness(code=1, stderr=ROOT), Witness(code=1, stderr=NCCL), several=True)
    assert cause.message.startswith("The memory of the GPU")
    assert not any("None" in line for line in cause.evidence)


def test_what_follows_from_the_cause_is_labelled() -> None:
    cause = cause_of(rank(0, NCCL), rank(1, ROOT), rank(2, "bye", 3), several=True)
    assert cause.evidence[-2:] == (
        "rank 0 ended with exit code 1 (nccl-timeout): it follows from another failure",
        "rank 2 ended with exit code 3 (boot-failed)",
    )


def test_many_followers_leave_room_for_the_traceback() -> None:
    deep = traceback("ValueError: x").replace("    main()\n", '    main()\n  File "/code/a.py", line 1, in f\n' * 60)
    cause = cause_of(rank(9, deep), *(rank(each, NCCL) for each in range(9)), several=True)
    assert len(cause.evidence) <= 60
    assert "ValueError: x" in cause.evidence
    assert sum("nccl-timeout" in line for line in cause.evidence) == 6


def test_a_starter_that_reports_its_worker_is_a_cascade() -> None:
    starter = traceback("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: ")
    cause = of(UNKNOWN + starter + "train.py FAILED\n")
    assert cause.code == "boot-failed"
    assert "ValueError: bad batch at code/train.py:12" in cause.message
    assert of(ROOT + starter).code == "gpu-memory"
    assert of(starter).code == "worker-failed"


def test_among_cascades_the_one_that_says_most_is_told() -> None:
    assert of("EI0006: Getting socket times out\nEE9999: Inner Error!\n").code == "hccl-timeout"


def test_the_match_nearest_the_end_is_told() -> None:
    lines = ["bash: line 1: a: command not found", "bash: line 2: ./b: Permission denied"]
    assert of("\n".join(lines)).code == "permission-denied"
    assert of("\n".join(reversed(lines))).code == "command-missing"


def test_what_stands_in_the_last_traceback_beats_all_around_it() -> None:
    around = "bash: a: command not found\n"
    assert of(around + ROOT + around).code == "gpu-memory"
    assert of(around + ROOT + "\n" + around).code == "gpu-memory"
    assert of(around + UNKNOWN + around).code == "command-missing"
    assert of(around + UNKNOWN + "\n" + around).code == "command-missing"
    assert of(around + UNKNOWN).code == "boot-failed"
    assert of("Xid: GPU 0 has fallen off the bus\n" + UNKNOWN).code == "gpu-lost"


def test_long_ago_is_no_cause_without_a_traceback() -> None:
    assert of("bash: a: command not found\n" + "epoch\n" * 200).code == "boot-failed"


def test_stdout_counts_where_stderr_says_nothing() -> None:
    said = "train.py: error: unrecognized arguments: --a"
    assert cause_of(Witness(code=2, stdout=said)).code == "arguments-unrecognized"
    assert cause_of(Witness(code=2, stdout=said, stderr=UNKNOWN)).code == "boot-failed"
    assert cause_of(Witness(code=2, stdout=UNKNOWN, stderr="")).evidence[-1] == "ValueError: bad batch"


def test_a_line_of_code_is_no_error() -> None:
    assert of(UNKNOWN.replace("    main()", '    raise SystemError("CUDA out of memory")')).code == "boot-failed"


# -- hostile text


def test_a_message_is_one_line_of_bounded_length_without_control_characters() -> None:
    path = "/x/" + "\x1b[31m\x07\u202e" + "y" * 5000
    cause = of(traceback(f"FileNotFoundError: [Errno 2] No such file or directory: '{path}'"))
    assert cause.message.isprintable()
    assert len(cause.message) < 400
    assert all(line.isprintable() and len(line) <= 1000 for line in cause.evidence)


WORDS = [words for each in TABLE for words, _ in each.find]
PIECES = st.one_of(
    st.text(max_size=30),
    st.sampled_from(WORDS),
    st.sampled_from([line for _, line, _ in LINES]),
    st.sampled_from(
        ["\n", "\r", "\x1b[31m", "Traceback (most recent call last):", '\n  File "a", line 1, in x\n', "  | ", "    + "]
    ),
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)


@settings(deadline=None)
@given(TEXTS, TEXTS, st.one_of(st.none(), st.integers(0, 255)), st.one_of(st.none(), st.integers(1, 64)))
def test_no_text_is_too_much(stderr: str, stdout: str, code: int | None, signal: int | None) -> None:
    witness = Witness(code=code, signal=signal, stderr=stderr, stdout=stdout, rank=1)
    causes = [cause_of(witness, witness, language=each, several=True) for each in ("en", "zh", "en")]
    assert causes[0] == causes[2]
    for cause in causes:
        assert cause.code in CODES_OF_CAUSES
        assert cause.message.isprintable()
        assert cause.action
        assert len(cause.evidence) <= 60
        assert all(len(line) <= 1000 and line.isprintable() for line in cause.evidence)


@pytest.mark.parametrize("filler", ["a", ": ", "a ", "/x ", "'", "(1,", "\\", "a."])
def test_one_huge_line_is_looked_at_in_part(filler: str) -> None:
    for words in ("No such file or directory", "undefined symbol", "name resolution", "cannot import name"):
        cause = of((filler * 65536 + words + "\n")[-65536:] * 2)
        assert all(len(line) <= 1000 for line in cause.evidence)


def test_vague_causes_are_causes() -> None:
    assert VAGUE < CODES_OF_CAUSES
