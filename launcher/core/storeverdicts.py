"""What each failure of a store means: its slug, its exit code, one sentence and the next step; a table and no more."""

from __future__ import annotations

import msgspec

from launcher.core.errors import Exit


class Verdict(msgspec.Struct, frozen=True):
    """One cause as programs (slug, exit code) and people (sentence, action) are told of it."""

    slug: str
    exit_code: Exit
    sentence: str
    action: str


_KEYS = "Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN"
_ENDPOINT = "Check S3_ENDPOINT: scheme, host and port of the object store, without a bucket or a path"

VERDICTS = {
    "key": Verdict(
        "store-missing",
        Exit.MISSING,
        "no such object",
        "Check the path, its upper and lower case, and whether the object was moved or deleted.",
    ),
    "bucket": Verdict(
        "store-no-bucket",
        Exit.MISSING,
        "no such bucket",
        "Check the bucket's name, and that S3_ENDPOINT is of the region in which it was made.",
    ),
    "denied": Verdict(
        "store-refused",
        Exit.REFUSED,
        "access denied",
        "Give these credentials the right to do this here: see the policies of the bucket and of the user; a bucket "
        "may also take encrypted uploads only (LAUNCHER_SSE).",
    ),
    "arrears": Verdict(
        "store-account",
        Exit.REFUSED,
        "the account is in arrears or has too little balance",
        "Top up the account that owns the bucket, wait some minutes, then start the job again.",
    ),
    "frozen": Verdict(
        "store-account",
        Exit.REFUSED,
        "the account is frozen, expired or closed",
        "Let the owner of the account put it in order with the vendor.",
    ),
    "unregistered": Verdict(
        "store-account",
        Exit.REFUSED,
        "the account is not signed up for the store, or nobody has proven whose it is",
        "Sign the account up for the object store, and complete its real-name authentication.",
    ),
    "kms": Verdict(
        "store-encrypted",
        Exit.REFUSED,
        "the key that the store encrypts with cannot be used",
        "Check LAUNCHER_SSE and the bucket's default encryption: the key must be there, enabled, of this region, and "
        "these credentials must be allowed to use it.",
    ),
    "customer-key": Verdict(
        "store-encrypted",
        Exit.REFUSED,
        "the object is encrypted with a key that only its owner has (SSE-C)",
        "Copy it to one that the store itself encrypts, then start the job again.",
    ),
    "encryption": Verdict(
        "store-encrypted",
        Exit.REFUSED,
        "the store does not know this kind of encryption",
        "Correct or unset LAUNCHER_SSE.",
    ),
    "too-large": Verdict(
        "store-too-large",
        Exit.REFUSED,
        "the object is larger than the store takes",
        "Split the file into smaller ones.",
    ),
    "too-long": Verdict("store-key", Exit.REFUSED, "the key is longer than the store takes", "Shorten the path."),
    "unknown-key": Verdict("store-keys", Exit.REFUSED, "the access key is not known", f"{_KEYS}."),
    "signature": Verdict(
        "store-keys",
        Exit.REFUSED,
        "the signature does not match: a wrong secret key",
        f"{_KEYS}; a secret that was cut off, or has a blank or a line end in it, looks like this.",
    ),
    "token": Verdict("store-keys", Exit.REFUSED, "the session token is not valid", f"{_KEYS}; they come as three."),
    "archived": Verdict(
        "store-archived",
        Exit.REFUSED,
        "the object lies in an archive",
        "Restore it to a class that can be read at once, then start the job again.",
    ),
    "quota": Verdict(
        "store-full", Exit.REFUSED, "the bucket is full", "Raise the bucket's quota or delete what is not needed."
    ),
    "expired": Verdict(
        "store-expired",
        Exit.REFUSED,
        "the temporary credentials have expired",
        "Renew them; a job that outlives them needs a source of credentials that can be asked again.",
    ),
    "clock": Verdict(
        "store-clock",
        Exit.REFUSED,
        "the clock of this node is too far from the store's",
        "Set the node's clock (NTP); the store takes at most 15 minutes of difference.",
    ),
    "region": Verdict(
        "store-region",
        Exit.UNREACHABLE,
        "the bucket belongs to another region or endpoint",
        "Set S3_ENDPOINT and the region to those of the bucket.",
    ),
    "endpoint": Verdict(
        "store-endpoint", Exit.UNREACHABLE, "what answers there is no object store", f"{_ENDPOINT}; and any proxy."
    ),
    "method": Verdict(
        "store-endpoint", Exit.UNREACHABLE, "what answers there does not know this operation", f"{_ENDPOINT}."
    ),
    "tls": Verdict(
        "store-endpoint",
        Exit.UNREACHABLE,
        "https was spoken to a port that speaks http",
        "Write S3_ENDPOINT with http://, or set S3_USE_HTTPS=0.",
    ),
    "plain": Verdict(
        "store-endpoint",
        Exit.UNREACHABLE,
        "http was spoken to a port that speaks https",
        "Write S3_ENDPOINT with https://, or set S3_USE_HTTPS=1.",
    ),
    "certificate": Verdict(
        "store-certificate",
        Exit.UNREACHABLE,
        "the certificate of the endpoint is not trusted, or not for this name",
        "Name its authority (LAUNCHER_CA_BUNDLE), or set LAUNCHER_S3_ADDRESSING=path if it names the host without the "
        "bucket; S3_VERIFY_SSL=0 turns the check off.",
    ),
    "authorities": Verdict(
        "store-certificate",
        Exit.UNREACHABLE,
        "this system has no CA certificates at all",
        "Install ca-certificates in the image, or set LAUNCHER_CA_BUNDLE to a bundle.",
    ),
    "changed": Verdict(
        "store-changed",
        Exit.MISSING,
        "it changed after it was listed",
        "Let whatever writes there finish, then start the job again.",
    ),
    "busy": Verdict(
        "store-busy",
        Exit.UNREACHABLE,
        "the store keeps failing",
        "Try again later; if it says SlowDown, lower the number of transfers.",
    ),
    "dns": Verdict(
        "store-unreachable",
        Exit.UNREACHABLE,
        "the name of the endpoint cannot be resolved",
        "Check the host in S3_ENDPOINT and this node's DNS.",
    ),
    "refused": Verdict(
        "store-unreachable",
        Exit.UNREACHABLE,
        "nothing listens at the endpoint",
        "Check the host and port in S3_ENDPOINT, proxies, and the network of this node.",
    ),
    "timeout": Verdict(
        "store-unreachable",
        Exit.UNREACHABLE,
        "no answer in time",
        "Check the network between this node and S3_ENDPOINT: DNS, route, security group, proxy.",
    ),
    "broken": Verdict(
        "store-broken",
        Exit.UNREACHABLE,
        "the transfer broke off",
        "Check the network between this node and the store, then start the job again.",
    ),
    "proxy": Verdict(
        "store-unreachable",
        Exit.UNREACHABLE,
        "the way there leads through a proxy that does not answer or lets nothing through:",
        "Check HTTPS_PROXY and HTTP_PROXY, or name the endpoint's host in NO_PROXY.",
    ),
    "listing": Verdict(
        "store-listing",
        Exit.UNREACHABLE,
        "the store's listing is not in order or repeats itself",
        "Check that S3_ENDPOINT and any proxy give listings as S3 does: in the order of keys, each page once.",
    ),
    "renewed": Verdict(
        "store-renewed",
        Exit.REFUSED,
        "the credentials had expired and were renewed",
        "Nothing: the transfer is begun again.",
    ),
    "unranged": Verdict(
        "store-unranged", Exit.UNREACHABLE, "the store does not answer ranges", "Nothing: objects are read as a whole."
    ),
    "odd": Verdict(
        "store-odd-key",
        Exit.INVALID,
        "a key that cannot be a path",
        "Rename the objects with empty, `.` or `..` segments or control characters in their keys.",
    ),
    "malformed": Verdict(
        "store-endpoint", Exit.UNREACHABLE, "the endpoint is not one", f"{_ENDPOINT}, as in https://obs.example.com."
    ),
    "rejected": Verdict(
        "store-rejected", Exit.UNREACHABLE, "the store rejects the request", f"{_ENDPOINT}, and the region."
    ),
    "silent": Verdict("store-unreachable", Exit.UNREACHABLE, "the request failed", f"{_ENDPOINT}."),
}

