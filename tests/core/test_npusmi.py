"""What npu-smi prints, from real reports and from ruins of them. Parser tests: no NPU was near."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.parse.npuids import Mapping, joined, parse_cards, parse_mapping
from launcher.core.parse.npusmi import Held, Npu, Table, parse_table

DATA = Path(__file__).parent.parent / "data" / "devices"
MIB = 1024**2
TABLES = sorted(DATA.glob("npu-smi-info.*.txt"))
LISTS = sorted(DATA.glob("npu-smi-info-[lm].*.txt"))

WHOLE = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc3                 Version: 24.1.rc3                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | Warning       | -           44                0    / 0             |
| 0                         | NA            | 0           0    / 0          0    / 0             |
+===========================+===============+====================================================+
| 1     910B3               | -             | NA          44                0    / 0             |
| 0                         | 0000:02:00.0  | 0           15137/ 15137      0    / 0             |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
+===========================+===============+====================================================+
| 1       0                 | 17            | a | b : /bin/x y         | NA                      |
+===========================+===============+====================================================+
"""


def read(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_a_table_of_910b3_with_a_process() -> None:
    assert parse_table(read("npu-smi-info.910b3.txt")) == Table(
        count=2,
        npus=(
            Npu(npu=0, chip=0, name="910B3", bus="0000:C1:00.0", health="OK", memory_bytes=65536 * MIB),
            Npu(npu=5, chip=0, name="910B3", bus="0000:02:00.0", health="OK", memory_bytes=65536 * MIB),
        ),
        held=(Held(npu=5, chip=0, pid=2290156, name="VLLMEngineCore", memory_bytes=56630 * MIB),),
        version="25.5.1",
    )


def test_a_310p3_has_no_hbm_and_tells_its_logical_ids() -> None:
    assert parse_table(read("npu-smi-info.310p3.txt")) == Table(
        count=2,
        npus=(
            Npu(npu=0, chip=0, logical=0, name="310P3", bus="0000:01:00.0", health="OK", memory_bytes=21527 * MIB),
            Npu(npu=64, chip=0, logical=1, name="310P3", bus="0000:06:00.0", health="OK", memory_bytes=21527 * MIB),
        ),
    )


def test_two_dies_of_one_card_are_two_with_their_physical_ids() -> None:
    assert parse_table(read("npu-smi-info.910c-two-dies.txt")) == Table(
        count=2,
        npus=(
            Npu(npu=0, chip=0, physical=0, name="Ascend910", bus="0000:9D:00.0", health="OK", memory_bytes=65536 * MIB),
            Npu(npu=0, chip=1, physical=1, name="Ascend910", bus="0000:9F:00.0", health="OK", memory_bytes=65536 * MIB),
        ),
    )


def test_rows_alone_are_enough() -> None:
    told = parse_table(read("npu-smi-info.910b4.txt"))
    assert (told.count, told.npus[0].name, told.npus[0].memory_bytes) == (1, "910B4", 32768 * MIB)


def test_what_the_tool_does_not_know_is_none_and_a_process_may_have_any_name() -> None:
    told = parse_table(WHOLE)
    assert (told.count, told.version, told.notes) == (2, "24.1.rc3", ())
    assert [(each.health, each.bus, each.memory_bytes) for each in told.npus] == [
        ("Warning", None, None),
        (None, "0000:02:00.0", 15137 * MIB),
    ]
    assert told.held == (Held(npu=1, chip=0, pid=17, name="a | b : /bin/x y", memory_bytes=None),)


def test_more_numbers_than_a_chip_has_memories_are_no_memory() -> None:
    odd = WHOLE.replace("15137/ 15137      0    / 0 ", "1 / 2  3 / 4  5 / 6    ")
    assert [each.memory_bytes for each in parse_table(odd).npus] == [None, None]


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("| 0     910B3 ", "| 0     ......", "line 7 cannot be read: '| 0     ......"),
        ("| 0                         | NA ", "| 0                         | NX ", "line 8 cannot be read"),
        ("| 1     910B3", "| 0     910B3", "npu-smi info lists one NPU twice"),
        ("| Chip                      | Bus-Id", "| Cheap                     | Bus-Id", "line 5 cannot be read"),
        (
            "| Warning       |",
            "| \x1b[31mWarning  |",
            "line 7 cannot be read: '| 0     910B3               | \\x1b[31mW",
        ),
    ],
)
def test_half_a_table_has_no_count(old: str, new: str, note: str) -> None:
    told = parse_table(WHOLE.replace(old, new, 1))
    assert told.count is None
    assert note in told.notes[0]


