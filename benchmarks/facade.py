"""An S3 facade for benchmarks: nginx sends files of a folder in memory and answers as an S3 server would, but is none.

    python benchmarks/facade.py FOLDER [--delay 0.02]

It knows listings (v2, 1,000 a page, prefix, delimiter, start-after), GET with ranges and If-Match, HEAD, PUT, multipart
uploads and DELETE, path style. ETags are the true MD5s. It checks no signature, keeps no upload (it receives and counts
them), and sees no file that came after its start. What it answers costs next to nothing, so a client is measured and
not the server: see facade.lua. It listens on four ports of the system's choice: at once or after a delay to the first
byte, each plain and with TLS of an authority of its own. FOLDER holds a folder for each bucket.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HERE = os.path.dirname(os.path.abspath(__file__))
MODULES = "/usr/lib/nginx/modules"
NEEDED = ("ndk_http_module.so", "ngx_http_lua_module.so")
SERVER = """
  server {{
    listen {address}{tls};
    location = /__facade {{ content_by_lua_block {{ facade.account() }} }}
    location / {{
      root {served};
      access_by_lua_block {{ facade.request({delay}) }}
    }}
  }}
"""
# client_body_buffer_size holds the parts of every client here, so that no upload is written anywhere
CONFIGURATION = """
daemon off;
user root;
pid {work}/pid;
error_log stderr crit;
worker_processes {workers};
worker_rlimit_nofile 65536;
load_module {modules}/ndk_http_module.so;
load_module {modules}/ngx_http_lua_module.so;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  etag off;
  if_modified_since off;
  keepalive_timeout 600;
  keepalive_requests 1000000000;
  client_max_body_size 0;
  client_body_buffer_size 64m;
  client_body_temp_path {work}/bodies;
  proxy_temp_path {work}/proxy;
  fastcgi_temp_path {work}/fastcgi;
  uwsgi_temp_path {work}/uwsgi;
  scgi_temp_path {work}/scgi;
  ssl_certificate {work}/server.pem;
  ssl_certificate_key {work}/server.key;
  ssl_protocols TLSv1.2 TLSv1.3;
  ssl_session_cache shared:tls:8m;
  lua_package_path "{here}/?.lua;;";
  lua_shared_dict put 128m;
  init_by_lua_block {{ facade = require "facade"; facade.load("{work}/index") }}
{servers}
}}
"""
# an authority and a server of it: some clients take no certificate that signs itself
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30")
AUTHORITY = ("-subj", "/CN=benchmark authority", "-addext", "keyUsage=critical,keyCertSign")
OF_SERVER = ("-subj", "/CN=benchmark facade", "-addext", "subjectAltName=IP:127.0.0.1")
NO_AUTHORITY = ("-addext", "basicConstraints=critical,CA:FALSE")


class Facade(NamedTuple):
    """Where it listens, and the certificate of its authority."""

    plain: str
    tls: str
    slow: str
    slow_tls: str
    authority: str

    def uploads(self, below: str) -> tuple[int, int]:
        """Count what was uploaded below bucket/prefix: objects and bytes."""
        with urllib.request.urlopen(f"{self.plain}/__facade") as lines:
            sizes = [int(line.split(b" ", 1)[0]) for line in lines if line.split(b" ", 1)[1].startswith(below.encode())]
        return len(sizes), sum(sizes)

    def forget(self) -> None:
        """Count uploads from nought again."""
        urllib.request.urlopen(urllib.request.Request(f"{self.plain}/__facade", method="DELETE")).close()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a folder of buckets as if by S3, until interrupted.")
    parser.add_argument("folder")
    parser.add_argument("--delay", type=float, default=0.02, help="seconds to the first byte of the slow addresses")
    options = parser.parse_args()
    stop_if_missing()
    with serving(options.folder, options.delay) as facade:
        for name, value in facade._asdict().items():
            print(f"{name:9} {value}", flush=True)
        try:
            sys.stdin.read()
        except KeyboardInterrupt:
            return


def stop_if_missing() -> None:
    """End the program with one line that says what to install, unless all is there."""
    modules = all(os.path.exists(f"{MODULES}/{name}") for name in NEEDED)
    if not (nginx() and modules and shutil.which("openssl")):
        packages = "nginx-light libnginx-mod-http-lua openssl"
        sys.exit(f"error: the S3 facade is not there: apt-get install --no-install-recommends {packages}")


def nginx() -> str:
    return shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") or ""


@contextmanager
def serving(served: str, delay: float = 0.02) -> Iterator[Facade]:
    """Serve the buckets of a folder, for as long as the block runs."""
    with ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="facade-", dir=memory()))
        index(served, f"{work}/index")
        certify(work)
        ports = [stack.enter_context(listening()) for _ in range(4)]
        names = [f"127.0.0.1:{port.getsockname()[1]}" for port in ports]
        configure(work, os.path.abspath(served), names, delay)
        plain, tls, slow, slow_tls = (f"http{'s' * (number % 2)}://{name}" for number, name in enumerate(names))
        server = subprocess.Popen(
            (nginx(), "-c", f"{work}/nginx.conf", "-p", work, "-e", "stderr"),
            # nginx takes over sockets named there, as it does when it is upgraded: so no other program can get the port
            env={"PATH": "/usr/bin:/bin", "NGINX": "".join(f"{port.fileno()};" for port in ports)},
            pass_fds=[port.fileno() for port in ports],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        stack.enter_context(server)
        stack.callback(server.terminate)
        facade = Facade(plain, tls, slow, slow_tls, f"{work}/authority.pem")
        wait_for(server, facade)
        yield facade


def memory() -> str | None:
    """A folder in memory, so that no disk is measured."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def listening() -> socket.socket:
    port = socket.socket()
    port.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    port.bind(("127.0.0.1", 0))
    port.listen(4096)
    port.setblocking(False)  # nginx takes it as it is, and its workers would wait for each other in accept
    return port


