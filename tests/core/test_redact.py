from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.core.redact import MASK, is_secret, mask, mask_argv, mask_chunks, secret_values


@pytest.mark.parametrize(
    ("name", "value", "secret"),
    [
        ("password", "correct-horse", True),
        ("DB_PASSWORD", "correct-horse", True),
        ("dbPasswd", "correct-horse", True),
        ("HF_TOKEN", "hf_abcdefgh", True),
        ("AWS_SECRET_ACCESS_KEY", "abcdefgh", True),
        ("api-key", "abcdefgh", True),
        ("apiKey", "abcdefgh", True),
        ("private_key", "abcdefgh", True),
        ("credentials", "abcdefgh", True),
        ("client_secret", "abcdefgh", True),
        ("max_tokens", "51200000", False),
        ("token", "512.00000", False),
        ("token", "short", False),
        ("monkey", "abcdefgh", False),
        ("sort_key", "abcdefgh", False),
        ("key", "abcdefgh", False),
        ("token_file", "/run/secrets/t", False),
        ("", "abcdefgh", False),
    ],
)
def test_a_secret_is_told_by_its_name_and_that_it_could_be_one(name: str, value: str, secret: bool) -> None:  # noqa: FBT001
    assert is_secret(name, value) is secret


def test_secret_values_are_found_longest_first() -> None:
    options = [("token", "abcdefgh"), ("password", "abcdefghij"), ("lr", "0.1")]
    assert secret_values(options, ["known-secret", "tiny"]) == ("known-secret", "abcdefghij", "abcdefgh")


def test_urls_lose_their_passwords() -> None:
    assert (
        mask("see https://me:pw@host/x and http://host/a@b", ()) == f"see https://me:{MASK}@host/x and http://host/a@b"
    )


def test_an_argv_keeps_its_shape() -> None:
    argv = ("python", "a.py", "--api_key=abcdefgh", "--lr=1", "--url=x-abcdefgh-y", "--flag")
    masked = ("python", "a.py", f"--api_key={MASK}", "--lr=1", f"--url=x-{MASK}-y", "--flag")
    assert mask_argv(argv, ["abcdefgh"]) == masked


def test_a_stream_without_secrets_passes_untouched() -> None:
    chunks = [b"a", b"", b"b"]
    assert list(mask_chunks(chunks, ())) == chunks


@given(st.text("abS", max_size=60), st.lists(st.integers(1, 7), min_size=1, max_size=60))
def test_a_secret_in_a_stream_is_masked_wherever_the_chunks_end(text: str, sizes: list[int]) -> None:
    secret = b"SabSabSa"
    data = text.encode() + secret + text.encode()
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    chunks.append(data[at:])
    masked = b"".join(mask_chunks(chunks, [secret]))
    assert secret not in masked
    assert MASK.encode() in masked
