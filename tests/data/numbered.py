"""Images that hold nothing but their number, as a source of a dataset, and shares of classes."""

import numpy as np
import torch

from mnist_lab.data import Source


class Given(Source):
    """The same tensors for either split, held in memory."""

    def __init__(self, images, labels):
        super().__init__("given", [str(i) for i in range(int(labels.max()) + 1)], {})
        self.images, self.labels = images, labels

    def prepare(self, root, mirror):
        pass

    def read(self, root, split):
        return self.images, self.labels


def numbered(labels):
    """Images that hold nothing but their own number."""
    labels = torch.as_tensor(labels)
    images = torch.arange(len(labels), dtype=torch.int32).view(torch.uint8).view(-1, 1, 2, 2)
    return Given(images, labels)


def numbers(images):
    return images.flatten().view(torch.int32).tolist()


def assert_stratified(part, whole, class_count=5):
    """Each class has its share, rounded either way."""
    shares = np.bincount(whole, minlength=class_count) * len(part) / len(whole)
    counts = np.bincount(part, minlength=class_count)
    assert (np.abs(counts - shares) < 1).all()
