from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import random
import shutil
import stat
import struct
import subprocess
import sys
import tarfile
import tracemalloc
import zipfile
import zlib
from typing import TYPE_CHECKING

import pytest
from fake_store import broken, never
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launcher.core.errors import Cancelled, Exit, StageError, StoreError
from launcher.unpack import Archive, Unpacked, UnpackRules, seal, unpack
from launcher.unpack.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Edit = Callable[[tarfile.TarInfo], None]

CONTENT = {"a.txt": b"one", "d/b.bin": bytes(range(256)) * 1024, "d/e/empty": b"", "d/é 数据.txt": b"two"}
SMALL = UnpackRules(ratio=1)


def archive(name: str, content: bytes, *, piece: int = 1000, ranged: bool = True) -> Archive:
    def read(start: int, end: int) -> Iterator[bytes]:
        if not ranged and (start, end) != (0, len(content)):
            raise StoreError("no ranges", code="store-unranged", action="None.")
        for at in range(start, end, piece):
            yield content[at : min(at + piece, end)]

    return Archive(name=name, size=len(content), read=read)


def unpacked(tmp_path: Path, held: Archive, rules: UnpackRules | None = None) -> Unpacked:
    return unpack(held, str(tmp_path), str(tmp_path / "in/x_0"), rules or UnpackRules(), never)


def refusal(tmp_path: Path, held: Archive, rules: UnpackRules | None = None) -> StageError:
    with pytest.raises(StageError) as caught:
        unpacked(tmp_path, held, rules)
    assert leftovers(tmp_path) == []
    assert str(caught.value).count("\n") == 0
    return caught.value


def leftovers(tmp_path: Path) -> list[str]:
    return [str(path) for path in tmp_path.rglob(".launcher-part-*")]


def tree(tmp_path: Path) -> dict[str, bytes]:
    top = tmp_path / "in/x_0"
    return {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()}


def tar(*entries: tuple[str, bytes | Edit], form: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as file:
        for name, what in entries:
            entry = tarfile.TarInfo(name)
            entry.mode = 0o640
            if isinstance(what, bytes):
                entry.size = len(what)
                file.addfile(entry, io.BytesIO(what))
            else:
                what(entry)
                file.addfile(entry)
    return buffer.getvalue()


def typed(code: bytes, target: str = "") -> Edit:
    def edit(entry: tarfile.TarInfo) -> None:
        entry.type = code
        entry.linkname = target

    return edit


def symlink(target: str) -> Edit:
    return typed(tarfile.SYMTYPE, target)


def hard_link(target: str) -> Edit:
    return typed(tarfile.LNKTYPE, target)


FOLDER = typed(tarfile.DIRTYPE)


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in entries:
            file.writestr(name, content)
    return buffer.getvalue()


def zstd(content: bytes) -> bytes:
    module = pytest.importorskip("backports.zstd" if sys.version_info < (3, 14) else "compression.zstd")
    return bytes(module.compress(content))


PLAIN = tar(*CONTENT.items())
PACKED: dict[str, Callable[[], bytes]] = {
    "x.tar": lambda: PLAIN,
    "x.tar.gz": lambda: gzip.compress(PLAIN),
    "x.TGZ": lambda: gzip.compress(PLAIN),
    "x.tar.zst": lambda: zstd(PLAIN),
    "x.zip": lambda: zipped(*CONTENT.items()),
}


@pytest.mark.parametrize("piece", [1, 511, 512, 1 << 20])
@pytest.mark.parametrize("name", PACKED)
def test_every_format_comes_out_as_it_went_in_however_it_arrives(tmp_path: Path, name: str, piece: int) -> None:
    done = unpacked(tmp_path, archive(name, PACKED[name](), piece=piece))
    assert tree(tmp_path) == CONTENT
    assert done == Unpacked(files=4, folders=2, bytes=sum(map(len, CONTENT.values())))
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_of_every_kind_of_tar(tmp_path: Path, form: int) -> None:
    long = "/".join(["d" * 60, "e" * 60, "f" * 60 if form == tarfile.USTAR_FORMAT else "f" * 250])
    unpacked(tmp_path, archive("x.tar", tar((long, b"1"), ("short", b"2"), form=form)))
    assert tree(tmp_path) == {long: b"1", "short": b"2"}


@pytest.mark.parametrize("options", [["--format=gnu"], ["--format=pax"], ["--format=ustar"], ["--format=v7"], ["-z"]])
@pytest.mark.skipif(shutil.which("tar") is None, reason="no tar here")
def test_what_gnu_tar_writes(tmp_path: Path, options: list[str]) -> None:
    source = written(tmp_path / "source")
    name = "x.tar.gz" if options == ["-z"] else "x.tar"
    subprocess.run(["tar", "-cf", tmp_path / name, *options, "-C", source, "."], check=True)
    unpacked(tmp_path, archive(name, (tmp_path / name).read_bytes()))
    assert tree(tmp_path) == CONTENT


@pytest.mark.skipif(shutil.which("zip") is None, reason="no zip here")
def test_what_info_zip_writes_with_links_and_to_a_pipe(tmp_path: Path) -> None:
    source = written(tmp_path / "source")
    piped = subprocess.run(["zip", "-qr", "-", "."], cwd=source, check=True, stdout=subprocess.PIPE).stdout
    unpacked(tmp_path, archive("x.zip", piped))
    assert tree(tmp_path) == CONTENT
    (source / "link").symlink_to("d/b.bin")
    subprocess.run(["zip", "-qry", "../x.zip", "."], cwd=source, check=True)
    done = unpacked(tmp_path, archive("x.zip", (tmp_path / "x.zip").read_bytes()))
    assert tree(tmp_path) == CONTENT | {"link": CONTENT["d/b.bin"]}
    assert (done.files, done.links) == (4, 1)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="no zstd here")
