"""Commands called as their users call them, in this process to save its imports."""

import logging
import os
import sys
from typing import NamedTuple

import pytest

from mnist_lab import config, train


class Called(NamedTuple):
    status: int | None
    out: str
    err: str


@pytest.fixture
def lab_train(tmp_path, monkeypatch, capsys):
    """`python -m mnist_lab.train ARGUMENTS` in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    handlers = logging.root.handlers[:]

    def call(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["train", *arguments, "hydra.job.name=train"])
        status: int | None = 0
        try:
            config.run_command(train.main)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            print(stop.code if isinstance(stop.code, str) else "", file=sys.stderr)
        return Called(status, *capsys.readouterr())

    yield call
    logging.root.handlers = handlers
    assert "HYDRA_FULL_ERROR" not in os.environ
