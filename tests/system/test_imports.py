"""Imports during which no garbage is looked for, and what they make afterwards."""

import gc
import subprocess
import sys

import pytest

from mnist_lab.system.imports import swift_imports

MADE = """
import gc
from mnist_lab.system.imports import swift_imports
before = gc.get_freeze_count()
with swift_imports():
    off = not gc.isenabled()
    import decimal
print(before, off, gc.isenabled(), gc.get_freeze_count() > 0)
print(any(each is decimal.__dict__ for each in gc.get_objects()))
with swift_imports():
    import decimal
    kept = [[]]
print(any(each is kept for each in gc.get_objects()))
"""


def test_what_they_make_is_not_looked_through_later():
    done = subprocess.run([sys.executable, "-c", MADE], capture_output=True, text=True, check=True)
    made, module, nothing_new = done.stdout.splitlines()
    assert made == "0 True True True"
    assert module == "False"
    assert nothing_new == "True"  # what else there is stays the collector's


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_left_as_it_was(enabled):
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(ModuleNotFoundError), swift_imports():
            import mnist_lab.no_such_module  # noqa: F401
        assert gc.isenabled() == enabled
    finally:
        gc.enable()


LOOKED_FOR = """
import gc, sys
class Noting:
    def find_spec(self, name, path=None, target=None):
        if name in ("torch", "lightning"):
            print(name, gc.isenabled(), file=sys.stderr)
sys.meta_path.insert(0, Noting())
from mnist_lab import train
from mnist_lab.cli import command
sys.argv = ["train", "data=digits", "model=mlp", "trainer.fast_dev_run=true", "hydra.run.dir=run",
            "hydra.job.name=train"]
command.run(train.main)
"""


@pytest.mark.slow
def test_a_run_imports_torch_and_lightning_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LOOKED_FOR], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stderr.splitlines() == ["torch False", "lightning False"]
