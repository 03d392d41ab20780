"""A boot file of torchrun's: a real training with DistributedDataParallel in which the data of one rank never come.

Every rank reads its own share by a worker of a data loader. The worker of `--stuck` waits for ever from the second
epoch on, so that its rank waits for a batch, and all others for its gradients.
"""

from __future__ import annotations

import argparse
import signal
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

SIZE = 64


class Numbers:
    def __init__(self, *, sleeps: bool) -> None:
        self.sleeps = sleeps
        self.epoch = 0

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, at: int) -> torch.Tensor:
        while self.sleeps and self.epoch > 1:
            print("no batch will come", flush=True)
            signal.pause()  # here a worker is stuck
        return torch.full((8,), float(at))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--stuck", type=int, required=True)
    options, _ = parser.parse_known_args()
    dist.init_process_group("gloo", timeout=timedelta(hours=1))
    torch.manual_seed(0)
    network = DistributedDataParallel(torch.nn.Linear(8, 1))
    train(network, Numbers(sleeps=dist.get_rank() == options.stuck))


def train(network: torch.nn.Module, numbers: Numbers) -> None:
    steps = torch.optim.SGD(network.parameters(), lr=1e-6)
    for epoch in range(1, 1000):
        numbers.epoch = epoch
        for batch in DataLoader(numbers, batch_size=16, num_workers=1):  # here its rank waits for it
            steps.zero_grad()
            loss = network(batch).mean()
            print(f"rank={dist.get_rank()} epoch={epoch}", flush=True)
            loss.backward()  # here all others wait
            steps.step()


main()
