"""What networks make of corrupted images: the error of each corruption, in numbers and a figure."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf
from torch import Tensor

from mnist_lab import LabError
from mnist_lab.data import DataModule, Transform
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import Classifier, ensemble
from mnist_lab.reports import gallery
from mnist_lab.reports.page import number, percent
from mnist_lab.settings.conf import CONF
from mnist_lab.training.attributes import attributes

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

_SHOWN = 6  # images of each corruption


class Corruptions(Callback):
    """Once a run is tested, shows its network the test images under each corruption, too.

    `test/corruption_error/NAME` is the error of each, `test/corruption_error` their mean, and
    `figures/corruptions.png` shows them. The images are the same in all runs.

    Args:
        suite: corruptions by name.

    Raises:
        LabError: data or model are no `DataModule` and `Classifier`.
    """

    def __init__(self, suite: Mapping[str, Transform]) -> None:
        self.suite = suite

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        data = attributes(trainer).datamodule
        if not (isinstance(pl_module, Classifier) and isinstance(data, DataModule)):
            raise LabError(
                "trainer.callbacks.corruptions: needs a Classifier and a DataModule of mnist_lab"
            )

    def on_test_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        data: DataModule = attributes(trainer).datamodule
        assert isinstance(pl_module, Classifier)
        tested = slice(int(sum(trainer.num_test_batches)) * data.eval_batch_size)
        images, labels = (each[tested] for each in data.tensors("test"))

        def judged(images: Tensor) -> Evaluation:
            return ensemble.evaluate(
                pl_module, images, labels, data.classes, batch_size=data.eval_batch_size
            )

        evaluations, shown = judge(images, self.suite, judged, seed=0)
        errors = {name: 1 - evaluation.accuracy for name, evaluation in evaluations.items()}
        pl_module.log("test/corruption_error", _mean(list(errors.values())))
        for name, error in errors.items():
            pl_module.log(f"test/corruption_error/{name}", error)
        self._judged = shown, errors

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero and not attributes(trainer).fast_dev_run:
            clean = 1 - float(trainer.callback_metrics["test/accuracy"])  # known from here on
            drawn = {"corruptions": figure(*self._judged, clean)}
            gallery.save(Path(trainer.default_root_dir, "figures"), drawn)


def damaged(images: Tensor, transform: Transform, seed: int) -> Tensor:
    """Images after a random transform, in portions of 1000; the same seed gives the same."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return torch.cat([transform(part) for part in torch.split(images, 1000)])


def judge(
    images: Tensor,
    corruptions: Mapping[str, Transform],
    judged: Callable[[Tensor], Evaluation],
    seed: int,
) -> tuple[dict[str, Evaluation], dict[str, Tensor]]:
    """Evaluations and a few images of each corruption; one is held in memory at a time.

    Args:
        judged: what the networks make of images.
        seed: of each corruption anew, so that its images are those that it gives alone.

    Raises:
        LabError: one is not defined on such images.
    """
    for corruption in corruptions.values():  # before minutes are spent on others
        damaged(images[:1], corruption, seed)
    few = torch.linspace(0, len(images) - 1, min(_SHOWN, len(images))).long()
    evaluations, shown = {}, {}
    for name, corruption in corruptions.items():
        corrupted = damaged(images, corruption, seed)
        evaluations[name], shown[name] = judged(corrupted), corrupted[few].cpu()
    return evaluations, shown


def content(
    evaluations: Mapping[str, Evaluation],
    described: Mapping[str, Any],
    reference: Mapping[str, float] | None,
) -> dict[str, Any]:
    """The numbers of `evaluation.json`, errors as fractions.

    Args:
        described: the settings of each corruption, by its name.
        reference: a reference network's errors. `mce` is the mean of errors divided by these
            (Hendrycks and Dietterich, 2019), None unless each corruption has one and is what
            `conf/corrupt` describes by that name.
    """
    if reference is not None and not all(
        name in reference and settings == _shipped(name) for name, settings in described.items()
    ):
        reference = None
    each: dict[str, dict[str, Any]] = {}
    for name, evaluation in evaluations.items():
        error = 1 - evaluation.accuracy
        each[name] = {
            "error": shortest(error),
            "relative": None if reference is None else shortest(error / reference[name]),
            "worst_class": _worst_class(evaluation),
        }
    return {
        "mean_error": _mean([one["error"] for one in each.values()]),
        "mce": None if reference is None else _mean([one["relative"] for one in each.values()]),
        "each": each,
    }


def _shipped(name: str) -> Any:
    path = Path(CONF, "corrupt", f"{name}.yaml")
    return OmegaConf.to_container(OmegaConf.load(path)) if path.is_file() else None


def _worst_class(evaluation: Evaluation) -> dict[str, Any]:
    """The class, of those that occur, of whose images the largest share is not recognised."""
    confusion = evaluation.scores.confusion.double()
    there = confusion.sum(1)
    errors = (1 - confusion.diagonal() / there).masked_fill(there == 0, -1)
    worst = int(errors.argmax())
    return {"name": evaluation.classes[worst], "error": shortest(errors[worst])}


def _mean(values: Sequence[float]) -> float:
    return shortest(sum(values) / len(values))


def figure(shown: Mapping[str, Tensor], errors: Mapping[str, float], clean: float) -> "Figure":
    """A few images of each corruption, and its error beside that of uncorrupted images."""
    from mnist_lab.reports import figures

    return figures.corruptions(shown, errors, clean)


def rows(numbers: Mapping[str, Any]) -> list[list[str]]:
    """Head and rows of a table: each corruption's error, and the means."""
    compared = numbers["mce"] is not None
    table = [["corruption", "error", *(["times the reference"] if compared else []), "worst class"]]
    for name, one in numbers["each"].items():
        worst = f"{one['worst_class']['name']}: {percent(one['worst_class']['error'])}"
        relative = [number(one["relative"], ".3f")] if compared else []
        table.append([name.replace("_", " "), percent(one["error"]), *relative, worst])
    mce = [number(numbers["mce"], ".3f")] if compared else []
    return [*table, ["mean", percent(numbers["mean_error"]), *mce, ""]]


def told(numbers: Mapping[str, Any]) -> str:
    """The mean and mCE in a line."""
    count, mce = len(numbers["each"]), numbers["mce"]
    beside = "no reference" if mce is None else f"{mce:.3f}, where the reference network has 1"
    return (
        f"Mean error over {count} corruption{'' if count == 1 else 's'}: "
        f"{percent(numbers['mean_error'])}; mCE: {beside}."
    )
