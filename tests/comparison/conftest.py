"""Tables of the runs that `write_run` wrote."""

import pytest

from mnist_lab.comparison import gather
from mnist_lab.comparison.groups import arrange


@pytest.fixture
def read_tables(tmp_path):
    """`read_tables()`: of all runs."""

    def read():
        return arrange(*gather.read(gather.find([str(tmp_path / "runs")])))

    return read


@pytest.fixture
def read_table(read_tables):
    """`read_table()`: of all runs, which can be compared."""

    def read():
        (table,) = read_tables()
        return table

    return read


@pytest.fixture
def write_group(write_run):
    """`write_group(norm, tests, val)`: runs of seeds 0, 1, ... with this accuracy on test each."""

    def write(norm, tests, val=0.9, seeds=None, **settings):
        for seed, test in zip(seeds or range(len(tests)), tests, strict=True):
            name = "-".join(map(str, (norm, seed, *settings.values())))
            write_run(name, seed=seed, val=val, test=test, model__norm=norm, **settings)

    return write


@pytest.fixture
def untested():
    """What the result of a run holds that a search left to its winner to be tested."""
    metrics = {"val/loss": 0.3, "val/accuracy": 0.8, "test/loss": None, "test/accuracy": None}
    return {"per_class": None, "metrics": metrics}
