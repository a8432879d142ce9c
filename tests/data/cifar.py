"""A tiny CIFAR-10 in its own format."""

import hashlib
import pickle

import numpy as np
import torchvision.datasets


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_cifar10(root, monkeypatch):
    """Its six batches, of 20 images each, whose sums torchvision then takes for its own.

    The first 100 are to train on, the others to test with.
    """
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.RandomState(0)
    images = random.randint(256, size=(120, 3, 32, 32)).astype(np.uint8)
    labels = random.permutation(np.arange(120) % 10)
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    for place, name in enumerate(names):
        part = slice(20 * place, 20 * place + 20)
        batch = {"data": images[part].reshape(20, -1), "labels": labels[part].tolist()}
        (folder / name).write_bytes(pickle.dumps(batch))
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    theirs = torchvision.datasets.CIFAR10
    sums = [[name, md5(folder / name)] for name in names]
    monkeypatch.setattr(theirs, "train_list", sums[:5])
    monkeypatch.setattr(theirs, "test_list", sums[5:])
    monkeypatch.setitem(theirs.meta, "md5", md5(folder / "batches.meta"))
    return images, labels
