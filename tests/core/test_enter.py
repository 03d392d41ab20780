"""The scripts of a run that holds: every value quoted, nothing secret shown."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from msgspec.structs import replace
from test_planning import decided

from launcher.core.enter import enter_path, scripts

MOUNT = "/home/ma-user/modelarts"
SECRET = "s3cr3t-of-the-job"


def texts(
    *, processes: int = 1, unset: tuple[str, ...] = (), secrets: tuple[str, ...] = (), **process: Any
) -> list[str]:
    plan = decided()
    one = replace(plan.processes[0], **process)
    plan = replace(plan, processes=(one,) * processes)
    return [each.text for each in scripts(plan, MOUNT, unset, secrets)]


def test_where_they_lie() -> None:
    assert [each.path for each in scripts(decided(), MOUNT, (), ())] == [f"{MOUNT}/enter", f"{MOUNT}/boot"]
    assert enter_path(MOUNT) == f"{MOUNT}/enter"


def test_values_are_quoted_whatever_they_are() -> None:
    env = {"A": "it's $(so)", "B": "one\ntwo", "PATH": "/bin"}
    enter, boot = texts(env=env, cwd="/a b", argv=("python", "-c", "print('$x')"))
    assert "cd -- '/a b' || exit 126\n" in enter
    assert f"export A={shlex.quote(env['A'])}\nexport B='one\ntwo'\nexport PATH=/bin\n" in enter
    argv = shlex.join(("python", "-c", "print('$x')"))
    assert boot.endswith(f'exec /bin/sh {MOUNT}/enter {argv} "$@"\n')
    assert "unset" not in enter


def test_what_no_shell_can_set_is_set_by_env_but_a_secret() -> None:
    enter, _ = texts(env={"data-url": "/a b", "UID": "7", "A": "1", "my-token": SECRET})
    assert "exec env -- 'data-url=/a b' UID=7 \"$@\"" in enter
    assert "exec env -- 'data-url=/a b' UID=7 \"$shell\"" in enter
    assert SECRET not in enter
    assert "env " not in texts(env={"A": "1"})[0].replace("environment", "")


@pytest.mark.parametrize("name", ["BASHOPTS", "BASH_COMMAND", "EPOCHSECONDS", "OPTIND", "RANDOM", "SECONDS"])
def test_what_is_a_shell_s_own_no_shell_is_told_to_set(name: str) -> None:
    enter, _ = texts(env={name: "x[$(echo)]", f"{name}_OF_MINE": "1", "BASHER": "2", "EPOCHS": "3"})
    assert f"export {name}=" not in enter
    assert f"exec env -- '{name}=x[$(echo)]'" in enter
    assert "export BASHER=2\nexport EPOCHS=3\n" in enter


def test_the_launcher_s_own_variables_are_taken_away() -> None:
    assert "unset LAUNCHER_A LAUNCHER_B\n" in texts(unset=("LAUNCHER_A", "LAUNCHER_B", "LAUNCHER_$(x)"))[0]


def test_the_hint_shows_no_secret_and_the_start_has_it() -> None:
    enter, boot = texts(argv=("python", f"--api_key={SECRET}", "--lr=1"), secrets=(SECRET,), env={})
    assert "--lr=1" in enter
    assert SECRET not in enter
    assert f"--api_key={SECRET}" in boot


def test_several_processes_are_counted() -> None:
    assert "7 more like it" in texts(processes=8)[0]
    assert "more like it" not in texts(processes=1)[0]
