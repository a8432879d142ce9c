"""The clients of trackers, each behind the same face. Imports none before it is asked for."""

import json
import os
import secrets
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock


class Client(Protocol):
    """A run in a tracker, open.

    Attributes:
        id: by which it goes on there.
    """

    id: str

    def __init__(
        self, folder: Path, values: Mapping[str, Any] | None, known: str | None, **settings: Any
    ) -> None:
        """Make the run there, or go on with the one that is `known`."""

    def begin(self) -> None:
        """Send what it is made of: hyperparameters, and `config.yaml`."""

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        """Send a point of each curve; there was none for this epoch before."""

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Send what is final, and close it; without a result the run ended before it had one."""


class MLflow:
    """In MLflow's terms: params, metrics by step, artifacts, and the status of a run."""

    def __init__(
        self,
        folder: Path,
        values: Mapping[str, Any] | None,
        known: str | None,
        uri: str,
        experiment: str,
        checkpoint: bool,
    ) -> None:
        # Its own patience with a server is an hour; what fails is tried again anyway.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException

        self.folder, self.values, self.checkpoint = folder, values or {}, checkpoint
        local = uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None
        if local is None:
            self.client = MlflowClient(uri)
            home = self._experiment(experiment, None)
        else:
            place = Path(local).absolute()
            place.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{place}.lock"):  # one makes its tables and the experiment
                self.client = MlflowClient(uri)
                files = place.parent / "mlflow" / experiment
                home = self._experiment(experiment, files.as_uri())
        if known is not None:
            try:
                self.client.update_run(known, status="RUNNING")
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                known = None  # of a store that is gone
        if known is None:
            tags = {"folder": str(folder), "group": folder.parent.name}
            known = self.client.create_run(home, run_name=folder.name, tags=tags).info.run_id
        self.id: str = known

    def _experiment(self, name: str, files: str | None) -> str:
        from mlflow.exceptions import MlflowException

        found = self.client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self.client.create_experiment(name, artifact_location=files))
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
                found = self.client.get_experiment_by_name(name)  # another run's, just now
        return str(found.experiment_id)

    def begin(self) -> None:
        from mlflow.entities import Param, RunTag

        there = self.client.get_run(self.id).data.params
        given = {key: str(value) for key, value in self.values.items()}
        params = [Param(key, text) for key, text in given.items() if key not in there]
        # Params never change there. Of a run that goes on for longer the new number is a tag.
        tags = [RunTag(k, text) for k, text in given.items() if there.get(k, text) != text]
        self.client.log_batch(self.id, params=params, tags=tags)
        self._file(self.folder / "config.yaml")

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(key, value, now, epoch) for key, value in values.items()]
        self.client.log_batch(self.id, metrics=metrics)

    def end(self, result: Mapping[str, Any] | None) -> None:
        if result is not None:
            for path in figures(self.folder):
                self._file(path, "figures")
            self._file(self.folder / "result.json")
            if self.checkpoint:
                self._file(self.folder / "checkpoints/best.ckpt", "checkpoints")
            self.epoch(result["epochs"], final(result))
        ends = {"completed": "FINISHED", "pruned": "FINISHED", "diverged": "FAILED"}
        status = "KILLED" if result is None else ends[result["status"]]
        self.client.set_terminated(self.id, status)

    def _file(self, path: Path, below: str | None = None) -> None:
        if path.exists():
            self.client.log_artifact(self.id, str(path), below)


