"""What a run does and what its folder holds."""

import csv
import json
import logging
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning
import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from omegaconf import OmegaConf
from torch import Tensor, nn

import mnist_lab
from mnist_lab import LabError, config
from mnist_lab.callbacks import History, Predictions
from mnist_lab.data import DataModule, Transform
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.models.classifier import MakeOptimizer, MakeScheduler, shortest

log = logging.getLogger(__name__)
Result = dict[str, Any]


@dataclass
class Settings:
    """The root of `conf/train.yaml`, as objects: which keys there are, and of which type."""

    seed: int
    monitor: str
    mode: Literal["min", "max"]
    folder: str
    init_from: str | None
    data: DataModule
    augment: Transform | None
    model: Classifier
    optimizer: MakeOptimizer
    scheduler: MakeScheduler
    trainer: L.Trainer


def precision() -> Literal["32-true", "bf16-mixed"]:
    """bf16 where the accelerator computes with it natively, else 32 bits."""
    native = torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


def default_trainer(
    folder: str | Path,
    *,
    monitor: str = "val/accuracy",
    mode: Literal["min", "max"] = "max",
    **settings: Any,
) -> L.Trainer:
    """The trainer of `conf/trainer/default.yaml`, with these of its settings changed.

    Raises:
        ConfigError: a setting that Lightning's Trainer doesn't have, or a value that doesn't fit.
    """
    default = OmegaConf.load(Path(config.CONF) / "trainer" / "default.yaml")
    root = {"folder": str(folder), "monitor": monitor, "mode": mode}
    plain = config.in_folder({**root, "trainer": OmegaConf.merge(default, settings)}, Path(folder))
    config.check(plain["trainer"], L.Trainer, "trainer.")
    trainer: L.Trainer = config.build(plain)["trainer"]
    return trainer


def train(
    data: DataModule,
    model: Classifier,
    trainer: L.Trainer,
    *,
    init_from: str | Path | None = None,
    config_hash: str | None = None,
    started: float | None = None,
) -> Result:
    """Fit, test the best checkpoint once, and leave everything in `trainer.default_root_dir`.

    The best checkpoint is that of the trainer's first `ModelCheckpoint`; without a validation
    split it is the last one, and there is no early stopping.

    Args:
        init_from: a checkpoint whose weights to start from.
        config_hash: of the configuration that the arguments were built from, for the record.
        started: `time.perf_counter()` at what counts as the run's start; now, unless given.

    Returns:
        What `result.json` holds; with `fast_dev_run` there is no such file.

    Raises:
        LabError: data or a checkpoint cannot be had, or doesn't fit.
    """
    started = time.perf_counter() if started is None else started
    folder = Path(trainer.default_root_dir)
    _check_fit(data, model)
    if init_from is not None:
        checkpoint.init_from(model, init_from)
    log.info("%s", layer_table(model))
    data.prepare_data()
    if not data.has_validation:
        _train_without_validation(trainer)

    fit_start = time.perf_counter()
    trainer.fit(model, datamodule=data)
    test_start = time.perf_counter()
    best = _load_best(model, trainer)
    predictions = Predictions()
    trainer.callbacks.append(predictions)  # type: ignore[attr-defined]
    epochs, steps = trainer.current_epoch, trainer.global_step
    trainer.test(model, datamodule=data, verbose=False)
    end = time.perf_counter()

    fit_seconds = test_start - fit_start
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    epochs_worth = batches / len(data.train_dataloader())
    result = {
        "status": "completed",
        "metrics": _metrics(best["metrics"], trainer),
        "per_class": _per_class(model.per_class, data.classes),
        "best_epoch": best["epoch"],
        "epochs": epochs,
        "steps": steps,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": {
            "data": data.seconds,
            "fit": fit_seconds,
            "test": end - test_start,
            "total": end - started,
        },
        "images_per_second": epochs_worth * len(data.tensors("train")[1]) / fit_seconds,
        "seed": data.seed,
        "dataset": data.source.name,
        "model": model.name,
        "device": _device(trainer),
        "config_hash": config_hash,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "mnist_lab": mnist_lab.__version__,
        },
        "git": _git(),
    }
    if trainer.is_global_zero:
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            _write_predictions(folder / "predictions.csv", predictions, data.classes)
            _write_per_class(folder / "per_class.csv", result["per_class"])
            _draw_figures(folder / "figures", model, data, trainer, best["epoch"])
            _write_json(folder / "result.json", result)
        _report(result, folder, finished=not trainer.fast_dev_run)  # type: ignore[attr-defined]
    return result


def layer_table(model: Classifier) -> str:
    """Every layer with its output shape for a batch of one, its parameters, and the totals."""
    from rich.table import Table

    table = Table("layer", "output shape", "parameters", title=f"{model.name}")
    sizes = {"output": 0}

    def row(layer: nn.Module, inputs: Any, output: Tensor) -> None:
        count = sum(p.numel() for p in layer.parameters())
        table.add_row(type(layer).__name__, str(list(output.shape)), f"{count:,}")
        sizes["output"] += output.numel()

    layers = [m for m in model.network.modules() if not list(m.children())]
    hooks = [layer.register_forward_hook(row) for layer in layers]
    training = model.training
    with torch.no_grad():
        model.eval()(model.example_input_array)
    model.train(training)
    for hook in hooks:
        hook.remove()
    table.add_section()
    total = sum(p.numel() for p in model.parameters())
    table.add_row("total", "", f"{total:,}")
    memory = f"{total * 4 / 2**20:.2f} MiB of weights, {sizes['output'] * 4 / 2**10:.0f} KiB"
    return f"{_text(table)}\n{memory} of outputs per image"


