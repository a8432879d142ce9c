"""`python -m benchmarks.pruning FOLDER`: searches with and without a pruner, over seeds.

Runs those that are missing in the folder, one after another, and tells what they came to. What is
measured of a search is the best validation accuracy of its jobs and the seconds that all of them
trained; one that was ended goes on.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

PRUNERS = ("null", "median", "hyperband")


def searched(folder: Path, pruner: str, seed: int, points: int, settings: list[str]) -> None:
    """One search to its end, or what is missing of it."""
    command = [
        *(sys.executable, "-m", "mnist_lab.train", "search=training", "model=mlp"),
        *(f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={points}"),
        *(f"hydra.sweeper.seed={seed}", f"hydra.sweeper.pruner={pruner}", *settings),
    ]
    subprocess.run(command, check=True)


def came_to(folder: Path) -> tuple[float, float, int]:
    """The best validation accuracy of a search's jobs, their seconds, and how many were pruned."""
    found = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    accuracies = [each["metrics"]["val/accuracy"] for each in found]
    best = max(accuracy for accuracy in accuracies if accuracy is not None)
    seconds = sum(each["seconds"]["fit"] for each in found)
    return best, seconds, sum(each["status"] == "pruned" for each in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the searches, PRUNER_SEED each")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=30)
    parser.add_argument("--pruners", nargs="+", default=PRUNERS, choices=PRUNERS)
    args, settings = parser.parse_known_args()
    print("| pruner | seed | best val/accuracy | seconds of training | share of them | pruned |")
    print("|---|---:|---:|---:|---:|---:|")
    shares: dict[str, list[float]] = {}
    for seed in range(args.seeds):
        whole = 0.0
        for pruner in args.pruners:
            folder = args.folder / f"{pruner}_{seed}"
            searched(folder, pruner, seed, args.points, settings)
            best, seconds, pruned = came_to(folder)
            whole = whole or seconds  # of the first, which is without one unless told otherwise
            shares.setdefault(pruner, []).append(seconds / whole)
            row = f"{best:.4f} | {seconds:.0f} | {seconds / whole:.2f} | {pruned}"
            print(f"| {pruner} | {seed} | {row} |", flush=True)
    for pruner, each in shares.items():
        print(f"{pruner}: {statistics.mean(each):.2f} of the seconds on average")


if __name__ == "__main__":
    main()
