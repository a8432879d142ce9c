"""What a run is made of, as loggers show it."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger

from mnist_lab.data import DataModule
from mnist_lab.models import Classifier
from mnist_lab.runs.result import Result
from mnist_lab.settings.roles import Role, keys
from mnist_lab.training.attributes import attributes
from mnist_lab.training.handover import Facts, name_of
from mnist_lab.training.history import History


def hyperparameters(
    data: L.LightningDataModule, model: L.LightningModule, trainer: L.Trainer
) -> dict[str, Any]:
    """What a run was built from, by the names that `conf/` has for it: plain values."""
    facts = Facts.of(data)
    values: dict[str, Any] = {"data": facts.name}
    if isinstance(data, DataModule):
        sizes = keys(Role.SHOWN, "data.")
        values |= {key: getattr(data, key.removeprefix("data.")) for key in sizes}
        values |= _named("augment", data.augment)
    values["model"] = name_of(model)
    values |= {f"model.{k}": _plain(v) for k, v in model.hparams.items() if k != "name"}
    if isinstance(model, Classifier):
        values["model.decay"] = model.decay
        values |= _named("distil", model.distil)
        values |= _named("attack", model.attack)
        values |= _named("optimizer", model._make_optimizer)
        values |= _named("scheduler", model._make_scheduler)
    callbacks = attributes(trainer).callbacks
    averaging = next((each for each in callbacks if isinstance(each, WeightAveraging)), None)
    values |= _named("trainer.callbacks.ema", averaging)
    return {
        **values,
        "trainer.max_epochs": trainer.max_epochs,
        "trainer.precision": str(trainer.precision),
        "seed": facts.seed,
    }


def tell_loggers(
    trainer: L.Trainer, values: Mapping[str, Any] | None = None, result: Result | None = None
) -> None:
    """Give every logger the hyperparameters, or the final metrics as `final/...`.

    But for those of the run's folder: `metrics.csv` has a row an epoch, and TensorBoard's table of
    runs is the dashboard's, by one entry for both. A logger with an `on_run_begun(values)` is
    given them by that: `log_hyperparams` is called by Lightning, too, with what a model keeps.
    """
    for logger in trainer.loggers:
        if isinstance(logger, History | TensorBoardLogger):
            continue
        if values is not None:
            getattr(logger, "on_run_begun", logger.log_hyperparams)(dict(values))
        if result is not None:
            known = {k: value for k, value in result.metrics.items() if value is not None}
            metrics = {f"final/{name.replace('/', '_')}": value for name, value in known.items()}
            logger.log_metrics(metrics, trainer.global_step)
            logger.save()


def _named(group: str, given: Any) -> dict[str, Any]:
    """An object or function by its name, with its settings beside it."""
    if isinstance(given, partial):
        name, values = given.func.__name__, given.keywords
    else:
        name = "none" if given is None else getattr(given, "__name__", type(given).__name__)
        values = getattr(given, "__dict__", {})
    shown = {f"{group}.{k}": _plain(v) for k, v in values.items() if not k.startswith("_")}
    return {group: name, **shown}


def _plain(value: Any) -> str | float | None:
    return value if value is None or isinstance(value, str | int | float) else str(value)
