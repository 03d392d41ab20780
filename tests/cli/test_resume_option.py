"""`--resume-from` on its way: what the command line makes of it, and what is handed to a run in a container."""

from __future__ import annotations

from typing import Any

import click
import pytest

from launcher.cli.lent import given
from launcher.cli.options import Request, request
from launcher.cli.stores import Opened

NO_OPTIONS: dict[str, Any] = {"values": (), "variables": (), "datasets": ()}


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ("obs://bucket/old/", "obs://bucket/old/"),
        ("s3://bucket/old", "obs://bucket/old"),
        ("/bucket/old/ckpt-40.pt", "obs://bucket/old/ckpt-40.pt"),
        ("obs://bucket", "obs://bucket/"),
    ],
)
def test_every_spelling_of_a_place_is_one(told: str, read: str) -> None:
    assert request({}, {**NO_OPTIONS, "resume_from": told}).resume_from == read


@pytest.mark.parametrize("told", ["", "bucket/old", "https://host/x", "obs:///x", "obs://x", "obs://bucket/a//b"])
def test_what_is_no_place_is_refused_and_not_shown(told: str) -> None:
    with pytest.raises(click.UsageError, match="--resume-from: ") as refused:
        request({}, {**NO_OPTIONS, "resume_from": told})
    assert not told or told not in str(refused.value)


def test_a_container_is_given_it_too() -> None:
    asked = Request(resume_from="obs://bucket/old/")
    pairs = {"values": (), "variables": (), "datasets": ()}
    options = {"quiet": False, "verbose": False, "ca_bundle": None}
    made = given(asked, pairs, options, ("job.json", b"{}"), Opened())
    assert made.options == ("--resume-from", "obs://bucket/old/")
    assert given(Request(), pairs, options, ("job.json", b"{}"), Opened()).options == ()