def test_what_zstd_writes_in_several_frames(tmp_path: Path) -> None:
    zstd(b"")
    frames = [
        subprocess.run(["zstd", "-q", "-19"], input=part, check=True, stdout=subprocess.PIPE).stdout
        for part in (PLAIN[:5000], b"", PLAIN[5000:])
    ]
    unpacked(tmp_path, archive("x.tar.zst", b"".join(frames)))
    assert tree(tmp_path) == CONTENT


def written(source: Path) -> Path:
    for path, content in CONTENT.items():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        (source / path).write_bytes(content)
    return source


def test_a_gzip_of_several_members_padded_with_zeros(tmp_path: Path) -> None:
    parts = gzip.compress(PLAIN[:700]) + gzip.compress(b"") + gzip.compress(PLAIN[700:]) + bytes(3000)
    unpacked(tmp_path, archive("x.tgz", parts))
    assert tree(tmp_path) == CONTENT


@pytest.mark.parametrize("form", ["x.tar.gz", "x.tar.zst"])
def test_what_follows_a_compressed_stream_is_told(tmp_path: Path, form: str) -> None:
    error = refusal(tmp_path, archive(form, PACKED[form]() + b"garbage"))
    assert "followed by something else" in str(error)


def test_a_second_archive_behind_the_first_is_told(tmp_path: Path) -> None:
    assert "goes on after its end mark" in str(refusal(tmp_path, archive("x.tar", PLAIN + PLAIN)))


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.tar.zst", "x.zip"])
def test_a_page_that_came_instead_is_told_as_what_it_is_not(tmp_path: Path, name: str) -> None:
    if name == "x.tar.zst":
        zstd(b"")
    error = refusal(tmp_path, archive(name, b"<html>not found</html>" * 100))
    assert error.code == "archive-broken"
    assert "is no " in str(error)


def test_an_empty_object_and_an_unknown_ending_are_told(tmp_path: Path) -> None:
    assert "'x.tar' is empty" in str(refusal(tmp_path, archive("x.tar", b"")))
    assert "ends in none of .tar, .tar.gz" in str(refusal(tmp_path, archive("x.rar", b"Rar!")))


def test_archives_of_nothing_make_an_empty_folder(tmp_path: Path) -> None:
    assert unpacked(tmp_path, archive("x.zip", zipped())) == Unpacked()
    assert unpacked(tmp_path, archive("x.tar", tar())) == Unpacked()


@pytest.mark.parametrize("name", PACKED)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.floats(0, 1, exclude_max=True))
def test_a_cut_archive_is_never_taken_for_a_whole_one(tmp_path: Path, name: str, share: float) -> None:
    whole = PACKED[name]()
    # the zeros that pad a tar's end mark to a record may go: one block of them is the mark
    length = len(PLAIN.rstrip(b"\0")) + 512 if name == "x.tar" else len(whole)
    error = refusal(tmp_path, archive(name, whole[: max(int(length * share) - 1, 1)]))
    assert error.code == "archive-broken"
    assert all(CONTENT[path] == content for path, content in tree(tmp_path).items())


def test_a_cut_tar_names_the_file_that_it_ends_in(tmp_path: Path) -> None:
    assert "ends in the middle of 'd/b.bin'" in str(refusal(tmp_path, archive("x.tar", PLAIN[:9000])))
    one = tar(("a", b"1"))
    assert "ends without its end mark" in str(refusal(tmp_path, archive("x.tar", one[:1024])))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(["x.tar", "x.tar.gz", "x.zip"]), st.data())
def test_a_flipped_byte_ends_in_the_files_or_in_one_sentence(tmp_path: Path, name: str, data: st.DataObject) -> None:
    content = bytearray(PACKED[name]())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    try:
        unpacked(tmp_path, archive(name, bytes(content)))
    except StageError:
        assert leftovers(tmp_path) == []


def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    content = bytearray(tar(("a", b"1"), ("b", b"2")))
    content[1024 + 5] ^= 1
    error = refusal(tmp_path, archive("x.tar", bytes(content)))
    assert "is damaged: the header at byte 1,024 of the tar has a wrong checksum" in str(error)


