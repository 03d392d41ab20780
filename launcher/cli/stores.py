"""Which store a command line and an environment mean, and how its keys are found. Only here are the adapters known."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from launcher.core.errors import Exit, PlanError, StoreError
from launcher.core.facts import StoreFacts
from launcher.core.parse.text import MOST_BYTES
from launcher.core.urls import Location, parse_location
from launcher.protocols import Store

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from launcher.core.settings import Settings


class Opened(msgspec.Struct, frozen=True, kw_only=True):
    """A store as the command line needs it: `directory` is set where the store is one of this machine."""

    store: Store | None = None
    facts: StoreFacts | None = None
    directory: str | None = None
    warnings: tuple[str, ...] = ()
    secrets: Callable[[], tuple[str, ...]] = tuple
    """The keys that the environment holds."""
    chain_secrets: Callable[[], tuple[str, ...]] = tuple
    """The keys that have to be looked for: in files, from the node's own service. Only `run` does."""

    def local_path(self, at: Location) -> str | None:
        """The path of a place in a store that is a directory."""
        return None if self.directory is None else os.path.join(self.directory, at.bucket, at.key)

    def read(self, url: str) -> bytes:
        """The bytes of a document in the store. Raises LauncherError."""
        at = _location(url)
        if self.store is None:
            raise PlanError(
                f"{url} is in an object store, and none is known",
                code="store-unknown",
                action=HOW_TO_NAME_A_STORE,
                exit_code=Exit.USAGE,
            )
        return _read(self.store, at)


HOW_TO_NAME_A_STORE = (
    "Give --store DIR (a directory whose first level are the buckets) or --store URL, or set S3_ENDPOINT."
)


CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where Linux systems keep the certificates of authorities; a bare image has none of them."""


def open_store(named: str | None, environ: Mapping[str, str], settings: Settings) -> Opened:
    """The store that `--store` or S3_ENDPOINT names; nothing is asked of it yet. Raises PlanError."""
    if named and not named.startswith(("http://", "https://")):
        return _directory(named)
    endpoint = named or environ.get("S3_ENDPOINT", "")
    if not endpoint:
        return Opened()
    return _object_store(with_scheme(endpoint, environ).rstrip("/"), environ, settings)


def with_scheme(endpoint: str, environ: Mapping[str, str]) -> str:
    """An endpoint as a URL; one that names no scheme is spoken to by https, unless S3_USE_HTTPS=0."""
    return (
        endpoint if "://" in endpoint else f"{'http' if environ.get('S3_USE_HTTPS') == '0' else 'https'}://{endpoint}"
    )


def _directory(named: str) -> Opened:
    from launcher.adapters.localfs import LocalStore
    from launcher.cli.machine import absolute

    scheme, mark, _ = named.partition("://")
    if mark and scheme != "file":
        raise PlanError(
            f"--store {named}: expected a directory, file:///directory or an http(s):// endpoint, found {scheme}://",
            code="store-unknown",
            action="obs:// URLs stand in the job; --store says where they lead.",
            exit_code=Exit.USAGE,
        )
    path = absolute(named.removeprefix("file://localhost").removeprefix("file://"))
    if not os.path.isdir(path):
        raise PlanError(
            f"--store {named}: no such directory",
            code="store-unknown",
            action="Give a directory whose first level are the buckets, or an http(s):// endpoint.",
            exit_code=Exit.MISSING,
        )
    return Opened(store=LocalStore(path), directory=path)


def _object_store(endpoint: str, environ: Mapping[str, str], settings: Settings) -> Opened:
    from launcher.adapters import boto, obs
    from launcher.cli.network import proxy_for, read_bundle

    verify = environ.get("S3_VERIFY_SSL", "1") != "0"
    authorities = read_bundle(settings.ca_bundle) if settings.ca_bundle else b""
    bundle = missing_certificates(environ, CERTIFICATES) if endpoint.startswith("https://") and verify else None
    if bundle:
        # the one word that obstore hears; children have the environment that was read before
        os.environ["SSL_CERT_FILE"] = bundle
    chain = boto.Chain()

    def keys(*, fresh: bool = False) -> tuple[str, str, str | None]:
        found = _environment_keys(environ) or chain.keys(fresh=fresh)
        if found is None:
            raise StoreError(
                f"no credentials for {endpoint}",
                code="store-credentials",
                action="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or ACCESS_KEY_ID and SECRET_ACCESS_KEY).",
                exit_code=Exit.REFUSED,
            )
        return found

    def credentials() -> obs.Credentials:
        access_key, secret_key, token = keys(fresh=True)
        return obs.Credentials(access_key=access_key, secret_key=secret_key, token=token)

    told = obs.Settings(
        authorities=authorities,
        encryption=settings.encryption or "",
        proxy=proxy_for(endpoint, environ),
        endpoint=endpoint,
        region=environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or "",
        addressing="path" if settings.addressing == "path" else "virtual" if settings.addressing else None,
        verify_ssl=verify,
    )
    trusted = settings.ca_bundle if verify else False
    odd = boto.BotoStore(
        endpoint, told.signing_region, keys, path_style=told.path_style, verify=trusted, proxy=told.proxy
    )
    insecure = f"S3_VERIFY_SSL=0: the certificate of {endpoint} is not checked"
    return Opened(
        store=obs.ObsStore(told, credentials, odd),
        facts=StoreFacts(endpoint=endpoint, verify_ssl=verify),
        warnings=() if verify or endpoint.startswith("http://") else (insecure,),
        secrets=lambda: tuple(filter(None, (_environment_keys(environ) or ())[1:])),
        chain_secrets=lambda: tuple(filter(None, ((None if _environment_keys(environ) else chain.keys()) or ())[1:])),
    )


def _environment_keys(environ: Mapping[str, str]) -> tuple[str, str, str | None] | None:
    """Keys from the environment, in its own spelling or OBS's."""
    for access, secret, token in (
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
        ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SECURITY_TOKEN"),
    ):
        if environ.get(access) and environ.get(secret):
            return environ[access], environ[secret], environ.get(token) or None
    return None


