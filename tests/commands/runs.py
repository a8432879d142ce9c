"""Runs that commands are tried on, what their files say, and inputs for them."""

import csv
import json
import struct
import subprocess
import sys

import numpy as np
import torch
from PIL import Image

from mnist_lab import models
from mnist_lab.models import LeNet
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer

NOT_DRAWN = {"figures": None, "report": None, "dashboard": None}
"""Callbacks of a run that is not about drawing."""


def fitted(data, folder, epochs=3, **settings):
    """A run's folder: LeNet on these data."""
    torch.manual_seed(0)
    trainer = default_trainer(folder, max_epochs=epochs, accelerator="cpu", callbacks=NOT_DRAWN)
    run.train(data, LeNet(pool="max", **settings), trainer)
    return folder


def read(folder):
    return json.loads((folder / "evaluation.json").read_text())


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shown(folder, images):
    """Probabilities as the bare network has them."""
    with torch.inference_mode():
        return models.load(folder)(images).double().softmax(1).numpy()


def write_checkpoint(path, described, **settings):
    model = LeNet(**settings)
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {"class": "mnist_lab.models.lenet.LeNet", "data": described},
    }
    torch.save(content, path)


def expected(folder, images):
    """What the bare network says: probabilities `(N, K)`."""
    with torch.inference_mode():
        return models.load(folder)(torch.from_numpy(images).unsqueeze(1)).softmax(1).numpy()


def idx(images):
    return struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()


NAMES = ["label", *(f"pixel{i}" for i in range(784))]


def table(images, labels=None):
    rows = images.reshape(-1, 784).tolist()
    if labels is not None:
        rows = [[label, *row] for label, row in zip(labels, rows, strict=True)]
    header = NAMES if labels is not None else NAMES[1:]
    return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])


def as_pngs(folder, images):
    folder.mkdir()
    for i, each in enumerate(images):
        Image.fromarray(each).save(folder / f"{i:05}.png")


def assert_predicts(path, probabilities, classes="0123456789"):
    found = rows(path)
    each = np.array([[float(row[f"p{k}"]) for k in range(len(classes))] for row in found])
    # Another division into batches sums in another order.
    np.testing.assert_allclose(each, probabilities, atol=1e-6)
    assert [row["prediction"] for row in found] == [classes[k] for k in each.argmax(1)]
    assert [float(row["confidence"]) for row in found] == each.max(1).tolist()
    assert (each.argmax(1) == probabilities.argmax(1)).all()
    return found


def install_built(project, site):
    """Build a project's wheel and unpack it into `site`, as an installer does."""
    built = site.parent / "dist"
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(built)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    (wheel,) = built.glob("*.whl")
    install = [
        *(sys.executable, "-m", "uv", "pip", "install", "--no-deps", "--offline"),
        *("--target", str(site), str(wheel)),
    ]
    subprocess.run(install, check=True, capture_output=True)
    wheel.unlink()
