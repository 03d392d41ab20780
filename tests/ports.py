"""Ports for those who must know theirs before they listen."""

from __future__ import annotations

import errno
import random
import socket

HIGHEST = 32_000
"""Below what the kernel gives to those who call: no call of another test takes it meanwhile."""
_chance = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """A port of this address at which nobody listens. Raises OSError where this machine has no such address."""
    while True:
        port = _chance.randrange(12_000, HIGHEST)
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as found:
            try:
                found.bind((host, port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        return port
