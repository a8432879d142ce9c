"""Photographs of handwritten digits, painted from those of MNIST's training split.

`python -m tests.data.photographs CHECKPOINT [N [SEED]]` tells for each condition how many of N get
the right label, and of how many empty pages in this condition a digit is read. Odd seeds take
digits of the training split's second half, even ones of its first: what was chosen on one is
measured on the other.
"""

import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from mnist_lab.data import FileError
from mnist_lab.data.idx import read_idx
from mnist_lab.data.pictures import read_picture
from mnist_lab.models import Classifier, load
from tests.data.conditions import CONDITIONS
from tests.data.scenes import Array, Random, develop, page_with

WITH_EMPTY = [name for name in CONDITIONS if name not in ("a box around", "a blot beside")]


def photograph(digit: Array, condition: str, random: Random, empty: bool = False) -> Image.Image:
    """A photograph of one of MNIST's digits `(28, 28)` in a condition of `CONDITIONS`.

    Of an empty page nothing but the digit is left out.
    """
    how = CONDITIONS[condition]
    scene = page_with(digit, random, how.share, how.edge)
    if empty:
        scene.cover[...] = 0
    how.change(scene, random)
    image = develop(scene, random)
    if how.side is None:
        return image
    width, height = image.size
    short = min(width, height)
    top, left, bottom, right = scene.box
    x = int(np.clip((left + right) / 2 - short / 2, 0, width - short))
    y = int(np.clip((top + bottom) / 2 - short / 2, 0, height - short))
    cut = image.crop((x, y, x + short, y + short)).convert("L")
    return cut.resize((how.side, how.side), Image.Resampling.BOX)


def painted(root: Path, condition: str, n: int, seed: int) -> tuple[list[Image.Image], Array]:
    """Photographs of `n` digits in a condition, and their labels `(n,)`."""
    images = read_idx(root / "train-images-idx3-ubyte")
    labels = read_idx(root / "train-labels-idx1-ubyte")
    random = Random(1000 * seed + list(CONDITIONS).index(condition))
    which = random.choice(30_000, n, replace=False) + 30_000 * (seed % 2)
    return [photograph(images[i], condition, random) for i in which], labels[which]


def empty(condition: str, n: int, seed: int) -> list[Image.Image]:
    """Photographs of `n` empty pages in a condition of `WITH_EMPTY`."""
    random = Random(1000 * seed + 500 + WITH_EMPTY.index(condition))
    anything = np.full((28, 28), 255, np.uint8)
    return [photograph(anything, condition, random, empty=True) for _ in range(n)]


def read(images: list[Image.Image], folder: Path) -> list[Array | FileError]:
    """What `read_picture` makes of each, or why it refuses it."""
    forms: list[Array | FileError] = []
    for image in images:
        image.save(folder / "photograph.png", compress_level=1)
        try:
            forms.append(read_picture(folder / "photograph.png"))
        except FileError as error:
            forms.append(error)
    return forms


def refused(forms: list[Array | FileError]) -> Array:
    """Which of them `(n,)` were not read."""
    return np.array([isinstance(form, FileError) for form in forms])


def guesses(model: Classifier, forms: list[Array | FileError]) -> tuple[Array, Array]:
    """The labels that they get `(n,)`, -1 for those that were not read, and their confidence."""
    pixels = [np.zeros((28, 28), np.uint8) if isinstance(x, FileError) else x for x in forms]
    with torch.inference_mode():
        confidence, labels = (
            model(torch.from_numpy(np.stack(pixels)).unsqueeze(1)).softmax(1).max(1)
        )
    return np.where(refused(forms), -1, labels.numpy()), confidence.numpy()


def main(checkpoint: str, n: str = "100", seed: str = "0") -> None:
    model = load(Path(checkpoint)).eval()
    root = Path(os.environ.get("MNIST_LAB_DATA", "data")) / "mnist"
    print("| condition | right | refused | wrong above 0.9 | empty, read | ms |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for condition in CONDITIONS:
            images, labels = painted(root, condition, int(n), int(seed))
            start = time.process_time()
            forms = read(images, Path(folder))
            each = 1000 * (time.process_time() - start) / len(forms)
            got, confidence = guesses(model, forms)
            sure = ((got != labels) & (got >= 0) & (confidence > 0.9)).sum()
            row = [condition, (got == labels).sum(), (got < 0).sum(), sure, "", f"{each:.0f}"]
            if condition in WITH_EMPTY:
                pages = read(empty(condition, int(n), int(seed)), Path(folder))
                row[4] = (~refused(pages)).sum()
            print(f"| {' | '.join(map(str, row))} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