HOSTILE: dict[str, tuple[tuple[tuple[str, bytes | Edit], ...], str]] = {
    "climbs": ((("../evil", b"1"),), "'../evil', named by the segment '..'"),
    "absolute": ((("/tmp/evil", b"1"),), "named by a key that starts with '/'"),
    "newline": ((("a\nb", b"1"),), "named by a control character"),
    "not unicode": ((("a\udc80", b"1"),), "a character that is not Unicode text"),
    "device": ((("null", typed(tarfile.CHRTYPE)),), "'null', a device"),
    "disk": ((("sda", typed(tarfile.BLKTYPE)),), "'sda', a device"),
    "fifo": ((("fifo", typed(tarfile.FIFOTYPE)),), "'fifo', a FIFO"),
    "unknown": ((("volume", typed(b"V")),), "of the unknown type 'V'"),
    "link out": ((("l", symlink("../..")),), "does not surely stay in the folder"),
    "link to the root": ((("l", symlink("/etc")),), "does not surely stay in the folder"),
    "climb over a link": (
        (("top", FOLDER), ("d/e/s", symlink("../../top")), ("d/e/l", symlink("s/../.."))),
        "does not surely stay in the folder",
    ),
    "write through a link": ((("d", FOLDER), ("l", symlink("d")), ("l/x", b"1")), "something of another kind"),
    "a folder over a link": ((("d", FOLDER), ("l", symlink("d")), ("l", FOLDER)), "something of another kind"),
    "a file over a folder": ((("d/x", b"1"), ("d", b"2")), "something of another kind"),
    "a link over a folder": ((("d", FOLDER), ("d", symlink("e"))), "something of another kind"),
    "a folder over a file": ((("x", b"1"), ("x/y", b"2")), "something of another kind"),
    "hard link out": ((("h", hard_link("../../secret")),), "a hard link to '../../secret', which is no path"),
    "hard link to the root": ((("h", hard_link("/etc/passwd")),), "which is no path in the folder"),
    "hard link to nothing": ((("h", hard_link("later")),), "no regular file that came before"),
    "hard link to a folder": ((("d", FOLDER), ("h", hard_link("d"))), "no regular file that came before"),
    "hard link to a link": ((("a", b"1"), ("l", symlink("a")), ("h", hard_link("l"))), "no regular file"),
    "hard link by a link": ((("d/a", b"1"), ("l", symlink("d")), ("h", hard_link("l/a"))), "no regular file"),
    "deep": ((("/".join("d" * 10_000), b"1"),), "is the most here"),
    "file named as a folder": ((("./", b"1"),), "named as a folder"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_tar_is_refused_by_name_and_nothing_leaves_the_folder(tmp_path: Path, case: str) -> None:
    entries, told = HOSTILE[case]
    (tmp_path / "secret").write_bytes(b"kept")
    error = refusal(tmp_path, archive("x.tar", tar(*entries)))
    assert told in str(error)
    assert error.code in ("archive-refused", "archive-clash")
    assert {path.name for path in tmp_path.iterdir()} == {"in", "secret"}
    assert (tmp_path / "secret").read_bytes() == b"kept"


PIECES = st.lists(st.sampled_from(["a", "b", "c", "..", "."]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(PIECES, st.sampled_from(["file", "folder", "link", "copy"]), PIECES), max_size=8))
def test_no_chain_of_links_leads_out_of_the_folder(tmp_path: Path, entries: list[tuple[str, str, str]]) -> None:
    makers: dict[str, Callable[[str], bytes | Edit]] = {
        "file": str.encode,
        "folder": lambda _: FOLDER,
        "link": symlink,
        "copy": hard_link,
    }
    shutil.rmtree(tmp_path / "in", ignore_errors=True)
    for name, kind, target in entries:  # each on its own, so that a refused one hides none of the others
        with contextlib.suppress(StageError):
            unpacked(tmp_path, archive("x.tar", tar((name, makers[kind](target)))))
    assert leftovers(tmp_path) == []
    top = os.path.realpath(tmp_path / "in/x_0")
    for folder, folders, files in os.walk(top):
        for entry in folders + files:
            real = os.path.realpath(os.path.join(folder, entry))
            assert real == top or real.startswith(top + "/")
    assert {path.name for path in tmp_path.iterdir()} <= {"in"}


def test_links_inside_are_links_and_a_later_file_takes_the_place_of_one(tmp_path: Path) -> None:
    held = tar(("d/a", b"1"), ("l", symlink("d/a")), ("d/up", symlink("../l")), ("d/up", b"2"))
    done = unpacked(tmp_path, archive("x.tar", held))
    assert os.readlink(tmp_path / "in/x_0/l") == "d/a"
    assert tree(tmp_path) == {"d/a": b"1", "l": b"1", "d/up": b"2"}
    assert (done.files, done.links) == (2, 2)


def test_a_hard_link_becomes_a_copy_that_changes_alone(tmp_path: Path) -> None:
    done = unpacked(tmp_path, archive("x.tar", tar(("d/a", b"1" * 5000), ("h", hard_link("./d/a")))))
    with (tmp_path / "in/x_0/h").open("r+b") as file:
        file.write(b"2")
    assert tree(tmp_path)["d/a"] == b"1" * 5000
    assert (done.files, done.bytes) == (2, 10_000)


def test_of_two_members_of_one_name_the_last_wins(tmp_path: Path) -> None:
    unpacked(tmp_path, archive("x.tar", tar(("a", b"1"), ("./a", b"22"))))
    assert tree(tmp_path) == {"a": b"22"}


def test_modes_lose_what_gives_rights_and_keep_their_owner(tmp_path: Path) -> None:
    def mode(bits: int) -> Edit:
        return lambda entry: setattr(entry, "mode", bits)

    before = os.umask(0o027)
    try:
        unpacked(tmp_path, archive("x.tar", tar(("suid", mode(0o6755)), ("none", mode(0)), ("all", mode(0o1777)))))
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "in/x_0").iterdir()}
    assert modes == {"suid": 0o750, "none": 0o600, "all": 0o750}


