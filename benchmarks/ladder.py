"""What docs/ladder.md says of accuracy beside size: `python -m benchmarks.ladder RUNG ...`.

Each RUNG is a folder with the runs of one experiment that differ in their seed. Printed are the
table's rows; drawn, into docs/images unless `--figures` names another folder, accuracy over
parameters and over seconds, and the test images that all the runs of `--ensemble` get wrong.
"""

import argparse
import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch.utils.flop_counter import FlopCounterMode

from mnist_lab.comparison.gather import Run, find, read
from mnist_lab.metrics.significance import t_interval
from mnist_lab.reports.figures import mistakes
from mnist_lab.reports.figures.style import BLUE, VERMILLION, restrained
from mnist_lab.runs.folder import read_config
from mnist_lab.settings import make, signatures


class Published(NamedTuple):
    """A figure of somebody else's, and how it came to be."""

    parameters: int
    percent: float
    deviation: float | None
    chosen: str


PUBLISHED = (
    Published(327_242, 99.641, 0.047, "Deotte: mean of 1,500"),
    Published(697, 99.03, None, "best of some 700, by test"),
    Published(575, 98.0, None, "pruned by test"),
)


class Rung(NamedTuple):
    """The runs of one experiment."""

    name: str
    runs: list[Run]
    macs: int
    """Multiply-adds for an image."""

    @property
    def percent(self) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """Test accuracy of each."""
        return np.array([100 * run.test for run in self.runs if run.test is not None])


def rung(folder: str) -> Rung:
    """The rung of the runs in and below a folder."""
    runs, left_out = read(find([folder]))
    for run in left_out:
        raise SystemExit(f"{run.folder}: {run.reason}")
    if len({run.setup for run in runs}) != 1:
        raise SystemExit(f"{folder}: its runs differ in more than their seed")
    model = signatures.build({"model": read_config(runs[0].folder)["model"]})["model"]
    with model.judging(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 1, 28, 28, dtype=torch.uint8))
    return Rung(Path(folder).name, runs, counter.get_total_flops() // 2)


def row(rung: Rung) -> str:
    """Of the table."""
    ends = t_interval(rung.percent)
    first = rung.runs[0]
    cells = (
        f"`{rung.name}`",
        f"{first.parameters:,}",
        f"{rung.macs / 1e6:.2f} M",
        first.epochs,
        f"{rung.percent.mean():.3f} ± {rung.percent.std(ddof=1):.3f}",
        len(rung.runs),
        "-" if ends is None else f"{ends.low:.3f} to {ends.high:.3f}",
        ", ".join(f"{each.test:.2%}"[:-1] for each in sorted(rung.runs, key=lambda r: r.seed)),
    )
    return "| " + " | ".join(map(str, cells)) + " |"


def seconds_of(folder: str) -> dict[int, float]:
    """Seconds of an epoch, by the number of parameters, of the runs in and below a folder."""
    found = [json.loads(path.read_text()) for path in Path(folder).rglob("result.json")]
    return {each["parameters"]: each["seconds"]["fit"] / each["epochs"] for each in found}


def over(rungs: Sequence[Rung], timed: Mapping[int, float] | None = None) -> Figure:
    """Test accuracy over parameters, beside published figures; with `timed`, over seconds."""
    figure = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for place, each in enumerate(rungs):
        left = place % 2 == 1  # neighbours' names stand on either side
        run, mean, ends = each.runs[0], each.percent.mean(), t_interval(each.percent)
        x = run.parameters if timed is None else timed[run.parameters] * run.epochs
        error = None if ends is None else [[mean - ends.low], [ends.high - mean]]
        axes.errorbar(x, mean, yerr=error, fmt="o", color=BLUE, capsize=3)
        axes.annotate(each.name.removeprefix("ladder_"), (x, mean), xytext=(-7 if left else 7, -12),
                      ha="right" if left else "left", textcoords="offset points",
                      fontsize=9)  # fmt: skip
    for parameters, percent, deviation, chosen in PUBLISHED if timed is None else ():
        axes.errorbar(parameters, percent, yerr=deviation, fmt="x" if deviation is None else "s",
                      color=VERMILLION, capsize=3)  # fmt: skip
        right = parameters > 10_000
        axes.annotate(chosen, (parameters, percent), xytext=(0 if right else 8, 12 if right else 4),
                      ha="center" if right else "left", textcoords="offset points", fontsize=8,
                      color=VERMILLION)  # fmt: skip
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("parameters" if timed is None else "seconds of training, one core")
    axes.set_ylabel("test accuracy, %: mean and its 95 % interval")
    restrained(axes)
    return figure


def missed_by_all(folders: Sequence[Path], root: str) -> tuple[list[int], float, Figure]:
    """Of these runs: test images that all get wrong, accuracy of their mean, and a picture."""
    shares, truths = [], []
    for folder in folders:
        with open(folder / "predictions.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        shares.append([[float(row[f"p{label}"]) for label in range(10)] for row in rows])
        truths.append([int(row["truth"]) for row in rows])
    probabilities, truth = np.array(shares), np.array(truths[0])
    wrong = np.flatnonzero((probabilities.argmax(2) != truth).all(0))
    data = make("data/mnist", root=root)
    data.prepare_data()
    data.setup("test")
    images, _ = data.tensors("test")
    mean = probabilities.mean(0)
    classes = [str(label) for label in range(10)]
    figure = mistakes(images[wrong], truth[wrong], mean[wrong], classes, len(wrong))
    return wrong.tolist(), float((mean.argmax(1) == truth).mean()), figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rungs", nargs="+")
    parser.add_argument("--timed", help="a folder of short runs on one core, of each rung one")
    parser.add_argument("--ensemble", nargs="*", default=[], help="runs that make up one")
    parser.add_argument("--root", default="data", help="of MNIST's files")
    parser.add_argument("--figures", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    rungs = [rung(folder) for folder in arguments.rungs]
    for each in rungs:
        print(row(each))
    over(rungs).savefig(arguments.figures / "ladder_parameters.png", dpi=150)
    if arguments.timed:
        timed = seconds_of(arguments.timed)
        for parameters, seconds in sorted(timed.items()):
            print(f"{parameters:,} parameters: {seconds:.1f} s an epoch")
        over(rungs, timed).savefig(arguments.figures / "ladder_seconds.png", dpi=150)
    if arguments.ensemble:
        folders = [Path(run) for run in arguments.ensemble]
        indices, accuracy, figure = missed_by_all(folders, arguments.root)
        figure.savefig(arguments.figures / "ladder_missed.png", dpi=100)
        print(f"mean probability of {len(folders)}: {accuracy:.2%}")
        print(f"{len(indices)} images are wrong in all of them:", *indices)


if __name__ == "__main__":
    main()
