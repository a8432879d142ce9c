"""Images and labels: where they come from, how they are split, and batches of them."""

from mnist_lab.data.augment import RandomAffine
from mnist_lab.data.datamodule import DataModule, Transform
from mnist_lab.data.loader import TensorLoader
from mnist_lab.data.sources import DataError, Digits, IDXSource, Source

__all__ = [
    "DataError",
    "DataModule",
    "Digits",
    "IDXSource",
    "RandomAffine",
    "Source",
    "TensorLoader",
    "Transform",
]