def test_members_with_the_launchers_own_names_are_left_out_and_counted(tmp_path: Path) -> None:
    entries = ((".launcher/manifest.json", b"{}"), ("d/.launcher-part-7", b"1" * 600), ("a", b"2"))
    for held in (archive("x.tar", tar(*entries)), archive("x.zip", zipped(*entries))):
        assert unpacked(tmp_path, held).left_out == 2
        assert tree(tmp_path) == {"a": b"2"}


def test_sparse_files_are_refused_by_name(tmp_path: Path) -> None:
    with open(tmp_path / "holes", "wb") as file:
        file.truncate(10 << 20)
    for form in ("gnu", "pax"):
        subprocess.run(["tar", "-cSf", "x.tar", f"--format={form}", "holes"], cwd=tmp_path, check=True)
        with pytest.raises(StageError, match="'holes', a sparse file"):
            unpacked(tmp_path, archive("x.tar", (tmp_path / "x.tar").read_bytes()))


def header(name: bytes, size: bytes, code: bytes = b"0") -> bytes:
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.USTAR_FORMAT))
    block[:100] = name.ljust(100, b"\0")
    block[124:136] = size.ljust(12, b"\0")
    block[156:157] = code
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (header(b"a", b"12x"), "has a size that is no number"),
        (header(b"a", b"999"), "has a size that is no number"),
        (header(b"a", b"-7"), "has a size that is no number"),
        (header(b"a", b"\xff" * 12), "has a size that is no number"),
        (header(b"a", b"\x80" + b"\xff" * 11), "grows to more than"),
        (header(b"long", b"77777777777", b"L"), "claims a name of 8,589,934,591 bytes"),
        (header(b"long", b"77777777777", b"x"), "claims a name of 8,589,934,591 bytes"),
        (header(b"long", b"1", b"L") + b"a".ljust(512, b"\0") + bytes(1024), "ends behind a long name"),
        (header(b"pax", b"5", b"x") + b"99 a=".ljust(512, b"\0"), "has a pax header that is none"),
        (header(b"pax", b"4", b"x") + b"9999".ljust(512, b"\0"), "has a pax header that is none"),
    ],
)
def test_a_tar_that_lies_of_its_lengths_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in str(refusal(tmp_path, archive("x.tar", content + bytes(1024))))


@pytest.mark.parametrize(
    ("code", "record", "told"),
    [
        (b"g", b"10 path=b\n", "gives one name or size to all members"),
        (b"x", b"10 size=b\n", "has a size that is no number"),
        (b"x", b"40 size=" + b"9" * 31 + b"\n", "has a size that is no number"),
    ],
)
def test_a_pax_header_that_cannot_be_meant_is_told(tmp_path: Path, code: bytes, record: bytes, told: str) -> None:
    content = header(b"pax", b"%o" % len(record), code) + record.ljust(512, b"\0") + header(b"a", b"0") + bytes(1024)
    assert told in str(refusal(tmp_path, archive("x.tar", content)))


def test_a_pax_header_gives_the_size_that_counts(tmp_path: Path) -> None:
    pax = header(b"pax", b"12", b"x") + b"10 size=3\n".ljust(512, b"\0")
    unpacked(tmp_path, archive("x.tar", pax + header(b"a", b"0") + b"123".ljust(512, b"\0") + bytes(1024)))
    assert tree(tmp_path) == {"a": b"123"}


def test_a_thousand_long_names_in_a_row_are_no_recursion(tmp_path: Path) -> None:
    long = header(b"long", b"1", b"L") + b"n".ljust(512, b"\0")
    unpacked(tmp_path, archive("x.tar", long * 5000 + header(b"a", b"0") + bytes(1024)))
    assert list(tree(tmp_path)) == ["n"]


def test_gnus_times_in_the_place_of_the_prefix_are_no_name(tmp_path: Path) -> None:
    block = bytearray(header(b"a", b"0"))
    block[257:265] = b"ustar  \0"
    block[345:357] = b"14512345671\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    unpacked(tmp_path, archive("x.tar", bytes(block) + bytes(1024)))
    assert list(tree(tmp_path)) == ["a"]


