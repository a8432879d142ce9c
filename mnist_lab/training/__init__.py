"""One run: fit, continuation, the test, and what is shown meanwhile."""

from mnist_lab.training.history import History
from mnist_lab.training.run import train
from mnist_lab.training.trainer import default_trainer

__all__ = ["History", "default_trainer", "train"]
