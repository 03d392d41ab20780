from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import msgspec
import pytest

from launcher.cli.owner import alive_here, owner

if TYPE_CHECKING:
    from launcher.core.occupancy import Owner


@pytest.fixture
def here() -> Owner:
    found = owner()
    assert found is not None
    return found


def test_a_process_knows_itself(here: Owner) -> None:
    assert here.pid == os.getpid()
    assert alive_here(here) is True


def test_a_process_that_ended_is_not_alive_nor_is_a_later_one_of_its_number(here: Owner) -> None:
    with subprocess.Popen(("true",)) as child:
        child.wait()
    assert alive_here(msgspec.structs.replace(here, pid=child.pid)) is False
    assert alive_here(msgspec.structs.replace(here, started=here.started + 1)) is False


def test_nothing_is_known_of_another_kernel_or_namespace(here: Owner) -> None:
    assert alive_here(msgspec.structs.replace(here, boot="another")) is None
    assert alive_here(msgspec.structs.replace(here, namespace=1)) is None