def test_a_tar_that_grows_beyond_its_ratio_is_ended_with_a_flat_memory(tmp_path: Path) -> None:
    bomb = gzip.compress(tar(("zeros", bytes(100 << 20))), 1)
    tracemalloc.start()
    try:
        error = refusal(tmp_path, archive("x.tgz", bomb, piece=1 << 20), SMALL)
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
    assert error.code == "archive-limits"
    assert "grows to more than 64.0 MB" in str(error)
    assert tree(tmp_path) == {}


def test_zeros_behind_the_end_mark_count_as_growth(tmp_path: Path) -> None:
    bomb = gzip.compress(tar() + bytes(100 << 20), 1)
    assert refusal(tmp_path, archive("x.tgz", bomb), SMALL).code == "archive-limits"


def test_hard_links_count_as_growth(tmp_path: Path) -> None:
    links = tuple((f"h{number}", hard_link("a")) for number in range(70))
    error = refusal(tmp_path, archive("x.tar", tar(("a", bytes(1 << 20)), *links), piece=1 << 20), SMALL)
    assert error.code == "archive-limits"
    assert len(tree(tmp_path)) == 64


@pytest.mark.parametrize("name", ["x.tar", "x.zip"])
def test_more_members_than_allowed_are_refused(tmp_path: Path, name: str) -> None:
    entries = tuple((f"d/{number}", b"") for number in range(5))
    held = archive(name, tar(*entries) if name == "x.tar" else zipped(*entries))
    assert "holds more than 4 files and folders" in str(refusal(tmp_path, held, UnpackRules(entries=4)))


def test_a_zip_that_sends_no_parts_is_kept_first_and_leaves_nothing(tmp_path: Path) -> None:
    unpacked(tmp_path, archive("x.zip", zipped(*CONTENT.items()), ranged=False))
    assert tree(tmp_path) == CONTENT
    assert leftovers(tmp_path) == []


def test_a_zip_that_sends_no_parts_and_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    content = zipped(*CONTENT.items())

    def read(start: int, end: int) -> Iterator[bytes]:
        if start:
            raise StoreError("no ranges", code="store-unranged", action="None.")
        yield content[:100]
        raise broken()

    with pytest.raises(StoreError, match="503"):
        unpacked(tmp_path, Archive(name="x.zip", size=len(content), read=read))
    assert list((tmp_path / "in/x_0").iterdir()) == []


def test_a_zip_that_comes_short_is_told(tmp_path: Path) -> None:
    def read(start: int, end: int) -> Iterator[bytes]:
        yield GOOD[start:end] if start else GOOD[:40]

    assert "ends in the middle of 'a'" in str(refusal(tmp_path, Archive(name="x.zip", size=len(GOOD), read=read)))

    def read_whole(start: int, end: int) -> Iterator[bytes]:
        if start:
            raise StoreError("no ranges", code="store-unranged", action="None.")
        yield GOOD[:40]

    error = refusal(tmp_path, Archive(name="x.zip", size=len(GOOD), read=read_whole))
    assert "came as 40 bytes of" in str(error)


def test_a_zips_own_folder_is_no_member_but_no_file_may_be_named_so(tmp_path: Path) -> None:
    assert unpacked(tmp_path, archive("x.zip", zipped(("./", b""), ("a", b"1")))).files == 1
    assert "named as the folder itself" in str(refusal(tmp_path, archive("x.zip", zipped((".", b"1")))))


def test_a_local_header_that_reaches_into_the_next_member_is_told(tmp_path: Path) -> None:
    content = bytearray(zipped(("a", b""), ("b", b"1" * 100), method=zipfile.ZIP_STORED))
    struct.pack_into("<H", content, 28, 40)
    assert "holds 'b' inside another member" in str(refusal(tmp_path, archive("x.zip", bytes(content))))


