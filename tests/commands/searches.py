"""Searches that commands are tried on, and what they leave."""

import csv
import json
import math

import optuna
import pytest
import yaml

from mnist_lab.cli.search import journal
from tests.commands import runs

NOT_DRAWN = [f"trainer.callbacks.{name}=null" for name in runs.NOT_DRAWN]
FIXED = ["data=digits", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=1",
         "trainer.accelerator=cpu", *NOT_DRAWN, "hydra/sweeper=optuna"]  # fmt: skip
SPACE = ["optimizer.lr=tag(log,interval(1e-4,1e-1))", "data.batch_size=32,64,128"]

WIDE = ["optimizer=sgd", "optimizer.lr=tag(log,interval(1e-3,1))", "data.batch_size=32,64,128"]
MEDIAN = [*WIDE, "trainer.max_epochs=4", "hydra.sweeper.pruner=median"]


def search(name, trials, *arguments):
    return ["-m", *FIXED, f"sweep={name}", f"hydra.sweeper.n_trials={trials}", *arguments]


def results(folder):
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/result.json")}


def with_test(found):
    return [name for name, each in found.items() if each["metrics"]["test/accuracy"] is not None]


def storage(folder):
    """What a search knows; its points in the order in which they were chosen."""
    return optuna.load_study(study_name="search", storage=journal(folder))


def folder_of(folder, params):
    """The job's folder with these settings."""
    for path in folder.glob("*/config.yaml"):
        stored = yaml.safe_load(path.read_text())
        size, rate = stored["data"]["batch_size"], stored["optimizer"]["lr"]
        if size == int(params["data.batch_size"]) and math.isclose(
            rate, params["optimizer.lr"], rel_tol=0.006
        ):
            return path.parent.name
    raise AssertionError(params)


def epochs_of(folder):
    """A job's monitored value, epoch by epoch."""
    with open(folder / "metrics.csv", newline="") as file:
        return [float(row["val/accuracy"]) for row in csv.DictReader(file)]


def assert_told_alike(folder):
    """The storage says of each job what its own folder says."""
    found = results(folder)
    for trial in storage(folder).trials:
        name = folder_of(folder, trial.params)
        values = epochs_of(folder / name)
        assert list(trial.intermediate_values.values()) == pytest.approx(values, abs=1e-6)
        state = {"PRUNED": "pruned", "COMPLETE": "completed"}[trial.state.name]
        assert found[name]["status"] == state
        assert found[name]["epochs"] == len(values)
    return {name for name, each in found.items() if each["status"] == "pruned"}
