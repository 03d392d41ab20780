"""What is said about each way in which a store fails."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from launcher.core.storefault import (
    Answer,
    file_fault,
    mount_point,
    read_answer,
    retry_after,
    shown,
    store_fault,
    verdict,
)

if TYPE_CHECKING:
    from launcher.core.errors import StoreError

URL = "obs://bucket/in/x"
ENDPOINT = "https://user:hunter2secret@obs.cn-north-4.example.com:443/path?token=abc"


def test_a_cause_that_an_adapter_found_itself_is_told_by_its_name() -> None:
    assert verdict("read", URL, "changed").code == "store-changed"
    assert "twice" in str(verdict("read", URL, "changed", "twice"))


def test_no_answer_at_all_is_told_too() -> None:
    assert store_fault("read", URL, Answer(), endpoint=ENDPOINT).action


def told(text: str) -> StoreError:
    return store_fault("read", URL, read_answer(text), endpoint=ENDPOINT)


def answered(status: int, reason: str, body: str) -> str:
    return (
        f"Generic S3 error: Error performing GET https://obs.example.com/bucket/in/x?X-Amz-Signature=deadbeef in 2ms - "
        f"Server returned non-2xx status code: {status} {reason}: {body}\n\nDebug source:\nGeneric {{ \n}}"
    )


def xml(code: str, message: str = "said so", more: str = "") -> str:
    return f"<Error><Code>{code}</Code><Message>{message}</Message>{more}<RequestId>RID1</RequestId></Error>"


@pytest.mark.parametrize(
    ("status", "code", "slug", "exit_code"),
    [
        (404, "NoSuchKey", "store-missing", 66),
        (404, "NoSuchBucket", "store-no-bucket", 66),
        (403, "AccessDenied", "store-refused", 77),
        (403, "SignatureDoesNotMatch", "store-keys", 77),
        (403, "InvalidAccessKeyId", "store-keys", 77),
        (400, "InvalidToken", "store-keys", 77),
        (400, "ExpiredToken", "store-expired", 77),
        (403, "ExpiredToken", "store-expired", 77),
        (403, "RequestTimeTooSkewed", "store-clock", 77),
        (403, "InvalidObjectState", "store-archived", 77),
        (403, "SomethingNew", "store-refused", 77),
        (301, "PermanentRedirect", "store-region", 69),
        (400, "AuthorizationHeaderMalformed", "store-region", 69),
        (412, "PreconditionFailed", "store-changed", 66),
        (416, "InvalidRange", "store-changed", 66),
        (503, "SlowDown", "store-busy", 69),
        (500, "InternalError", "store-busy", 69),
        (502, "Anything", "store-busy", 69),
        (429, "Anything", "store-busy", 69),
        (405, "MethodNotAllowed", "store-endpoint", 69),
        (501, "NotImplemented", "store-endpoint", 69),
        (400, "InvalidArgument", "store-rejected", 69),
        (403, "InArrearOrInsufficientBalance", "store-account", 77),
        (403, "AccountProblem", "store-account", 77),
        (403, "FrozenUserId", "store-account", 77),
        (403, "NotSignedUp", "store-account", 77),
        (403, "Unauthorized", "store-account", 77),
        (403, "AccessForbidden", "store-refused", 77),
        (403, "AllAccessDisabled", "store-refused", 77),
        (400, "KMS.NotFoundException", "store-encrypted", 77),
        (400, "KMS.DisabledException", "store-encrypted", 77),
        (400, "InvalidEncryptionAlgorithmError", "store-encrypted", 77),
        (400, "EntityTooLarge", "store-too-large", 77),
        (400, "KeyTooLongError", "store-key", 77),
        (400, "TooManyWrongSignature", "store-keys", 77),
        (400, "InvalidPart", "store-broken", 69),
        (404, "NoSuchUpload", "store-broken", 69),
        (400, "IncompleteBody", "store-broken", 69),
        (400, "BadDigest", "store-broken", 69),
        (503, "ServiceNotAvailable", "store-busy", 69),
        (500, "KMS.InternalException", "store-busy", 69),
    ],
)
def test_an_answer_of_the_store_has_one_meaning(status: int, code: str, slug: str, exit_code: int) -> None:
    error = told(answered(status, "Reason", xml(code)))
    assert (error.code, error.exit_code) == (slug, exit_code)
    assert str(error).startswith(f"could not read {URL}: ")
    assert f"({status} {code}: said so, request id RID1)" in str(error)
    assert error.action.endswith(".")


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ('ConnectError("tcp connect error", 127.0.0.1:1, Os { code: 111, kind: ConnectionRefused })', "unreachable"),
        ('ConnectError("dns error", Custom { error: "failed to lookup address information" })', "unreachable"),
        ("HttpError { kind: Timeout, source: reqwest::Error { kind: Request, source: TimedOut } }", "unreachable"),
        ('EndpointConnectionError: Could not connect to the endpoint URL: "http://127.0.0.1:1/"', "unreachable"),
        ("hyper::Error(Body, Custom { kind: UnexpectedEof, error: IncompleteBody })", "broken"),
        ("hyper::Error(Io, Os { code: 104, kind: ConnectionReset })", "broken"),
        ("Custom { kind: InvalidData, error: InvalidMessage(InvalidContentType) }", "endpoint"),
        ("Custom { kind: Other, error: InvalidCertificate(UnknownIssuer) }", "certificate"),
        ('General("No CA certificates were loaded from the system")', "certificate"),
        ("Received redirect without LOCATION, this normally indicates an incorrectly configured region", "region"),
        ("Generic S3 error: Received non-partial response when range requested", "unranged"),
        ('Encountered object with invalid path: Path "a//b" contained empty path segment', "odd-key"),
        ("Unable to extract metadata from headers: ETag Header missing from response", "endpoint"),
        ("something nobody has seen", "unreachable"),
    ],
)
def test_no_answer_has_a_meaning_too(text: str, slug: str) -> None:
    assert told(text).code == f"store-{slug}"


@pytest.mark.parametrize(
    ("status", "body", "slug"),
    [
        (404, "<html>nginx</html>", "store-endpoint"),
        (403, "<html>blocked by the proxy</html>", "store-endpoint"),
        (400, "Client sent an HTTP request to an HTTPS server.", "store-endpoint"),
        (503, "<html>no upstream</html>", "store-busy"),
        (404, "", "store-missing"),
        (403, "", "store-refused"),
    ],
)
def test_a_body_that_no_store_writes_is_seen(status: int, body: str, slug: str) -> None:
    assert told(answered(status, "Reason", body)).code == slug


def test_plain_http_to_a_tls_port_is_told_as_such() -> None:
    error = told(answered(400, "Bad Request", "Client sent an HTTP request to an HTTPS server."))
    assert "http was spoken to a port that speaks https" in str(error)


def test_a_success_that_holds_an_error_is_an_error() -> None:
    text = f"Error performing POST x in 4ms - Server returned error response: {xml('InternalError')}"
    assert told(text).code == "store-busy"


def test_the_other_region_is_named() -> None:
    body = xml("AuthorizationHeaderMalformed", more="<Region>cn-south-1</Region>")
    assert "which is cn-south-1" in str(told(answered(400, "Bad Request", body)))


def test_a_missing_bucket_reads_otherwise_than_a_missing_key() -> None:
    bucket, key = (told(answered(404, "Not Found", xml(code))) for code in ("NoSuchBucket", "NoSuchKey"))
    assert "no such bucket" in str(bucket)
    assert "no such object" in str(key)
    assert bucket.action != key.action


def test_no_secret_and_no_signature_gets_into_a_message() -> None:
    leaky = xml("SignatureDoesNotMatch", "see https://h/b?X-Amz-Signature=deadbeef&X-Amz-Security-Token=tttt")
    leaky += "<StringToSign>AWS4-HMAC-SHA256 scope</StringToSign><AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId>"
    for error in (
        told(answered(403, "Forbidden", leaky)),
        told("dns error"),
        told(answered(404, "Not Found", "<html>")),
        told(answered(301, "Moved", xml("PermanentRedirect"))),
    ):
        text = str(error) + error.action
        for secret in ("deadbeef", "tttt", "StringToSign", "AKIDEXAMPLE", "hunter2secret", "token=abc"):
            assert secret not in text
        assert "\n" not in text


def test_a_long_message_is_clipped_to_one_line() -> None:
    error = told(answered(403, "Forbidden", xml("AccessDenied", "long\nand " * 500)))
    assert len(str(error)) < 500
    assert "\n" not in str(error)


def test_an_endpoint_is_shown_without_what_it_may_hide() -> None:
    assert shown(ENDPOINT) == "https://obs.cn-north-4.example.com:443"
    assert shown("obs.example.com/bucket") == "obs.example.com"
    assert shown("http://[::1]:9000") == "http://[::1]:9000"


@pytest.mark.parametrize(
    ("code", "message", "sentence"),
    [
        ("AccessDenied", "User is not authorized to perform: kms:GenerateDataKey on resource", "encrypts with"),
        ("AccessDenied", "The ciphertext refers to a KMS key that you may not use", "encrypts with"),
        ("InvalidRequest", "The object was stored using a form of Server Side Encryption", "only its owner has"),
        ("AccessDenied", "Access Denied", "access denied"),
        ("AccessDenied", "explicit deny in a bucket policy for obs://b/kmsdata", "access denied"),
    ],
)
def test_refusals_for_encryption_are_told_from_others_by_their_words(code: str, message: str, sentence: str) -> None:
    assert sentence in str(told(answered(403, "Forbidden", xml(code, message))))


def test_a_wrong_clock_is_told_with_both_times_where_the_store_says_them() -> None:
    times = "<RequestTime>20260101T000000Z</RequestTime><ServerTime>2026-01-02T00:00:00Z</ServerTime>"
    error = told(answered(403, "Forbidden", xml("RequestTimeTooSkewed", more=times)))
    assert "the request is of 20260101T000000Z, the store has 2026-01-02T00:00:00Z" in str(error)
    assert "the request is of" not in str(told(answered(403, "Forbidden", xml("RequestTimeTooSkewed"))))


@pytest.mark.parametrize("text", ["tcp connect error", "dns error", "TimedOut", "something new"])
def test_what_a_proxy_does_not_do_is_told_of_the_proxy(text: str) -> None:
    way = "http://user:hunter2secret@proxy.example.com:3128"
    error = store_fault("read", URL, read_answer(text), endpoint=ENDPOINT, proxy=way)
    assert error.code == "store-unreachable"
    assert "http://proxy.example.com:3128" in str(error)
    assert "hunter2secret" not in str(error)
    refused = store_fault("read", URL, Answer(status=403, code="AccessDenied"), endpoint=ENDPOINT, proxy=way)
    assert "proxy" not in str(refused)


def waits(error: StoreError, chance: float, *, proven: bool, every: float = 0.0) -> list[float]:
    """The pauses between the tries of one request, each of which takes `every` seconds to fail."""
    found: list[float] = []
    elapsed = 0.0
    patience = 60.0 if proven else None
    while (wait := retry_after(error, len(found) + 1, elapsed, chance, patience=patience)) is not None:
        found.append(wait)
        elapsed += wait + every
    return found


def test_only_what_time_may_cure_is_tried_again() -> None:
    for code, status in (
        *(("NoSuchKey", 404), ("AccessDenied", 403), ("PermanentRedirect", 301), ("ExpiredToken", 400)),
        *(("RequestTimeTooSkewed", 403), ("InArrearOrInsufficientBalance", 403), ("PreconditionFailed", 412)),
    ):
        error = store_fault("list", URL, Answer(status=status, code=code), endpoint=ENDPOINT)
        assert waits(error, 0.0, proven=True) == []
    for kind in ("changed", "unranged", "odd", "certificate", "endpoint"):
        assert waits(verdict("read", URL, kind), 0.0, proven=True) == []


@pytest.mark.parametrize(
    ("text", "unproven", "proven"),
    [
        ("ConnectionRefused", 3, None),
        ("ConnectionReset", 9, 9),
        (answered(503, "Slow", xml("SlowDown")), 10, None),
        ("PaginationError: the same next token was received twice", 2, 2),
    ],
)
def test_tries_are_bounded_in_number_but_of_a_known_store_that_is_out(
    text: str, unproven: int, proven: int | None
) -> None:
    assert len(waits(told(text), 0.0, proven=False)) + 1 == unproven
    if proven is not None:
        assert len(waits(told(text), 0.0, proven=True)) + 1 == proven


@pytest.mark.parametrize("chance", [0.01, 0.3, 0.6, 0.999])
@pytest.mark.parametrize("every", [0.0, 0.2, 7.0])
def test_a_known_store_that_is_out_is_asked_for_the_last_time_when_its_time_is_over(
    chance: float, every: float
) -> None:
    for error in (told("ConnectionRefused"), told(answered(503, "Slow", xml("SlowDown")))):
        found = waits(error, chance, proven=True, every=every)
        over = sum(found) + every * (len(found) - 1)
        assert over == pytest.approx(60) or (every and 60 < over + every < 60 + 2 * every)


def test_a_known_store_that_breaks_off_is_waited_for_by_time_where_nothing_else_comes_through() -> None:
    broken = told("ConnectionReset")
    assert retry_after(broken, 30, 59.0, 0.999, patience=60.0, silent=True) == pytest.approx(1.0)
    assert retry_after(broken, 30, 60.0, 0.999, patience=60.0, silent=True) is None
    assert retry_after(broken, 9, 1.0, 0.5, patience=60.0) is None
    assert retry_after(broken, 9, 1.0, 0.5, silent=True) is None


def test_renewed_credentials_are_tried_once() -> None:
    assert len(waits(verdict("write", URL, "renewed"), 0.5, proven=False)) == 1


def test_pauses_grow_by_twice_up_to_a_longest() -> None:
    slow, broken = told(answered(503, "Slow", xml("SlowDown"))), told("ConnectionReset")
    assert waits(broken, 0.5, proven=True) == [0.5, 1.0, 2.0, *[4.0] * 5]
    assert waits(slow, 0.5, proven=True) == [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0, 10.0, 4.5]
    assert waits(slow, 0.0, proven=False) == [0.0] * 9


def test_tries_are_bounded_in_time() -> None:
    slow, dead = told(answered(503, "Slow", xml("SlowDown"))), told("TimedOut")
    for chance in (0.3, 0.6, 0.999):
        assert sum(waits(slow, chance, proven=False)) <= 20
        assert sum(waits(slow, chance, proven=True)) == pytest.approx(60)
        assert sum(waits(dead, chance, proven=False)) <= 10
    # a server that takes 15 s to say nothing is asked twice, and a known one more often
    assert len(waits(dead, 0.5, proven=False, every=15.0)) == 1
    assert len(waits(dead, 0.5, proven=True, every=15.0)) == 4


@pytest.mark.parametrize(
    ("number", "slug", "exit_code"),
    [
        (errno.EACCES, "file-refused", 77),
        (errno.EPERM, "file-refused", 77),
        (errno.EROFS, "file-refused", 77),
        (errno.ENOSPC, "file-no-space", 71),
        (errno.EDQUOT, "file-no-space", 71),
        (errno.ENOENT, "file-missing", 66),
        (errno.EIO, "file-broken", 71),
    ],
)
def test_a_file_system_is_told_alike(number: int, slug: str, exit_code: int) -> None:
    def is_mount(path: str) -> bool:
        return path == "/cache"

    error = file_fault("write", "/cache/in/x", OSError(number, "so it is"), is_mount)
    assert (error.code, error.exit_code) == (slug, exit_code)
    assert "/cache/in/x: so it is" in str(error)
    if number in {errno.ENOSPC, errno.EDQUOT}:
        assert str(error).endswith("on /cache")


def test_the_file_system_is_the_nearest_mount() -> None:
    assert mount_point("/a/b/c", {"/a", "/a/b"}.__contains__) == "/a/b"
    assert mount_point("/a/b", set().__contains__) == "/"
