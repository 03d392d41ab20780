"""Engines that know of no other process: the boot file under its interpreter, and the custom image's own command."""

from __future__ import annotations

from launcher.core.engines.start import Engaged, Launch, Start, boot


def python(start: Start) -> Engaged:
    """The boot file under its interpreter."""
    return Engaged(launches=(Launch(argv=(start.interpreter, *boot(start))),))


def command(start: Start) -> Engaged:
    """The custom image's own shell text: nothing is appended to it."""
    return Engaged(launches=(Launch(argv=(start.shell, "-c", start.algorithm.command or "")),))
