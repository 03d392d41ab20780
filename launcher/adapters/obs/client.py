"""How requests reach the store: each is made once, with credentials that can be asked for again, and errors are ours.

It never decides what to ask for, and never holds credentials of its own making. Trying again is its callers' business.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from launcher.adapters.obs.opening import open_bucket
from launcher.core.storefault import read_answer, shown, store_fault, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from launcher.adapters.obs.opening import Way
    from launcher.adapters.obs.settings import Credentials, Settings
    from launcher.core.errors import StoreError
    from launcher.core.storefault import Operation
    from launcher.core.urls import Location

Answered = TypeVar("Answered")
_DOUBTFUL = {"store-no-bucket", "store-unreachable", "store-certificate", "store-endpoint", "store-region"}


class Client:
    """One obstore store for each bucket and way, built anew when the credentials are."""

    def __init__(self, settings: Settings, provider: Callable[[], Credentials]) -> None:
        self.settings = settings
        self.raised: tuple[type[Exception], ...] = ()
        """What obstore raises, once it is imported."""
        self._provider = provider
        self._credentials: Credentials | None = None
        self._stores: dict[tuple[str, Way], Any] = {}
        self._lock = threading.Lock()

    def call(
        self,
        operation: Operation,
        at: Location,
        request: Callable[[Any], Answered],
        way: Way = "ask",
        *,
        replay: bool = True,
    ) -> Answered:
        """Make a request of the bucket's store, and once more where that needs new credentials only.

        Not `replay`: it can be made but once; "store-renewed" says that new credentials are there for the next one.
        """
        store = self._stores.get((at.bucket, way)) or self._store(operation, at, way)
        try:
            return request(store)
        except self.raised as error:
            fault = self.fault(operation, at, error)
            if not self._renew(fault, store):
                raise fault from error
            if not replay:
                raise verdict(operation, at.url, "renewed") from fault
        store = self._store(operation, at, way)
        try:
            return request(store)
        except self.raised as error:
            raise self.fault(operation, at, error) from error

    def fault(self, operation: Operation, at: Location, error: Exception) -> StoreError:
        """Tell what obstore raised as ours."""
        settings = self.settings
        fault = store_fault(
            operation, at.url, read_answer(str(error)), endpoint=settings.endpoint, proxy=settings.proxy
        )
        if fault.code in _DOUBTFUL and settings.host.startswith(f"{at.bucket}."):
            return verdict(operation, at.url, "malformed", f"it carries the bucket: {shown(settings.endpoint)}")
        return fault

    def not_a_store(self, operation: Operation, at: Location) -> NoReturn:
        """Say that what answered is no object store."""
        raise verdict(operation, at.url, "endpoint", shown(self.settings.endpoint))

    def _renew(self, fault: StoreError, store: Any) -> bool:
        """Ask for credentials again where theirs may be the fault; whether there are others now."""
        if fault.code not in {"store-expired", "store-keys"}:
            return False
        with self._lock:
            if all(store is not one for one in self._stores.values()):
                return True  # another thread has renewed them since
            old, self._credentials = self._credentials, self._provider()
            self._stores.clear()
            return self._credentials != old

    def _store(self, operation: Operation, at: Location, way: Way) -> Any:
        with self._lock:
            store = self._stores.get((at.bucket, way))
            if store is None:
                self._check_endpoint(operation, at)
                if self._credentials is None:
                    self._credentials = self._provider()
                store = self._stores[at.bucket, way] = self._opened(operation, at, self._credentials, way)
            return store

    def _check_endpoint(self, operation: Operation, at: Location) -> None:
        if not self.settings.host:
            why = f"expected http(s)://host or http(s)://host:port, got {shown(self.settings.endpoint)!r} or more"
            raise verdict(operation, at.url, "malformed", why)

    def _opened(self, operation: Operation, at: Location, keys: Credentials, way: Way) -> Any:
        from obstore.exceptions import BaseError

        self.raised = (BaseError, FileNotFoundError)
        try:
            return open_bucket(self.settings, at.bucket, keys, way)
        except BaseError as error:
            fault = self.fault(operation, at, error)
            if fault.code != "store-certificate" or not self.settings.endpoint.startswith("http://"):
                raise fault from error
        # obstore wants the system's CA certificates even where no TLS is spoken, unless none are to be checked
        return open_bucket(self.settings, at.bucket, keys, way, unchecked=True)
