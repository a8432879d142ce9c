"""`python -m benchmarks.pruning FOLDER`: searches with and without a pruner, over seeds.

Runs those that are missing in the folder, one after another, and tells what they came to. What is
measured of a search is the best validation accuracy of its jobs, and the epochs and seconds that
all of them trained; one that was ended goes on.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

PRUNERS = ("null", "median", "hyperband")


def searched(folder: Path, pruner: str, seed: int, points: int, settings: list[str]) -> None:
    """One search to its end, or what is missing of it."""
    command = [
        *(sys.executable, "-m", "mnist_lab.train", "search=training", "model=mlp"),
        *(f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={points}"),
        *(f"hydra.sweeper.seed={seed}", f"hydra.sweeper.pruner={pruner}", *settings),
    ]
    subprocess.run(command, check=True)


class Search(NamedTuple):
    """What the jobs of a search came to."""

    best: float  # validation accuracy
    epochs: int
    seconds: float  # of fitting
    pruned: int  # jobs


def came_to(folder: Path) -> Search:
    """What a search's folder says of it."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    accuracies = [each["metrics"]["val/accuracy"] for each in found]
    return Search(
        max(accuracy for accuracy in accuracies if accuracy is not None),
        sum(each["epochs"] for each in found),
        sum(each["seconds"]["fit"] for each in found),
        sum(each["status"] == "pruned" for each in found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the searches, PRUNER_SEED each")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--pruners", nargs="+", default=PRUNERS, choices=PRUNERS)
    args, settings = parser.parse_known_args()
    print("| pruner | seed | best val/accuracy | epochs | seconds | share of both | pruned |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    all_of: dict[str, list[Search]] = {pruner: [] for pruner in args.pruners}
    for seed in range(args.seeds):
        for pruner, searches in all_of.items():
            folder = args.folder / f"{pruner}_{seed}"
            searched(folder, pruner, seed, args.points, settings)
            searches.append(one := came_to(folder))
            whole = all_of[args.pruners[0]][seed]  # without one, unless told otherwise
            shares = f"{one.epochs / whole.epochs:.2f}, {one.seconds / whole.seconds:.2f}"
            row = f"{one.best:.4f} | {one.epochs} | {one.seconds:.0f} | {shares} | {one.pruned}"
            print(f"| {pruner} | {seed} | {row} |", flush=True)
    first = all_of[args.pruners[0]]
    for pruner, searches in all_of.items():
        lost = [whole.best - one.best for whole, one in zip(first, searches, strict=True)]
        epochs, seconds = (
            sum(getattr(s, name) for s in searches) / sum(getattr(s, name) for s in first)
            for name in ("epochs", "seconds")
        )
        print(
            f"{pruner}: {epochs:.2f} of the epochs, {seconds:.2f} of the seconds; "
            f"best accuracy lower by {100 * statistics.mean(lost):.2f} points on average"
        )


if __name__ == "__main__":
    main()
