"""Make obstore's stores: one for each bucket and each way in which its requests may take their time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from launcher.adapters.obs.settings import Credentials, Settings

Way = Literal["ask", "note", "body", "parts"]
"""ask: whatever is read · note, body: an upload in one request, small or not · parts: one in several."""

_CONNECT = "4s"
_LATER = ("disable_bulk_delete", "aws_endpoint_url_s3", "read_timeout")
"""Options that older releases of obstore do not know, and then do not need or cannot have."""


class _Pace(msgspec.Struct, frozen=True):
    """How long a request may take in all, how long nothing may come, and how often obstore tries it again itself."""

    whole: str
    silence: str | None
    again: int


_PACES: Mapping[Way, _Pace] = {
    "ask": _Pace("86400s", "15s", 0),
    # obstore would count the sending of a body as silence, so for uploads there is only a time for the whole
    "note": _Pace("30s", None, 0),
    "body": _Pace("180s", None, 0),
    "parts": _Pace("180s", None, 3),
}


def open_bucket(settings: Settings, bucket: str, keys: Credentials, way: Way, *, unchecked: bool = False) -> Any:
    """Make a store; `unchecked` looks at no certificate. Raises obstore's BaseError."""
    given = _options(settings, bucket, _PACES[way], unchecked=unchecked)
    if way != "ask":
        given["config"].update(_encryption(settings.encryption))
    store = None
    while store is None:
        store = _known(bucket, given, keys)
    return store


def _options(settings: Settings, bucket: str, pace: _Pace, *, unchecked: bool) -> dict[str, Any]:
    from datetime import timedelta

    endpoint = settings.endpoint.rstrip("/")
    if not settings.path_style:
        endpoint = endpoint.replace("://", f"://{bucket}.", 1)
    config = {
        # every one of these can also come from the environment (AWS_…), so each is said
        "endpoint": endpoint,
        "aws_endpoint_url_s3": endpoint,
        "region": settings.signing_region,
        "virtual_hosted_style_request": not settings.path_style,
        "unsigned_payload": True,
        "skip_signature": False,
        "disable_bulk_delete": True,
    }
    client: dict[str, Any] = {
        "allow_http": endpoint.startswith("http://"),
        "connect_timeout": _CONNECT,
        "timeout": pace.whole,
    }
    if pace.silence:
        client["read_timeout"] = pace.silence
    if unchecked or not settings.verify_ssl:
        client["allow_invalid_certificates"] = True
    if settings.authorities:
        client["root_certificate"] = settings.authorities
    pause = {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=4), "base": 2}
    retry = {"max_retries": pace.again, "retry_timeout": timedelta(seconds=60), "backoff": pause}
    return {"config": config, "client_options": client, "retry_config": retry}


def _encryption(wanted: str) -> dict[str, str]:
    """What obstore calls a wanted encryption: AES256, aws:kms, or aws:kms:KEY."""
    if not wanted.startswith("aws:kms:"):
        return {"aws_server_side_encryption": wanted} if wanted else {}
    return {"aws_server_side_encryption": "aws:kms", "aws_sse_kms_key_id": wanted.removeprefix("aws:kms:")}


def _known(bucket: str, given: Mapping[str, Any], keys: Credentials) -> Any:
    """Build the store; None: it did not know an option that can be done without, which is now taken away."""
    from obstore.exceptions import UnknownConfigurationKeyError
    from obstore.store import S3Store

    try:
        return S3Store(bucket, credential_provider=_for_obstore(keys), **given)
    except (UnknownConfigurationKeyError, ValueError) as error:
        unknown = next((name for name in _LATER if name in str(error)), "")
        if not (given["config"].pop(unknown, None) or given["client_options"].pop(unknown, None)):
            raise
        return None


def _for_obstore(keys: Credentials) -> Any:
    """A provider rather than options: options would let a stale AWS_SESSION_TOKEN of the environment join in."""
    given = {"access_key_id": keys.access_key, "secret_access_key": keys.secret_key}
    return lambda: {**given, "token": keys.token, "expires_at": None}