def missing_certificates(environ: Mapping[str, str], places: Sequence[str]) -> str | None:
    """The bundle of botocore for a system that has no certificates of authorities; None where there are some."""
    if environ.get("SSL_CERT_FILE") or environ.get("SSL_CERT_DIR") or any(map(os.path.exists, places)):
        return None
    from importlib.util import find_spec

    package = find_spec("botocore")
    bundles = (os.path.join(folder, "cacert.pem") for folder in (package and package.submodule_search_locations) or ())
    return next(filter(os.path.isfile, bundles), None)


def _location(url: str) -> Location:
    try:
        return parse_location(url)
    except ValueError as error:
        raise PlanError(str(error), code="url-invalid", action="Write obs://bucket/key.") from error


def _read(store: Store, at: Location) -> bytes:
    """A small object, asked for on a worker thread, again where that can help."""
    from launcher.pool import each
    from launcher.retry import Retries

    found: list[bytes] = []
    retries = Retries()

    def look(place: Location, stopped: Callable[[], bool]) -> None:
        found.append(retries.call(lambda: _document(store, place, stopped), stopped))

    each(look, (at,), 1, lambda: False, apart=True)
    return found[0]


def _document(store: Store, at: Location, stopped: Callable[[], bool]) -> bytes:
    item = store.stat(at)
    if item is None:
        raise StoreError(
            f"no object at {at.url}",
            code="store-missing",
            action="Check bucket and key.",
            exit_code=Exit.MISSING,
        )
    if item.size > MOST_BYTES:
        raise PlanError(
            f"{at.url}: expected at most {MOST_BYTES} bytes, found {item.size}",
            code="document-too-large",
            action="Is this a job file at all?",
        )
    return b"".join(store.read(at.bucket, item, 0, item.size, stopped))
