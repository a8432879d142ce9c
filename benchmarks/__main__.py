"""`make bench`: every comparison, printed as it comes, kept as JSON and as a table."""

import argparse
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.harness import HEAD, Row, compare, machine
from benchmarks.processes import commands, processes, sweeps
from benchmarks.sides import (
    Bare,
    Floor,
    Ours,
    Templates,
    TimedDashboard,
    known_recipe,
    settings,
)
from mnist_lab.data import DataModule
from mnist_lab.data.sources import Source, Split
from mnist_lab.reports.dashboard import Dashboard
from mnist_lab.settings import signatures
from mnist_lab.training import run
from mnist_lab.training.trainer import quieten

MLP = ("model=mlp", "model.hidden=[128,64]", "model.norm=after", "model.dropout=0")
BARE = "bare loop, tensors in memory"
TEMPLATE = "the templates' way"
_PATIENT = "trainer.callbacks.early_stopping=null"


def against_bare(folder: Path, *common: str) -> Iterator[Row]:
    half = ("model=lenet", "data.train_size=30000")  # of an epoch
    rows = [
        *((half, "half an epoch of LeNet", n, limit) for n, limit in ((32, 1.20), (128, 1.08))),
        (half, "half an epoch of LeNet", 512, 1.03),
        (MLP, "an epoch of a small MLP", 64, 1.40),
    ]
    for what, name, size, limit in rows:
        ours = Ours(folder, *what, f"data.batch_size={size}", *common)
        bare = Bare(ours)
        yield compare(Row(f"{name}, batch {size}", BARE, limit), ours, bare)
        barebones = Row("the same in a Trainer(barebones=True)", BARE, limit)
        yield compare(barebones, Floor(bare), bare)
    ours = Ours(folder, "model=bn_cnn", "data.batch_size=128", "data.train_size=20000", *common)
    beside = f"{BARE}, default format"
    yield compare(Row("20,000 images, bn_cnn, batch 128", beside, 0.75), ours, Bare(ours))


def against_templates(folder: Path, *common: str) -> Iterator[Row]:
    common = ("data.train_size=10000", *common)
    for size in (32, 64, 256):
        ours = Ours(folder, "model=lenet", f"data.batch_size={size}", *common)
        row = Row(f"10,000 images, LeNet, batch {size}", TEMPLATE, 0.45)
        yield compare(row, ours, Templates(ours, 10000))
    ours = Ours(folder, *MLP, "data.batch_size=64", *common)
    row = Row("10,000 images, small MLP, batch 64", TEMPLATE, 0.2)
    yield compare(row, ours, Templates(ours, 10000))


def speedrun(folder: Path, *common: str) -> Iterator[Row]:
    data: DataModule = signatures.build(settings(folder, "data.val_size=0", *common))["data"]
    data.tensors("train"), data.tensors("test")

    def ours() -> float:
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            built = signatures.build(settings(Path(fresh), "experiment=speedrun", *common))
            data.batch_size = built["data"].batch_size
            seconds = run.train(data, built["model"], built["trainer"]).seconds
        return (seconds.fit or 0) + (seconds.test or 0)

    row = Row("experiment=speedrun, fit and test", "the fastest known recipe", 0.33)
    yield compare(row, ours, known_recipe(data))


def dashboard(folder: Path, *common: str) -> Iterator[Row]:
    """What the dashboard takes of a run of 15 short epochs, on top of 15 whole ones."""
    epoch = Ours(folder, "model=lenet", *common)
    short = ("model=lenet", "data.train_size=1000", "trainer.max_epochs=15", _PATIENT, *common)
    without: list[float] = []

    def with_it() -> float:
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            built = signatures.build(settings(Path(fresh), *short))
            callbacks = built["trainer"].callbacks
            place = next(i for i, each in enumerate(callbacks) if isinstance(each, Dashboard))
            callbacks[place] = clock = TimedDashboard(callbacks[place].pictures_every)
            run.train(built["data"], built["model"], built["trainer"])
        without.append(15 * epoch())
        return without[-1] + clock.seconds

    row = Row("15 epochs of LeNet with the dashboard", "without it", 1.05)
    yield compare(row, with_it, lambda: without[-1], turns=3)


def prediction(folder: Path, *common: str) -> Iterator[Row]:
    built = signatures.build(settings(folder, "model=lenet", "data.val_size=0", *common))
    images = built["data"].tensors("train")[0][:50000]
    model = built["model"].to(images.device).eval()
    with torch.no_grad():
        ready = torch.cat([model.preprocess(part) for part in images.split(1000)])

    def times(network: Callable[[Tensor], Tensor], batches: Tensor) -> Callable[[], None]:
        @torch.inference_mode()
        def go() -> None:
            for _ in range(2):
                for batch in batches.split(1000):
                    network(batch)
            if images.is_cuda:
                torch.cuda.synchronize()

        return go

    row = Row("100,000 images predicted, LeNet", "the bare network, same batches", 1.3)
    yield compare(row, times(model, images), times(model.network, ready))


def augmentation(folder: Path, *common: str) -> Iterator[Row]:
    common = ("model=bn_cnn", "data.batch_size=128", "data.train_size=20000", *common)
    row = Row("20,000 images, bn_cnn, augment=affine", "augment=none", 1.35)
    yield compare(row, Ours(folder, "augment=affine", *common), Ours(folder, *common))


class Repeated(Source):
    """A source's training images, several times over."""

    def __init__(self, data: DataModule, times: int) -> None:
        self.images, self.labels = data.tensors("train")
        sizes = {"train": times * len(self.labels)}
        super().__init__(data.source.name, data.source.classes, sizes)
        self.times = times

    def prepare(self, root: Path, mirror: str | None) -> None: ...

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        return self.images.repeat(self.times, 1, 1, 1), self.labels.repeat(self.times)


def growth(folder: Path, *common: str) -> Iterator[Row]:
    common = ("experiment=speedrun", *common)
    base = Ours(folder, *common)
    for times in (4, 16):
        data = DataModule(Repeated(base.data, times), batch_size=256, val_size=0)
        many = Ours(folder, *common, data=data)
        row = Row(f"an epoch of {60 * times},000 images", f"{times} epochs of 60,000", 1.05)
        yield compare(row, many, lambda times=times: times * base(), turns=3 if times == 16 else 5)


PARTS = (
    against_bare,
    against_templates,
    speedrun,
    dashboard,
    prediction,
    augmentation,
    growth,
    commands,
    processes,
)  # and `sweeps`, which alone takes a quarter of an hour: only when asked for


def main() -> None:
    names = [part.__name__ for part in (*PARTS, sweeps)]
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", nargs="*", choices=names, default=names[:-1])
    parser.add_argument("--output", type=Path, default=Path("outputs/benchmarks"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    quieten()
    logging.disable(logging.INFO)
    common = [f"trainer.accelerator={given.device}"]
    print(machine(given.device), HEAD, sep="\n\n", flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in (*PARTS, sweeps):
            if part.__name__ in given.only:
                rows += list(part(Path(scratch) / "run", *common))
    given.output.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine(given.device), "rows": [row.plain() for row in rows]}
    (given.output / f"{given.device}.json").write_text(json.dumps(content, indent=1) + "\n")
    (given.output / f"{given.device}.md").write_text("\n".join([HEAD, *map(str, rows), ""]))


if __name__ == "__main__":
    main()
