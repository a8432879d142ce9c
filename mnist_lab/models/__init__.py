"""Interchangeable classifiers, their learning-rate schedules, reading them back, looking inside."""

from mnist_lab.models.checkpoint import load, read
from mnist_lab.models.classifier import Classifier
from mnist_lab.models.compact import CompactNet
from mnist_lab.models.convnet import ConvNet
from mnist_lab.models.ensemble import evaluate
from mnist_lab.models.lenet import LeNet
from mnist_lab.models.mlp import MLP
from mnist_lab.models.resnet import ResNet

__all__ = [
    "MLP",
    "Classifier",
    "CompactNet",
    "ConvNet",
    "LeNet",
    "ResNet",
    "evaluate",
    "load",
    "read",
]
