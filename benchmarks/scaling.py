"""`python -m benchmarks.scaling SWEEP`: what a sweep would take with more workers; and what
`compare` takes with more runs.

The first is computed, from the durations that the sweep's jobs recorded; the second is measured.
"""

import argparse
import heapq
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

JOBS = (1, 10, 100, 1000)
WORKERS = (1, 2, 8, 32, 100, 1000)


def finished(durations: list[float], workers: int, start: float) -> float:
    """Seconds until the last job has ended, when each free worker takes the next one.

    Args:
        start: seconds that each job takes before it trains.
    """
    free = [0.0] * workers
    for duration in durations:
        heapq.heapreplace(free, free[0] + start + duration)
    return max(free)


def simulated(sweep: Path, start: float) -> list[str]:
    """A table of speed-ups over one worker."""
    found = [json.loads(path.read_text()) for path in sorted(sweep.glob("*/result.json"))]
    recorded = [each["seconds"]["fit"] + each["seconds"]["test"] for each in found]
    mean, longest = statistics.mean(recorded), max(recorded)
    lines = [
        f"{len(recorded)} recorded jobs: {mean:.0f} s on average, {longest:.0f} s the longest; "
        f"{start:g} s before each",
        "",
        f"| jobs | {' | '.join(f'{n:,} workers' for n in WORKERS)} |",
        "|---|" + "---:|" * len(WORKERS),
    ]
    for count in JOBS:
        durations = [recorded[i % len(recorded)] for i in range(count)]
        alone = finished(durations, 1, start)
        cells = [f"{alone / finished(durations, workers, start):.1f}" for workers in WORKERS]
        lines.append(f"| {count:,} | {' | '.join(cells)} |")
    return lines


def compared(sweep: Path, count: int) -> str:
    """How long `compare` takes for so many copies of the sweep's runs, each with its own seed."""
    folders = [path.parent for path in sorted(sweep.glob("*/result.json"))]
    names = ("config.yaml", "result.json", "metrics.csv")
    with tempfile.TemporaryDirectory() as scratch:
        contents = [{name: (each / name).read_text() for name in names} for each in folders]
        for index in range(count):
            run = Path(scratch) / "runs" / str(index)
            run.mkdir(parents=True)
            content = dict(contents[index % len(folders)])
            seed = 1000 + index // len(folders)
            lines = content["config.yaml"].splitlines()
            content["config.yaml"] = "\n".join(_reseeded(line, seed) for line in lines)
            for name, text in content.items():
                (run / name).write_text(text)
        start = time.perf_counter()
        command = [sys.executable, "-m", "mnist_lab.compare", f"runs={scratch}/runs",
                   f"output={scratch}/out"]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - start
    return f"{count:,} runs compared in {seconds:.0f} s"


def _reseeded(line: str, seed: int) -> str:
    name, colon, _ = line.partition(":")
    return f"{name}: {seed}" if colon and name.strip() == "seed" else line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--start", type=float, default=10.0)
    parser.add_argument("--runs", type=int, nargs="*", default=[1000, 10000, 100000])
    given = parser.parse_args()
    print(*simulated(given.sweep, given.start), sep="\n", flush=True)
    for count in given.runs:
        print(compared(given.sweep, count), flush=True)


if __name__ == "__main__":
    main()
