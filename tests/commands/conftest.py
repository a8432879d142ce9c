"""Runs that several commands are tried on, each trained once."""

import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mnist_lab.data import DataModule, Digits
from mnist_lab.settings.conf import CONF
from tests.commands.runs import fitted, install_built
from tests.conftest import ROOT


@pytest.fixture(scope="session")
def installed(made_once):
    """A folder with nothing but the unpacked wheel, as an installer leaves it."""
    return made_once("wheel", lambda folder: install_built(ROOT, folder / "site")) / "site"


@pytest.fixture(scope="session")
def trained(made_once):
    """A run's folder: LeNet on the bundled digits."""
    data = DataModule(Digits(), val_size=200)
    return made_once("trained", lambda folder: fitted(data, folder, epochs=4))


@pytest.fixture(scope="session")
def other(made_once):
    """Another, worse one, which has another split."""
    data = DataModule(Digits(), val_size=0.25, train_size=300, split_seed=3)
    return made_once("other", lambda folder: fitted(data, folder, epochs=1))


@pytest.fixture(scope="session")
def mnist(mnist_root, made_once):
    """A run on some of MNIST, and its data."""
    source = instantiate(OmegaConf.load(f"{CONF}/data/mnist.yaml").source, _convert_="all")
    data = DataModule(source, root=str(mnist_root), train_size=6000)
    folder = made_once("mnist", lambda folder: fitted(data, folder, epochs=2))
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    return folder, data


@pytest.fixture(scope="session")
def images():
    """The test images of the bundled digits, `(360, 28, 28)`."""
    return Digits().read(None, "test")[0].squeeze(1).numpy()
