"""What others wrote and a run is given: callbacks that can't go, and models that don't fit."""

import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import (
    BatchSizeFinder,
    Callback,
    EarlyStopping,
    LearningRateFinder,
    ModelCheckpoint,
    ModelPruning,
    SpikeDetection,
    StochasticWeightAveraging,
    Timer,
    WeightAveraging,
)
from lightning.pytorch.strategies import Strategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.models import Classifier
from mnist_lab.models.checkpoint import CheckpointIO
from mnist_lab.settings import signatures
from mnist_lab.settings.roles import mode_of
from mnist_lab.training.attributes import attributes

log = logging.getLogger(__name__)


_REFUSED: Mapping[type[Callback], str] = {
    BatchSizeFinder: "what it finds would not stand in the run's configuration; find it with "
    "Lightning's Tuner, from Python, and set data.batch_size",
    LearningRateFinder: "what it finds would not stand in the run's configuration; find it with "
    "Lightning's Tuner, from Python, and set optimizer.lr",
    StochasticWeightAveraging: "puts its average into the model when all checkpoints have been "
    "written; that of average=swa, as of Lightning's WeightAveraging, is in each of them",
}
_CLOCK = "a run that ends by the clock neither repeats nor continues exactly"


def check_callbacks(trainer: L.Trainer) -> None:
    """Refuse what would leave a folder that says something else than what was trained.

    Raises:
        LabError: a callback or plugin that doesn't go with a run.
    """
    callbacks = attributes(trainer).callbacks
    averages = [type(each).__name__ for each in callbacks if isinstance(each, WeightAveraging)]
    if len(averages) > 1:
        raise LabError(f"{' and '.join(averages)}: a run is tested with one average of its weights")
    for callback in callbacks:
        for kind, reason in _REFUSED.items():
            if isinstance(callback, kind):
                raise LabError(f"{type(callback).__name__}: {reason}")
        if isinstance(callback, ModelPruning) and not callback._make_pruning_permanent:
            raise LabError(
                "ModelPruning: with make_pruning_permanent=false no checkpoint is readable"
            )
        if isinstance(callback, Timer) and callback.time_remaining() is not None:
            raise LabError(f"trainer.max_time (a Timer): {_CLOCK}; give max_epochs or max_steps")
    if attributes(trainer)._val_check_time_interval is not None:
        raise LabError(f"trainer.val_check_interval: {_CLOCK}; give it in batches")
    strategy: Strategy = trainer.strategy
    if not isinstance(strategy._checkpoint_io, CheckpointIO | None):
        raise LabError(
            f"{type(strategy._checkpoint_io).__name__}: checkpoints are written whole and sealed, "
            "by mnist_lab.models.checkpoint.CheckpointIO or a subclass of it"
        )


def prepare_to_continue(trainer: L.Trainer) -> None:
    """Before callbacks are given their states back from a checkpoint."""
    for callback in attributes(trainer).callbacks:
        if isinstance(callback, ModelPruning):
            log.warning("ModelPruning: its masks are in no checkpoint; continued, but not exactly.")
        if isinstance(callback, SpikeDetection):  # Lightning 2.6 looks for it by the wrong name
            vars(callback)["running"] = callback.running_mean


def check_model(model: Classifier) -> None:
    """Show the model one empty image.

    Raises:
        LabError: a layer, which is named, doesn't fit what it is given.
    """
    name = type(model).__name__
    if not isinstance(getattr(model, "network", None), nn.Module):
        raise LabError(f"{name}: its constructor must set self.network, from images to logits")
    for hook in ("setup", "on_save_checkpoint", "on_load_checkpoint"):
        for owner in type(model).__mro__[: type(model).__mro__.index(Classifier)]:
            own = inspect.unwrap(vars(owner).get(hook, Classifier.setup))
            if vars(owner).get(hook) and not {"super", "Classifier"} & {*own.__code__.co_names}:
                raise LabError(f"{owner.__name__}: its {hook} must call super().{hook}, too")
    names = {layer: path for path, layer in model.named_modules()}
    under_way: list[tuple[nn.Module, Any]] = []

    def enter(layer: nn.Module, inputs: Any) -> None:
        given = inputs[0] if inputs else None
        under_way.append((layer, given.shape if isinstance(given, Tensor) else None))

    def leave(layer: nn.Module, inputs: Any, output: Any) -> None:
        under_way.pop()

    image = model.example_input_array
    assert isinstance(image, Tensor)
    handles = [
        handle
        for layer in model.network.modules()
        for handle in (layer.register_forward_pre_hook(enter), layer.register_forward_hook(leave))
    ]
    try:
        with model.judging():
            logits = model(image)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        if not under_way:
            raise
        layer, given = under_way[-1]
        place = f"{name}: {names[layer]} ({type(layer).__name__})"
        raise LabError(f"{place} {_misfit(layer, given, error)}") from error
    finally:
        for handle in handles:
            handle.remove()
    if not isinstance(logits, Tensor) or logits.shape != (1, model.num_classes):
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise LabError(
            f"{name}: of one image its network makes {found}; "
            f"logits are {[1, model.num_classes]}, a number a class"
        )


