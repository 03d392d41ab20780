"""Staging through the real launcher: second starts, the node's cache, patterns, limits of time, and large objects."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from fronts import Fault, s3_error
from rig import COPY_TREE, tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from fronts import Front, Seen
    from rig import Result, Rig
    from servers import S3Server

MIB = 1024**2
LARGE = 40 * MIB


def staged(result: Result, channel: str = "data_url") -> Any:
    assert result.code == 0, result.err
    (one,) = [each for each in result.run_json["staged"] if each["channel"] == channel]
    return one


class Fronted:
    """A rig on moto whose launcher asks through a front."""

    def __init__(self, rig: Rig, front: Front) -> None:
        self.rig = rig
        self.front = front
        rig.code("")

    def run(self, **settings: str) -> Result:
        self.front.forget()
        env = {"S3_ENDPOINT": self.front.endpoint, **{f"LAUNCHER_{name}": value for name, value in settings.items()}}
        return self.rig.run(env=env)

    def gets(self) -> int:
        """Requests for objects of the input."""
        return self.front.count("GET", r"/data/[^?]+$")


@pytest.fixture
def through(moto_rig: Rig, moto_server: S3Server, fronted: Callable[[S3Server], Front]) -> Fronted:
    return Fronted(moto_rig, fronted(moto_server))


def test_a_second_start_downloads_nothing_that_is_as_it_was(through: Fronted) -> None:
    rig = through.rig
    rig.store.seed(rig.bucket, {f"data/{n:03}": os.urandom(n) for n in range(100)})
    assert staged(through.run())["objects"] == 101
    assert through.gets() == 101
    again = staged(through.run())
    assert (again["objects"], again["kept"], through.gets()) == (0, 101, 0)
    (rig.inputs / "050").write_bytes(b"spoilt")
    rig.store.seed(rig.bucket, {"data/051": b"new"})
    third = staged(through.run())
    assert (third["objects"], third["kept"], through.gets()) == (2, 99, 2)
    assert tree(rig.inputs) == {key[5:]: content for key, content in _data(rig).items()}


def _data(rig: Rig) -> dict[str, bytes]:
    return rig.store.read_all(rig.bucket, rig.store.listing(rig.bucket, "data/"))


def test_a_large_object_goes_on_where_it_was(through: Fronted) -> None:
    rig, content = through.rig, os.urandom(MIB) * 40
    rig.store.seed(rig.bucket, {"data/large": content})
    last = f"bytes={32 * MIB}-"
    through.front.lay(
        s3_error(403, "AccessDenied", method="GET", when=lambda seen: seen.header("range").startswith(last))
    )
    assert through.run(TRANSFERS="1").code == 77
    assert [name.startswith(".launcher-part-of-") for name in sorted(tree(rig.inputs)) if "part" in name] == [True]
    through.front.clear()
    result = through.run(TRANSFERS="1")
    assert staged(result)["objects"] + staged(result)["kept"] == 2
    down, _ = through.front.moved("/data/large")
    assert down == 8 * MIB
    assert tree(rig.inputs) == {"a.csv": b"1,2\n", "large": content}


def test_ranges_that_a_store_does_not_answer_come_whole(rig: Rig) -> None:
    content = os.urandom(MIB) * 40
    rig.store.seed(rig.bucket, {"data/large": content})
    rig.code("")
    assert staged(rig.run())["bytes"] == LARGE + 4
    assert (rig.inputs / "large").read_bytes() == content


def test_a_second_root_of_this_node_downloads_nothing_where_there_is_a_cache(through: Fronted, tmp_path: Any) -> None:
    rig = through.rig
    rig.store.seed(rig.bucket, {f"data/{n:02}": os.urandom(1000 + n) for n in range(20)})
    rig.store.seed(rig.bucket, {"data/large": os.urandom(MIB) * 34})
    rig.code(
        "import os, sys\nfolder = sys.argv[1].partition('=')[2]\n"
        "for name in os.listdir(folder):\n    open(os.path.join(folder, name), 'r+b').write(b'spoilt')\n"
    )
    cache = str(tmp_path / "cache")
    first = staged(through.run(CACHE=cache))
    assert (first["objects"], first["cached"]) == (22, 0)
    assert (rig.inputs / "05").read_bytes().startswith(b"spoilt")
    rig.code("")
    rig.root = tmp_path / "another"
    rig.log_dir = rig.root / "home/ma-user/modelarts/log"
    second = staged(through.run(CACHE=cache))
    assert (second["cached"], through.gets()) == (22, 0)
    assert tree(rig.root / "home/ma-user/modelarts/inputs/data_url_0") == {
        key[5:]: content for key, content in _data(rig).items()
    }


def test_only_what_the_patterns_of_a_channel_select_comes_and_goes(rig: Rig) -> None:
    rig.store.seed(rig.bucket, {f"data/{key}": b"1" for key in ("a.jpg", "b.txt", "tmp/c.jpg", "d/e.jpg")})
    rig.code(COPY_TREE)
    rig.job["metadata"]["annotations"] = {
        "launcher/include.data_url": "*.jpg",
        "launcher/exclude.data_url": "tmp/",
        "launcher/exclude.train_url": "d/",
    }
    result = rig.run()
    assert staged(result)["objects"] == 2
    assert tree(rig.inputs) == {"a.jpg": b"1", "d/e.jpg": b"1"}
    assert rig.stored() == {"a.jpg": b"1"}


@pytest.mark.parametrize(
    ("name", "text"), [("include.data_url", "a//b"), ("include.nothing", "*"), ("dataset-missing", "2")]
)
def test_a_wrong_annotation_is_65_with_its_path(local_rig: Rig, name: str, text: str) -> None:
    local_rig.code("")
    local_rig.job["metadata"]["annotations"] = {f"launcher/{name}": text}
    result = local_rig.run()
    assert result.code == 65
    assert f'metadata.annotations["launcher/{name}"]' in result.err


def test_staging_has_a_limit_of_time_though_the_store_hangs(through: Fronted) -> None:
    through.front.lay(Fault("hang", method="GET", target="/data/a.csv$"))
    result = through.run(STAGE_TIMEOUT="1.5")
    assert (result.code, result.cause) == (69, "stage-timeout")
    assert "data_url 0 of 1" in result.err
    assert len(result.errors) == 1
    assert not list(through.rig.root.rglob(".launcher-part-*"))


def test_a_stop_ends_a_staging_that_hangs(through: Fronted, moto_rig: Rig) -> None:
    asked = threading.Event()

    def noted(_: Seen) -> bool:
        asked.set()
        return True

    through.front.lay(Fault("hang", method="GET", target="/data/a.csv$", when=noted))
    with moto_rig.running(env={"S3_ENDPOINT": through.front.endpoint}) as process:
        assert asked.wait(60)
        process.terminate()
        assert moto_rig.finish(process).code == 143


def test_an_object_that_is_replaced_is_brought_in_its_new_version(rig: Rig) -> None:
    rig.code("")
    rig.store.seed(rig.bucket, {"data/x": b"old"})
    assert rig.run().code == 0
    rig.store.seed(rig.bucket, {"data/x": b"new"})
    assert staged(rig.run())["objects"] == 1
    assert (rig.inputs / "x").read_bytes() == b"new"
