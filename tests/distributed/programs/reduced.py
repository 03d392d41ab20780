"""A boot file for MindSpore on processors: sum every process's rank over all of them, by MindSpore's own AllReduce."""

import json
import os
import socket
import sys

import mindspore
import numpy as np
from mindspore import communication, ops

output = next(each.partition("=")[2] for each in sys.argv if each.startswith("--train_url="))
mindspore.set_device("CPU")
communication.init()  # the scheduler, which msrun starts from this file too, goes no further
rank, size = communication.get_rank(), communication.get_group_size()
total = ops.AllReduce()(mindspore.Tensor(np.array([rank], dtype=np.float32)))
with open(f"{output}/rank-{rank}.json", "w", encoding="utf-8") as file:
    found = {"rank": rank, "size": size, "sum": float(total.asnumpy()[0]), "host": socket.gethostname()}
    json.dump({**found, "env": dict(os.environ)}, file)
