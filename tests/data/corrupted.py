"""What the corruptions of `corrupt=mnist_c` look like, docs/images/mnist_c.png.

`MNIST_LAB_DATA=data python -m tests.data.corrupted docs/images/mnist_c.png` draws it anew.
"""

import os
import sys

import torch

from mnist_lab.reports.figures import corruptions
from mnist_lab.settings.conf import make


def main(output: str) -> None:
    data = make("data/mnist", root=os.environ.get("MNIST_LAB_DATA", "data"))
    data.prepare_data()
    images, labels = data.tensors("test")
    digits = images[[int((labels == digit).nonzero()[0]) for digit in range(10)]]
    rows = {"uncorrupted": digits}
    for name, corruption in make("corrupt/mnist_c").items():
        torch.manual_seed(0)
        rows[name] = corruption(digits)
    corruptions(rows).savefig(output, dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
