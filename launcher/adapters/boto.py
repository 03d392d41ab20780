"""boto3, for the little that obstore cannot: the credential chain, and keys that it cannot address or list.

It is imported when first used, which costs a third of a second, and never moves the bulk of anything.
"""

from __future__ import annotations

import contextlib
import re
import threading
from typing import TYPE_CHECKING, Any

from launcher.core.errors import Cancelled
from launcher.core.keys import plain_md5
from launcher.core.stored import StoredObject
from launcher.core.storefault import Answer, read_answer, store_fault, verdict
from launcher.core.urls import Location

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from launcher.core.storefault import Operation

Keys = tuple[str, str, "str | None"]
_CHUNK = 1024**2
_GONE = {404}


class Chain:
    """The credential chain of boto3: environment (which it alone may read), shared files, roles, metadata."""

    def __init__(self, profile: str | None = None) -> None:
        self._profile = profile
        self._found: Any = None
        self._lock = threading.Lock()

    def keys(self, *, fresh: bool = False) -> Keys | None:
        """Access key, secret key and token, renewed by boto3 when they are about to end; None where it finds none.

        `fresh`: look again, since those of a file are never renewed, and the file may have been.
        """
        with self._lock:
            if self._found is None or fresh:
                import botocore.session  # type: ignore[import-untyped]

                self._found = botocore.session.Session(profile=self._profile).get_credentials()
            if self._found is None:
                return None
            frozen = self._found.get_frozen_credentials()
            return frozen.access_key, frozen.secret_key, frozen.token


