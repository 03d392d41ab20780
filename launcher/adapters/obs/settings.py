"""Where the store is, how it is spoken to, and the keys to it."""

from __future__ import annotations

import re
from typing import Literal

import msgspec


class Credentials(msgspec.Struct, frozen=True, kw_only=True):
    """Keys, and the token that temporary ones carry. They do not show when printed."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(…)"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the store is and how it is spoken to; None and the empty string mean: as the endpoint suggests.

    `authorities` are certificates (PEM) to trust beside the system's. `encryption` is AES256, aws:kms or aws:kms:KEY.
    `proxy` is what the environment puts between, for errors only: obstore reads those variables itself.
    """

    endpoint: str
    region: str = ""
    addressing: Literal["path", "virtual"] | None = None
    verify_ssl: bool = True
    authorities: bytes = b""
    encryption: str = ""
    proxy: str = ""

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
