"""What `npu-smi info -t usages` prints, read. Parser tests: no NPU was near."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.core.parse.npuusage import MOST, parse_usage

CHIP = """\
        NPU ID                         : 0
        Chip Count                     : 1

        DDR Capacity(MB)               : 15171
        DDR Usage Rate(%)              : 3
        DDR Hugepages Total(page)      : 0
        DDR Hugepages Usage Rate(%)    : 0
        HBM Capacity(MB)               : 32768
        HBM Usage Rate(%)              : 97
        Aicore Usage Rate(%)           : 87
        Aicpu Usage Rate(%)            : 0
        Ctrlcpu Usage Rate(%)          : 3
        DDR Bandwidth Usage Rate(%)    : 0
        HBM Bandwidth Usage Rate(%)    : 41
        Chip ID                        : 0
"""


def test_what_the_cores_and_the_memory_do_counts_and_how_full_it_is_does_not() -> None:
    assert parse_usage(CHIP) == (87, 0, 41)


def test_several_chips_come_one_after_the_other() -> None:
    assert parse_usage(CHIP + CHIP.replace("87", "5")) == (87, 0, 41, 5, 0, 41)


def test_words_of_other_releases() -> None:
    text = "Aicore Usage Rate(%) : 1\nAivector Usage Rate(%):2\nNPU Utilization(%) : 3\nAicube Usage Rate(%): 101\n"
    assert parse_usage(text) == (1, 2, 3, 100)
    assert parse_usage("\tAI Core Usage Rate(%) : 4\n\tMemory Bandwidth Usage Rate(%) : 5\n") == (4, 5)


def test_what_is_no_answer_tells_nothing() -> None:
    assert parse_usage("") == ()
    assert parse_usage("dcmi model initialized failed, because the device is used. ret is -8020") == ()
    assert parse_usage("Aicore Usage Rate(%) : NA") == ()


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    assert len(parse_usage(text)) <= MOST
    assert len(parse_usage("Aicore Usage Rate(%) : 7\n" * 100 + text)) == MOST
