"""`python -m benchmarks.threads`: an epoch of each model by threads, beside busy processes.

A busy process keeps a core for itself for as long as it gets it. All numbers of threads take turns;
what is told is the median of the turns, in seconds.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # as the commands set it, before torch is loaded

import logging
import warnings

import torch

from benchmarks.harness import machine
from benchmarks.sides import Ours
from mnist_lab.training.trainer import quieten

MODELS = {  # with as many images as take a second or two
    "mlp": ("model=mlp", "data.train_size=20000"),
    "small mlp": ("model=mlp", "model.hidden=[128,64]", "data.train_size=40000"),
    "lenet": ("model=lenet", "data.train_size=10000"),
    "lenet, batch 512": ("model=lenet", "data.train_size=20000", "data.batch_size=512"),
    "speed_cnn": ("model=speed_cnn", "data.train_size=20000", "data.batch_size=256"),
    "bn_cnn": ("model=bn_cnn", "data.train_size=6000"),
    "kaggle_cnn": ("model=kaggle_cnn", "data.train_size=2000"),
    "compact": ("model=compact", "data.train_size=2000"),
}


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """Processes that use all that they are given."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    cores = len(os.sched_getaffinity(0))
    several = [n for n in (1, 2, 4, 8, 16) if n <= cores]
    parser.add_argument("--threads", type=int, nargs="+", default=several)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--turns", type=int, default=3)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    quieten()
    logging.disable(logging.INFO)
    print(machine("cpu"))
    heads = [f"{n} beside {b}" for b in given.busy for n in given.threads]
    print("| model |", " | ".join(heads), "|\n|---|" + "---:|" * len(heads), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name in given.models:
            epoch = Ours(Path(scratch) / "run", *MODELS[name], "trainer.accelerator=cpu")
            epoch()
            cells = []
            for others in given.busy:
                taken: dict[int, list[float]] = {n: [] for n in given.threads}
                with busy(others):
                    for _ in range(given.turns):
                        for count, seconds in taken.items():
                            torch.set_num_threads(count)
                            seconds.append(epoch())
                cells += [f"{statistics.median(seconds):.2f}" for seconds in taken.values()]
            print(f"| {name} |", " | ".join(cells), "|", flush=True)


if __name__ == "__main__":
    main()
