"""`hydra/sweeper=optuna`: jobs whose settings follow from how the earlier ones did."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from mnist_lab import LabError
from mnist_lab.cli import patience
from mnist_lab.cli.errors import reason_of
from mnist_lab.cli.standings import loss_of
from mnist_lab.cli.sweeps import job_names, note_jobs
from mnist_lab.runs.folder import claimed
from mnist_lab.settings.roles import without_influence

if TYPE_CHECKING:  # takes a while
    import optuna

NAME = "search"  # of the study in its storage
TRIAL = "trial"  # a job's number in it, among its settings of `hydra.sweeper`
PRUNERS = ("median", "hyperband")
_JOURNAL, _FORMER = "search.journal", "search.db"

Point = dict[str, Any]
Trial = tuple[int, Point]  # by its number


class OptunaSweeper(Sweeper):
    """A search by Optuna's TPE, kept in `search.journal` in the sweep's folder.

    No point is tried twice. One that was ended goes on: jobs that were running or failed come
    first, and each new point follows from `seed` and those before it. The winner alone is tested.
    With a pruner, jobs report each epoch to the same file, and those without hope end early.

    Args:
        n_trials: points in all, over all times that the command is given.
        n_jobs: points chosen, and given to the launcher, together; `seed`: of their choice.
        pruner: which of Optuna's, as it is there: None, `median` or `hyperband`.
        params: the space, as on the command line: `optimizer.lr: tag(log, interval(1e-4, 1e-1))`.
    """

    def __init__(
        self,
        n_trials: int,
        n_jobs: int = 1,
        seed: int = 0,
        pruner: str | None = None,
        params: Any = None,
    ) -> None:
        self.n_trials, self.n_jobs, self.seed = n_trials, n_jobs, seed
        self.pruner, self.params = pruner, params or {}

    def setup(
        self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig
    ) -> None:
        self._parser = OverridesParser.create(config_loader=hydra_context.config_loader)
        self._config, self._folder = config, Path(config.hydra.sweep.dir)
        launcher = Plugins.instance().instantiate_launcher(hydra_context, task_function, config)
        self._launch = launcher.launch

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """Run what is missing of `n_trials` points, then the winner's test."""
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        for name in ("n_trials", "n_jobs"):
            if not isinstance(count := getattr(self, name), int) or count < 1:
                raise LabError(f"hydra.sweeper.{name}={count}: must be a whole number from 1 on")
        if self.pruner not in (None, *PRUNERS):
            known = ", ".join(PRUNERS)
            raise LabError(f"hydra.sweeper.pruner={self.pruner}: must be null or one of {known}")
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        by_key = {each.get_key_element(): each for each in self._parser.parse_overrides(given)}
        space = {key: _range(each) for key, each in by_key.items() if each.is_sweep_override()}
        if not space:
            raise LabError("hydra/sweeper=optuna: nothing to search; try search=training")
        fixed = [f"{k}={v.get_value_element_as_str()}" for k, v in by_key.items() if k not in space]
        if self.pruner == "hyperband":  # which shares out a number of epochs that all have
            epochs = self._config.trainer.max_epochs
            if "trainer.max_epochs" in space or not isinstance(epochs, int) or epochs < 1:
                raise LabError(
                    "hydra.sweeper.pruner=hyperband: needs one trainer.max_epochs for all"
                )
        with claimed(self._folder):
            return self._search(space, fixed)

    def _search(self, space: Point, fixed: list[str]) -> list[JobReturn]:
        from optuna.trial import TrialState as state  # noqa: N813

        study = self._study(space, fixed)
        returns: list[JobReturn] = []
        failed: set[int] = set()  # left running in the storage: tried again by the next command
        while batch := self._next(study, space, failed):
            if (line := patience.given_up(self._folder)) is not None:
                raise LabError(line)
            jobs = [[*fixed, "test=false", *_overrides(point)] for _, point in batch]
            names = job_names(self._config, jobs)
            note_jobs(names, [_overrides(point) for _, point in batch])
            if self.pruner is not None:
                for job, (number, _) in zip(jobs, batch, strict=True):
                    job.append(f"+hydra.sweeper.{TRIAL}={number}")
            done = self._launch(jobs, batch[0][0])
            for (number, _), name, each in zip(batch, names, done, strict=True):
                if each.status != JobStatus.COMPLETED:
                    failed.add(number)
                elif each.return_value is not None:
                    study.tell(number, each.return_value)
                elif _pruned(self._folder / name):
                    study.tell(number, state=state.PRUNED)
                else:
                    raise LabError(f"monitor={self._config.monitor}: no result has it to search by")
            returns += done
        finished = study.get_trials(states=(state.COMPLETE,))
        if finished:
            level = [trial for trial in finished if trial.value == study.best_value]
            points = [[*fixed, *_overrides(trial.params)] for trial in level]
            names = job_names(self._config, points)
            note_jobs(names, [_overrides(trial.params) for trial in level])
            losses = [loss_of(self._folder / name) for name in names]
            winner = points[losses.index(min(losses))]
            drawn = [] if any(_key(each) == "artefacts" for each in fixed) else ["artefacts=all"]
            returns += self._launch([[*winner, "test=true", *drawn]], len(study.trials))
        for each in returns:
            _ = each.return_value  # raises what a failed job raised
        return returns

    def _study(self, space: Point, fixed: list[str]) -> "optuna.Study":
        import optuna

        source = self._config.data.source._target_
        told = {each for each in fixed if not without_influence(_key(each), source)}
        told |= {f"{key}: {each!r}" for key, each in space.items()}
        told |= {f"monitor={self._config.monitor}", f"mode={self._config.mode}"}
        former = self._folder / _FORMER
        if former.exists() and self.pruner is not None:
            raise LabError(
                f"{former}: a search of an earlier version, to which jobs can't report; "
                f"for hydra.sweeper.pruner={self.pruner} begin another one, sweep=NAME"
            )
        storage = former if former.exists() else self._folder / _JOURNAL
        try:
            study = optuna.create_study(
                storage=f"sqlite:///{former}" if former.exists() else journal(self._folder),
                direction="maximize" if self._config.mode == "max" else "minimize",
                study_name=NAME,
                load_if_exists=True,
            )
            before = set(study.user_attrs.get("search", told))
        except Exception as error:  # whatever Optuna or SQLAlchemy make of a file that is none
            raise LabError(f"{storage}: cannot be used: {reason_of(error)}") from error
        if not any(each.startswith("data.root=") for each in before):  # of an earlier version
            before |= {each for each in told if each.startswith("data.root=")}
        if before != told:
            other = ", ".join(sorted(before - told))
            raise LabError(f"{self._folder}: is a search over {other}; name this one, sweep=NAME")
        study.set_user_attr("search", sorted(told))
        return study

    def _next(self, study: "optuna.Study", space: Point, failed: set[int]) -> list[Trial]:
        """The trials to run together now."""
        from optuna.samplers import TPESampler
        from optuna.trial import TrialState as state  # noqa: N813

        known, batch, draws = set[tuple[str, ...]](), list[Trial](), 0
        for trial in study.trials:
            point = tuple(_overrides(trial.params))
            if trial.params.keys() == space.keys() and point not in known:
                known.add(point)
                if trial.state == state.RUNNING and trial.number not in failed:
                    batch.append((trial.number, trial.params))
            elif trial.state == state.RUNNING:  # being chosen when it ended
                study.tell(trial.number, state=state.FAIL)
        while len(known) < self.n_trials and len(batch) < self.n_jobs and draws < 100:
            # Anew for each point: what comes next must not depend on when a process was ended.
            seed = 1_000_003 * self.seed + 1_009 * len(known) + draws
            study.sampler = TPESampler(seed=seed, constant_liar=self.n_jobs > 1)
            chosen = study.ask(space)
            if (point := tuple(_overrides(chosen.params))) not in known:
                known.add(point)
                batch.append((chosen.number, chosen.params))
            else:
                study.tell(chosen, state=state.FAIL)
                draws += 1
        if not batch and draws:
            print(f"No new points in this space: {len(known)} instead of {self.n_trials}.")
        return batch[: self.n_jobs]


