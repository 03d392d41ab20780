"""When an object came into its store, by the store's own clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from shelf import opened

from launcher.core.errors import StoreError
from launcher.core.urls import Location
from launcher.protocols import Dated

if TYPE_CHECKING:
    from servers import AnyStore


def test_every_store_tells_when_an_object_came(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    store = opened(any_store)
    at = Location(bucket, "out/.launcher/now")
    before = time.time()
    store.put(at, iter((b"x",)), 1)
    after = time.time()
    assert isinstance(store, Dated)
    # whole seconds lack a part of one, and a file system's clock may tick a little later than ours
    assert before - 1.1 <= store.modified(at) <= after + 0.1


def test_an_object_that_is_not_there_came_never(any_store: AnyStore) -> None:
    bucket = any_store.bucket()
    store = opened(any_store)
    assert isinstance(store, Dated)
    for key in ("none", "no/such/folder"):
        with pytest.raises(StoreError) as caught:
            store.modified(Location(bucket, key))
        assert caught.value.code == "store-missing"
