"""Checkpoints in a folder: `checkpoint-<epoch>.npz`, each whole or not there, the newest usable one found by number."""

from __future__ import annotations

import json
import os
import re
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
from network import Network

if TYPE_CHECKING:
    from collections.abc import Mapping

    Settings = Mapping[str, object]
    Arrays = Mapping[str, np.ndarray[Any, Any]]

NAME = re.compile(r"checkpoint-(\d+)\.npz")


def save(folder: str, epoch: int, network: Network, settings: Settings) -> None:
    """Keep a network and the speed of its weights after an epoch."""
    arrays = {f"weights.{name}": values for name, values in network.weights.items()}
    arrays.update({f"speed.{name}": values for name, values in network.speed.items()})
    write(os.path.join(folder, f"checkpoint-{epoch}.npz"), arrays, settings)


def write(path: str, arrays: Arrays, settings: Settings) -> None:
    """Write arrays and the settings that made them: under a temporary name first, so that nobody sees half of it."""
    half = path + ".part"
    everything: dict[str, Any] = {**arrays, "settings": np.array(json.dumps(settings, sort_keys=True))}
    with open(half, "wb") as out:
        np.savez(out, **everything)
        out.flush()
        os.fsync(out.fileno())
    os.replace(half, path)


def newest(folder: str, settings: Settings) -> tuple[int, Network] | None:
    """Load the newest checkpoint of these settings; what is damaged or of other settings is passed over."""
    found = (NAME.fullmatch(name) for name in os.listdir(folder))
    # by number, not by name: as text, checkpoint-9 would be newer than checkpoint-10
    for epoch in sorted((int(match[1]) for match in found if match), reverse=True):
        path = os.path.join(folder, f"checkpoint-{epoch}.npz")
        try:
            made_with, network = _load(path)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            print(f"passed over checkpoint-{epoch}.npz: it is not whole")
            continue
        if made_with == settings:
            return epoch, network
        print(f"passed over checkpoint-{epoch}.npz: it was made with {json.dumps(made_with)}")
    return None


def _load(path: str) -> tuple[Settings, Network]:
    with np.load(path) as stored:
        weights, speed = (
            {name: stored[f"{kind}.{name}"] for name in ("w1", "b1", "w2", "b2")} for kind in ("weights", "speed")
        )
        return json.loads(str(stored["settings"])), Network(weights, speed)