def test_a_table_that_ends_within_an_npu_has_no_count() -> None:
    told = parse_table(WHOLE[: WHOLE.index("| 0                         | 0000:02")])
    assert (told.count, told.notes) == (None, ("npu-smi info ends in the middle of an NPU",))
    assert len(told.npus) == 1


def test_the_first_thing_that_cannot_be_read_is_told() -> None:
    told = parse_table("what\nis this\n" + WHOLE.rpartition("| 0     ")[0] + "| 7     910B3 | OK | 1 |\n")
    assert told.notes == ("npu-smi info: line 1 cannot be read: 'what'",)


def test_rows_of_npus_among_the_processes_are_a_process_name_with_lines_in_it() -> None:
    rows = "| 7 910B3 | OK | 1 |\n| 0 | 0000:77:00.0 | 0 1 / 2 |\n"
    told = parse_table(WHOLE + rows)
    assert told.count == len(told.npus) == 2
    assert told.notes == ("npu-smi info: line 20 cannot be read: '| 7 910B3 | OK | 1 |'",)


def test_a_process_name_that_moves_cursors_is_none() -> None:
    told = parse_table(WHOLE.replace("a | b", "a\x1b[2J"))
    assert [each.name for each in told.held] == [None]


@pytest.mark.parametrize(
    "text", ["", "\n\n", "dcmi model initialized failed, because the device is used. ret is -8020"]
)
def test_no_table_is_no_count(text: str) -> None:
    assert parse_table(text).count is None


def test_a_line_without_an_end_costs_little() -> None:
    told = parse_table("| 0 " + " " * 2_000_000 + "|\n" + WHOLE)
    assert told.count is None
    assert len(told.notes[0]) < 200


def test_the_mapping_leaves_out_the_controllers() -> None:
    assert parse_mapping(read("npu-smi-info-m.910b3.txt")) == Mapping(
        count=2,
        npus=(
            Npu(npu=0, chip=0, logical=0, name="Ascend 910B3"),
            Npu(npu=1, chip=0, logical=1, name="Ascend 910B3"),
        ),
    )


def test_the_mapping_s_columns_are_found_by_their_names() -> None:
    five = "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\n0 0 0 4 Ascend910\n0 1 1 5 Ascend910\n0 2 - - Mcu\n"
    assert [(each.logical, each.physical) for each in parse_mapping(five).npus] == [(0, 4), (1, 5)]
    slots = "NPU ID  Slot ID  Chip ID  Chip Phy-ID  Chip Name\n3 1 0 3 Ascend950PR\n"
    assert parse_mapping(slots).npus == (Npu(npu=3, chip=0, physical=3, name="Ascend950PR"),)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 0 0 Ascend910\n",
        "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 0 x Ascend910\n",
        "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 0 0\n",
        "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 0 0 \x1b[2J\n",
        "NPU ID  Chip ID  Chip Colour  Chip Name\n0 0 0 Ascend910\n",
        "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 0 0 Ascend910\n1 0 0 Ascend910\n",
        "NPU ID  Chip ID  Chip Phy-ID  Chip Name\n0 0 0 Ascend910\n1 0 0 Ascend910\n",
        "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 1 - Mcu\n",
    ],
)
def test_half_a_mapping_has_no_count(text: str) -> None:
    assert parse_mapping(text).count is None


def test_cards_in_both_spellings() -> None:
    first, second = (parse_cards(read(f"npu-smi-info-l.{name}-count.txt")) for name in ("card", "total"))
    assert (first.count, first.npus, first.names) == (1, (0,), ())
    assert (second.count, second.npus, second.names) == (1, (8,), ("IT21PDDA01",))


