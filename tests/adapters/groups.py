"""Made control groups: the files that the kernel would show, below a folder of a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

from launcher.adapters.cgroup import Cgroup

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from launcher.core.record import Memory


class Tree:
    """A made /proc/self and a made /sys/fs/cgroup below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sys = folder / "sys/fs/cgroup"
        self.groups = folder / "cgroup"
        self.mounts = folder / "mountinfo"
        self._lines = ["22 27 0:21 / /proc rw,relatime - proc proc rw"]
        self.mounts.write_text(self._lines[0] + "\n")

    def member(self, *lines: str) -> Tree:
        """The groups that this process is in."""
        self.groups.write_text("".join(f"{line}\n" for line in lines))
        return self

    def mount(self, kind: str, options: str, point: str = "", *, root: str = "/", tags: str = "") -> Tree:
        """One more mounted hierarchy."""
        at = str(self.sys / point).replace("\\", r"\134").replace(" ", r"\040")
        self._lines.append(f"35 31 0:32 {root} {at} rw,relatime{tags} - {kind} {kind} {options}")
        self.mounts.write_text("\n".join(self._lines) + "\n")
        return self

    def group(self, name: str, files: Mapping[str, str]) -> Path:
        """A group with its files."""
        folder = self.sys / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    def meter(self) -> Cgroup:
        """What reads them; the machine's memory is unknown until `machine` was called."""
        return Cgroup(str(self.groups), str(self.mounts), str(self.folder / "meminfo"))

    def machine(self, memory: int) -> Tree:
        """A machine with so much memory."""
        text = f"MemFree:  1 kB\nMemTotal:       {memory // 1024} kB\nHugePages_Total: 0\n"
        (self.folder / "meminfo").write_text(text)
        return self

    def memory(self) -> Memory | None:
        """Its counters."""
        return self.meter().memory()
