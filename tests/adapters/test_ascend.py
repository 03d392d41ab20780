"""Ascend NPUs by their files and their tool: parser tests, with real files and some real children, and no NPU."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from launcher.adapters.ascend import ascend
from launcher.adapters.clock import SystemClock
from launcher.adapters.process import SystemProcesses
from launcher.asking import Asker
from launcher.core.answer import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.devices import Accelerators

DATA = Path(__file__).parent.parent / "data" / "devices"
MIB = 1024**2
DEVICES = (DATA / "npu-smi-info.910b3.txt").read_text(encoding="utf-8")
CARDS = (DATA / "npu-smi-info-l.total-count.txt").read_text(encoding="utf-8")
IDS = "NPU ID  Chip ID  Chip Logic ID  Chip Name\n0 0 0 Ascend 910B3\n0 1 - Mcu\n5 0 1 Ascend 910B3\n5 1 - Mcu\n"


class Node:
    """A node below a folder, and what its tool would answer; `asked` is what it was asked."""

    def __init__(self, top: Path) -> None:
        self.top = top
        (top / "dev").mkdir()
        self.answers = {"info": Answer(code=0, stdout=DEVICES), "-m": Answer(code=0, stdout=IDS)}
        self.asked: list[str] = []

    def device(self, *names: str) -> Node:
        for name in names:
            (self.top / "dev" / name).symlink_to(os.devnull)
        return self

    def file(self, path: str, text: str) -> Path:
        place = self.top / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
        return place

    def tool(self, script: str = "#!/bin/sh\nexit 1\n", folder: str = "/usr/local/sbin") -> Node:
        self.file(f"{folder}/npu-smi", script).chmod(0o755)
        return self

    def told(self, **environ: str) -> Accelerators:
        found = ascend(environ, self.ask, str(self.top))
        assert found is not None
        return found

    def ask(self, argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        assert limit_s == 5.0
        self.asked.append(" ".join(argv[1:]))
        return self.answers.get(argv[-1], Answer(code=255, stderr="no such option\n"))


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_a_node_without_ascend_is_asked_nothing(node: Node) -> None:
    node.device("null", "davinci_manager", "davinci", "davinci1x", "nvidia0")
    assert ascend({"PATH": ".:relative:"}, node.ask, str(node.top)) is None
    assert node.asked == []


def test_no_dev_at_all(tmp_path: Path) -> None:
    assert ascend({}, Node(tmp_path).ask, str(tmp_path / "nowhere")) is None


def test_devices_by_their_files_with_what_the_tool_says_of_them(node: Node) -> None:
    told = node.device("davinci0", "davinci5", "davinci_manager", "hisi_hdc").tool().told()
    assert (told.type, told.count, told.present, told.driver, told.notes) == ("Ascend", 2, 2, "25.5.1", ())
    assert [(each.index, each.physical, each.name, each.id, each.memory_bytes) for each in told.devices] == [
        (0, 0, "Ascend 910B3", "0000:C1:00.0", 65536 * MIB),
        (1, 5, "Ascend 910B3", "0000:02:00.0", 65536 * MIB),
    ]
    assert [(each.device, each.pid, each.name) for each in told.held] == [(1, 2290156, "VLLMEngineCore")]
    assert node.asked == ["info", "info -m"]


def test_the_tool_is_found_on_the_path_first(node: Node) -> None:
    node.device("davinci0").tool().tool(folder="/opt/bin")
    (node.top / "bin").mkdir()
    (node.top / "bin" / "npu-smi").write_text("not to be run")
    seen: list[str] = []

    def ask(argv: Sequence[str], limit_s: float = 5.0, env: Mapping[str, str] | None = None) -> Answer:
        seen.append(argv[0])
        return Answer(code=None, fault="gave no answer in 5 s")

    told = ascend({"PATH": f"{node.top}/bin:{node.top}/opt/bin"}, ask, str(node.top))
    assert seen == [f"{node.top}/opt/bin/npu-smi"]
    assert told is not None
    assert told.count == 1


def test_files_without_a_tool(node: Node) -> None:
    told = node.device("davinci10", "davinci2").told()
    assert (told.count, [each.physical for each in told.devices]) == (2, [2, 10])
    assert told.notes == ("npu-smi is not there: names, memory and health of the NPUs are unknown",)


def test_what_only_has_the_name_of_a_device_is_none(node: Node) -> None:
    node.device("davinci0")
    (node.top / "dev" / "davinci1").mkdir()
    (node.top / "dev" / "davinci2").symlink_to("nowhere")
    told = node.told()
    assert told.count == 1
    assert [note.partition(":")[0] for note in told.notes[:2]] == [
        "/dev/davinci1 is no device",
        "/dev/davinci2 is no device",
    ]


def test_a_tool_that_hangs_is_asked_once(node: Node) -> None:
    node.answers["info"] = Answer(code=None, fault="gave no answer in 5 s")
    told = node.device("davinci0").tool().told()
    assert (told.count, node.asked) == (1, ["info"])
    assert told.notes == ("npu-smi info gave no answer in 5 s: names, memory and health of the NPUs are unknown",)


def test_a_tool_that_fails_is_quoted(node: Node) -> None:
    node.answers["info"] = Answer(code=228, stdout="DrvMng...\ndcmi model initialized failed. ret is -8020\n")
    told = node.device("davinci0").tool().told()
    assert told.count == 1
    assert told.notes == ("npu-smi info ended with 228: 'dcmi model initialized failed. ret is -8020'",)
    node.answers["info"] = Answer(code=1)
    assert node.told().notes == ("npu-smi info ended with 1: 'it said nothing'",)


def test_a_mapping_that_fails_costs_the_ids_alone(node: Node) -> None:
    node.answers["-m"] = Answer(code=None, fault="gave no answer in 5 s")
    told = node.device("davinci0", "davinci1").tool().told()
    assert [each.name for each in told.devices] == ["910B3", "910B3"]
    assert told.notes == ("npu-smi info -m gave no answer in 5 s",)


def test_no_rows_and_cards_in_the_slots(node: Node) -> None:
    node.answers |= {"info": Answer(code=0), "-l": Answer(code=0, stdout=CARDS)}
    told = node.tool().told()
    assert (told.count, told.present) == (0, 0)
    assert told.notes == (
        "npu-smi info lists no NPU",
        "npu-smi info -l lists 1 cards with 1 chips (IT21PDDA01) all the same",
    )
    node.answers["-l"] = Answer(code=0, stdout=CARDS.replace("IT21PDDA01", "NA"))
    assert node.told().notes[1] == "npu-smi info -l lists 1 cards with 1 chips all the same"


def test_rows_of_a_host_whose_devices_were_not_given_to_us(node: Node) -> None:
    told = node.tool().told()
    assert (told.type, told.count, told.devices) == ("Ascend", None, ())
    assert "npu-smi lists 2 NPUs, and /dev has the file of none" in told.notes[0]


def test_half_a_table_changes_no_count(node: Node) -> None:
    node.answers["info"] = Answer(code=0, stdout=DEVICES.replace("| 5     910B3", "| 5  \x00  910B3"))
    told = node.device("davinci0", "davinci5").tool().told()
    assert told.count == 2
    assert told.notes[0].startswith("npu-smi info: line 9 cannot be read")


@pytest.mark.parametrize(
    ("path", "text", "version"),
    [
        ("version.cfg", "# version: 1.0\nruntime_running_version=[7.6.0.1.220:8.0.0]\n", "8.0.0"),
        ("version.cfg", "toolkit_running_version=[8.3]\nruntime_running_version=[8.2]\n", "8.3"),
        (f"{os.uname().machine}-linux/ascend_toolkit_install.info", "package_name=x\nversion=8.5.0\n", "8.5.0"),
        ("runtime/version.info", "Version=1.83.T8.0.B128\n", "1.83.T8.0.B128"),
        ("compiler/version.info", "Version=7.0.RC1\nVersion=9\n", "7.0.RC1"),
        ("compiler/version.info", "Version=a b\n", None),
        ("compiler/version.info", "version=1\n", None),
    ],
)
def test_the_version_of_cann(node: Node, path: str, text: str, version: str | None) -> None:
    node.device("davinci0").file(f"/usr/local/Ascend/ascend-toolkit/latest/{path}", text)
    assert node.told().runtime == version


def test_the_toolkit_that_the_environment_names_comes_first(node: Node) -> None:
    node.device("davinci0")
    for place, version in (("mine", "8.1"), ("theirs", "8.2"), ("usr/local/Ascend/cann", "8.5")):
        node.file(f"{place}/version.cfg", f"toolkit_running_version=[1:{version}]\n")
    assert node.told(ASCEND_TOOLKIT_HOME=f"{node.top}/mine", ASCEND_HOME_PATH=f"{node.top}/theirs").runtime == "8.1"
    assert node.told(ASCEND_HOME_PATH=f"{node.top}/theirs").runtime == "8.2"
    assert node.told(ASCEND_TOOLKIT_HOME="", ASCEND_HOME_PATH="\0").runtime == "8.5"


def test_the_driver_s_own_file_wins_over_the_tool(node: Node) -> None:
    node.device("davinci0", "davinci5").tool()
    node.file("/usr/local/Ascend/driver/version.info", "Innerversion=V100\nVersion=24.1.rc3\npackage_version=24\n")
    assert node.told().driver == "24.1.rc3"


def test_files_that_would_be_waited_for_or_have_no_end_are_not(node: Node) -> None:
    node.device("davinci0")
    place = node.file("/usr/local/Ascend/driver/version.info", "")
    place.unlink()
    os.mkfifo(place)
    assert node.told().driver is None
    place.unlink()
    place.mkdir()
    assert node.told().driver is None
    place.rmdir()
    place.symlink_to("/dev/zero")
    assert node.told().driver is None
    place.unlink()
    place.write_bytes(b"\xff\xfe" * 100_000 + b"\nVersion=1\n")
    assert node.told().driver is None


def test_what_the_job_s_variable_hides_is_not_counted(node: Node) -> None:
    told = node.device("davinci0", "davinci5").tool().told(ASCEND_RT_VISIBLE_DEVICES="1")
    assert (told.count, told.present, [each.physical for each in told.devices]) == (1, 2, [5])


SCRIPT = """#!/bin/sh
case "$*" in
"info") cat {data}/npu-smi-info.310p3.txt ;;
"info -m") printf '%s\\n' 'NPU ID  Chip ID  Chip Logic ID  Chip Name' '0 0 0 Ascend 310P3' '64 0 1 Ascend 310P3' ;;
esac
"""


def test_a_tool_that_is_a_real_child(node: Node) -> None:
    node.device("davinci0", "davinci1").tool(SCRIPT.format(data=DATA))
    environ = {"PATH": os.environ["PATH"]}
    with SystemProcesses() as processes:
        told = ascend(environ, Asker(processes, SystemClock(), environ, int), str(node.top))
    assert told is not None
    assert (told.count, told.notes) == (2, ())
    assert [(each.name, each.memory_bytes) for each in told.devices] == [("Ascend 310P3", 21527 * MIB)] * 2


def test_a_real_tool_that_hangs_is_ended(node: Node) -> None:
    node.device("davinci0").tool("#!/bin/sh\nexec sleep 1000\n")
    environ = {"PATH": os.environ["PATH"]}
    with SystemProcesses() as processes:
        told = ascend(environ, Asker(processes, SystemClock(), environ, int), str(node.top), limit_s=0.2)
    assert told is not None
    assert told.count == 1
    assert told.notes[0].startswith("npu-smi info gave no answer in 0.2 s")
