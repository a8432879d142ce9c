"""How a command is run: errors in a line, the streams, Hydra's ways with failed jobs.

Imports nothing heavy.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from mnist_lab.cli import arguments
from mnist_lab.cli.errors import line_of
from mnist_lab.settings import packages
from mnist_lab.system import processes, streams


class Single(Callback):
    """Of a command that is no sweep: refuses -m, and says what to give it instead."""

    def __init__(self, instead: str) -> None:
        self.instead = instead

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Of any other exception Hydra would only warn.
        sys.exit(f"{config.hydra.job.name} takes {self.instead}, not -m")


class Table(Callback):
    """Of a sweep whose jobs are told together at its end: notes its folder.

    Hydra itself calls callbacks at the end of those sweeps alone in which no job failed.
    """

    _folder: ClassVar[Path | None] = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        Table._folder = Path(config.hydra.sweep.dir)

    @staticmethod
    @contextlib.contextmanager
    def at_the_end(show: Callable[[Path], None]) -> Iterator[None]:
        """Around the command: shows what has become of its sweep, if it is one, whatever it is."""
        Table._folder = None
        try:
            yield
        finally:
            if Table._folder is not None:
                show(Table._folder)


def run(main: Callable[[], Any]) -> None:
    """Call a Hydra main; what the user can put right ends in a line or two and exit status 1.

    Hydra's own lines on unknown names are long, and advise `+`. `HYDRA_FULL_ERROR=1`, which makes
    it raise instead of printing, is set for that; set by the user, it gives the traceback.

    Where the user hasn't said how OpenMP's threads wait for each other, they sleep after a
    thirtieth of the time that OpenMP keeps them awake: else two runs on the same cores hold each
    other up twentyfold (docs/performance.md).
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # read when torch is loaded
    from hydra.core.config_store import ConfigStore
    from hydra.core.utils import JobReturn, JobStatus
    from hydra.errors import ConfigCompositionException

    def returned(job: JobReturn) -> Any:
        assert job.status != JobStatus.UNKNOWN
        if job.status == JobStatus.FAILED:
            raise job._return_value
        return job._return_value

    # Hydra's own also prints the job's settings, in a line before the one that says what is wrong.
    setter = vars(JobReturn)["return_value"].fset
    setattr(JobReturn, "return_value", property(returned, setter))  # noqa: B010  # typed as a value
    # Nobody changes Hydra's store of what its plugins can be set to: it gives out copies. For
    # --help it copies all of it 80 times, which takes as long as the rest.
    setattr(ConfigStore, "__deepcopy__", lambda store, memo: store)  # noqa: B010  # a new method
    # A run's further processes inherit what the first one set.
    full = os.environ.get("HYDRA_FULL_ERROR") == "1" and processes.rank() == 0
    os.environ["HYDRA_FULL_ERROR"] = "1"
    threading.excepthook = _quiet_writers
    streams.steady()
    packages.let_hydra_find_them()
    sys.argv[1:] = arguments.quote_paths(sys.argv[1:])
    try:
        while True:
            try:
                main()
                break
            except ConfigCompositionException as error:
                if not arguments.add(error):
                    raise
    except KeyboardInterrupt:  # outside of training, which ends by itself
        print("Stopped.", file=sys.stderr)
        sys.exit(130)
    except Exception as error:
        line = None if full else line_of(error)
        if line is None:
            raise
        sys.exit(line)
    finally:
        threading.excepthook = threading.__excepthook__
        if not full:
            del os.environ["HYDRA_FULL_ERROR"]


def _quiet_writers(failed: threading.ExceptHookArgs) -> None:
    # TensorBoard's thread also hands what it met, a full disk say, to whoever writes next.
    if not type(failed.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(failed)


def say_loading() -> None:
    """A first line at once: what follows it can take many seconds."""
    print("Loading PyTorch and Lightning ...", flush=True)