def index(served: str, path: str) -> None:
    """Write MD5, size and bucket/key of each object."""
    with open(path, "w") as out:
        for at, _, names in os.walk(served):
            for name in names:
                whole = os.path.join(at, name)
                with open(whole, "rb") as content:
                    summed = hashlib.md5()
                    while piece := content.read(1 << 20):
                        summed.update(piece)
                out.write(f"{summed.hexdigest()} {os.path.getsize(whole)} {os.path.relpath(whole, served)}\n")


def certify(work: str) -> None:
    def request(name: str, *more: str) -> None:
        argv = ("openssl", "req", "-x509", *KEY, "-keyout", f"{work}/{name}.key", "-out", f"{work}/{name}.pem", *more)
        subprocess.run(argv, check=True, capture_output=True)

    request("authority", *AUTHORITY)
    signed = ("-CA", f"{work}/authority.pem", "-CAkey", f"{work}/authority.key")
    request("server", *OF_SERVER, *NO_AUTHORITY, *signed)


def configure(work: str, served: str, names: Sequence[str], delay: float) -> None:
    servers = (
        SERVER.format(address=name, served=served, tls=" ssl" * (number % 2), delay=delay if number > 1 else 0)
        for number, name in enumerate(names)
    )
    whole = CONFIGURATION.format(
        work=work, here=HERE, modules=MODULES, workers=os.cpu_count() or 1, servers="".join(servers)
    )
    with open(f"{work}/nginx.conf", "w") as out:
        out.write(whole)


def wait_for(server: subprocess.Popen[bytes], facade: Facade) -> None:
    """Return once it answers; its sockets take connections before it runs, so one request waits for it."""
    try:
        urllib.request.urlopen(f"{facade.plain}/__facade", timeout=30).close()
    except OSError as error:
        server.terminate()
        said = server.stderr.read().decode(errors="replace") if server.stderr else ""
        sys.exit(f"error: nginx did not start: {said or error}")


if __name__ == "__main__":
    main()
