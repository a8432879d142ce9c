"""What tests share: MNIST where it can be had, a small dataset without it, the command."""

import logging
import os
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from mnist_lab import command, train
from mnist_lab.data import DataModule, Digits

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config, items) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


def pytest_configure() -> None:
    torch.set_num_threads(1)  # small tensors, and the same sums on every machine


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A data root that holds verified MNIST files."""
    from mnist_lab.data import DataError

    root = Path(os.environ.get("MNIST_LAB_DATA", ROOT / "data"))
    mirror = os.environ.get("MNIST_LAB_MIRROR")
    if mirror is None and not (root / "mnist").is_dir():
        pytest.skip("no MNIST: set MNIST_LAB_MIRROR to a folder or URL with its .gz files")
    try:
        mnist_source().prepare(root, mirror)
    except DataError as error:
        pytest.skip(f"no MNIST: {error}")
    return root


def mnist_source():
    """The source that `conf/data/mnist.yaml` describes."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    return instantiate(OmegaConf.load(ROOT / "conf/data/mnist.yaml").source, _convert_="all")


@pytest.fixture
def digits() -> DataModule:
    """The bundled digits: 1,237 to train on, 200 for validation, 360 for test."""
    return DataModule(Digits(), val_size=200)


class Called(NamedTuple):
    status: int | None
    out: str
    err: str


@pytest.fixture
def lab_train(tmp_path, monkeypatch, capsys):
    """`python -m mnist_lab.train ARGUMENTS` in an empty folder, within this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    handlers = logging.root.handlers[:]

    def call(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", ["train", *arguments, "hydra.job.name=train"])
        status: int | None = 0
        try:
            command.run(train.main)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            print(stop.code if isinstance(stop.code, str) else "", file=sys.stderr)
        return Called(status, *capsys.readouterr())

    yield call
    logging.root.handlers = handlers
    assert "HYDRA_FULL_ERROR" not in os.environ
