"""What docs/pages.md says of pages: `python -m benchmarks.pages CHECKPOINT [--lines N] [--seed S]`.

Pages are painted with MNIST's test images, in each way of `tests.data.pages.WAYS` at least N lines.
Beside the share of lines that are read without a mistake stands what the network's accuracy on the
very same images, as MNIST has them, would allow: its power of a line's length, on the average.
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from mnist_lab.data.idx import read_idx
from mnist_lab.data.pages import Digits, Rectangle, read_digits
from mnist_lab.models import Classifier, load
from tests.data.pages import WAYS, Page, Written, page

Array = np.ndarray


@dataclass
class Tally:
    """What became of the lines of some pages.

    Attributes:
        lengths: of the lines that were written.
        written: which images.
        counted: lines in which as many digits were found as were written.
        right: those in which each has its label.
        invented: lines found where none was written.
        seconds: of a core's time.
        pages: how many.
    """

    lengths: list[int] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    counted: int = 0
    right: int = 0
    invented: int = 0
    seconds: float = 0.0
    pages: int = 0

    def allowed(self, known: Array) -> float:
        """The share of lines that could be right, where images are `known` to the network."""
        accuracy = float(known[self.written].mean())
        return float(np.mean(accuracy ** np.array(self.lengths)))


def labelled(model: Classifier, images: Array) -> Array:
    with torch.inference_mode():
        batches = torch.from_numpy(images.copy()).unsqueeze(1).split(1000)
        return torch.cat([model(batch).argmax(1) for batch in batches]).numpy()


def measured(model: Classifier, images: Array, labels: Array, way: str, n: int, seed: int) -> Tally:
    random = np.random.RandomState(1000 * seed + list(WAYS).index(way))
    order = random.permutation(len(images)).tolist()
    tally = Tally()
    while len(tally.lengths) < n:
        painted = page(images, order, way, random)
        pixels = np.asarray(painted.image, np.float32)
        start = time.process_time()
        try:
            digits = read_digits(pixels)
        except ValueError:
            digits = Digits(np.zeros((0, 28, 28), np.uint8), [], [])
        tally.seconds += time.process_time() - start
        tally.pages += 1
        found = labelled(model, digits.images) if digits.lines else np.zeros(0, int)
        count(tally, painted, digits, found, labels)
    return tally


def count(tally: Tally, painted: Page, digits: Digits, found: Array, labels: Array) -> None:
    claimed = set()
    for line in painted.lines:
        inside = [
            number
            for number, box in zip(digits.lines, digits.boxes, strict=True)
            if any(holds(digit, box) for digit in line)
        ]
        number = max(set(inside), key=inside.count) if inside else -1
        claimed.add(number)
        read = [x for x, at in zip(found.tolist(), digits.lines, strict=True) if at == number]
        tally.lengths.append(len(line))
        tally.written += [digit.which for digit in line]
        tally.counted += len(read) == len(line)
        tally.right += read == [labels[digit.which] for digit in line]
    tally.invented += len(set(digits.lines) - claimed)


def holds(digit: Written, box: Rectangle) -> bool:
    left, top, width, height = digit.box
    x, y = box.left + box.width / 2, box.top + box.height / 2
    return left <= x < left + width and top <= y < top + height


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--lines", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--ways", nargs="*", default=list(WAYS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    model = load(given.checkpoint).eval()
    images = read_idx(given.data / "mnist" / "t10k-images-idx3-ubyte")
    labels = read_idx(given.data / "mnist" / "t10k-labels-idx1-ubyte")
    known = labelled(model, images) == labels
    print("| way | lines | counted | right | allowed | right of allowed | invented | ms a page |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    rights, allowances, lines = 0, 0.0, 0
    for way in given.ways:
        tally = measured(model, images, labels, way, given.lines, given.seed)
        n, allowed = len(tally.lengths), tally.allowed(known)
        right = tally.right / n
        print(
            f"| {way} | {n} | {tally.counted / n:.3f} | {right:.3f} | {allowed:.3f} | "
            f"{right / allowed:.3f} | {tally.invented} | "
            f"{1000 * tally.seconds / tally.pages:.0f} |",
            flush=True,
        )
        rights, allowances, lines = rights + tally.right, allowances + n * allowed, lines + n
    print(f"| all | {lines} | | {rights / lines:.3f} | {allowances / lines:.3f} | "
          f"{rights / allowances:.3f} | | |")  # fmt: skip


if __name__ == "__main__":
    main()
