"""Archives that a job asks to be unpacked, through the real launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from archives import tarred, zipped

if TYPE_CHECKING:
    from rig import Result, Rig

FILES = {"a.txt": b"one", "d/b.bin": bytes(range(256)) * 1024}
SHOW = """
import os, sys
top = sys.argv[1].partition("=")[2]
print(sorted(os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names))
"""


def asking(rig: Rig, name: str, content: bytes, *, value: str = "true") -> Rig:
    rig.store.seed(rig.bucket, {f"packed/{name}": content})
    rig.code(SHOW)
    rig.algorithm["inputs"][0]["remote"]["obs"]["obs_url"] = f"obs://{rig.bucket}/packed/{name}"
    rig.job["metadata"]["annotations"] = {"launcher/extract.data_url": value}
    return rig


def staged(result: Result) -> Any:
    (one,) = [each for each in result.run_json["staged"] if each["channel"] == "data_url"]
    return one


@pytest.mark.parametrize(("name", "pack"), [("x.tar.gz", tarred), ("x.zip", zipped)])
def test_an_archive_is_unpacked_and_kept_on_a_second_start(rig: Rig, name: str, pack: Any) -> None:
    asking(rig, name, pack(FILES))
    result = rig.run()
    assert (result.code, result.out) == (0, "['a.txt', 'd/b.bin']\n"), result.err
    assert (rig.inputs / "d/b.bin").read_bytes() == FILES["d/b.bin"]
    assert (staged(result)["objects"], staged(result)["kept"]) == (1, 0)
    again = rig.run()
    assert (again.code, again.out) == (0, "['a.txt', 'd/b.bin']\n")
    assert (staged(again)["objects"], staged(again)["kept"]) == (0, 1)
    assert "WARNING" not in again.err


def test_what_a_boot_file_wrote_into_it_is_put_right_on_the_next_start(local_rig: Rig) -> None:
    asking(local_rig, "x.zip", zipped(FILES))
    local_rig.code("import sys; open(sys.argv[1].partition('=')[2] + '/a.txt', 'w').write('spoilt')")
    assert local_rig.run().code == 0
    local_rig.code(SHOW)
    assert local_rig.run().code == 0
    assert (local_rig.inputs / "a.txt").read_bytes() == b"one"


def test_without_the_annotation_it_is_a_file(local_rig: Rig) -> None:
    asking(local_rig, "x.zip", zipped(FILES), value="false")
    assert local_rig.run().out == "['x.zip']\n"


def test_a_hostile_archive_is_refused_and_writes_nothing_elsewhere(local_rig: Rig) -> None:
    asking(local_rig, "x.tar.gz", tarred({"ok": b"1", "../../../evil": b"x"}))
    result = local_rig.run()
    assert (result.code, result.out) == (66, "")
    assert "'../../../evil'" in result.errors[0]
    assert not list(local_rig.root.rglob("evil"))
    assert not list(local_rig.root.rglob(".launcher-part-*"))


def test_an_annotation_that_means_nothing_is_65_with_its_path(local_rig: Rig) -> None:
    asking(local_rig, "x.zip", zipped(FILES), value="please")
    result = local_rig.run()
    assert result.code == 65
    assert 'metadata.annotations["launcher/extract.data_url"]' in result.err
