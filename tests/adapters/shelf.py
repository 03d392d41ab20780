"""The adapters under test, wired to a server as cli wires them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from launcher.adapters.boto import BotoStore
from launcher.adapters.localfs import LocalStore
from launcher.adapters.obs import Credentials, ObsStore, Settings
from launcher.retry import Retries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from servers import AnyStore, S3Server

    from launcher.core.stored import StoredObject
    from launcher.core.urls import Location
    from launcher.protocols import Store


Answered = TypeVar("Answered")


def never() -> bool:
    return False


def obs(server: S3Server, provider: Callable[[], Credentials] | None = None, **settings: Any) -> ObsStore:
    keys = Credentials(access_key=server.access_key, secret_key=server.secret_key)
    how = Settings(endpoint=server.endpoint, **settings)
    return ObsStore(how, provider or (lambda: keys), boto(server))


def boto(server: S3Server) -> BotoStore:
    keys = (server.access_key, server.secret_key, None)
    return BotoStore(server.endpoint, "us-east-1", lambda: keys, path_style=True)


def read(
    store: Store | BotoStore,
    bucket: str,
    item: StoredObject,
    part: tuple[int, int] | None = None,
    stopped: Callable[[], bool] = never,
) -> bytes:
    """The bytes of an object, or of a part of it."""
    start, end = part or (0, item.size)
    return b"".join(bytes(piece) for piece in store.read(bucket, item, start, end, stopped))


def persistent(work: Callable[[], Answered]) -> Answered:
    """What the steps do: try again, as often as that is said to make sense."""
    return Retries().call(work, never)


def opened(store: AnyStore) -> Store:
    if store.server is not None:
        return obs(store.server)
    return LocalStore(str(store.directory))


def chunks(content: bytes, size: int = 1024**2) -> Iterator[bytes]:
    for start in range(0, len(content), size):
        yield content[start : start + size]


def sizes(store: Store, folder: Location) -> dict[str, int]:
    found = [(item.key, item.size) for item in store.walk(folder)]
    assert len(found) == len(dict(found)), "a key came twice"
    return dict(found)


def item_at(store: Store, at: Location) -> StoredObject:
    item = store.stat(at)
    assert item is not None
    return item
