"""Which figures there are of a run, of a model's predictions, of a dataset; and their files."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mnist_lab.data import DataModule
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import Classifier, inside
from mnist_lab.system.files import whole
from mnist_lab.training.ending import FinishedRun
from mnist_lab.training.history import History

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure


def of_run(run: FinishedRun) -> dict[str, "Figure"]:
    """All figures of a run that has been tested, by their files' names."""
    from mnist_lab.reports import figures

    assert run.evaluation is not None
    history = next((x for x in run.trainer.loggers if isinstance(x, History)), None)
    drawn = {}
    if history is not None:
        drawn["curves"] = figures.curves(history.series(), run.result.best_epoch)
    if not isinstance(run.data, DataModule):
        return drawn | of_predictions(None, run.evaluation)
    tested = len(run.evaluation.labels)  # of limited batches only the first
    images = run.data.tensors("test")[0][:tested].cpu()
    drawn |= {**of_predictions(images, run.evaluation), **of_dataset(run.data)}
    if isinstance(run.model, Classifier):
        drawn |= of_network(run.model, images[0], run.data.classes)
    return drawn


def of_predictions(images: Tensor | None, evaluation: Evaluation) -> dict[str, "Figure"]:
    """What was made of images `(N, C, H, W)`, beside the truth; without them, in numbers alone."""
    from mnist_lab.reports import figures

    labels, probabilities, classes = evaluation.labels, evaluation.probabilities, evaluation.classes
    shares = {name: evaluation.scores.by_class[name] for name in ("precision", "recall", "f1")}
    drawn = {
        "confusion_matrix": figures.confusion_matrix(
            evaluation.scores.confusion, classes, "confusion matrix"
        ),
        "per_class": figures.per_class(**shares, classes=classes),
        "reliability": figures.reliability(probabilities, labels),
    }
    if images is not None:
        few = slice(24)
        drawn |= {
            "confusions": figures.confusions(images, labels, evaluation.predictions, classes),
            "mistakes": figures.mistakes(images, labels, probabilities, classes),
            "predictions": figures.predictions(
                images[few], probabilities[few], classes, labels[few]
            ),
        }
    return drawn


def of_dataset(data: DataModule) -> dict[str, "Figure"]:
    """How many images of each class the splits hold, and some to train on."""
    from mnist_lab.reports import figures

    splits = ("train", "val", "test") if data.has_validation else ("train", "test")
    labels = {split: data.tensors(split)[1].cpu() for split in splits}
    counts = {k: torch.bincount(v, minlength=len(data.classes)) for k, v in labels.items()}
    images = data.tensors("train")[0].cpu()
    return {
        "class_distribution": figures.class_distribution(counts, data.classes),
        "samples": figures.samples(images, labels["train"], data.classes),
    }


def of_network(model: Classifier, image: Tensor, classes: Sequence[str]) -> dict[str, "Figure"]:
    """The first layer's filters, and what the network makes of one image `(C, H, W)`."""
    from mnist_lab.reports import figures

    drawn = {}
    filters = inside.filters(model)
    if filters is not None and filters.shape[1] in (1, 3):
        drawn["filters"] = figures.filters(filters)
    for number, (name, maps) in enumerate(inside.feature_maps(model, image).items(), start=1):
        drawn[f"feature_maps_{number}"] = figures.feature_maps(
            f"{name} (convolution {number})", maps
        )
    drawn["outputs"] = figures.output_strip(inside.outputs(model, image), classes)
    return drawn


def save(folder: Path, drawn: dict[str, "Figure"]) -> None:
    """Each figure as a PNG file of its name, twice as large as it is read; none is left then."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in list(drawn):
        figure = drawn.pop(name)  # which keeps its pixels: 8 MB, of a run's 14 figures each
        with whole(folder / f"{name}.png", "wb") as file:
            figure.savefig(file, format="png", dpi=200)
