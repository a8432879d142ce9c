"""What a run does before its first step."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.model_helpers import is_overridden

from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.models.summary import layer_table
from mnist_lab.runs import folder as run_folder
from mnist_lab.runs.described import described
from mnist_lab.settings import signatures
from mnist_lab.settings.identity import fingerprint
from mnist_lab.training.attributes import attributes
from mnist_lab.training.checks import prepare_to_continue
from mnist_lab.training.continuation import LastCheckpoint
from mnist_lab.training.handover import Facts, HandOver
from mnist_lab.training.hyperparameters import hyperparameters, tell_loggers
from mnist_lab.training.overhead import lean
from mnist_lab.training.stopping import ended_by
from mnist_lab.training.trainer import built_from

log = logging.getLogger(__name__)

_OF_A_RUN = ("config.yaml", "result.json", "checkpoints/last.ckpt")


def refuse_a_run_in(folder: Path) -> None:
    """Only who asks to go on with a run may use its folder.

    Raises:
        LabError: it holds one.
    """
    if any((folder / name).exists() for name in _OF_A_RUN):
        raise LabError(
            f"{folder}: holds a run; give another folder, or resume=True to go on with it"
        )


def begin(
    data: L.LightningDataModule,
    model: L.LightningModule,
    trainer: L.Trainer,
    plain: dict[str, Any] | None,
    resumed: Path | None,
    init_from: str | Path | None,
    test: bool,
) -> str | None:
    """Have the trainer ready for `fit`: weights, folder, loggers, callbacks; the images fetched.

    Args:
        plain: as `train` takes it.
        resumed: the checkpoint that the run goes on from.

    Returns:
        The hash of what determines the result; None where plain values cannot say it.
    """
    folder = Path(trainer.default_root_dir)
    facts = Facts.of(data)
    quick = attributes(trainer).fast_dev_run
    writer = trainer.strategy._checkpoint_io or checkpoint.CheckpointIO()
    assert isinstance(writer, checkpoint.CheckpointIO)  # others are refused
    writer.folder = folder.absolute()
    trainer.strategy.checkpoint_io = writer
    done = checkpoint.step_to_continue_from(resumed, model) if resumed is not None else 0
    if plain is None and not quick:
        plain = _read_off(data, model, trainer, resumed, init_from, test)
    if resumed is not None:
        prepare_to_continue(trainer)
    elif init_from is not None:
        checkpoint.init_from(model, init_from)
    folder.mkdir(parents=True, exist_ok=True)
    _append_to_dashboard(trainer, done)
    callbacks = attributes(trainer).callbacks
    if not any(isinstance(callback, HandOver) for callback in callbacks):
        callbacks.insert(0, HandOver())
    if not quick:
        callbacks.append(Beginning(folder, plain, hyperparameters(data, model, trainer)))
    # It holds the others' states.
    callbacks.sort(key=lambda callback: isinstance(callback, LastCheckpoint))
    log.info("%s", layer_table(model))
    _say_what_is_lacking(data, model)
    if isinstance(data, DataModule):
        data.prepare_data()
    validates = facts.validates and is_overridden("validation_step", model)
    if not validates or trainer.limit_val_batches == 0:
        _train_without_validation(trainer)
    lean(trainer)
    return None if plain is None else fingerprint(plain, facts.incidental)


class Beginning(Callback):
    """When its first step is due, makes a folder the run's, and tells loggers of what it is made.

    Whatever can be refused was before.

    Args:
        plain: what `config.yaml` is to hold; without it there will be none.
    """

    def __init__(
        self, folder: Path, plain: dict[str, Any] | None, values: Mapping[str, Any]
    ) -> None:
        self.folder, self.plain, self.values = folder, plain, values
        self._begun = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._begun = not trainer.fit_loop.done
        if self._begun and trainer.is_global_zero:
            if self.plain is not None:
                run_folder.begin(self.folder, self.plain)
            tell_loggers(trainer, values=self.values)

    def on_fit_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        longer = self.plain is not None and run_folder.longer(self.folder, self.plain)
        if longer and not self._begun:
            raise LabError(
                f"trainer.max_epochs={trainer.max_epochs}: more epochs change nothing: this run "
                f"was ended by {ended_by(trainer)}"
            )


def _say_what_is_lacking(data: L.LightningDataModule, model: L.LightningModule) -> None:
    """Of a stranger's data or model: what a run with ours would have, and this one hasn't."""
    if not isinstance(data, DataModule):
        log.info(
            "%s is not a DataModule of mnist_lab.data: its classes are numbers, there are no "
            "figures of its images, and a run that goes on within an epoch sees other batches.",
            type(data).__name__,
        )
        if not Facts.of(data).tests:
            log.info("%s has no test_dataloader: nothing is tested.", type(data).__name__)
    if not isinstance(model, Classifier):
        log.info(
            "%s is not a Classifier of mnist_lab.models: there are no figures of what is inside "
            "it, and a run that goes on within an epoch knows of it what its state_dict holds.",
            type(model).__name__,
        )


def _read_off(
    data: L.LightningDataModule,
    model: L.LightningModule,
    trainer: L.Trainer,
    resumed: Path | None,
    init_from: str | Path | None,
    test: bool,
) -> dict[str, Any] | None:
    """For `config.yaml`; None, and a line says why, where plain values cannot say it all."""
    folder = Path(trainer.default_root_dir)
    known = run_folder.read_config(folder) if (folder / "config.yaml").exists() else None
    try:
        if resumed is not None and known is None:
            raise signatures.ConfigError("the run that is continued has none")
        root, callbacks = built_from.get(trainer, (None, None))
        if root is None:
            raise signatures.ConfigError("the trainer is not of training.default_trainer")
        if attributes(trainer).callbacks != callbacks:
            raise signatures.ConfigError("trainer: its callbacks were changed since it was made")
        begun_with = None if init_from is None else str(init_from)
        threads = torch.get_num_threads()
        root = {**root, "init_from": begun_with, "test": test, "threads": threads}
        seed = known["seed"] if resumed is not None and known is not None else None
        plain = described(data, model, root, seed)
    except signatures.ConfigError as error:
        if known is not None:
            raise LabError(f"{folder}: its config.yaml would no longer be true: {error}") from error
        log.info("No config.yaml, the run can be continued from Python only: %s", error)
        return None
    if known is None:
        return plain
    epochs = {"max_epochs": known["trainer"].get("max_epochs")}
    as_long = {**plain, "trainer": {**plain["trainer"], **epochs}}
    run_folder.refuse_others(folder, as_long, Facts.of(data).incidental)
    return run_folder.continued(folder, {"trainer.max_epochs": plain["trainer"]["max_epochs"]})


def _append_to_dashboard(trainer: L.Trainer, step: int) -> None:
    """Have TensorBoard drop what a killed process logged there after its last checkpoint."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger._kwargs["purge_step"] = step


def _train_without_validation(trainer: L.Trainer) -> None:
    log.info("No validation split: no early stopping, and the last checkpoint is the best.")
    callbacks = attributes(trainer).callbacks
    attributes(trainer).callbacks = [c for c in callbacks if not isinstance(c, EarlyStopping)]
    trainer.limit_val_batches = 0
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.monitor = None
