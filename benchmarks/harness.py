"""Timing two sides of a comparison in turns; the median of the turns counts."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning
import torch

Side = Callable[[], float | None]
"""Does the work once; returns what counts (seconds, MiB), or None: the seconds that it took."""


@dataclass
class Row:
    """What one side takes, held against the other: as a ratio, or as what it takes more."""

    what: str
    beside: str
    limit: float
    ratio: bool = True
    unit: str = "s"
    ours: list[float] = field(default_factory=list)
    theirs: list[float] = field(default_factory=list)

    @property
    def turns(self) -> list[float]:
        """Of each turn: both sides met the same moment of the machine."""
        pairs = zip(self.ours, self.theirs, strict=True)
        return [a / b if self.ratio else a - b for a, b in pairs]

    @property
    def median(self) -> float:
        return statistics.median(self.turns)

    def __str__(self) -> str:
        unit = "" if self.ratio else f" {self.unit} more"
        ours, theirs = (f"{statistics.median(v):.3g} {self.unit}" for v in (self.ours, self.theirs))
        spread = f"{min(self.turns):.2f} to {max(self.turns):.2f}"
        verdict = "met" if self.median <= self.limit else "**missed**"
        return (
            f"| {self.what} | {self.beside} | {ours} | {theirs} | {self.median:.2f}{unit} "
            f"| {spread} | {self.limit:g}{unit} | {verdict} |"
        )

    def plain(self) -> dict[str, Any]:
        return {**vars(self), "median": self.median}


HEAD = (
    "| what | beside | ours | the other | median of the turns | spread | at most | |\n"
    "|---|---|---|---|---|---|---|---|"
)


def compare(row: Row, ours: Side, theirs: Side, turns: int = 5) -> Row:
    """Fill the row: both sides in turns, after one turn that doesn't count."""
    for turn in range(turns + 1):
        for side, taken in ((ours, row.ours), (theirs, row.theirs)):
            start = time.perf_counter()
            told = side()
            if turn:
                taken.append(time.perf_counter() - start if told is None else told)
    print(row, flush=True)
    return row


def machine(device: str) -> str:
    """What the figures are taken on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    cpu = f"{len(names)} x {names[0]}" if names else platform.processor()
    gpu = f", {torch.cuda.get_device_name()}" if device == "cuda" else ""
    return (
        f"{cpu}{gpu}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
        f"torch {torch.__version__}, lightning {lightning.__version__}"
    )
