"""What is known of this machine before anything is decided: gathered once by `launcher.cli`, never asked again."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.core.devices import ONE_CPU, Devices
from launcher.core.frozen import Record
from launcher.core.ranktable import RankTable
from launcher.core.settings import Settings
from launcher.core.topology import Topology


class StoreFacts(Record, frozen=True, kw_only=True):
    """The object store that a boot file may speak to itself; a local directory has no endpoint."""

    endpoint: str
    verify_ssl: bool = True

    @property
    def https(self) -> bool:
        """Whether the endpoint is spoken to by TLS."""
        return self.endpoint.startswith("https://")


class Network(Record, frozen=True, kw_only=True):
    """How this node reaches worker-0: its own address on that way, the interface, and all interfaces that there are."""

    address: str
    interface: str | None = None
    interfaces: tuple[str, ...] = ()


class Facts(Record, frozen=True, kw_only=True):
    """The machine, the environment, and what the command line says of them.

    `environ` is the launcher's own environment; `started` is UTC as `20240131T235959Z`; `interpreter` and `shell` are
    absolute paths, None where there is none; `cache` and `conda` tell whether those folders are there. `network` is
    None for a job of one node, and in a preview where worker-0's name does not resolve; `rank_table` is None where no
    engine wants one, and in a preview where it is not completed. `precheck` and `platform_args` are the command line's
    (`--precheck`, `--no-platform-args`), `precheck` None where it says nothing. `preview`: the plan is only shown, so
    that what nobody but a cluster can tell is `pending` in it instead of an error. `rehearsal`: this machine plays a
    cluster's nodes. `unmounted` are folders of the job's volumes that are not there. `resume` is `--resume-from`.
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
    devices: Devices = ONE_CPU
    topology: Topology = Topology()
    network: Network | None = None
    rank_table: RankTable | None = None
    precheck: bool | None = None
    platform_args: bool = True
    preview: bool = False
    rehearsal: bool = False
    unmounted: tuple[str, ...] = ()
    resume: str | None = None