def test_a_copy_is_written_where_the_kernel_cannot_make_it_and_ends_on_request(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    reading, writing = os.pipe()
    with Tree(archive("x.tar", PLAIN), str(tmp_path), str(tmp_path / "in"), UnpackRules(), never) as held:
        source = os.open(tmp_path / "a", os.O_RDONLY)
        held._fill(source, writing, 7)
        assert os.read(reading, 100) == b"content"
        with pytest.raises(OSError, match="became shorter"):
            held._fill(source, writing, 1)
    with (
        Tree(archive("x.tar", PLAIN), str(tmp_path), str(tmp_path / "in"), UnpackRules(), lambda: True) as stopped,
        pytest.raises(Cancelled),
    ):
        stopped._fill(source, writing, 1)
    for descriptor in (source, reading, writing):
        os.close(descriptor)


def test_other_failures_of_the_store_pass_through(tmp_path: Path) -> None:
    def read(start: int, end: int) -> Iterator[bytes]:
        if end:
            raise broken()
        yield b""

    for name in ("x.zip", "x.tar", "x.tgz"):
        with pytest.raises(StoreError, match="503"):
            unpacked(tmp_path, Archive(name=name, size=1000, read=read))


def entry(name: str, **fields: int) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.compress_type = zipfile.ZIP_DEFLATED
    for field, value in fields.items():
        setattr(made, field, value)
    return made


HOSTILE_ZIPS: dict[str, tuple[str | zipfile.ZipInfo, bytes, str]] = {
    "climbs": ("../evil", b"1", "the segment '..'"),
    "absolute": ("/evil", b"1", "starts with '/'"),
    "backslashes": (entry("..\\evil", create_system=0), b"1", "the segment '..'"),
    "fifo": (entry("fifo", create_system=3, external_attr=0o010644 << 16), b"", "a FIFO"),
    "device": (entry("dev", create_system=3, external_attr=0o020644 << 16), b"", "a device"),
    "link out": (entry("l", create_system=3, external_attr=0o120777 << 16), b"../..", "does not surely stay"),
    "long link": (entry("l", create_system=3, external_attr=0o120777 << 16), b"a" * 5000, "a link to a path of 5,000"),
}


@pytest.mark.parametrize("case", HOSTILE_ZIPS)
def test_a_hostile_zip_is_refused_by_name(tmp_path: Path, case: str) -> None:
    name, content, told = HOSTILE_ZIPS[case]
    assert told in str(refusal(tmp_path, archive("x.zip", zipped((name, content)))))
    assert {path.name for path in tmp_path.iterdir()} == {"in"}
    assert tree(tmp_path) == {}


def patched(content: bytes, at: int, form: str, value: int, mark: bytes = b"PK\1\2") -> bytes:
    """Change a field of the last directory entry, or of what `mark` begins."""
    changed = bytearray(content)
    struct.pack_into(form, changed, changed.rindex(mark) + at, value)
    return bytes(changed)


GOOD = zipped(("a", b"one" * 1000), ("b", b"two" * 1000))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (patched(GOOD, 16, "<L", 1), "'b' has a wrong checksum"),
        (patched(GOOD, 24, "<L", 2999), "'b' with another size than the 2,999"),
        (patched(GOOD, 24, "<L", 3001), "'b' with another size than the 3,001"),
        (patched(GOOD, 20, "<L", 5), "'b' does not end where it should"),
        (patched(GOOD, 20, "<L", 1 << 20), "'b' beyond its end"),
        (patched(GOOD, 42, "<L", 0), "'b' inside another member"),
        (patched(GOOD, 42, "<L", 1), "inside another member"),
        (patched(GOOD, 42, "<L", 1 << 31), "'b' beyond its end"),
        (patched(GOOD, 42, "<L", 0xFFFFFFFF), "'b' lacks its zip64 sizes"),
        (patched(GOOD, 8, "<H", 1), "'b', encrypted"),
        (patched(GOOD, 10, "<H", 99), "'b', encrypted"),
        (patched(GOOD, 10, "<H", 9), "'b', compressed by Deflate64"),
        (patched(GOOD, 10, "<H", 77), "'b', compressed by method 77"),
        (patched(GOOD, 10, "<H", 0), "where 'b' should begin stands something else"),
        (patched(GOOD, 0, "<L", 7), "in its directory, at byte"),
        (patched(GOOD, 28, "<H", 999), "in its directory, which is cut off"),
        (patched(GOOD, 10, "<H", 9, b"PK\5\6"), "one part of a zip in several files"),
        (patched(patched(GOOD, 10, "<H", 9, b"PK\5\6"), 8, "<H", 9, b"PK\5\6"), "has 2 members of 9"),
        (patched(GOOD, 12, "<L", 99999, b"PK\5\6"), "begin before the archive"),
        (GOOD + b"garbage", "does not end with a directory"),
        (GOOD[:-40], "does not end with a directory"),
    ],
)
def test_a_zip_that_lies_or_is_damaged_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in str(refusal(tmp_path, archive("x.zip", content)))
    assert set(tree(tmp_path)) <= {"a"}


def test_a_zip_in_which_all_members_share_one_content_is_refused_before_a_byte(tmp_path: Path) -> None:
    """A bomb of overlapping files: https://www.bamsoftware.com/hacks/zipbomb/."""
    content = zipped(("a", bytes(10_000)), ("b", b"1"))
    first = content.index(b"PK\1\2")
    changed = patched(content, 42, "<L", struct.unpack_from("<L", content, first + 42)[0])
    assert "inside another member" in str(refusal(tmp_path, archive("x.zip", changed)))
    assert tree(tmp_path) == {}


def test_a_zip_bomb_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    content = zipped(("a", b"1"), ("zeros", bytes(80 << 20)))
    error = refusal(tmp_path, archive("x.zip", content), SMALL)
    assert error.code == "archive-limits"
    assert tree(tmp_path) == {}


