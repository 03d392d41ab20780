"""Which store is meant, what is trusted on the way to it, and which proxy is in between."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.cli.network import proxy_for, read_bundle
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


@pytest.mark.parametrize(
    ("content", "exit_code"),
    [
        (None, 66),
        (b"", 2),
        (b"no certificate", 2),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", 2),
    ],
)
def test_a_bundle_without_certificates_is_told_in_one_sentence(
    tmp_path: Path, content: bytes | None, exit_code: int
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PlanError, match=rf"LAUNCHER_CA_BUNDLE={path}: expected a file of certificates") as caught:
        open_store("https://h", KEYS, Settings(ca_bundle=str(path)))
    assert (caught.value.exit_code, caught.value.code) == (exit_code, "ca-bundle")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", ["/proc/self", "/dev/zero", "/\0"])
def test_what_is_no_file_of_certificates_is_told_too(path: str) -> None:
    with pytest.raises(PlanError, match="expected a file of certificates"):
        read_bundle(path)


def test_a_bundle_is_read_as_it_is() -> None:
    import botocore  # type: ignore[import-untyped]  # noqa: PLC0415 - for the file beside it

    path = Path(botocore.__file__).with_name("cacert.pem")
    assert read_bundle(str(path)) == path.read_bytes()
    assert open_store("https://h", KEYS, Settings(ca_bundle=str(path))).store is not None


@pytest.mark.parametrize(
    ("environ", "endpoint", "proxy"),
    [
        ({}, "https://h", ""),
        ({"HTTPS_PROXY": "http://p"}, "https://h", "http://p"),
        ({"https_proxy": "http://p"}, "https://h", "http://p"),
        ({"HTTPS_PROXY": "http://p"}, "http://h", ""),
        ({"ALL_PROXY": "http://p"}, "http://h:9", "http://p"),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "h"}, "http://h:9", ""),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": ".example, x"}, "http://obs.example", ""),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "example"}, "http://anexample", "http://p"),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:80", ""),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8"}, "http://obs.example", "http://p"),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "*"}, "http://h", ""),
        ({"HTTP_PROXY": "http://p", "NO_PROXY": "::1"}, "http://[::1]:9", ""),
    ],
)
def test_the_proxy_is_the_one_that_the_environment_names(environ: dict[str, str], endpoint: str, proxy: str) -> None:
    assert proxy_for(endpoint, environ) == proxy
