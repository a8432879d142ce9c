"""Images and labels: where they come from, how they are split, and batches of them."""

from mnist_lab.data.augment import Compose, RandomAffine, RandomElastic, RandomErasing
from mnist_lab.data.base import DataError, FileError, Source
from mnist_lab.data.datamodule import DataModule, Transform
from mnist_lab.data.loader import TensorLoader
from mnist_lab.data.local import FolderSource, KaggleSource
from mnist_lab.data.sources import Digits, IDXSource

__all__ = [
    "Compose",
    "DataError",
    "DataModule",
    "Digits",
    "FileError",
    "FolderSource",
    "IDXSource",
    "KaggleSource",
    "RandomAffine",
    "RandomElastic",
    "RandomErasing",
    "Source",
    "TensorLoader",
    "Transform",
]