def journal(folder: Path) -> "optuna.storages.JournalStorage":
    """What a search knows, in a file that jobs on other machines write to as well.

    Its lock is a file that is created exclusively, which shared file systems can do between
    machines (NFS from version 3 on), where locks of an open file often hold on one machine alone.
    One that a killed process leaves is taken over after half a minute. (Optuna's other kind of
    lock, a symbolic link, never is where paths are relative.)
    """
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = str(folder / _JOURNAL)
    return JournalStorage(JournalFileBackend(path, JournalFileOpenLock(path)))


def _pruned(folder: Path) -> bool:
    from mnist_lab.runs.result import Result  # whose pydantic takes a while

    result = Result.read(folder)
    return result is not None and result.status == "pruned"


def _key(override: str) -> str:
    return override.lstrip("+").partition("=")[0]


def _range(override: Override) -> Any:
    import optuna.distributions as of

    value = override.value()
    if not isinstance(value, IntervalSweep):
        return of.CategoricalDistribution(list(override.sweep_string_iterator()))
    kind: Any = of.IntDistribution if isinstance(value.start, int) else of.FloatDistribution
    try:
        return kind(value.start, value.end, log="log" in value.tags)
    except ValueError as error:
        raise LabError(f"{override.input_line}: {error}") from error


def _overrides(point: Point) -> list[str]:
    """Settings of a job; numbers of an interval in three digits, by which a folder can be named."""
    return [f"{k}={f'{v:.3g}' if isinstance(v, float) else v}" for k, v in point.items()]
