"""What tests share: MNIST where it can be had, a small dataset without it, threads."""

import os
from pathlib import Path

import pytest
import torch

from mnist_lab.data import DataModule, Digits

ROOT = Path(__file__).resolve().parent.parent


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
