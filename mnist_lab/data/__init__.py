"""Images and labels: where they come from, how they are split, and batches of them."""

from mnist_lab.data.augment import (
    Compose,
    EachImage,
    OneOf,
    RandomAffine,
    RandomElastic,
    RandomErasing,
    RandomFlip,
)
from mnist_lab.data.base import DataError, FileError, Source
from mnist_lab.data.corruptions import (
    Brightness,
    GlassBlur,
    ImpulseNoise,
    MotionBlur,
    Rotate,
    Scale,
    Shear,
    ShotNoise,
    Stripe,
    Translate,
)
from mnist_lab.data.datamodule import DataModule, Transform
from mnist_lab.data.edges import CannyEdges
from mnist_lab.data.loader import TensorLoader
from mnist_lab.data.local import FolderSource, KaggleSource
from mnist_lab.data.overlays import DottedLine, Fog, Spatter, Zigzag
from mnist_lab.data.sources import Digits, IDXSource
from mnist_lab.data.vision import TorchvisionSource

__all__ = [
    "Brightness",
    "CannyEdges",
    "Compose",
    "DataError",
    "DataModule",
    "Digits",
    "DottedLine",
    "EachImage",
    "FileError",
    "Fog",
    "FolderSource",
    "GlassBlur",
    "IDXSource",
    "ImpulseNoise",
    "KaggleSource",
    "MotionBlur",
    "OneOf",
    "RandomAffine",
    "RandomElastic",
    "RandomErasing",
    "RandomFlip",
    "Rotate",
    "Scale",
    "Shear",
    "ShotNoise",
    "Source",
    "Spatter",
    "Stripe",
    "TensorLoader",
    "TorchvisionSource",
    "Transform",
    "Translate",
    "Zigzag",
]
