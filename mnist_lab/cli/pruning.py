"""`hydra.sweeper.pruner`: jobs of a search that are given up, as one of Optuna's pruners says."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import lightning.pytorch as L
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf

from mnist_lab import Pruned
from mnist_lab.cli import search

if TYPE_CHECKING:  # takes a while
    from optuna.pruners import BasePruner


def watching(cfg: DictConfig) -> Sequence[Callback]:
    """What watches a job from outside: of a search with a pruner its `Pruning`, else nothing."""
    hydra = HydraConfig.get()
    trial = OmegaConf.select(hydra.sweeper, search.TRIAL)
    if trial is None:
        return []
    folder, kind, epochs = Path(hydra.sweep.dir), hydra.sweeper.pruner, cfg.trainer.max_epochs
    return [Pruning(folder, trial, kind, cfg.monitor, epochs)]


class Pruning(Callback):
    """Reports each validation to the search's storage, and ends a run that has no hope.

    It ends when its next epoch is due: what the last one came to has then been logged and saved,
    and a run that has no further epoch is simply finished. After an interruption an epoch that had
    been reported is trained again; its first report counts.

    Args:
        folder: the search's.
        trial: the number of the job's point in it.
        kind: of the pruner.
        monitor: the value that is reported.
        epochs: of a job that is not ended.
    """

    def __init__(self, folder: Path, trial: int, kind: str, monitor: str, epochs: int) -> None:
        import optuna

        study = optuna.load_study(
            study_name=search.NAME,
            storage=search.journal(folder),
            sampler=optuna.samplers.RandomSampler(),  # of which nothing is asked
            pruner=_pruner(kind, epochs),
        )
        stored = study.trials[trial]
        self.kind, self.monitor = kind, monitor
        self._trial = optuna.Trial(study, stored._trial_id)
        self._reported = dict(stored.intermediate_values)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        epoch = trainer.current_epoch
        if self.monitor in trainer.callback_metrics and epoch not in self._reported:
            self._reported[epoch] = float(trainer.callback_metrics[self.monitor])
            self._trial.report(self._reported[epoch], epoch)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        last = max(self._reported, default=None)
        if last is None or last >= trainer.current_epoch:  # that one is being trained again
            return
        if self._trial.should_prune():
            value = f"{self.monitor} {self._reported[last]:.4f}"
            raise Pruned(f"{value} after epoch {last + 1} ({self.kind})")


def _pruner(kind: str, epochs: int) -> "BasePruner":
    from optuna import pruners

    if kind == "median":
        return pruners.MedianPruner()
    return pruners.HyperbandPruner(max_resource=epochs)
