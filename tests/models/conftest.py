"""A checkpoint that tests of them share."""

from pathlib import Path

import pytest

from mnist_lab.models import MLP
from tests.models.checkpoints import save


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save(MLP(hidden=[8]), tmp_path_factory.mktemp("saved"))
