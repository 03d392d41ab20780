from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from launcher.core.search import Metric
from launcher.search.expressions import compile_metric, literal_of
from launcher.search.guard import BURST
from launcher.search.scan import LINE_BYTES, Scanner

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.core.search.endings import Read

ACCURACY = Metric(name="accuracy", mode="max", regex=r"accuracy=(\S+)")
LOSS = Metric(name="loss", mode="min", regex=r"loss=(tensor\([^)]*\)|\S+)")
SLOW = r"(?:(?:a|a)+)+b"
OWN = b"[ModelArts Service Log]2026-11-22 10:00:00,000 - INFO - accuracy=0.1\n"


def named(regex: str, mode: str = "max") -> Metric:
    return Metric(name="accuracy", mode="max" if mode == "max" else "min", regex=regex)


class Heard:
    """A scanner, and what it told of rewards."""

    def __init__(
        self,
        *metrics: Metric,
        spent: Callable[[], float] = float,
        now: Callable[[], float] = float,
    ) -> None:
        self.rewards: list[float] = []
        self.steps: list[int] = []
        self.scanner = Scanner(metrics or (ACCURACY,), self._on, spent=spent, now=now)

    def _on(self, step: int, value: float) -> None:
        self.steps.append(step)
        self.rewards.append(value)

    def after(self, *chunks: bytes) -> Read:
        for chunk in chunks:
            self.scanner.stdout.write(memoryview(chunk))
        self.scanner.stdout.end()
        return self.scanner.read()


def test_each_match_is_an_iteration_and_the_last_the_best_and_the_count_are_known() -> None:
    heard = Heard()
    read = heard.after(b"accuracy=0.5\nnothing\naccuracy=0.9 accuracy=0.7\n")
    assert (heard.steps, heard.rewards) == ([0, 1, 2], [0.5, 0.9, 0.7])
    assert (read.count, read.last, read.best, read.metrics) == (3, 0.7, 0.9, {"accuracy": "0.7"})


def test_less_is_better_where_the_metric_says_so() -> None:
    assert Heard(named(r"accuracy=(\S+)", "min")).after(b"accuracy=0.5\naccuracy=0.2\naccuracy=0.3\n").best == 0.2


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_lines_are_whole_however_they_are_read(size: int) -> None:
    text = b"accuracy=0.5\r\naccuracy=0.25\raccuracy=0.125\n\nx\naccuracy=0.75"
    heard = Heard()
    heard.after(*(text[at : at + size] for at in range(0, len(text), size)))
    assert heard.rewards == [0.5, 0.25, 0.125, 0.75]


def test_a_line_that_has_not_ended_is_not_read_yet() -> None:
    heard = Heard()
    heard.scanner.stdout.write(b"accuracy=0.9")
    assert heard.rewards == []
    heard.scanner.stdout.write(b"7\n")
    assert heard.rewards == [0.97]


def test_what_is_written_over_the_buffer_later_changes_nothing() -> None:
    heard = Heard()
    buffer = bytearray(b"accuracy=0.9")
    heard.scanner.stdout.write(memoryview(buffer))
    buffer[:] = b"accuracy=0.1"
    heard.scanner.stdout.end()
    assert heard.rewards == [0.9]


def test_colours_and_damaged_text_do_not_hide_a_reward() -> None:
    heard = Heard()
    heard.after(b"\x1b]0;title\x07\x1b[1;32macc\x1b[0muracy\x1b[K=\x1b[1m0.5\x1b[0m\n\xff\xfe accuracy=0.25 \xe4\n")
    assert heard.rewards == [0.5, 0.25]


def test_lines_of_the_launcher_itself_are_not_the_boot_files() -> None:
    heard = Heard()
    read = heard.after(OWN, b"accuracy=0.9\n")
    assert (heard.rewards, read.tail) == ([0.9], ("accuracy=0.9",))


