"""How requests reach the store: settings, credentials that can be asked for again, retries, errors mapped to ours.

It never decides what to ask for, and never holds credentials of its own making.
"""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

from launcher.core.errors import Cancelled, StoreError
from launcher.core.storefault import read_answer, retry_after, shown, store_fault, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from launcher.core.storefault import Operation
    from launcher.core.urls import Location

log = logging.getLogger(__name__)
Answered = TypeVar("Answered")

_CONNECT = "3s"
_SILENCE = "20s"
_DOWNLOAD = "86400s"
"""obstore's `timeout` is for a whole request, body and all; a silent one is ended by its read timeout."""
_UPLOAD = "600s"
"""For one part. No read timeout here: obstore would count the sending of the part against it."""
_LATER = ("disable_bulk_delete", "aws_endpoint_url_s3", "read_timeout")
"""Options that older releases of obstore do not know, and then do not need or cannot have."""


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, and the token that temporary ones carry. They do not show when printed."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is and how it is spoken to; None and the empty string mean: as the endpoint suggests."""

    endpoint: str
    region: str = ""
    addressing: Literal["path", "virtual"] | None = None
    verify_ssl: bool = True

    @property
    def host(self) -> str:
        """The endpoint's host, without the port."""
        found = re.fullmatch(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?/?", self.endpoint)
        return found[1].lower() if found else ""

    @property
    def path_style(self) -> bool:
        """Whether the bucket is the first part of the path: asked for, or an IP address, localhost, a plain name."""
        if self.addressing is not None:
            return self.addressing == "path"
        host = self.host
        return host.startswith("[") or "." not in host or re.fullmatch(r"[0-9.]+", host) is not None

    @property
    def signing_region(self) -> str:
        """The region that requests are signed for."""
        named = re.match(r"(?:obs|s3)[.-]([a-z]{2,}-[a-z0-9-]+)\.", self.host)
        return self.region or (named[1] if named else "us-east-1")


class Client:
    """One obstore store for each bucket and direction, built anew when the credentials are."""

    def __init__(self, settings: Settings, provider: Callable[[], Credentials]) -> None:
        self.settings = settings
        self._provider = provider
        self._credentials: Credentials | None = None
        self._stores: dict[tuple[str, bool], Any] = {}
        self._raised: tuple[type[Exception], ...] = ()
        self._lock = threading.Lock()

    def call(
        self,
        operation: Operation,
        at: Location,
        request: Callable[[Any], Answered],
        stopped: Callable[[], bool] = bool,
        *,
        upload: bool = False,
        replay: bool = True,
    ) -> Answered:
        """Make a request of the bucket's store, again where that can help; not `replay`: its body can be had but once.

        The requests of an upload are tried again by obstore itself, part by part.
        """
        renewed, failures, since = False, 0, 0.0
        while True:
            store = self._stores.get((at.bucket, upload)) or self._store(operation, at, upload=upload)
            try:
                return request(store)
            except StoreError as told:
                fault, cause = told, told.__cause__
            except self._raised as error:
                fault, cause = self._fault(operation, at, str(error)), error
            if not renewed and self._renew(fault, store) and replay:
                renewed = True
                continue
            failures += 1
            since = since or time.monotonic()
            wait = retry_after(fault, failures, time.monotonic() - since, _chance())
            if upload or wait is None:
                raise fault from cause
            log.info("trying again in %.1f s: %s", wait, fault)
            _pause(wait, stopped)

    def not_a_store(self, operation: Operation, at: Location) -> NoReturn:
        """Say that what answered is no object store."""
        raise verdict(operation, at.url, "endpoint", shown(self.settings.endpoint))

    def _fault(self, operation: Operation, at: Location, text: str) -> StoreError:
        fault = store_fault(operation, at.url, read_answer(text), endpoint=self.settings.endpoint)
        doubtful = {"store-no-bucket", "store-unreachable", "store-certificate", "store-endpoint", "store-region"}
        if fault.code in doubtful and self.settings.host.startswith(f"{at.bucket}."):
            return verdict(operation, at.url, "malformed", f"it carries the bucket: {shown(self.settings.endpoint)}")
        return fault

    def _renew(self, fault: StoreError, store: Any) -> bool:
        """Ask for credentials again where theirs may be the fault; whether another try has a chance."""
        if fault.code not in {"store-expired", "store-keys"}:
            return False
        with self._lock:
            if all(store is not one for one in self._stores.values()):
                return True  # another thread has renewed them since
            old, self._credentials = self._credentials, self._provider()
            self._stores.clear()
            return fault.code == "store-expired" or self._credentials != old

    def _store(self, operation: Operation, at: Location, *, upload: bool) -> Any:
        with self._lock:
            store = self._stores.get((at.bucket, upload))
            if store is None:
                self._check_endpoint(operation, at)
                if self._credentials is None:
                    self._credentials = self._provider()
                from obstore.exceptions import BaseError

                self._raised = (BaseError, FileNotFoundError)
                store = self._build(operation, at, self._credentials, upload=upload)
                self._stores[at.bucket, upload] = store
            return store

    def _check_endpoint(self, operation: Operation, at: Location) -> None:
        if not self.settings.host:
            why = f"expected http(s)://host or http(s)://host:port, got {shown(self.settings.endpoint)!r} or more"
            raise verdict(operation, at.url, "malformed", why)

    def _build(self, operation: Operation, at: Location, keys: Credentials, *, upload: bool) -> Any:
        from obstore.exceptions import BaseError

        http = self.settings.endpoint.startswith("http://")
        lax = {} if self.settings.verify_ssl else {"allow_invalid_certificates": True}
        client = {"allow_http": http, "connect_timeout": _CONNECT, **lax}
        client |= {"timeout": _UPLOAD} if upload else {"timeout": _DOWNLOAD, "read_timeout": _SILENCE}
        try:
            return self._construct(at.bucket, keys, client, retries=3 if upload else 0)
        except BaseError as error:
            fault = self._fault(operation, at, str(error))
            if fault.code != "store-certificate" or not http:
                raise fault from error
        # obstore wants the system's CA certificates even where no TLS is spoken, unless none are to be checked
        return self._construct(
            at.bucket, keys, {**client, "allow_invalid_certificates": True}, retries=3 if upload else 0
        )

    def _construct(self, bucket: str, keys: Credentials, client: Mapping[str, Any], retries: int) -> Any:
        from datetime import timedelta

        endpoint = self.settings.endpoint.rstrip("/")
        if not self.settings.path_style:
            endpoint = endpoint.replace("://", f"://{bucket}.", 1)
        config: dict[str, Any] = {
            # every one of these can also come from the environment (AWS_…), so each is said
            "endpoint": endpoint,
            "aws_endpoint_url_s3": endpoint,
            "region": self.settings.signing_region,
            "virtual_hosted_style_request": not self.settings.path_style,
            "unsigned_payload": True,
            "skip_signature": False,
            "disable_bulk_delete": True,
        }
        options = dict(client)
        pause = {"init_backoff": timedelta(seconds=0.5), "max_backoff": timedelta(seconds=4), "base": 2}
        retry: Any = {"max_retries": retries, "retry_timeout": timedelta(seconds=60), "backoff": pause}
        given = {"config": config, "client_options": options, "retry_config": retry}
        store = None
        while store is None:
            store = self._known(bucket, given, keys)
        return store

    def _known(self, bucket: str, given: Mapping[str, Any], keys: Credentials) -> Any:
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


def _chance() -> float:
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _pause(seconds: float, stopped: Callable[[], bool]) -> None:
    """Let time pass, in steps short enough to stop on request."""
    end = time.monotonic() + seconds
    never = threading.Event()
    while (left := end - time.monotonic()) > 0:
        if stopped():
            raise Cancelled
        never.wait(min(left, 0.1))