class Wandb:
    """In W&B's terms: config, history, summary, media, files, and an artifact."""

    def __init__(
        self,
        folder: Path,
        values: Mapping[str, Any] | None,
        known: str | None,
        project: str,
        mode: Any,
        save_dir: str,
        checkpoint: bool,
    ) -> None:
        Path(save_dir).mkdir(parents=True, exist_ok=True)
        os.environ.setdefault("WANDB_DATA_DIR", str(Path(save_dir, "wandb").absolute()))
        import wandb

        self.folder, self.values, self.checkpoint = folder, values or {}, checkpoint
        self.id = known or secrets.token_hex(8)
        self.run = wandb.init(
            project=project,
            id=self.id,
            name=folder.name,
            group=folder.parent.name,
            dir=save_dir,
            mode=mode,
            resume="allow",
            # Of this process there is nothing to know: neither its output nor its memory.
            settings=wandb.Settings(
                silent=True, console="off", disable_code=True, x_disable_stats=True, init_timeout=20
            ),
        )

    def begin(self) -> None:
        self.run.config.update(dict(self.values), allow_val_change=True)
        self._file(self.folder / "config.yaml")

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        self.run.log({"epoch": epoch, **values}, step=epoch, commit=True)

    def end(self, result: Mapping[str, Any] | None) -> None:
        import wandb

        if result is not None:
            pictures = {f"figures/{p.stem}": wandb.Image(str(p)) for p in figures(self.folder)}
            if pictures:
                self.run.log(pictures)
            self._file(self.folder / "result.json")
            best = self.folder / "checkpoints/best.ckpt"
            if self.checkpoint and best.exists():
                self.run.log_artifact(str(best), name=f"best-{self.id}", type="model")
            self.run.summary.update(final(result))
        self.run.finish(exit_code=int(result is None or result["status"] == "diverged"))

    def _file(self, path: Path) -> None:
        """A copy in a folder of its own: W&B has a `config.yaml`, too."""
        if path.exists():
            copy = Path(self.run.dir, "run", path.name)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
            self.run.save(str(copy), base_path=self.run.dir, policy="now")


class Trackio:
    """In Trackio's terms: config, metrics by step, images, artifacts."""

    def __init__(
        self,
        folder: Path,
        values: Mapping[str, Any] | None,
        known: str | None,
        project: str,
        save_dir: str,
        checkpoint: bool,
    ) -> None:
        os.environ["TRACKIO_DIR"] = str(Path(save_dir).absolute())  # which it reads on import
        import trackio

        self.folder, self.checkpoint = folder, checkpoint
        # It goes on with a run by its name, so that must be no other's.
        self.id = known or f"{folder.name}-{secrets.token_hex(4)}"
        self._failures: list[str] = []
        warnings.showwarning = self._note
        self.run = trackio.init(
            project=project,
            name=self.id,
            group=folder.parent.name,
            config=json.loads(json.dumps(values or {}, default=str)),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def begin(self) -> None:
        self._file(self.folder / "config.yaml", "configuration")

    def epoch(self, epoch: int, values: Mapping[str, float]) -> None:
        self.run.log(dict(values), step=epoch)
        self._raise()

    def end(self, result: Mapping[str, Any] | None) -> None:
        import trackio

        if result is not None:
            pictures = {f"figures/{p.stem}": trackio.Image(str(p)) for p in figures(self.folder)}
            self.run.log({**final(result), **pictures}, step=result["epochs"])
            self._file(self.folder / "result.json", "result")
            if self.checkpoint:
                self._file(self.folder / "checkpoints/best.ckpt", "model")
        self.run.finish()
        self._raise()

    def _file(self, path: Path, kind: str) -> None:
        if path.exists():
            self.run.log_artifact(str(path), name=f"{path.stem}-{self.id}", type=kind)
            self._raise()

    def _note(self, message: Any, category: Any, filename: str, *args: Any, **more: Any) -> None:
        if Path(filename).parent.name == "trackio" and category is UserWarning:
            self._failures.append(str(message))

    def _raise(self) -> None:
        """What it only warns of is lost all the same."""
        if self._failures:
            raise OSError(self._failures.pop(0))


CLIENTS: Mapping[str, type[Client]] = {"mlflow": MLflow, "wandb": Wandb, "trackio": Trackio}


def figures(folder: Path) -> Iterator[Path]:
    """Those that the run has drawn."""
    yield from sorted((folder / "figures").glob("*.png"))


def final(result: Mapping[str, Any]) -> dict[str, float]:
    """The metrics of a result, as all loggers have them."""
    known = {key: value for key, value in result["metrics"].items() if value is not None}
    return {f"final/{name.replace('/', '_')}": value for name, value in known.items()}
