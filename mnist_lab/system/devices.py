"""This machine's processors and GPUs, shared out among the processes of a user.

Imports nothing heavy.
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout


def threads(devices: object = 1) -> int:
    """How many threads a run's process takes, unless it is told: its share of half of the cores.

    Whoever waits for a thread whose core another process has is slower than on one of its own
    (docs/performance.md). It is not by how busy the cores are: of sums in another number of
    threads the last bits differ. `OMP_NUM_THREADS` is the number itself; launchers set it, too.
    """
    told = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if told.isdecimal() and int(told) > 0:
        return int(told)
    able = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(able(0)) if able is not None else os.cpu_count() or 1
    processes = devices if isinstance(devices, int) else 1
    return max(1, cores // 2 // max(1, processes))


@contextlib.contextmanager
def own_gpu(accelerator: str, devices: object) -> Iterator[int | None]:
    """Wait for a GPU that no other job is using, of whatever sweep; its number.

    None where there are not several, or where a job is to have something else than one of them.
    """
    import torch

    count = torch.cuda.device_count()
    if count < 2 or devices != 1 or accelerator not in ("auto", "gpu", "cuda"):
        yield None
        return
    # Not by their numbers, which differ between processes with other CUDA_VISIBLE_DEVICES.
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    with unused(names) as number:
        yield number


@contextlib.contextmanager
def unused(names: Sequence[str]) -> Iterator[int]:
    """Wait for one of this machine's devices that no other process of this user's has; its place.

    Whoever has one holds a lock on a file named after it, in the folder for temporary files.
    """
    folder = Path(tempfile.gettempdir())
    while True:
        for number, name in enumerate(names):
            lock = FileLock(folder / f"mnist_lab-{os.getuid()}-{name}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            try:
                yield number
            finally:
                lock.release()
            return
        time.sleep(0.2)
