"""Where things live in a training container, and how `--root` moves all of it (contract: filesystem layout)."""

from __future__ import annotations

import posixpath
from itertools import pairwise

from launcher.core.frozen import Record


class Layout(Record, frozen=True, kw_only=True):
    """The container's folders as absolute paths of this machine."""

    root: str = "/"

    def at(self, path: str) -> str:
        """A path of the container, below the root."""
        return posixpath.normpath(posixpath.join(self.root, path.lstrip("/")))

    @property
    def home(self) -> str:
        """MA_HOME."""
        return self.at("/home/ma-user")

    @property
    def mount(self) -> str:
        """MA_MOUNT_PATH: algorithm, inputs, outputs and logs lie below it."""
        return self.at("/home/ma-user/modelarts")

    @property
    def job_dir(self) -> str:
        """MA_JOB_DIR: the parent of the code folder."""
        return self.at("/home/ma-user/modelarts/user-job-dir")

    @property
    def log_dir(self) -> str:
        """MA_LOG_DIR."""
        return self.at("/home/ma-user/modelarts/log")

    @property
    def roll(self) -> str:
        """The roll of a launcher's processes, which outlives one that is killed."""
        return f"{self.log_dir}/.launcher-processes.json"

    @property
    def packages(self) -> str:
        """Where a pip file is installed when the interpreter's own folder cannot be written."""
        return self.at("/home/ma-user/modelarts/python-packages")

    @property
    def cache(self) -> str:
        """The node's fast scratch space."""
        return self.at("/cache")

    @property
    def conda(self) -> str:
        """The preset images' own Python."""
        return self.at("/home/ma-user/anaconda")

    def input(self, name: str, index: int, local_dir: str | None) -> str:
        """The folder of an input channel; `index` is its position among the inputs."""
        return self.at(local_dir) if local_dir else f"{self.mount}/inputs/{name}_{index}"

    def output(self, name: str, index: int, local_dir: str | None) -> str:
        """The folder of an output channel; `index` is its position among the outputs."""
        return self.at(local_dir) if local_dir else f"{self.mount}/outputs/{name}_{index}"

    def code(self, name: str, local_code_dir: str | None) -> str:
        """The code folder: the code directory's last component below MA_JOB_DIR or what stands for it."""
        parent = self.at(local_code_dir) if local_code_dir else self.job_dir
        return f"{parent}/{name}"


def nested(folders: dict[str, str]) -> tuple[str, str] | None:
    """Two named folders of which one is, or lies in, the other; None when all are apart."""
    ordered = sorted((path.rstrip("/") + "/", name) for name, path in folders.items())
    for (outer, outer_name), (inner, inner_name) in pairwise(ordered):
        if inner.startswith(outer):
            return outer_name, inner_name
    return None
