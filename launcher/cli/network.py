"""What stands between this node and its store: certificates of authorities, proxies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.core.errors import Exit, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MOST_BYTES = 16 * 1024**2


def read_bundle(path: str) -> bytes:
    """The certificates of LAUNCHER_CA_BUNDLE. Raises PlanError where there are none."""
    wanted = f"LAUNCHER_CA_BUNDLE={path}: expected a file of certificates (PEM)"
    action = "Correct or unset LAUNCHER_CA_BUNDLE."
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no path"
        raise PlanError(f"{wanted}: {why}", code="ca-bundle", action=action, exit_code=Exit.MISSING) from error
    if len(content) > _MOST_BYTES or not _are_certificates(content):
        raise PlanError(f"{wanted}, found no such", code="ca-bundle", action=action, exit_code=Exit.USAGE)
    return content


def _are_certificates(content: bytes) -> bool:
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=content.decode("utf-8", "replace"))
    except (ssl.SSLError, ValueError):
        return False
    return context.cert_store_stats()["x509"] > 0


def proxy_for(endpoint: str, environ: Mapping[str, str]) -> str:
    """The proxy that the environment puts before an endpoint, for errors to name; the engines find it themselves."""
    scheme, _, rest = endpoint.partition("://")
    given = {name.lower(): value for name, value in environ.items() if name.lower().endswith("_proxy") and value}
    proxy = given.get(f"{scheme}_proxy") or given.get("all_proxy") or ""
    host = rest.partition("/")[0].rpartition(":")[0] or rest.partition("/")[0]
    return "" if not proxy or _spared(host.strip("[]").lower(), given.get("no_proxy", "")) else proxy


def _spared(host: str, spared: str) -> bool:
    """Whether NO_PROXY names a host: itself, a domain above it, a network of addresses, or `*` for all."""
    for name in filter(None, (part.strip().lower() for part in spared.split(","))):
        if name == "*" or host == name.lstrip(".") or host.endswith("." + name.lstrip(".")):
            return True
        if "/" in name and _is_in(host, name):
            return True
    return False


def _is_in(host: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False