def _text(table: Any) -> str:
    from io import StringIO

    from rich.console import Console

    text = StringIO()
    Console(file=text, width=100).print(table)
    return text.getvalue().rstrip()


def _check_fit(data: DataModule, model: Classifier) -> None:
    if len(data.classes) != model.num_classes:
        raise LabError(
            f"model.num_classes={model.num_classes}: {data.source.name} has {len(data.classes)}"
        )


def _train_without_validation(trainer: L.Trainer) -> None:
    log.info("No validation split: no early stopping, and the last checkpoint is the best.")
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    trainer.callbacks = [c for c in callbacks if not isinstance(c, EarlyStopping)]  # type: ignore[attr-defined]
    trainer.limit_val_batches = 0
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.monitor = None


def _load_best(model: Classifier, trainer: L.Trainer) -> dict[str, Any]:
    """Put the best checkpoint's weights into the model; its epoch and metrics."""
    saver = trainer.checkpoint_callback
    if not (isinstance(saver, ModelCheckpoint) and saver.best_model_path):
        metrics = {k: shortest(v) for k, v in trainer.callback_metrics.items()}
        return {"epoch": trainer.current_epoch - 1, "metrics": metrics}
    content = checkpoint.read(saver.best_model_path)
    model.load_state_dict(content["state_dict"])
    return {"epoch": content["epoch"], "metrics": content["mnist_lab"]["metrics"]}


def _metrics(best: Mapping[str, float], trainer: L.Trainer) -> dict[str, float | None]:
    tested = trainer.callback_metrics
    return {k: best.get(k) for k in ("val/loss", "val/accuracy")} | {
        k: shortest(tested[k])
        for k in ("test/loss", "test/accuracy", "test/f1", "test/precision", "test/recall")
    }


def _per_class(values: Mapping[str, Tensor], classes: list[str]) -> dict[str, dict[str, float]]:
    return {
        name: {key: shortest(values[key][index]) for key in ("precision", "recall", "f1")}
        | {"support": int(values["support"][index])}
        for index, name in enumerate(classes)
    }


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _git() -> dict[str, str | bool] | None:
    """Commit of the checkout that the package lies in; None for an installed one."""
    package = Path(__file__).resolve().parent

    def git(*args: str) -> str:
        command = ["git", "-C", str(package), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != package.parent:
            return None
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return None


def _write_json(path: Path, content: Result) -> None:
    partial = path.with_name(path.name + ".part")
    with open(partial, "w") as file:
        json.dump(content, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def _write_predictions(path: Path, predictions: Predictions, classes: list[str]) -> None:
    probabilities, labels = predictions.probabilities(), predictions.labels()
    confidence, guess = probabilities.max(1)
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        names = [f"p{i}" for i in range(len(classes))]
        writer.writerow(["index", "truth", "prediction", "confidence", *names])
        rows = zip(
            labels.tolist(),
            guess.tolist(),
            confidence.tolist(),
            probabilities.tolist(),
            strict=True,
        )
        for index, (truth, prediction, sure, each) in enumerate(rows):
            writer.writerow([index, truth, prediction, f"{sure:.6g}", *(f"{p:.6g}" for p in each)])


def _write_per_class(path: Path, per_class: Mapping[str, Mapping[str, float]]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "precision", "recall", "f1", "support"])
        for name, values in per_class.items():
            writer.writerow([name, *values.values()])


def _draw_figures(
    folder: Path, model: Classifier, data: DataModule, trainer: L.Trainer, best_epoch: int
) -> None:
    from mnist_lab import figures

    folder.mkdir(parents=True, exist_ok=True)
    drawn = {
        "confusion_matrix": figures.confusion_matrix(model.confusion["test"], data.classes, "test")
    }
    history = next((x for x in trainer.loggers if isinstance(x, History)), None)
    if history is not None:
        series: dict[str, list[float]] = {}
        for _, row in sorted(history.rows.items()):
            for key, value in row.items():
                series.setdefault(key, []).append(value)
        drawn["curves"] = figures.curves(series, best_epoch)
    for name, figure in drawn.items():
        figure.savefig(folder / f"{name}.png", dpi=200)


def _report(result: Result, folder: Path, finished: bool) -> None:
    from rich.table import Table

    table = Table("metric", "value", title=f"{result['model']} on {result['dataset']}")
    for name, value in result["metrics"].items():
        table.add_row(name, "-" if value is None else f"{value:.4f}")
    table.add_row("best epoch", f"{result['best_epoch'] + 1} of {result['epochs']}")
    table.add_row("fit", f"{result['seconds']['fit']:.1f} s")
    table.add_row("images per second", f"{result['images_per_second']:,.0f}")
    log.info("%s", _text(table))
    if finished:
        log.info("Run's folder: %s", folder)
        log.info("Dashboard:    tensorboard --logdir %s", folder)
