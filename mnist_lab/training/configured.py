"""The run that a configuration describes: found finished in its folder, or made now."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.loggers import TensorBoardLogger

from mnist_lab import Diverged, LabError
from mnist_lab.data import Source, Transform
from mnist_lab.models.attacks import PGD
from mnist_lab.models.classifier import MakeOptimizer, MakeScheduler
from mnist_lab.models.distillation import Distillation
from mnist_lab.runs import folder as run_folder
from mnist_lab.runs.result import Result
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import in_folder
from mnist_lab.settings.ranges import Count, Seed, Threads
from mnist_lab.settings.roles import Mode, mode_of
from mnist_lab.system import processes
from mnist_lab.training.attributes import attributes
from mnist_lab.training.continuation import LastCheckpoint
from mnist_lab.training.ending import draw_later, draw_now
from mnist_lab.training.handover import Facts
from mnist_lab.training.history import History
from mnist_lab.training.run import train
from mnist_lab.training.trainer import quieten

log = logging.getLogger(__name__)


@dataclass
class Settings:
    """The root of `conf/train.yaml`, as objects: which keys there are, and of which type."""

    seed: Seed
    monitor: str
    mode: Mode
    folder: str
    init_from: str | None
    resume: str | None
    trust: list[str]
    checkpoint_every_n_steps: int | None
    augment: Transform | None  # before `data` and `model`, which repeat them: errors name these
    optimizer: MakeOptimizer | None
    scheduler: MakeScheduler | None
    data: L.LightningDataModule
    model: L.LightningModule
    trainer: L.Trainer
    # Not in the folders of earlier versions:
    distil: Distillation | None = None
    attack: PGD | None = None
    sweep: str | None = None
    test: bool = True
    sweep_patience: Count | None = None
    threads: Threads | None = None
    artefacts: Literal["all", "few"] | None = None


def train_configured(
    plain: dict[str, Any],
    folder: Path,
    *,
    resume: bool = False,
    gpu: int | None = None,
    alone: bool = False,
    callbacks: Sequence[L.Callback] = (),
    notes: Sequence[str] = (),
    started: float | None = None,
) -> Result:
    """Check and build what `plain` describes, and train it, unless its folder says that it is done.

    Args:
        plain: what `config.yaml` holds, or is to hold.
        resume: whether the folder is known to be this run's; else it may be no other run's.
        gpu: the number of the one to use, whatever the configuration says.
        alone: refuse several processes.
        callbacks: beside the run's own; they watch it from outside, and `config.yaml` is silent
            about them.
        notes: lines for the log, once nothing can be refused any more.
        started: as `train` takes it.

    Raises:
        Diverged: now or before.
        LabError: a setting that doesn't fit, and whatever `train` refuses.
    """
    plain = _for_the_data(plain)
    settings = in_folder(plain, folder)
    if gpu is not None:
        settings["trainer"]["devices"] = [gpu]
    quieten()
    signatures.check(settings, Settings)
    mode_of(settings["monitor"], settings["mode"])
    seed_everything(settings["seed"], verbose=False)
    built = Settings(**signatures.build(settings))
    if built.threads is not None:
        torch.set_num_threads(built.threads)
        if built.trainer.world_size > 1:  # else Lightning takes a number of its own
            os.environ["OMP_NUM_THREADS"] = str(built.threads)
    trainer = built.trainer
    attributes(trainer).callbacks.extend(callbacks)
    if alone and trainer.world_size > 1:
        raise LabError(
            f"{trainer.world_size} processes for each job of a sweep: each of them would start the "
            "sweep again; use trainer.devices=1 with hydra/launcher=joblib, which runs jobs side "
            "by side, or start the runs one by one"
        )
    if trainer.world_size >= 2**31:
        raise LabError(f"trainer.num_nodes={trainer.num_nodes}: more than there are numbers for")
    every = built.checkpoint_every_n_steps
    if every and not any(isinstance(c, LastCheckpoint) for c in attributes(trainer).callbacks):
        raise LabError(
            f"checkpoint_every_n_steps={every}: no callback of this run writes last.ckpt"
        )
    if not resume and processes.rank() == 0 and not attributes(trainer).fast_dev_run:
        run_folder.refuse_others(folder, plain, Facts.of(built.data).incidental)
    own = (History, TensorBoardLogger)
    followed = not all(isinstance(logger, own) for logger in trainer.loggers)
    few = built.artefacts == "few" or (built.artefacts is None and alone and not followed)
    for line in notes:
        log.info("%s", line)
    result = None if run_folder.longer(folder, plain) else Result.read(folder)
    if resume and not (folder / "checkpoints/last.ckpt").exists():
        log.info("%s: has no checkpoint yet, and begins anew", folder)
    if result is not None and result.status == "diverged":
        raise Diverged(f"{folder}: diverged before: {result.reason}")
    if result is not None and result.status == "pruned":
        log.info("%s: pruned before: %s", folder, result.reason)
        return result
    untested = result is not None and result.metrics.get("test/accuracy") is None
    if result is not None and not (untested and built.test):
        log.info("Finished before: %s", folder)
        if result.metrics.get("test/accuracy") is not None and not few:
            draw_now(folder, result, built.data, built.model, trainer)
        return result
    if few:
        draw_later(folder, trainer)
    return train(
        built.data,
        built.model,
        trainer,
        init_from=built.init_from,
        resume=True,
        test=built.test,
        trust=built.trust,
        plain=plain,
        started=started,
    )


def _for_the_data(plain: dict[str, Any]) -> dict[str, Any]:
    """With as many classes and channels of the model as the dataset has, unless it says how many.

    Raises:
        ConfigError: a setting of the dataset that doesn't fit.
    """
    model, source = plain["model"], plain["data"].get("source")
    if not isinstance(model, dict) or "_target_" not in model:
        return plain  # which `check` refuses
    if not isinstance(source, dict) or "_target_" not in source:
        known = {k: v for k, v in model.items() if k != "num_classes" or v is not None}
        return {**plain, "model": known}
    signatures.check(source, signatures.locate(source["_target_"], "data.source"), "data.source.")
    built = signatures.build({"data.source": source})["data.source"]
    if not isinstance(built, Source):
        return plain
    facts = {}
    if model.get("num_classes", 0) is None:
        facts["num_classes"] = len(built.classes)
    if built.channels != 1 and "in_channels" not in model:
        taken = signatures.settings_of(model["_target_"], "model")
        if taken is None or "in_channels" in taken:
            facts["in_channels"] = built.channels
    return {**plain, "model": {**model, **facts}}