def test_a_member_larger_than_it_says_is_left_where_that_shows(tmp_path: Path) -> None:
    noise = patched(zipped(("a", random.Random(1).randbytes(200_000)), method=zipfile.ZIP_STORED), 24, "<L", 1000)
    came = []

    def read(start: int, end: int) -> Iterator[bytes]:
        for at in range(start, end, 1000):
            came.append(at)
            yield noise[at : min(at + 1000, end)]

    error = refusal(tmp_path, Archive(name="x.zip", size=len(noise), read=read))
    assert "'a' with another size than the 1,000 it says" in str(error)
    assert [at for at in came if 5000 < at < len(noise) - 100_000] == []


@pytest.mark.parametrize("more", [-1, 0, 1, 257, 258, 259, 1 << 20])
def test_a_member_around_the_size_that_is_inflated_at_once(tmp_path: Path, more: int) -> None:
    content = bytes((1 << 20) + more)
    unpacked(tmp_path, archive("x.zip", zipped(("a", content)), piece=1 << 20))
    assert tree(tmp_path) == {"a": content}


def test_a_zip_that_lies_behind_other_bytes_and_out_of_order(tmp_path: Path) -> None:
    content = bytearray(GOOD)
    first, second = content.index(b"PK\1\2"), content.rindex(b"PK\1\2")
    end = content.rindex(b"PK\5\6")
    swapped = content[:first] + content[second:end] + content[first:second] + content[end:]
    unpacked(tmp_path, archive("x.zip", b"#!/bin/sh\n" + bytes(swapped)))
    assert tree(tmp_path) == {"a": b"one" * 1000, "b": b"two" * 1000}


def test_a_zip_with_wide_sizes(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file, file.open("a", "w", force_zip64=True) as member:
        member.write(b"1" * 3000)
    content = buffer.getvalue()
    # the same directory, written as a zip larger than 4 GiB has it
    at, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    packed, size = struct.unpack_from("<2L", content, at + 20)
    wide = bytearray(content[at:end]) + struct.pack("<2H3Q", 1, 24, size, packed, 0)
    struct.pack_into("<2L", wide, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<L", wide, 42, 0xFFFFFFFF)
    struct.pack_into("<H", wide, 30, 28)
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 1, 1, len(wide), at)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at + len(wide), 1)
    tail = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    unpacked(tmp_path, archive("x.zip", content[:at] + bytes(wide) + record + locator + tail))
    assert tree(tmp_path) == {"a": b"1" * 3000}
    lost = content[:at] + bytes(wide) + bytes(56) + locator + tail
    assert "the zip64 record is missing" in str(refusal(tmp_path, archive("x.zip", lost)))


def test_more_than_65535_members_are_all_there(tmp_path: Path) -> None:
    entries = ((f".launcher/{number:x}", b"") for number in range(70_000))  # left out: this is about the directory
    assert unpacked(tmp_path, archive("x.zip", zipped(*entries), piece=1 << 20)).left_out == 70_000


def renamed(content: bytes, name: bytes, flags: int, extra: bytes = b"") -> bytes:
    """Give the only member, `xxx`, a stored name of three bytes."""
    changed = content.replace(b"xxx", name)
    if extra:
        at = changed.index(b"PK\1\2")
        changed = changed[: at + 49] + extra + changed[at + 49 :]
        changed = patched(changed, 30, "<H", len(extra))
        changed = patched(changed, 12, "<L", 49 + len(extra), b"PK\5\6")
    return patched(changed, 8, "<H", flags)


THREE = zipped(("xxx", b"1"))
UNICODE = b"\1" + zlib.crc32(b"\x81xy").to_bytes(4, "little") + "ü".encode()


@pytest.mark.parametrize(
    ("content", "path"),
    [
        (renamed(THREE, "数".encode(), 1 << 11), "数"),
        (renamed(THREE, "数".encode(), 0), "数"),
        (renamed(THREE, b"\x81xy", 0, struct.pack("<2H", 0x7075, len(UNICODE)) + UNICODE), "ü"),
        (zipped((entry("a\\b", create_system=0), b"1")), "a/b"),
        (zipped((entry("a\\b", create_system=3), b"1")), "a\\b"),
    ],
)
def test_a_zips_names_are_what_they_were_meant_to_be(tmp_path: Path, content: bytes, path: str) -> None:
    unpacked(tmp_path, archive("x.zip", content))
    assert list(tree(tmp_path)) == [path]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (renamed(THREE, b"\x81xy", 0), "a name in an encoding that the zip does not tell"),
        (renamed(THREE, b"\x81xy", 1 << 11), "a name no UTF-8, as it says"),
        (renamed(THREE, b"x\0y", 0), "a control character"),
    ],
)
def test_a_name_that_would_be_a_guess_is_refused(tmp_path: Path, content: bytes, told: str) -> None:
    assert told in str(refusal(tmp_path, archive("x.zip", content)))


