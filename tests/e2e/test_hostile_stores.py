from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rig import Rig


def files_outside(rig: Rig) -> list[str]:
    """What lies in the test's folder and belongs to nobody."""
    known = ("root", "store", "job.json")
    return [path.name for path in rig.folder.iterdir() if path.name not in known]


@pytest.mark.parametrize(
    "key",
    [
        "data/../../../../../../../escape",
        "data/a//b",
        "data//lead",
        "data/./dot",
        "data/tab\there",
        "data/" + "s" * 300,
        "data/a.csv/below",
        "data/del\x7f",
    ],
)
def test_a_key_that_cannot_be_a_path_is_refused_by_name(moto_rig: Rig, key: str) -> None:
    rig = moto_rig  # the one store that takes any key
    rig.code("")
    rig.store.seed(rig.bucket, {key: b"x"})
    result = rig.run()
    assert (result.code, result.run_json["processes"]) == (66, []), result.err
    assert "data_url" in result.run_json["cause"]["message"]
    assert files_outside(rig) == []
    assert not [path for path in rig.root.rglob("*") if path.is_file() and path.read_bytes() == b"x"]


def test_directory_markers_are_directories(rig: Rig) -> None:
    rig.store.capability.need("markers")
    rig.code(
        "import os, sys; folder = sys.argv[1].partition('=')[2]\n"
        "print(sorted(os.listdir(folder)), os.path.isdir(folder + '/empty'))"
    )
    rig.store.seed(rig.bucket, {"data/empty/": b"", "data/": b""})
    assert rig.run().out == "['a.csv', 'empty'] True\n"


@pytest.mark.parametrize("name", ["数据 1.csv", "ümläut", "😀", "a b'c\"d$e", "x" * 255])
def test_odd_but_good_names_survive_the_whole_trip(rig: Rig, name: str) -> None:
    rig.store.seed(rig.bucket, {f"data/{name}": b"odd"})
    rig.code(
        "import os, shutil, sys\nsource, target = (each.partition('=')[2] for each in sys.argv[1:3])\n"
        "for name in os.listdir(source): shutil.copy(os.path.join(source, name), os.path.join(target, name))"
    )
    assert rig.run().code == 0
    assert rig.stored() == {"a.csv": b"1,2\n", name: b"odd"}


def test_entries_are_counted_with_their_folders(rig: Rig) -> None:
    rig.code("print('ran')", {f"d/f{index}": b"" for index in range(1021)})
    assert rig.run().out == "ran\n"  # 1,022 files and 1 folder
    rig.store.seed(rig.bucket, {"code/one-more": b"", "code/and-more": b""})
    result = rig.run()
    assert (result.code, "1,024" in result.run_json["cause"]["message"]) == (65, True)


def test_thirty_three_levels_are_one_too_many(rig: Rig) -> None:
    rig.code("", {"/".join(["d"] * 32) + "/f": b""})
    result = rig.run()
    assert (result.code, "ModelArts.2760" in result.run_json["cause"]["message"]) == (65, True)


def test_a_link_out_of_the_store_brings_nothing(local_rig: Rig) -> None:
    assert local_rig.store.directory is not None
    secret = local_rig.folder / "job.json"
    (local_rig.store.directory / local_rig.bucket / "data" / "link").symlink_to(secret)
    local_rig.code("")
    result = local_rig.run()
    assert result.code != 0
    assert "link" in result.run_json["cause"]["message"]


def test_a_link_among_the_outputs_is_left_out_and_named(local_rig: Rig) -> None:
    local_rig.code(
        "import os, sys; folder = sys.argv[2].partition('=')[2]; os.symlink('/etc/hostname', folder + '/token'); "
        "os.mkfifo(folder + '/pipe'); open(folder + '/real', 'w').close()"
    )
    assert local_rig.run().code == 0
    assert local_rig.stored() == {"real": b""}
    assert [each for each in local_rig.events() if "token" in each]
    assert [each for each in local_rig.events() if "pipe" in each]
