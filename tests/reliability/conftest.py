"""Runs as processes of their own, forked from one that has its imports behind it."""

import multiprocessing
import os
import sys

import pytest

from mnist_lab import command, train

os.environ["OMP_NUM_THREADS"] = "1"  # before the server starts, whose children inherit it


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
