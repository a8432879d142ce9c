"""Which figures belong to a run, and that they show this run."""

import csv

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mnist_lab import models
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import LeNet
from mnist_lab.reports import gallery
from mnist_lab.training import run
from mnist_lab.training.ending import FinishedRun
from mnist_lab.training.trainer import default_trainer


def test_figures_of_predictions_are_those_of_sklearn():
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(300, 4, generator=generator).softmax(1)
    labels = torch.randint(0, 3, (300,), generator=generator)  # none of the last class
    images = torch.zeros(300, 1, 6, 6, dtype=torch.uint8)
    drawn = gallery.of_predictions(images, Evaluation(probabilities.log(), labels, list("abcd")))
    guess = probabilities.argmax(1)

    (axes,) = drawn["confusion_matrix"].axes
    counts = np.zeros((4, 4), dtype=int)
    for text in axes.texts:
        column, row = text.get_position()
        counts[row, column] = int(text.get_text())
    np.testing.assert_array_equal(counts, confusion_matrix(labels, guess, labels=range(4)))

    (axes,) = drawn["per_class"].axes
    shown = [points.get_xdata() for points in axes.lines]
    expected = precision_recall_fscore_support(labels, guess, labels=range(4), zero_division=0)
    np.testing.assert_allclose(shown, expected[:3])


class Ending(Callback):
    """Keeps what it is told at the end."""

    def on_run_end(self, run: FinishedRun) -> None:
        self.run = run


def test_a_runs_figures_show_its_images_beside_their_predictions(tmp_path, digits):
    callbacks = {"figures": None, "report": None, "dashboard": None, "ending": (end := Ending())}
    trainer = default_trainer(tmp_path, max_epochs=1, accelerator="cpu", callbacks=callbacks)
    run.train(digits, LeNet(), trainer)
    drawn = gallery.of_run(end.run)

    with open(tmp_path / "predictions.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    sure = [100 * float(row["confidence"]) for row in rows if row["truth"] != row["prediction"]]
    said = [t.get_text() for t in drawn["mistakes"].axes[0].texts if "%" in t.get_text()]
    shown = [float(text.split(", ")[1].removesuffix(" %")) for text in said]
    np.testing.assert_allclose(shown, sorted(sure, reverse=True)[: len(shown)], atol=0.051)
    assert len(shown) == min(32, len(sure))

    images, labels = digits.tensors("test")
    rows = [np.asarray(row.get_array()) for row in drawn["predictions"].axes[0].images]
    pixels = np.concatenate(rows)[..., 0]
    first = images[0, 0].numpy()
    corner = np.argwhere(pixels < 255)[0]
    cell = pixels[corner[0] : corner[0] + 28, corner[1] : corner[1] + 28]
    np.testing.assert_array_equal(cell, first)

    test = drawn["class_distribution"].axes[2]
    assert [b.get_width() for b in test.containers[0]] == np.bincount(labels).tolist()
    again = models.load(tmp_path)
    with torch.no_grad():
        outputs = again(images[:1]).softmax(1)[0]
    texts = [text.get_text() for text in drawn["outputs"].axes[0].texts]
    assert texts[::2] == [f"{value:.2f}" for value in outputs]


def test_saved_figures_are_twice_as_large_as_read(tmp_path):
    from matplotlib.figure import Figure
    from PIL import Image

    gallery.save(tmp_path / "figures", {"one": Figure(figsize=(3, 2))})
    (path,) = (tmp_path / "figures").iterdir()
    assert path.name == "one.png"
    with Image.open(path) as image:
        assert image.size == (600, 400)
