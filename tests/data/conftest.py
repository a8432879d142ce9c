"""Where the archives of a tiny dataset lie, and where they are fetched to."""

import pytest

from tests.data.archives import (
    ARCHIVES,
    write,
)


@pytest.fixture
def mirror(tmp_path):
    """A folder of good archives, under a name that a careless URL would garble."""
    return write(tmp_path / "a mirror #1 %41", ARCHIVES)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "root"


@pytest.fixture(autouse=True)
def direct(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")  # no proxy knows this machine's loopback


@pytest.fixture
def messages(caplog):
    caplog.set_level("INFO", logger="mnist_lab")
    return lambda: [record.getMessage() for record in caplog.records]