class BotoStore:
    """The same store by boto3, for odd keys. `keys` is asked at each request.

    `verify`: a file of certificates to trust; None: those that come with it; False: whatever is shown.
    """

    def __init__(
        self,
        endpoint: str,
        region: str,
        keys: Callable[[], Keys],
        *,
        path_style: bool,
        verify: str | bool | None = None,
        proxy: str = "",
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._keys = keys
        self._style = "path" if path_style else "virtual"
        self._verify = verify
        self._proxy = proxy
        self._session: Any = None
        self._lock = threading.Lock()

    def walk(self, bucket: str, prefix: str, after: str) -> Iterator[StoredObject]:
        """Every object whose key begins so and comes after `after`, with the key as it is, page by page."""
        last, more = after, True
        while more:
            more = False
            for item in self._listed(Location(bucket, prefix), last):
                last, more = item.key, True
                yield item

    def _listed(self, at: Location, after: str) -> Iterator[StoredObject]:
        """One listing; some end too early, so the caller asks again after the last key."""
        seen = ""
        with self._client("list", at) as client:
            for page in client.get_paginator("list_objects_v2").paginate(
                Bucket=at.bucket, Prefix=at.key, **({"StartAfter": after} if after else {})
            ):
                for entry in page.get("Contents", ()):
                    item = StoredObject(entry["Key"], entry["Size"], _bare(entry))
                    if item.key <= seen:
                        raise verdict("list", at.url, "listing", f"{item.key!r} came late or twice")
                    seen = item.key
                    if item.key > after:
                        yield item

    def stat(self, bucket: str, key: str) -> StoredObject | None:
        """The object at exactly this key, or None."""
        found = self._head(Location(bucket, key))
        return found and StoredObject(key, found["ContentLength"], _bare(found))

    def read(
        self, bucket: str, item: StoredObject, start: int, end: int, stopped: Callable[[], bool]
    ) -> Iterator[bytes]:
        """The bytes from `start` to before `end` of that very version; an item without a size is read to its end."""
        import hashlib

        at = Location(bucket, item.key)
        whole = start == 0 and end in {item.size, -1}
        asked = {} if whole else {"Range": f"bytes={start}-{end - 1}"}
        if item.etag and not item.etag.startswith("W/"):
            asked["IfMatch"] = f'"{item.etag}"'
        with self._client("read", at) as client:
            answer = client.get_object(Bucket=bucket, Key=item.key, **asked)
            with contextlib.closing(answer["Body"]) as body:
                size = _check_version(at, answer, item, None if whole else (start, end))
                came, end = start, size if end < 0 else end
                md5 = hashlib.md5(usedforsecurity=False)
                for piece in body.iter_chunks(_CHUNK):
                    if stopped():
                        raise Cancelled
                    came += len(piece)
                    md5.update(piece)
                    yield piece
        if came != end:
            raise verdict("read", at.url, "broken", f"{came} bytes came of {end}")
        told = plain_md5(_bare(answer)) if whole else None
        if told not in {None, md5.hexdigest()} and not self.encrypted(bucket, item.key):
            raise verdict("read", at.url, "broken", f"its MD5 is not {told}")

    def remove(self, bucket: str, key: str) -> None:
        """Delete one object; one that is not there is no error."""
        with self._client("delete", Location(bucket, key)) as client:
            client.delete_object(Bucket=bucket, Key=key)

    def encrypted(self, bucket: str, key: str) -> bool:
        """Whether the store says that it encrypts the object: its ETag is then no MD5."""
        found = self._head(Location(bucket, key)) or {"ResponseMetadata": {"HTTPHeaders": {}}}
        return any("server-side-encryption" in name.lower() for name in found["ResponseMetadata"]["HTTPHeaders"])

    def _head(self, at: Location) -> Any:
        from botocore.exceptions import ClientError  # type: ignore[import-untyped]

        with self._client("look up", at) as client:
            try:
                return client.head_object(Bucket=at.bucket, Key=at.key)
            except ClientError as error:
                if _answer(error).status in _GONE:
                    return None
                raise

    @contextlib.contextmanager
    def _client(self, operation: Operation, at: Location) -> Iterator[Any]:
        """A client for the block; what it raises is told as ours."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        with self._lock:
            client = self._made()
        try:
            yield client
        except ClientError as error:
            raise store_fault(operation, at.url, _answer(error), endpoint=self._endpoint, proxy=self._proxy) from error
        except (BotoCoreError, HTTPClientError) as error:
            answer = read_answer(f"{type(error).__name__}: {error}")
            raise store_fault(operation, at.url, answer, endpoint=self._endpoint, proxy=self._proxy) from error
        finally:
            client.close()

    def _made(self) -> Any:
        import botocore.session
        from botocore.config import Config  # type: ignore[import-untyped]

        if self._session is None:
            self._session = botocore.session.Session()
            if self._verify is False:
                import urllib3

                # the launcher has said so itself, once
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        access_key, secret_key, token = self._keys()
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": self._style, "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=4,
            read_timeout=15,
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        return self._session.create_client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=self._region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=config,
            verify=self._verify,
        )


def _check_version(at: Location, answer: Any, item: StoredObject, part: tuple[int, int] | None) -> int:
    """The size of the object that is answered. Raises StoreError: it is another one, or not the part asked for."""
    size = int(answer["ContentLength"])
    if part:
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", answer.get("ContentRange", ""))
        if found is None or (int(found[1]), int(found[2]) + 1) != part:
            raise verdict("read", at.url, "unranged")
        size = int(found[3])
    if (item.size >= 0 and size != item.size) or item.etag not in {"", _bare(answer)}:
        raise verdict("read", at.url, "changed")
    return size


def _bare(answer: Any) -> str:
    return str(answer.get("ETag", "")).strip('"')


def _answer(error: Any) -> Answer:
    told = error.response.get("Error", {})
    meta = error.response.get("ResponseMetadata", {})
    code = told.get("Code")
    return Answer(
        status=meta.get("HTTPStatusCode"),
        code=code if code and not str(code).isdigit() else None,
        message=told.get("Message"),
        request_id=meta.get("RequestId"),
        region=told.get("Region") or told.get("Endpoint"),
        sent_at=told.get("RequestTime"),
        store_time=told.get("ServerTime"),
    )
