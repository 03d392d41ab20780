"""A boot file: train on the handwritten digits with DistributedDataParallel, as many processes as there are.

Every process takes its equal share of each batch, so that the mean gradient, and with it every number that is printed,
is that of one process which takes the whole batch. Each leaves `rank-<r>.json` in the output: what it was and saw.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sys
import time

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

BATCH = 48  # is shared by 1, 2, 3 and 4
PIXELS = 64


def main() -> int:
    began = time.time()
    options = parse_options()
    meet(options)
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    print(f"rank={rank} world={world} host={socket.gethostname()}", flush=True)
    saved = os.path.join(options.train_url, f"rank-{rank}.json")
    if options.saves:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(save(saved, {"stopped": True})))

    losses = train(options, rank, world)
    found = {"rank": rank, "world": world, "host": socket.gethostname(), "began": began, "losses": losses}
    save(saved, found)
    if dist.is_initialized():
        dist.destroy_process_group()
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data_url", required=True)
    parser.add_argument("--train_url", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--fails_on", default="", help="the host whose process ends with 3 after the first epoch")
    parser.add_argument("--saves", type=int, default=0, help="1: leave a file at SIGTERM")
    parser.add_argument("--init_method", help="the platform's, as the two below it")
    parser.add_argument("--rank", type=int)
    parser.add_argument("--world_size", type=int)
    return parser.parse_args()


def meet(options: argparse.Namespace) -> None:
    """Join the others, in whichever way the platform tells of them; alone where it tells of nobody."""
    if options.init_method:
        dist.init_process_group(
            "gloo", init_method=options.init_method, rank=options.rank, world_size=options.world_size
        )
    elif "WORLD_SIZE" in os.environ:
        dist.init_process_group("gloo")


def train(options: argparse.Namespace, rank: int, world: int) -> list[float]:
    torch.manual_seed(0)
    network: torch.nn.Module = torch.nn.Sequential(
        torch.nn.Linear(PIXELS, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    ).double()
    if world > 1:
        network = DistributedDataParallel(network)
    steps = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    table = np.loadtxt(os.path.join(options.data_url, "train.csv"), delimiter=",", skiprows=1)
    images, digits = torch.from_numpy(table[:, :PIXELS] / 16.0), torch.from_numpy(table[:, PIXELS]).long()
    losses = []
    for epoch in range(1, options.epochs + 1):
        order = torch.from_numpy(np.random.default_rng([0, epoch]).permutation(len(digits)))
        total = torch.zeros(1, dtype=torch.float64)
        batches = order[: len(order) // BATCH * BATCH].reshape(-1, BATCH)
        for batch in batches:
            share = batch.reshape(world, -1)[rank]
            loss = torch.nn.functional.cross_entropy(network(images[share]), digits[share])
            steps.zero_grad()
            loss.backward()
            steps.step()
            total += loss.detach() / (len(batches) * world)
        if world > 1:
            dist.all_reduce(total)
        losses.append(float(total))
        print(f"epoch={epoch} loss={losses[-1]:.6f}", flush=True)
        if options.fails_on == socket.gethostname():
            os._exit(3)  # at once: while Python ends, the others would fail before it has
    return losses


def save(path: str, found: dict[str, object]) -> int:
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(found, file)
    os.replace(path + ".part", path)
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # torch 2.13 aborts or crashes now and then while Python ends, after gloo was used and let go: so did 1 of 56
    # processes that were started by hand, without any launcher
    os._exit(code)
