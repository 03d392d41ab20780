"""What stands between a launcher and its store: TLS under an authority that nobody knows, a proxy, silence."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OBJECT = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: "e"\r\nConnection: close\r\n\r\n'


@contextlib.contextmanager
def served(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """Answer each connection to a port on a thread of its own, until the block ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threads: list[threading.Thread] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=run, args=(connection,)))
                threads[-1].start()

        def run(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for one in threads:
                one.join()


@contextlib.contextmanager
def tls_server(certificate: str) -> Iterator[str]:
    """Answers every TLS connection with one object of seven bytes."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            asked = secure.recv(65536)
            secure.sendall(OBJECT + b"content" * asked.startswith(b"GET"))

    with served(answer) as port:
        yield f"https://127.0.0.1:{port}"


def certificate(folder: Path, name: str = "server") -> tuple[str, str]:
    """A certificate that signs itself, for 127.0.0.1: the file with its key, and one without."""
    from cryptography import x509  # noqa: PLC0415 - for these tests
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.timezone.utc)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .sign(key, hashes.SHA256())
    )
    public = built.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    whole, alone = folder / f"{name}.pem", folder / f"{name}-public.pem"
    whole.write_bytes(secret + public)
    alone.write_bytes(public)
    return str(whole), str(alone)


@dataclass
class Proxy:
    """A proxy: `asked` are the first lines of the requests that came by."""

    endpoint: str = ""
    refuse: bool = False
    asked: list[str] = field(default_factory=list)


@contextlib.contextmanager
def proxy() -> Iterator[Proxy]:
    """Pass requests on as they name their aim, and open tunnels (CONNECT)."""
    told = Proxy()

    def answer(connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (more := connection.recv(65536)):
                return
            head += more
        first, _, rest = head.partition(b"\r\n")
        verb, aim, _ = first.decode().split(" ")
        told.asked.append(first.decode())
        if told.refuse:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        place = aim if verb == "CONNECT" else aim.removeprefix("http://").partition("/")[0]
        host, _, port = place.partition(":")
        with socket.create_connection((host, int(port)), timeout=30) as upstream:
            if verb == "CONNECT":
                connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _tunnel(connection, upstream)
                return
            path = "/" + aim.removeprefix("http://").partition("/")[2]
            upstream.sendall(f"{verb} {path} HTTP/1.1\r\nConnection: close\r\n".encode() + rest)
            _pump(upstream, connection)

    with served(answer) as port:
        told.endpoint = f"http://127.0.0.1:{port}"
        yield told


def _tunnel(one: socket.socket, other: socket.socket) -> None:
    thread = threading.Thread(target=_pump, args=(one, other))
    thread.start()
    _pump(other, one)
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    thread.join()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while content := source.recv(65536):
            target.sendall(content)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)