def test_a_card_may_have_several_chips() -> None:
    card = "NPU ID : {}\nProduct Name : Atlas 300I Duo\nChip Count : 2\n"
    told = parse_cards("Card Count : 2\nCard Count : 2\n" + card.format(0) + "Chip Count : 9\n" + card.format(4))
    assert (told.count, told.npus, told.names) == (4, (0, 4), ("Atlas 300I Duo", "Atlas 300I Duo"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Card Count : 1\n",
        "Chip Count : 1\nCard Count : 0\n",
        "Card Count : 2\nNPU ID : 0\nChip Count : 1\n",
        "NPU ID : 0\nChip Count : 1\n",
        "Card Count : 1\nNPU ID : 0\n",
        "Card Count : 2\nNPU ID : 0\nChip Count : 1\nNPU ID : 0\nChip Count : 1\n",
        "Card Count : 1\nNPU ID : 0\nChip Count : 1\nnot a card at all\nnor this\n",
    ],
)
def test_half_a_list_of_cards_has_no_count(text: str) -> None:
    assert parse_cards(text).count is None


def test_the_mapping_gives_the_table_its_ids_and_full_names() -> None:
    table = parse_table(read("npu-smi-info.910b3.txt"))
    mapping = Mapping(count=1, npus=(Npu(npu=5, chip=0, logical=1, name="Ascend 910B3"),))
    assert [(each.npu, each.logical, each.name) for each in joined(table, mapping)] == [
        (0, None, "910B3"),
        (5, 1, "Ascend 910B3"),
    ]
    dies = parse_table(read("npu-smi-info.910c-two-dies.txt"))
    both = Mapping(count=1, npus=(Npu(npu=0, chip=1, physical=9, name="Ascend910"),))
    assert [each.physical for each in joined(dies, both)] == [0, 9]


def test_a_mapping_that_could_not_be_read_gives_nothing() -> None:
    table = parse_table(read("npu-smi-info.910b3.txt"))
    mapping = Mapping(count=None, npus=(Npu(npu=5, chip=0, logical=1, name="Ascend 910B3"),))
    assert joined(table, mapping) == table.npus


@st.composite
def ruins(draw: st.DrawFn, texts: list[str]) -> tuple[str, str]:
    """A text, and what became of it: lines dropped, doubled, moved, cut, or with other bytes in them."""
    whole = draw(st.sampled_from(texts))
    lines = whole.splitlines()
    for _ in range(draw(st.integers(1, 6))):
        if not lines:
            break
        index = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "move", "cut", "insert", "garble"])):
            case "drop":
                del lines[index]
            case "double":
                lines.insert(draw(st.integers(0, len(lines))), lines[index])
            case "move":
                lines.insert(draw(st.integers(0, len(lines) - 1)), lines.pop(index))
            case "cut":
                lines[index] = lines[index][: draw(st.integers(0, len(lines[index])))]
            case "insert":
                at = draw(st.integers(0, len(lines[index])))
                lines[index] = lines[index][:at] + draw(st.text(max_size=8)) + lines[index][at:]
            case _:
                at = draw(st.integers(0, len(lines[index])))
                lines[index] = lines[index][:at] + draw(st.text(max_size=4)) + lines[index][at + 4 :]
    text = "\n".join(lines)
    return whole, text[: draw(st.integers(0, len(text)))] if draw(st.booleans()) else text


@given(ruins([*(path.read_text(encoding="utf-8") for path in TABLES), WHOLE]))
def test_no_ruin_of_a_table_crashes_or_counts_more_than_its_rows(case: tuple[str, str]) -> None:
    _, text = case
    told = parse_table(text)
    buses = sum(bool(re.search(r"\|\s*([0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:|NA|-)", line)) for line in text.splitlines())
    assert len(told.npus) <= buses
    assert told.count in (None, len(told.npus))
    assert told.count is not None or told.notes or not told.npus
    assert all(note.isprintable() and len(note) < 200 for note in told.notes)
    assert len({(each.npu, each.chip) for each in told.npus}) == len(told.npus) or told.count is None


@given(ruins([path.read_text(encoding="utf-8") for path in LISTS]))
def test_no_ruin_of_a_list_crashes_or_counts_more_than_its_rows(case: tuple[str, str]) -> None:
    _, text = case
    mapping, cards = parse_mapping(text), parse_cards(text)
    assert (mapping.count or 0) <= len([line for line in text.splitlines() if line.strip()])
    assert mapping.count in (None, len(mapping.npus))
    assert cards.count is None or len(cards.npus) == len(set(cards.npus)) <= text.count("NPU ID")
    assert all(note.isprintable() and len(note) < 200 for note in (*mapping.notes, *cards.notes))


@given(st.text(max_size=300))
def test_any_text_is_read(text: str) -> None:
    assert (parse_table(text).count, parse_mapping(text).count, parse_cards(text).count) == (None, None, None)
