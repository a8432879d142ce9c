"""Runs as processes of their own, forked from one that has its imports behind it."""

import multiprocessing
import os
import sys

import pytest

from mnist_lab import command, train

os.environ["OMP_NUM_THREADS"] = "1"  # before the server starts, whose children inherit it


KNOWN_GAPS = {
    "many classes": "metrics of so many classes are allocated with the model",
    "many channels": "the example input of so many channels is allocated with the model",
    "bytearray": "the unpickler makes a bytearray of any length",
    "two directories": "an archive with two directories is measured by one and read by the other",
    "broad laughs": "settings that refer to themselves many times over are walked through",
    "laughing class": "settings that refer to themselves many times over are walked through",
    "many layers": "a model of very many tiny layers takes long to build",
    "init_from-a": "a NUL in a path is told by Python, not by us",
    "refused_quickly[deep]": "a deeply nested text takes the YAML reader seconds",
    "refused_quickly[deep and never closed]": "a deeply nested text takes the YAML reader seconds",
    "test_changed_configurations": "a setting of another type can reach a constructor",
}


def pytest_collection_modifyitems(items) -> None:
    """What is refused only with more memory, time or words than promised, until it is mended."""
    for item in items:
        for name, reason in KNOWN_GAPS.items():
            if name in item.nodeid:
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False))


@pytest.fixture
def start(monkeypatch, tmp_path):
    """`start(*arguments)`: a process that runs `python -m mnist_lab.train` in an empty folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mnist_lab.run", "mnist_lab.train"])
    monkeypatch.chdir(tmp_path)
    started = []

    def call(*arguments):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["train", *arguments, "hydra.job.name=train"])
            process = context.Process(target=command.run, args=(train.main,))
            process.start()
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.join()
