from __future__ import annotations

import io
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from rig import Rig

WHEEL = "launchertestwheel-1.0-py3-none-any.whl"


def wheel() -> bytes:
    """A wheel of one module."""
    info = "launchertestwheel-1.0.dist-info"
    files = {
        "launchertestwheel.py": "ANSWER = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: launchertestwheel\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return packed.getvalue()


@pytest.fixture
def interpreter(local_rig: Rig) -> str:
    """A virtual environment of the test's own, with pip, so that nothing is installed into the one that runs it."""
    import venv  # noqa: PLC0415 - only here

    folder = local_rig.folder / "venv"
    venv.create(folder, with_pip=True, symlinks=True)
    return str(folder / "bin" / "python")


@pytest.mark.parametrize("line", [f"./{WHEEL}", WHEEL, "launchertestwheel==1.0"])
def test_the_pip_file_is_installed_before_the_boot_file_starts(local_rig: Rig, interpreter: str, line: str) -> None:
    local_rig.code(
        "import launchertestwheel; print('answer', launchertestwheel.ANSWER)",
        {"pip-requirements.txt": line.encode(), "requirements.txt": b"no-such-thing", WHEEL: wheel()},
    )
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": interpreter, "PIP_NO_INDEX": "1"})
    assert (result.code, result.out.splitlines()[-1]) == (0, "answer 42"), result.out + result.err
    assert any("pip-requirements.txt" in each for each in local_rig.events())
    assert [entry["phase"] for entry in result.run_json["timeline"]] == ["stage", "install", "run", "sync"]


def test_a_pip_file_that_cannot_be_installed_is_71_with_the_words_of_pip(local_rig: Rig, interpreter: str) -> None:
    local_rig.code("print('never')", {"requirements.txt": b"no-such-package-of-ours==9\n"})
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": interpreter, "PIP_NO_INDEX": "1"})
    assert (result.code, result.cause) == (71, "pip-failed")
    assert "no-such-package-of-ours" in result.run_json["cause"]["message"]
    assert "never" not in result.out


def test_the_variables_of_the_job_reach_neither_pip_nor_the_launcher(local_rig: Rig) -> None:
    fake = local_rig.folder / "python"
    fake.write_text(
        f'#!/bin/sh\necho "MINE=$MINE" >&2\ncase "$2" in *train.py*|*-c*) ;; esac\nexec {sys.executable} -c "" \n'
    )
    fake.chmod(0o755)
    local_rig.code("", {"requirements.txt": b"x"})
    local_rig.algorithm["environments"] = {"MINE": "yes"}
    result = local_rig.run(env={"MA_SCRIPT_INTERPRETER": str(fake)})
    assert [line for line in result.err.splitlines() if line.startswith("MINE=")] == ["MINE=", "MINE=yes"]
