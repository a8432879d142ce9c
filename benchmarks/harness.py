"""Timing sides of a comparison beside each other: in one process, in turns, the median of each."""

import json
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import lightning
import torch

Side = Callable[[], float | None]
"""Does the work once; returns the seconds that count, or None: all that the call took."""


@dataclass
class Ratio:
    """One row of the table: what a side takes as a multiple of what the other takes."""

    what: str
    beside: str
    limit: float
    seconds: list[float]
    seconds_beside: list[float]

    @property
    def ratios(self) -> list[float]:
        """Of each turn: both sides met the same moment of the machine."""
        return [a / b for a, b in zip(self.seconds, self.seconds_beside, strict=True)]

    @property
    def median(self) -> float:
        return statistics.median(self.ratios)

    def row(self) -> str:
        low, high = min(self.ratios), max(self.ratios)
        ours, theirs = statistics.median(self.seconds), statistics.median(self.seconds_beside)
        verdict = "met" if self.median <= self.limit else "missed"
        return (
            f"| {self.what} | {self.beside} | {ours:.3g} s | {theirs:.3g} s | {self.median:.2f} "
            f"| {low:.2f} to {high:.2f} | {self.limit:.2f} | {verdict} |"
        )


HEAD = (
    "| what | beside | ours | the other | ratio (median) | spread | at most | |\n"
    "|---|---|---|---|---|---|---|---|"
)


def compare(
    what: str, ours: Side, beside: str, theirs: Side, limit: float, turns: int = 5
) -> Ratio:
    """Both sides in turns, after one turn each that doesn't count."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(turns + 1):
        for side, taken in zip((ours, theirs), seconds, strict=True):
            start = time.perf_counter()
            told = side()
            taken.append(time.perf_counter() - start if told is None else told)
            if turn == 0:
                taken.clear()
    ratio = Ratio(what, beside, limit, *seconds)
    print(ratio.row(), flush=True)
    return ratio


def machine(device: str) -> str:
    """What the figures were taken on."""
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    gpu = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    return (
        f"{cpu}{gpu}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, lightning {lightning.__version__}"
    )


def save(path: Path, device: str, ratios: list[Ratio]) -> None:
    """The single measurements, as JSON."""
    content: Mapping[str, object] = {
        "machine": machine(device),
        "ratios": [asdict(ratio) | {"ratio": ratio.median} for ratio in ratios],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1) + "\n")
