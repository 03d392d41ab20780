from __future__ import annotations

import pytest

from launcher.core.bootfile import LONGEST_SOURCE, undeclared, warning_for

ARGUMENTS = ("--data_url=/d", "--train_url=/t", "--lr=1", "positional")
HEAD = "import argparse\np = argparse.ArgumentParser()\n"
STARRED = "names = ['--x']\np.add_argument(*names)\np.add_argument('file')\np.add_argument('--data_url')\n"
ALL = "p.add_argument('-d', '--data_url')\np.add_argument('--train_url_dir')\np.add_argument('--lr')\n"


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        (HEAD + "p.add_argument('--data_url')\np.parse_args()", ("train_url", "lr")),
        (HEAD + ALL + "p.parse_args()", ()),
        (HEAD + "p.add_argument('--data_url')\np.parse_known_args()", ()),
        (HEAD + "p.parse_args()", ()),
        ("from options import parser\nparser.parse_args()", ()),
        ("def f(:", ()),
        ("x = '\\0'\n" + "(" * 1000, ()),
        ("", ()),
        ("def parse_args(:", ()),
        ("x = '\\d'\nparse_args()", ()),
        ("FLAGS.DEFINE_string('data_url', '', '')\nFLAGS.DEFINE_float('lr', 1, '')\np.parse_args()", ("train_url",)),
        ("s = '\\d'\n" + HEAD + "p.add_argument('--data_url')\np.parse_args()", ("train_url", "lr")),
        (HEAD + STARRED + "p.parse_args()", ("train_url", "lr")),
    ],
)
def test_what_a_strict_boot_file_does_not_declare(source: str, missing: tuple[str, ...]) -> None:
    assert undeclared(source.encode(), ARGUMENTS) == missing


@pytest.mark.parametrize("source", [b"\xff\xfe", b"a\0b", b"parse_args" * (LONGEST_SOURCE // 10 + 1)])
def test_what_cannot_be_read_is_not_judged(source: bytes) -> None:
    assert undeclared(source, ARGUMENTS) == ()


def test_the_warning_says_what_will_happen_and_what_to_do() -> None:
    warning = warning_for("/a/train.py", ("lr", "data_url"))
    assert warning.startswith("train.py parses its arguments strictly and declares no --lr, --data_url;")
    assert "parse_known_args()" in warning
