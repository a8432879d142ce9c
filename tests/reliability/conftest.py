"""Runs to attack, and what shows that an attack has worked."""

import resource
import shutil
import sys
from pathlib import Path

import pytest

from tests.forked import call


@pytest.fixture
def trace(tmp_path) -> Path:
    """A file that exists once any payload has run."""
    return tmp_path / "trace"


@pytest.fixture
def trap(tmp_path, trace, monkeypatch):
    """A package that leaves the trace when it is imported, and when any of it is called."""
    package = tmp_path / "packages" / "trap"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        f"TRACE = Path({str(trace)!r})\n"
        "TRACE.touch()\n"
        "def run(*args, **kwargs):\n    TRACE.touch()\n"
        "class Trap:\n    def __init__(self, *args, **kwargs):\n        TRACE.touch()\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    yield
    sys.modules.pop("trap", None)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package with a user's own model, and one whose name begins alike."""
    for name in ("mine", "miner"):
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            "from mnist_lab.models import MLP\nclass Net(MLP):\n    pass\n"
        )
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield
    for name in ("mine", "miner"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="session")
def finished(made_once):
    """A folder of a finished run, made by the command."""

    def make(folder):
        settings = ["data=digits", "data.train_size=100", "model=mlp", "model.hidden=[8]",
                    "trainer.max_epochs=1", "trainer.accelerator=cpu"]  # fmt: skip
        place = f"hydra.run.dir={folder}"
        status, _, err = call("mnist_lab.train", *settings, place, folder=folder.parent)
        assert status == 0, err

    return made_once("finished", make)


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """The same, before it was trained."""
    path = tmp_path / "run"
    path.mkdir()
    shutil.copy(finished / "config.yaml", path)
    return path


@pytest.fixture(scope="module")
def little_memory():
    """A length that was made up fails to be allocated, whatever the machine has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file's, written anew for each example."""
    return tmp_path_factory.mktemp("fuzz") / "file"