def test_of_several_processes_only_rank_0_counts() -> None:
    heard = Heard(named(r"^accuracy=(\S+)"))
    read = heard.after(b"[rank 1] accuracy=0.1\n[rank 0] accuracy=0.9\n[rank 10] accuracy=0.2\n[rank x] no\n", OWN)
    assert (heard.rewards, read.tail) == ([0.9], ("[rank 0] accuracy=0.9", "[rank x] no"))


def test_a_boot_file_that_prints_ranks_itself_is_left_as_it_is() -> None:
    heard = Heard(named(r"\[rank 0\] accuracy=(\S+)"))
    heard.after(b"[rank 0] accuracy=0.9\n")
    assert heard.rewards == [0.9]


def test_without_groups_it_is_the_whole_match_and_of_alternatives_the_one_that_took_part() -> None:
    assert Heard(named("10.0")).after(b"reached 10.0 at last\n").last == 10.0
    assert Heard(named(r"acc=(\S+)|accuracy=(\S+)")).after(b"accuracy=0.5\n").last == 0.5
    assert Heard(named(r"accuracy=(\d*)")).after(b"accuracy=\n") == Heard().after(b"accuracy=\n")


def test_the_last_texts_of_all_metrics_are_kept_as_printed() -> None:
    read = Heard(ACCURACY, LOSS).after(b"loss=0.5 accuracy=0.5\nloss=tensor(0.07, device='cuda:0') accuracy=0.6,\n")
    assert read.metrics == {"accuracy": "0.6,", "loss": "tensor(0.07, device='cuda:0')"}
    assert read.count == 2


def test_a_match_that_is_no_number_is_counted_and_shown() -> None:
    heard = Heard()
    read = heard.after(b"accuracy=nan\naccuracy=high\naccuracy=0.5\n")
    assert (heard.steps, heard.rewards) == ([0], [0.5])
    assert (read.unread, read.example) == (2, "high")


def test_the_last_lines_are_kept_and_none_of_them_is_long() -> None:
    read = Heard().after(b"".join(b"line %d\n\n" % number for number in range(1000)), b"x" * 1000 + b"\n")
    assert len(read.tail) == 20
    assert read.tail[-2] == "line 999"
    assert read.tail[-1] == "x" * 500 + "..."


