from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.cli.stores import missing_certificates, open_store
from launcher.core.errors import PlanError
from launcher.core.settings import Settings

KEYS = {"AWS_ACCESS_KEY_ID": "access-key", "AWS_SECRET_ACCESS_KEY": "secret-key"}


@pytest.mark.parametrize(
    ("named", "environ", "endpoint"),
    [
        ("https://obs.example/", {}, "https://obs.example"),
        (None, {"S3_ENDPOINT": "obs.example"}, "https://obs.example"),
        (None, {"S3_ENDPOINT": "127.0.0.1:9", "S3_USE_HTTPS": "0"}, "http://127.0.0.1:9"),
        ("http://one", {"S3_ENDPOINT": "https://two"}, "http://one"),
    ],
)
def test_an_endpoint_has_several_spellings(named: str | None, environ: dict[str, str], endpoint: str) -> None:
    opened = open_store(named, {**KEYS, **environ}, Settings())
    assert opened.facts is not None
    assert opened.facts.endpoint == endpoint
    assert opened.secrets() == ("secret-key",)


def test_keys_have_the_names_of_two_vendors_and_a_token_is_a_secret_too() -> None:
    environ = {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "secret-2", "SECURITY_TOKEN": "token-2"}
    assert open_store("http://h", environ, Settings()).secrets() == ("secret-2", "token-2")


def test_certificates_that_are_not_checked_are_warned_about() -> None:
    (warning,) = open_store("https://h", {"S3_VERIFY_SSL": "0"}, Settings()).warnings
    assert "S3_VERIFY_SSL=0" in warning
    assert open_store("http://h", {"S3_VERIFY_SSL": "0"}, Settings()).warnings == ()


def test_a_directory_has_two_spellings(tmp_path: Path) -> None:
    for named in (str(tmp_path), f"file://{tmp_path}"):
        assert open_store(named, {}, Settings()).directory == str(tmp_path)
    with pytest.raises(PlanError, match="no such directory"):
        open_store(str(tmp_path / "none"), {}, Settings())


def test_no_store_is_none() -> None:
    assert open_store(None, {}, Settings()).store is None


def test_a_system_without_certificates_gets_those_that_come_with_botocore(tmp_path: Path) -> None:
    bundle = missing_certificates({}, [str(tmp_path / "none")])
    assert bundle is not None
    assert b"BEGIN CERTIFICATE" in Path(bundle).read_bytes()
    assert missing_certificates({"SSL_CERT_FILE": "/mine"}, []) is None
    assert missing_certificates({}, [os.fspath(tmp_path)]) is None
