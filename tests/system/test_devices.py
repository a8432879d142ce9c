"""Cores and GPUs shared out among processes; of GPUs the locks alone, which need none."""

import multiprocessing
import os
import queue
import tempfile
import time

import pytest

from mnist_lab.system import devices


def holding(names, places):
    with devices.unused(names) as place:
        places.put(place)
        time.sleep(300)


def test_jobs_of_all_sweeps_on_a_machine_take_different_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    context = multiprocessing.get_context("fork")
    places = context.Queue()
    first, second, third = (
        context.Process(target=holding, args=(["GPU-a", "GPU-b"], places)) for _ in range(3)
    )
    try:
        first.start()
        assert places.get(timeout=60) == 0
        second.start()
        assert places.get(timeout=60) == 1
        third.start()
        with pytest.raises(queue.Empty):
            places.get(timeout=1)
        first.kill()  # as a job that runs out of memory
        assert places.get(timeout=60) == 0
        # Another process that is shown them the other way round, as by CUDA_VISIBLE_DEVICES.
        second.kill()
        second.join()
        with devices.unused(["GPU-b", "GPU-a"]) as place:
            assert place == 0
    finally:
        for process in (first, second, third):
            if process.pid is not None:
                process.kill()
                process.join()


@pytest.mark.parametrize(("told", "expected"), [("3", 3), ("4,2", 4), ("", None), ("many", None)])
def test_threads_are_half_the_cores_unless_told(monkeypatch, told, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    cores = len(os.sched_getaffinity(0))
    assert devices.threads() == (expected or max(1, cores // 2))
    assert devices.threads("auto") == devices.threads(1)
    assert devices.threads(2) == (expected or max(1, cores // 4))
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})  # one core, as a cluster may give
        assert devices.threads() == (expected or 1)
    finally:
        os.sched_setaffinity(0, before)
