"""Train a small network on handwritten digits: reads --data_url, writes checkpoints and the model to --train_url.

The same settings give the same numbers: each epoch draws from a seed of its own, so a run that was interrupted and
resumed ends exactly where an uninterrupted one does.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from typing import TYPE_CHECKING

import checkpoints
import numpy as np
from network import PIXELS, Network

if TYPE_CHECKING:
    from types import FrameType

    from network import Floats, Ints

    Examples = tuple[Floats, Ints]

BATCH = 32
stop_signals: list[int] = []


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, note_stop)
    options = parse_options()
    examples, test = (load(os.path.join(options.data_url, name)) for name in ("train.csv", "test.csv"))
    print(f"{len(examples[1])} images to learn from, {len(test[1])} to be tested on", flush=True)

    os.makedirs(options.train_url, exist_ok=True)
    settings = {"lr": options.lr, "hidden": options.hidden, "seed": options.seed}
    done, network = checkpoints.newest(options.train_url, settings) or (0, Network.fresh(options.hidden, options.seed))
    if done:
        print(f"resumed from checkpoint-{done}.npz: accuracy={accuracy(network, test):.4f}", flush=True)

    for epoch in range(done + 1, options.epochs + 1):
        loss = train_epoch(network, examples, options, epoch)
        last = bool(stop_signals) or epoch == options.epochs
        if options.verbose or last:
            print(f"epoch={epoch} loss={loss:.4f} accuracy={accuracy(network, test):.4f}", flush=True)
        if last or epoch % options.checkpoint_every == 0:
            checkpoints.save(options.train_url, epoch, network, settings)
        if stop_signals:
            print(f"stopped by signal {stop_signals[0]}; checkpoint-{epoch}.npz keeps the work", flush=True)
            return 128 + stop_signals[0]

    checkpoints.write(os.path.join(options.train_url, "model.npz"), network.weights, settings)
    print(f"test accuracy={accuracy(network, test):.4f}", flush=True)
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small network on handwritten digits.")
    parser.add_argument("--data_url", required=True, help="folder with train.csv and test.csv")
    parser.add_argument("--train_url", required=True, help="folder for checkpoints and the model")
    parser.add_argument("--lr", type=float, default=0.05, help="learning rate")
    parser.add_argument("--epochs", type=int, default=30, help="times that all images are gone through")
    parser.add_argument("--hidden", type=int, default=64, help="hidden units")
    parser.add_argument("--seed", type=int, default=0, help="where the random draws start")
    parser.add_argument("--checkpoint_every", type=int, default=10, help="epochs between two checkpoints")
    parser.add_argument("--verbose", type=boolean, default=True, help="print every epoch, not only the last")
    return parser.parse_args()


def boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return text.lower() == "true"


def note_stop(number: int, _frame: FrameType | None) -> None:
    stop_signals.append(number)


def load(path: str) -> Examples:
    table = np.loadtxt(path, delimiter=",", skiprows=1, dtype=np.int64)
    return table[:, :PIXELS] / 16.0, table[:, PIXELS]


def train_epoch(network: Network, examples: Examples, options: argparse.Namespace, epoch: int) -> float:
    images, digits = examples
    order = np.random.default_rng([options.seed, epoch]).permutation(len(digits))
    batches = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
    return float(np.mean([network.step(images[batch], digits[batch], options.lr) for batch in batches]))


def accuracy(network: Network, examples: Examples) -> float:
    images, digits = examples
    return float((network.predict(images) == digits).mean())


if __name__ == "__main__":
    sys.exit(main())
