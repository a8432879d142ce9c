"""What a model is told of its data, and data of their model, when a fit or a test begins.

Models and data don't know each other: a stranger's LightningDataModule trains our models, and our
data train a stranger's LightningModule.
"""

import math
from typing import Any, NamedTuple

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.metrics.evaluation import shortest
from mnist_lab.models import Classifier
from mnist_lab.training.attributes import attributes


class Facts(NamedTuple):
    """What a run says of its data."""

    name: str
    seed: int
    """Of the order of batches; of a stranger's data, that of torch's generator."""
    incidental: tuple[str, ...] | None
    """As `roles.influential` takes it."""
    validates: bool
    tests: bool

    @classmethod
    def of(cls, data: L.LightningDataModule) -> "Facts":
        """Of data that may be a stranger's."""
        if isinstance(data, DataModule):
            source = data.source
            incidental = tuple(source.incidental)
            return cls(source.name, data.seed, incidental, data.has_validation, True)
        own = [is_overridden(f"{split}_dataloader", data) for split in ("val", "test")]
        return cls(type(data).__name__, torch.initial_seed() % 2**32, None, *own)


def name_of(model: L.LightningModule) -> str:
    """What the model is called in results."""
    return model.name if isinstance(model, Classifier) else type(model).__name__.lower()


class HandOver(Callback):
    """Tells a `Classifier` what it needs of its data, and a `DataModule` what its model takes.

    `train` and `default_trainer` add it; a Trainer of one's own that fits without `train` needs it
    for `model.normalize=train`.
    """

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """After the data's own, so that they lie where they are used; before the model's."""
        data = attributes(trainer).datamodule
        ours = isinstance(data, DataModule)
        if not isinstance(pl_module, Classifier):
            if ours:
                data.give_out(None, as_floats=True)
            return
        if ours:
            if stage != "predict":
                split = "test" if stage == "test" else "train"
                pl_module.check_channels(data.tensors(split)[0])
            # Teachers are shown the images as they are, and may be of another size; it is as they
            # are that an attack changes them.
            plain = pl_module.distil is None and pl_module.attack is None
            data.give_out(pl_module.fitted if plain else None)
            pl_module.classes = data.classes
        if stage == "fit" and data is not None:
            if pl_module.normalize == "train":
                pl_module.normalise_by(*(data.statistics() if ours else statistics(data)))
            pl_module.total_steps = total_steps(trainer, data)
            pl_module.trained_on = _provenance(data)

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """What a `Classifier` writes of itself, for a stranger's model."""
        if not isinstance(pl_module, Classifier):
            checkpoint.setdefault("hyper_parameters", {})  # of one that saves none
            checkpoint["mnist_lab"] = {
                "class": f"{type(pl_module).__module__}.{type(pl_module).__qualname__}",
                **_provenance(attributes(trainer).datamodule),
                "metrics": {k: shortest(v) for k, v in trainer.callback_metrics.items()},
            }


def _provenance(data: L.LightningDataModule) -> dict[str, Any]:
    """What a checkpoint says of the data."""
    if isinstance(data, DataModule):
        return {"data": data.description(), "typical": data.typical()._asdict()}
    return {"data": None, "typical": None}


def statistics(data: L.LightningDataModule) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation `(C,)` of an epoch of a stranger's training batches, in 0..1.

    Raises:
        LabError: batches that are no pairs of images `(N, C, H, W)` and labels.
    """
    sums = squares = torch.zeros(())
    count = 0
    with torch.random.fork_rng():  # whoever goes on is left the same random numbers
        for batch in data.train_dataloader():
            images = batch[0] if isinstance(batch, tuple | list) and len(batch) == 2 else None
            if not (isinstance(images, Tensor) and images.ndim == 4):
                raise LabError(
                    f"{type(data).__name__}: batches must be pairs (images, labels), images of "
                    "(N, C, H, W)"
                )
            pixels = images.double() if images.is_floating_point() else images.double() / 255
            sums = sums + pixels.sum((0, 2, 3)).cpu()
            squares = squares + pixels.square().sum((0, 2, 3)).cpu()
            count += pixels.numel() // pixels.shape[1]
    mean = sums / count
    deviation = (squares / count - mean.square()).clamp(min=0).sqrt()
    return mean.float(), deviation.float()


def total_steps(trainer: L.Trainer, data: L.LightningDataModule) -> int:
    """How many steps a fit will have, before it has begun.

    Raises:
        LabError: a loader whose length nobody knows.
    """
    # Not `estimated_stepping_batches`: asked this early, it sets the training loader up before
    # a continued run's position in it has been restored, which is then lost.
    epochs = trainer.max_epochs
    if epochs is None:
        return int(trainer.estimated_stepping_batches)
    if epochs < 0:
        return trainer.max_steps
    try:
        batches = len(data.train_dataloader())
    except TypeError as error:
        raise LabError(f"train_dataloader must have a length: {error}") from error
    limit = trainer.limit_train_batches
    batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    for callback in attributes(trainer).callbacks:
        if isinstance(callback, GradientAccumulationScheduler):
            together = [callback.get_accumulate_grad_batches(epoch) for epoch in range(epochs)]
            break
    else:
        together = [trainer.accumulate_grad_batches] * epochs
    steps = sum(math.ceil(batches / count) for count in together)
    return steps if trainer.max_steps == -1 else min(steps, trainer.max_steps)
