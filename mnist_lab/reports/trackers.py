"""MLflow, Weights & Biases and Trackio, as loggers of a run.

A run is never to wait for what its group looks at, nor to end because of it. So the run itself
loads no client and talks to no server: a process of its own (`sending.py`) reads the run's folder,
and sends what is new there whenever it is told that an epoch has been written. A tracker that is
slow falls behind and catches up; one that is down is tried again, and told of in one line.
"""

import contextlib
import json
import logging
import os
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from mnist_lab import LabError
from mnist_lab.reports.sending import END, FOLDER, MORE

log = logging.getLogger(__name__)

PATIENCE = 30.0
"""Seconds that a run which has ended waits for its tracker to get the rest, which goes on alone."""

_PATIENCE_WITH_FAILURE = 5.0


class Tracker(Logger):
    """A run as a tracker has it: settings, curves by epoch, and in the end all that is final.

    Curves are the rows of `metrics.csv`. The run's id there, and how many epochs it has got, are
    kept in the run's folder, in `trackers/`, with what the client has to say beside them.

    Args:
        folder: the run's.
        settings: the client's own.

    Raises:
        LabError: the client isn't installed.
    """

    client: ClassVar[str]
    """Its name in `clients.py`, in `conf/tracker/`, and as an extra."""
    needs: ClassVar[tuple[str, ...]]
    """The modules that it consists of."""

    def __init__(self, folder: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.folder = Path(folder)
        self._settings = dict(settings)
        self._process: subprocess.Popen[bytes] | None = None
        self._warned = False
        for module in self.needs:
            if find_spec(module) is None:
                extra = f"pip install 'mnist-lab[{self.client}]'"
                raise LabError(f"tracker={self.client}: needs {module}; {extra}")

    @property
    def name(self) -> str:
        return self.client

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """Nothing: what a model keeps of its own is among the run's."""

    def on_run_begun(self, values: dict[str, Any]) -> None:
        """Begin the run there, or go on with it, with what it is made of."""
        self._begin(values)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Say that there may be more in `metrics.csv`, from which the values are read."""
        if self._process is None:
            self._begin(None)  # of a run whose training was over, and which is tested now
        if "epoch" in metrics and not (self.folder / "metrics.csv").exists():
            self._warn("gets no curves: trainer.logger.history, which writes metrics.csv, is off")
        self._say(MORE)
        self._hear()

    def on_run_closed(self) -> None:
        """Have what is final sent, or that the run has ended without it, and wait a little."""
        process = self._process
        if process is None:
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._say(END)
        process.stdin.close()
        start = time.monotonic()
        while process.poll() is None:
            self._hear()
            patience = _PATIENCE_WITH_FAILURE if self._warned else PATIENCE
            if time.monotonic() - start > patience:
                self._warn(f"has not got everything {patience:.0f} s after the run's end")
                break
            time.sleep(0.02)
        self._hear()
        if process.returncode:
            self._warn(f"its process ended with status {process.returncode}")
        process.stdout.close()
        self._process = None

    def _begin(self, values: dict[str, Any] | None) -> None:
        order = {"client": self.client, "folder": str(self.folder.absolute()), "values": values,
                 "settings": self._settings}  # fmt: skip
        place = self.folder / FOLDER
        paths = os.pathsep.join(filter(None, sys.path))  # where this process found the package
        try:
            place.mkdir(exist_ok=True)
            with open(place / f"{self.client}.log", "ab") as file:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mnist_lab.reports.sending"],
                    bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=file,
                    env={**os.environ, "PYTHONPATH": paths},
                    process_group=0,  # Ctrl-C is the run's
                )  # fmt: skip
        except OSError as error:
            self._warn(str(error))
            return
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._say(json.dumps(order).encode() + b"\n")  # by far less than a pipe holds
        os.set_blocking(process.stdin.fileno(), False)
        os.set_blocking(process.stdout.fileno(), False)

    def _say(self, word: bytes) -> None:
        """To the process; one that has ended is told of at the run's end."""
        if self._process is not None and self._process.stdin is not None:
            # A pipe that is full says already that there is more.
            with contextlib.suppress(BrokenPipeError, BlockingIOError):
                self._process.stdin.write(word)

    def _hear(self) -> None:
        """What the process has said: why it could not send something."""
        if self._process is not None and self._process.stdout is not None:
            for line in (self._process.stdout.read() or b"").decode().splitlines():
                self._warn(f"{line}; it is tried again")

    def _warn(self, what: str) -> None:
        """In a single line a run; what follows it stands in the client's own log."""
        if not self._warned:
            log.warning("tracker=%s: %s; the run goes on, and lacks nothing", self.client, what)
        self._warned = True


class MLflow(Tracker):
    """A run in MLflow, `mlflow.org`.

    Args:
        uri: of its tracking server, or of an SQLite file, beside which files then lie.
        experiment: made where there is none of this name.
        checkpoint: whether it gets `best.ckpt`, too.
    """

    client = "mlflow"
    needs = ("mlflow", "sqlalchemy", "alembic")

    def __init__(
        self,
        folder: str,
        uri: str = "sqlite:///outputs/mlflow.db",
        experiment: str = "mnist_lab",
        checkpoint: bool = False,
    ) -> None:
        super().__init__(folder, {"uri": uri, "experiment": experiment, "checkpoint": checkpoint})


class Wandb(Tracker):
    """A run in Weights & Biases, `wandb.ai`, or in files that `wandb sync` takes there.

    Args:
        save_dir: its own folder, `wandb`, lies there.
        checkpoint: whether it gets `best.ckpt`, too.
    """

    client = "wandb"
    needs = ("wandb",)

    def __init__(
        self,
        folder: str,
        project: str = "mnist_lab",
        mode: Literal["offline", "online"] = "offline",
        save_dir: str = "outputs",
        checkpoint: bool = False,
    ) -> None:
        settings = {"project": project, "mode": mode, "save_dir": save_dir}
        super().__init__(folder, {**settings, "checkpoint": checkpoint})


class Trackio(Tracker):
    """A run in Trackio, in a local SQLite file.

    Args:
        save_dir: where that lies.
        checkpoint: whether it gets `best.ckpt`, too.
    """

    client = "trackio"
    needs = ("trackio",)

    def __init__(
        self,
        folder: str,
        project: str = "mnist_lab",
        save_dir: str = "outputs/trackio",
        checkpoint: bool = False,
    ) -> None:
        settings = {"project": project, "save_dir": save_dir}
        super().__init__(folder, {**settings, "checkpoint": checkpoint})
