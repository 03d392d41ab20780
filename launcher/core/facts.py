"""What is known of this machine before anything is decided: gathered once by `launcher.cli`, never asked again."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.core.frozen import Record
from launcher.core.settings import Settings


class StoreFacts(Record, frozen=True, kw_only=True):
    """The object store that a boot file may speak to itself; a local directory has no endpoint."""

    endpoint: str
    verify_ssl: bool = True

    @property
    def https(self) -> bool:
        """Whether the endpoint is spoken to by TLS."""
        return self.endpoint.startswith("https://")


class Facts(Record, frozen=True, kw_only=True):
    """The machine, the environment, and what the command line says of them.

    `environ` is the launcher's own environment; `started` is UTC as `20240131T235959Z`; `interpreter` and `shell` are
    absolute paths, None where there is none; `cache` and `conda` tell whether those folders are there.
    """

    environ: Mapping[str, str]
    host: str
    started: str
    root: str = "/"
    interpreter: str | None = None
    shell: str | None = None
    store: StoreFacts | None = None
    settings: Settings = Settings()
    cache: bool = False
    conda: bool = False
    termination: str | None = None
    report: str | None = None
