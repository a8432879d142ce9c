"""What whole commands take, each a process of its own: from the question to the answer."""

import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Row, compare

TRAIN = ("-m", "mnist_lab.train")
LIGHTNING = ("-c", "import lightning.pytorch")


def seconds(*arguments: str, status: int = 0) -> Callable[[], float]:
    """A run of Python that times itself from outside."""

    def go() -> float:
        start = time.perf_counter()
        ended = subprocess.run([sys.executable, *arguments], capture_output=True)
        assert ended.returncode == status, ended.stderr.decode()
        return time.perf_counter() - start

    return go


def processes(folder: Path, *common: str) -> Iterator[Row]:
    """All that a user waits for, beside what cannot be less."""
    place = folder.parent / "processes"
    run = place / "first"
    seconds(*TRAIN, "experiment=speedrun", f"hydra.run.dir={run}", *common)()

    def beyond_fit() -> float:
        with tempfile.TemporaryDirectory(dir=place) as fresh:
            whole = seconds(*TRAIN, "experiment=speedrun", f"hydra.run.dir={fresh}/run", *common)()
            return whole - _trained(Path(fresh) / "run")

    row = Row("train experiment=speedrun, but for its fit", "import lightning.pytorch", 2.5, False)
    yield compare(row, beyond_fit, seconds(*LIGHTNING))

    def job() -> float:
        with tempfile.TemporaryDirectory(dir=place) as fresh:
            jobs = (*TRAIN, "-m", "experiment=speedrun", *common)
            one = seconds(*jobs, f"hydra.sweep.dir={fresh}/one", "seed=0")()
            five = seconds(*jobs, f"hydra.sweep.dir={fresh}/five", "seed=0,1,2,3,4")()
            fits = [_trained(path.parent) for path in Path(fresh).glob("*/*/result.json")]
            return (five - one) / 4 - statistics.mean(fits)

    row = Row("a job in a warm worker, but for fit and test", "nothing", 0.7, ratio=False)
    yield compare(row, job, lambda: 0.0, turns=3)

    picture = place / "picture.png"
    seconds("-c", f"from PIL import Image; Image.new('L', (28, 28)).save({str(picture)!r})")()
    evaluate = ("-m", "mnist_lab.evaluate", f"checkpoint={run}", f"output={place}/out")
    row = Row("evaluate", "import lightning.pytorch", 1.5, ratio=False)
    yield compare(row, seconds(*evaluate, "overwrite=true"), seconds(*LIGHTNING))
    predict = ("-m", "mnist_lab.predict", f"checkpoint={run}", f"input={picture}", "overwrite=true")
    row = Row("predict, one picture", "import torch", 1.5, ratio=False)
    torch = seconds("-c", "import torch")
    yield compare(row, seconds(*predict, f"output={place}/table.csv"), torch)

    config = (run / "config.yaml").read_text()
    for number in range(100):
        copy = place / "hundred" / str(number)
        copy.mkdir(parents=True)
        shutil.copy(run / "result.json", copy)
        shutil.copy(run / "metrics.csv", copy)
        own, seeds = re.subn(r"(?m)^( *seed): \d+$", rf"\1: {number % 25}", config)
        own, sizes = re.subn(r"(?m)^( *batch_size): 256$", rf"\1: {256 + number // 25}", own)
        assert (seeds, sizes) == (2, 1)  # four groups of 25 seeds
        (copy / "config.yaml").write_text(own)

    def compared() -> float:
        with tempfile.TemporaryDirectory(dir=place) as fresh:
            runs = f"runs={place}/hundred"
            return seconds("-m", "mnist_lab.compare", runs, f"output={fresh}/out")()

    row = Row("compare, 100 runs", "import numpy, scipy.stats, matplotlib", 3, ratio=False)
    libraries = seconds("-c", "import numpy, scipy.stats, matplotlib")
    yield compare(row, compared, libraries)

    lenet = (*TRAIN, "model=lenet", "trainer.max_epochs=2", "data.batch_size=64", *common)

    def ours() -> float:
        with tempfile.TemporaryDirectory(dir=place) as fresh:
            return seconds(*lenet, f"hydra.run.dir={fresh}/run")()

    raw = place / "torchvision/MNIST/raw"
    shutil.copytree(Path(os.environ.get("MNIST_LAB_DATA", "data"), "mnist"), raw)
    template = seconds("-m", "benchmarks.template", str(place / "torchvision"))
    row = Row("two epochs of LeNet, the whole command", "a template's usual parts", 0.6)
    yield compare(row, ours, template, turns=3)


def _trained(run: Path) -> float:
    """Seconds of fit and test."""
    told = json.loads((run / "result.json").read_text())["seconds"]
    return float(told["fit"] + told["test"])


def commands(folder: Path, *common: str) -> Iterator[Row]:
    def peak(module: str, *arguments: str) -> Callable[[], float]:
        def go() -> float:
            command = [sys.executable, "-c", _PEAK, module, *arguments]
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            return int(ended.stdout.splitlines()[-1]) / 1024

        return go

    quick = ("trainer.fast_dev_run=true", "test=false")  # a step, and one of validation
    one_step = (*TRAIN, *quick, f"hydra.run.dir={folder}_step", *common)
    row = Row("command to the end of its first step", "import lightning.pytorch", 1.0, ratio=False)
    yield compare(row, seconds(*one_step), seconds(*LIGHTNING))
    nothing = seconds("-c", "")
    for what, status in (("--help", 0), ("--cfg job", 0), ("model=nope", 1)):
        row = Row(f"mnist_lab.train {what}", "python -c ''", 0.6, ratio=False)
        yield compare(row, seconds(*TRAIN, *what.split(), status=status), nothing)
    row = Row("resident peak of a LeNet run", "import lightning.pytorch", 250, False, "MiB")
    epoch = ("model=lenet", "trainer.max_epochs=1", "data.batch_size=256")
    with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
        lenet = (*epoch, f"hydra.run.dir={fresh}/${{moment:}}", *common)
        yield compare(row, peak("mnist_lab.train", *lenet), peak("lightning.pytorch"), turns=3)


def sweeps(folder: Path, *common: str) -> Iterator[Row]:
    jobs = ("model=lenet", "data.train_size=20000", "trainer.max_epochs=2", "data.batch_size=64",
            "seed=0,1,2,3,4,5,6,7,8,9,10,11")  # fmt: skip

    def sweep(*launcher: str) -> Callable[[], float]:
        def go() -> float:
            with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
                place = f"hydra.sweep.dir={fresh}/sweep"
                return seconds(*TRAIN, "-m", *jobs, *launcher, place, *common)()

        return go

    row = Row("12 jobs of LeNet, hydra/launcher=joblib", "one after the other", 1 / 1.7)
    yield compare(row, sweep("hydra/launcher=joblib"), sweep(), turns=3)


# Runs a module as `python -m` does, and prints the process's resident peak in KiB at its end.
_PEAK = """
import atexit, importlib, runpy, sys
def tell():
    lines = open("/proc/self/status").read().splitlines()
    print(next(line for line in lines if line.startswith("VmHWM")).split()[1])
atexit.register(tell)
module = sys.argv.pop(1)
if module == "lightning.pytorch":
    importlib.import_module(module)
else:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
"""