_CODES = {
    "key": "NoSuchKey NoSuchVersion NoSuchObject",
    "bucket": "NoSuchBucket",
    "denied": "AccessDenied AccessForbidden AllAccessDisabled",
    "arrears": "InArrearOrInsufficientBalance",
    "frozen": "AccountProblem FrozenUserId DeregisterUserId",
    "unregistered": "NotSignedUp Unauthorized",
    "encryption": "InvalidEncryptionAlgorithmError InvalidEncryptionMethodError",
    "too-large": "EntityTooLarge",
    "too-long": "KeyTooLong KeyTooLongError",
    "unknown-key": "InvalidAccessKeyId TooManyWrongSignature",
    "signature": "SignatureDoesNotMatch",
    "token": "InvalidToken InvalidSecurityToken",
    "archived": "InvalidObjectState ObjectNotInActiveTierError RestoreAlreadyInProgress",
    "quota": "InsufficientStorageSpace QuotaExceeded QuotaTooSmall",
    "expired": "ExpiredToken ExpiredTokenException TokenRefreshRequired",
    "clock": "RequestTimeTooSkewed RequestExpired",
    "region": "PermanentRedirect TemporaryRedirect Redirect AuthorizationHeaderMalformed InvalidRegion "
    "IllegalLocationConstraintException IncorrectEndpoint",
    "method": "MethodNotAllowed NotImplemented",
    "changed": "PreconditionFailed InvalidRange",
    # what was sent has not come as it went, or its upload was given up by the store: all of it can be sent again
    "broken": "NoSuchUpload InvalidPart InvalidPartOrder IncompleteBody BadDigest XAmzContentSHA256Mismatch",
    "busy": "SlowDown ServiceUnavailable ServiceNotAvailable Busy InternalError RequestTimeout OperationAborted "
    "Throttling ThrottlingException TooManyRequests RequestLimitExceeded",
}
BY_CODE = {code: verdict for verdict, codes in _CODES.items() for code in codes.split()}
BY_TEXT = (
    ("kms", r"^KMS|\b[Kk]ms[:.]|\bKMS\b|kms:(?:GenerateDataKey|Decrypt)"),
    ("customer-key", r"^InvalidRequest: .*[Ss]erver[- ][Ss]ide [Ee]ncryption|SSE-C\b"),
)
"""What code and message together say where the code alone says too little; the first that fits is taken."""
BY_STATUS = {
    **dict.fromkeys((301, 302, 307, 308), "region"),
    **dict.fromkeys((401, 403), "denied"),
    **dict.fromkeys((405, 501), "method"),
    **dict.fromkeys((408, 429), "busy"),
    **dict.fromkeys((412, 416), "changed"),
    404: "key",
}
