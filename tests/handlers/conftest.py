import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from medframe.engines import TrainStep


@pytest.fixture(autouse=True)
def _one_thread():
    """Tiny tensors gain nothing from threads, and one thread gives the same bits everywhere."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class TinyNet(torch.nn.Module):
    """Weights, buffers and chance."""

    def __init__(self, width=3, dropout=0.2):
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv3d(1, width, 3, padding=1), torch.nn.BatchNorm3d(width), torch.nn.Dropout(dropout)
        )
        self.head = torch.nn.Conv3d(width, 2, 1)

    def forward(self, x):
        return self.head(torch.relu(self.body(x)))


class Stream:
    """Batches of two without an end, from sample `start` on; sample i is a function of i."""

    def __init__(self, start=0):
        self.start = start

    def __iter__(self):
        k = self.start // 2
        while True:
            generator = torch.Generator().manual_seed(k)
            images = torch.randn(2, 1, 8, 8, 8, generator=generator)
            labels = torch.randint(0, 2, (2, 8, 8, 8), generator=generator)
            yield {"image": images, "label": labels, "case": [f"case-{2 * k}", f"case-{2 * k + 1}"]}
            k += 1


@pytest.fixture
def stream():
    return Stream


@pytest.fixture
def make_step():
    """A function that makes the same training step every time; arguments go to TrainStep."""

    def make(width=3, rate=0.05, **settings):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            net = TinyNet(width)
        return TrainStep(net, torch.nn.CrossEntropyLoss(), torch.optim.AdamW(net.parameters(), rate), **settings)

    return make


class ChildServer:
    """Children that are cheap to start; see child_server.py."""

    def __init__(self):
        root = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).with_name("child_server.py"))]
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, call, **args):
        self.process.stdin.write(json.dumps({"call": call, "args": args}) + "\n")
        self.process.stdin.flush()
        word, pid = self.process.stdout.readline().split()
        assert word == "pid"
        self.child = int(pid)
        return self.child

    def wait(self, seconds=60):
        """The exit code of the child; one that hangs is killed, which fails the test."""
        killer = threading.Timer(seconds, lambda: os.killpg(self.child, signal.SIGKILL))
        killer.start()
        word, code = self.process.stdout.readline().split()
        killer.cancel()
        assert word == "exit"
        return int(code)

    def close(self):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture(scope="session")
def children():
    server = ChildServer()
    yield server
    server.close()