@pytest.mark.parametrize("chunk", [1000, 1024 * 1024])
def test_a_line_without_end_is_looked_through_and_no_number_is_cut(chunk: int) -> None:
    one = b"accuracy=0.123456 "
    text = one * (3 * LINE_BYTES // len(one))
    heard = Heard()
    heard.after(*(text[at : at + chunk] for at in range(0, len(text), chunk)), b"\n")
    assert set(heard.rewards) == {0.123456}
    assert len(heard.rewards) == len(text) // len(one)


def test_a_line_without_end_or_spaces_loses_a_match_at_most_and_misreads_none() -> None:
    one = b"accuracy=0.123456,"
    heard = Heard(named(r"accuracy=([\d.]+)"))
    heard.after(one * (3 * LINE_BYTES // len(one)))
    assert set(heard.rewards) == {0.123456}


def test_a_long_line_without_any_space_is_held_in_no_more_than_its_limit() -> None:
    heard = Heard(named("b"))
    for _ in range(50):
        heard.scanner.stdout.write(b"a" * LINE_BYTES)
    assert heard.after(b"\n").count == 0


def test_an_expression_that_takes_too_long_is_given_up_and_said_and_the_others_go_on() -> None:
    slow = Metric(name="slow", mode="max", regex=SLOW)
    line = b"a" * 60 + b" accuracy=0.5\n"
    heard = Heard(ACCURACY, slow)
    read = heard.after(line * 5)
    assert heard.rewards == [0.5] * 5
    assert read.notes == ("The expression of slow was given up: 3 lines took it more than 0.5 s each",)


def test_a_flood_is_looked_through_at_its_end_only_once_the_time_for_it_is_used() -> None:
    clock = iter(range(1_000_000))
    heard = Heard(spent=float, now=lambda: 0.0)
    assert heard.after(b"accuracy=0.5\n" * 10_000).notes == ()
    # every look at the CPU's clock finds a second more of it used, and no time passes in between
    flooded = Heard(spent=lambda: float(next(clock)), now=iter(_ticks()).__next__)
    read = flooded.after(b"accuracy=0.5\n" * 10_000 + b"accuracy=0.75\n")
    assert len(flooded.rewards) < 100
    assert read.notes[0].startswith("So much was written that 12")
    assert read.notes[0].endswith("bytes of it were not looked through for accuracy")


def test_the_end_of_a_flood_is_looked_at() -> None:
    used = iter([0.0, BURST + 0.1])
    flooded = Heard(spent=lambda: next(used, BURST + 0.1), now=iter(_ticks()).__next__)
    read = flooded.after(b"accuracy=0.5\n" * 10_000 + b"accuracy=0.75\n")
    assert read.last == 0.75
    assert 20 <= len(flooded.rewards) <= 22


def _ticks() -> list[float]:
    """A clock that goes on by too little to earn anything, and by enough to be asked."""
    return [number * 0.0021 for number in range(100_000)]


def test_both_streams_feed_one_tally_from_any_thread() -> None:
    heard = Heard()

    def write(number: int) -> None:
        stream = heard.scanner.stdout if number else heard.scanner.stderr
        for _ in range(200):
            stream.write(b"accuracy=0.5\nacc")
            stream.write(b"uracy=0.25\n")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert heard.scanner.read().count == 800
    assert heard.steps == list(range(800))


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        (r"acc(?:uracy)?[=:]\s*(\d+\.\d+)", b"acc"),
        ("10.0", b"10"),
        (r"(?<=\)      Loss )([-+]?\d+\.?\d*)", b")      Loss "),
        (r"(?:acc|val)uracy=(\d+)", b"uracy="),
        (r"(?:loss=)+(\d)", b"loss="),
        (r"(?P<n>loss)", b"loss"),
        (r"(?>loss)", b"loss"),
        (r"x(?i:foobar)yz", b"yz"),
        (r"(?i)accuracy=(.*)", b""),
        (r"(?:accuracy)?(\d)", b""),
        (r"x{0,3}(\d+\.\d+)", b""),
        ("x(?!foobar)y", b""),
        ("genauigkeitü=1", b"genauigkeit"),
        ("(", b""),
    ],
)
def test_a_text_that_every_match_needs_is_known_where_it_is_sure(expression: str, literal: bytes) -> None:
    assert literal_of(expression) == literal


@pytest.mark.parametrize(
    ("expression", "line", "found"),
    [
        (r"loss{e<=1}=(\d)", "loss{e<=1}=5", ["5"]),
        (r"loss{e<=1}=(\d)", "lost=5", []),
        (r'{"acc": (\d)}', '{"acc": 5}', ["5"]),
        (r"\{(\d{1,2})[{}]", "{12}", ["12"]),
        (r"\d{,2}x{3}", "12xxx", ["12xxx"]),
        (r"{s}(\d)", "{s}5", ["5"]),
        (r"\N{DIGIT ONE}(\d)", "15", ["5"]),
    ],
)
def test_an_expression_means_what_it_means_to_re(expression: str, line: str, found: list[str]) -> None:
    assert list(compile_metric(named(expression)).found(line, 1.0)) == found


@pytest.mark.parametrize("expression", ["a{4294967294}", "(?:(?:a{1000}){1000}){1000}", "a{99999999999}"])
def test_an_expression_that_needs_memory_without_end_is_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="expression of accuracy repeats its parts up to"):
        compile_metric(named(expression))


def test_an_expression_that_regex_refuses_is_refused_with_its_words() -> None:
    with pytest.raises(ValueError, match=r"expression of accuracy cannot be run with a limit of time: .*found '\('"):
        compile_metric(named("("))