def _misfit(layer: nn.Module, given: Any, error: Exception) -> str:
    """What a layer takes, and what it was given."""
    if given is not None:
        takes = {nn.Linear: ("in_features", -1), nn.Conv2d: ("in_channels", 1)}
        takes[nn.BatchNorm2d] = takes[nn.BatchNorm1d] = ("num_features", 1)
        attribute, axis = takes.get(type(layer), ("", 0))
        if attribute and len(given) > axis and getattr(layer, attribute) != given[axis]:
            return (
                f"takes {attribute}={getattr(layer, attribute)}, and is given {given[axis]}, "
                f"as {list(given)}"
            )
        return f"cannot take {list(given)}: {str(error).splitlines()[0]}"
    return f"fails: {str(error).splitlines()[0]}"


def check(
    data: L.LightningDataModule, model: L.LightningModule, trainer: L.Trainer, test: bool
) -> None:
    """Refuse what none of them can know alone.

    Raises:
        LabError: the first setting that doesn't go with the others.
    """
    needed = {model: ("training_step", "configure_optimizers"), data: ("train_dataloader",)}
    for owner, names in needed.items():
        for name in names:
            if not is_overridden(name, owner):
                raise LabError(f"{type(owner).__name__}: has no {name}")
    if isinstance(model, Classifier):
        check_model(model)
    check_callbacks(trainer)
    _check_trainer(trainer, test)
    if isinstance(data, DataModule):
        _check_data(data, model, trainer, test)
    elif trainer.world_size > 1 and not trainer._accelerator_connector.use_distributed_sampler:
        raise LabError(
            f"trainer.use_distributed_sampler=false: {type(data).__name__} would give all "
            "processes the same images; true"
        )
    known = [f"val/{name}" for name in model.metrics] if isinstance(model, Classifier) else None
    for callback in attributes(trainer).callbacks:
        if isinstance(callback, ModelCheckpoint | EarlyStopping):
            monitor = callback.monitor
            if monitor is not None and known is not None and monitor not in known:
                raise LabError(
                    f"monitor={monitor}: no such metric{signatures.hint(monitor, known)}"
                )
            if monitor is not None:
                mode_of(monitor, callback.mode)


def _check_trainer(trainer: L.Trainer, test: bool) -> None:
    epochs = trainer.max_epochs
    if epochs == 0 or (epochs == -1 and trainer.max_steps == -1):
        raise LabError(f"trainer.max_epochs={epochs}: must be at least 1")
    for name in ("limit_train_batches", "max_steps"):
        if getattr(trainer, name) == 0:
            raise LabError(f"trainer.{name}=0: nothing would be trained")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
        value = getattr(trainer, name)
        if isinstance(value, int | float) and value <= 0:
            raise LabError(f"trainer.{name}={value}: must be positive")
    if str(trainer.precision) in ("16-true", "bf16-true"):
        mixed = str(trainer.precision).replace("true", "mixed")
        raise LabError(f"trainer.precision={trainer.precision}: sums would stall; {mixed} has none")
    if test and trainer.limit_test_batches == 0:
        raise LabError("trainer.limit_test_batches=0: it is test=false that leaves the test out")


def _check_data(data: DataModule, model: L.LightningModule, trainer: L.Trainer, test: bool) -> None:
    if isinstance(model, Classifier) and len(data.classes) != model.num_classes:
        raise LabError(
            f"model.num_classes={model.num_classes}: {data.source.name} has {len(data.classes)}"
        )
    size = data.source.sizes.get("test")
    if test and size is not None and isinstance(trainer.limit_test_batches, float):
        batches = math.ceil(size / data.eval_batch_size)
        if int(trainer.limit_test_batches * batches) == 0:
            raise LabError(
                f"trainer.limit_test_batches={trainer.limit_test_batches}: nothing of {batches} "
                "test batches; test=false leaves the test out"
            )
    if data.batch_size == 1 and any(isinstance(m, _BatchNorm) for m in model.modules()):
        raise LabError("data.batch_size=1: batch normalisation needs two images at least")
