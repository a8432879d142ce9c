"""Runs that several commands are tried on, each trained once."""

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mnist_lab.data import DataModule, Digits
from mnist_lab.settings.conf import CONF
from tests.commands.runs import fitted, install_built
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """A folder with nothing but the unpacked wheel, as an installer leaves it."""
    site = tmp_path_factory.mktemp("wheel") / "site"
    install_built(ROOT, site)
    return site


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A run's folder: LeNet on the bundled digits."""
    data = DataModule(Digits(), val_size=200)
    return fitted(data, tmp_path_factory.mktemp("trained") / "run", epochs=4)


@pytest.fixture(scope="session")
def other(tmp_path_factory):
    """Another, worse one, which has another split."""
    data = DataModule(Digits(), val_size=0.25, train_size=300, split_seed=3)
    return fitted(data, tmp_path_factory.mktemp("other") / "run", epochs=1)


@pytest.fixture(scope="session")
def mnist(mnist_root, tmp_path_factory):
    """A run on some of MNIST, and its data."""
    source = instantiate(OmegaConf.load(f"{CONF}/data/mnist.yaml").source, _convert_="all")
    data = DataModule(source, root=str(mnist_root), train_size=6000)
    return fitted(data, tmp_path_factory.mktemp("mnist") / "run", epochs=2), data


@pytest.fixture(scope="session")
def images():
    """The test images of the bundled digits, `(360, 28, 28)`."""
    return Digits().read(None, "test")[0].squeeze(1).numpy()
