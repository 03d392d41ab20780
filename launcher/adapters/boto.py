"""boto3, for the little that obstore cannot: the credential chain, and keys that it cannot address or list.

It is imported when first used, which costs a third of a second, and never moves the bulk of anything.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

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

    def keys(self) -> Keys | None:
        """Access key, secret key and token, renewed by boto3 when they are about to end; None where it finds none."""
        with self._lock:
            if self._found is None:
                import botocore.session  # type: ignore[import-untyped]

                self._found = botocore.session.Session(profile=self._profile).get_credentials()
            if self._found is None:
                return None
            frozen = self._found.get_frozen_credentials()
            return frozen.access_key, frozen.secret_key, frozen.token


class BotoStore:
    """The same store by boto3, for odd keys. `keys` is asked at each request."""

    def __init__(
        self, endpoint: str, region: str, keys: Callable[[], Keys], *, path_style: bool, verify_ssl: bool = True
    ) -> None:
        self._endpoint = endpoint
        self._region = region
        self._keys = keys
        self._style = "path" if path_style else "virtual"
        self._verify = verify_ssl
        self._session: Any = None
        self._lock = threading.Lock()

    def walk(self, bucket: str, prefix: str) -> Iterator[StoredObject]:
        """Every object whose key begins so, with the key as it is."""
        at = Location(bucket, prefix)
        with self._client("list", at) as client:
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
                for entry in page.get("Contents", ()):
                    yield StoredObject(entry["Key"], entry["Size"], _bare(entry))

    def stat(self, bucket: str, key: str) -> StoredObject | None:
        """The object at exactly this key, or None."""
        found = self._head(Location(bucket, key))
        return found and StoredObject(key, found["ContentLength"], _bare(found))

    def read(self, bucket: str, item: StoredObject) -> Iterator[bytes]:
        """The bytes of that very version."""
        at = Location(bucket, item.key)
        pinned = {"IfMatch": f'"{item.etag}"'} if item.etag and not item.etag.startswith("W/") else {}
        with self._client("read", at) as client:
            answer = client.get_object(Bucket=bucket, Key=item.key, **pinned)
            with contextlib.closing(answer["Body"]) as body:
                if answer["ContentLength"] != item.size or item.etag not in {"", _bare(answer)}:
                    raise verdict("read", at.url, "changed")
                yield from body.iter_chunks(_CHUNK)

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
            raise store_fault(operation, at.url, _answer(error), endpoint=self._endpoint) from error
        except (BotoCoreError, HTTPClientError) as error:
            answer = read_answer(f"{type(error).__name__}: {error}")
            raise store_fault(operation, at.url, answer, endpoint=self._endpoint) from error
        finally:
            client.close()

    def _made(self) -> Any:
        import botocore.session
        from botocore.config import Config  # type: ignore[import-untyped]

        if self._session is None:
            self._session = botocore.session.Session()
        access_key, secret_key, token = self._keys()
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": self._style, "payload_signing_enabled": False},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=3,
            read_timeout=20,
            retries={"total_max_attempts": 3, "mode": "standard"},
        )
        return self._session.create_client(
            "s3",
            endpoint_url=self._endpoint,
            region_name=self._region,
            aws_access_key_id=access_key,
            aws_secret_access_key=secret_key,
            aws_session_token=token,
            config=config,
            verify=None if self._verify else False,
        )


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
    )