def test_a_store_that_breaks_off_leaves_whole_files_only(tmp_path: Path) -> None:
    def read(start: int, end: int) -> Iterator[bytes]:
        yield PLAIN[:9000]
        raise broken()

    with pytest.raises(StoreError, match="503"):
        unpacked(tmp_path, Archive(name="x.tar", size=len(PLAIN), read=read))
    assert tree(tmp_path) == {"a.txt": b"one"}
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("name", ["x.tar", "x.tgz", "x.zip"])
def test_a_request_to_stop_ends_it_between_two_pieces(tmp_path: Path, name: str) -> None:
    asked = iter([False] * 3 + [True] * 100)
    rng = random.Random(1)
    noise = {f"{number}": rng.randbytes(5000) for number in range(20)}
    content = {
        "x.tar": tar(*noise.items()),
        "x.tgz": gzip.compress(tar(*noise.items())),
        "x.zip": zipped(*noise.items()),
    }
    with pytest.raises(Cancelled):
        unpack(
            archive(name, content[name]), str(tmp_path), str(tmp_path / "in/x_0"), UnpackRules(), lambda: next(asked)
        )
    assert leftovers(tmp_path) == []
    assert len(tree(tmp_path)) < 20


def test_what_a_killed_launcher_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "in/x_0").mkdir(parents=True)
    (tmp_path / "in/x_0/.launcher-part-unpack").write_bytes(b"half")
    unpacked(tmp_path, archive("x.tar", PLAIN))
    (tmp_path / "in/x_0/.launcher-part-unpack").write_bytes(b"half")
    unpacked(tmp_path, archive("x.tar", tar(("l", symlink("a.txt")), *CONTENT.items())))
    assert tree(tmp_path) == CONTENT | {"l": CONTENT["a.txt"]}
    assert leftovers(tmp_path) == []


def test_the_folder_is_not_reached_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x_0").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StageError, match="is a link"):
        unpacked(tmp_path, archive("x.tar", PLAIN))
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_disk_without_room_is_told_before_it_is_full(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=20m,nr_inodes=5000", "none", small], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        for entries in [tuple((f"{n}", bytes(1 << 20)) for n in range(30)), tuple((f"{n}", b"") for n in range(6000))]:
            with pytest.raises(StageError, match=r"no room in .* to go on unpacking") as caught:
                unpack(archive("x.tar", tar(*entries)), str(small), str(small / "in"), UnpackRules(), never)
            assert caught.value.exit_code == Exit.NODE
            assert os.statvfs(small).f_bavail * 4096 > 1 << 20
            shutil.rmtree(small / "in")
        (small / "other").write_bytes(bytes(18 << 20))
        held = archive("x.tar", tar(("a", b"1"), ("big", bytes(4 << 20))))
        with pytest.raises(StageError, match=r"could not unpack big of x\.tar: no space left") as caught:
            unpack(held, str(small), str(small / "in"), UnpackRules(), never)
        assert os.listdir(small / "in") == ["a"]
    finally:
        subprocess.run(["umount", small], check=True)


def test_zstd_that_is_not_installed_is_named(tmp_path: Path) -> None:
    script = """
import sys
sys.modules["compression.zstd"] = sys.modules["backports.zstd"] = None
from launcher.core.errors import StageError
from launcher.unpack import Archive, UnpackRules, unpack
try:
    unpack(Archive(name="x.tar.zst", size=1, read=lambda a, b: iter([b"1"])), *sys.argv[1:], UnpackRules(), bool)
except StageError as error:
    print(error.exit_code, error.code, error.action)
"""
    ran = subprocess.run([sys.executable, "-c", script, tmp_path, tmp_path / "in"], capture_output=True, check=True)
    assert ran.stdout.startswith(b"71 archive-engine ")
    assert b"pip install 'modelarts-launcher[zstd]'" in ran.stdout


def test_a_seal_tells_every_change_of_a_folder(tmp_path: Path) -> None:
    unpacked(tmp_path, archive("x.tar", tar(*CONTENT.items(), ("l", symlink("a.txt")), ("void", FOLDER))))
    top = tmp_path / "in/x_0"
    changes: list[Callable[[], object]] = [
        lambda: (top / "new").write_bytes(b""),
        lambda: (top / "a.txt").write_bytes(b"eno"),
        lambda: (top / "a.txt").rename(top / "b.txt"),
        (top / "d/e/empty").unlink,
        (top / "void").rmdir,
        (top / "l").unlink,
        lambda: shutil.copy2(top / "b.txt", top / "c") and (top / "c").rename(top / "b.txt"),
        lambda: (top / "d/e").rename(top / "e"),
    ]
    seals = [seal(str(tmp_path), str(top))]
    assert seals[0] == seal(str(tmp_path), str(top))
    for change in changes:
        change()
        seals.append(seal(str(tmp_path), str(top)))
    assert len(set(seals)) == len(changes) + 1
    assert {len(found) for found in seals} == {16}
    (top / ".launcher-part-3").write_bytes(b"on its way")
    assert seal(str(tmp_path), str(top)) == seals[-1]


def test_a_seal_of_what_is_not_there_or_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(StageError, match=os.strerror(errno.ENOENT).lower()[:7]):
        seal(str(tmp_path), str(tmp_path / "no"))
    (tmp_path / "l").symlink_to(tmp_path)
    with pytest.raises(StageError, match="is a link"):
        seal(str(tmp_path), str(tmp_path / "l"))
