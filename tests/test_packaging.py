"""What `pyproject.toml` says of the package, beside what the package does."""

import ast
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
OWN = {"mnist_lab", "benchmarks", "tests"}


def imported(folders: Iterable[str]) -> Iterator[str]:
    """Every module of others that a file below these folders imports, wherever it does."""
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""


def distributions(modules: Iterable[str]) -> set[str]:
    """The installed distributions that these come from, by their normalised names."""
    tops = {module.partition(".")[0] for module in modules} - OWN - sys.stdlib_module_names
    owners = importlib.metadata.packages_distributions()
    return {normal(name) for top in tops for name in owners[top]}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(*extras: str) -> set[str]:
    lines = [*PROJECT["dependencies"]]
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    return {normal(re.match(r"[\w.-]+", line).group()) for line in lines}


def test_the_package_declares_what_it_imports_and_nothing_else():
    extras = {"optuna": "sweep", "onnx": "export",
              "mlflow-skinny": "mlflow", "wandb": "wandb", "trackio": "trackio"}  # fmt: skip
    assert distributions(imported(["mnist_lab"])) - set(extras) == declared()
    for name, extra in extras.items():
        assert name in declared(extra) - declared()


@pytest.mark.parametrize("folder", ["tests", "benchmarks", "notebooks"])
def test_what_is_for_developers_is_declared_too(folder):
    assert distributions(imported([folder])) <= declared(*PROJECT["optional-dependencies"])


def test_targets_of_the_configuration_are_declared():
    text = "".join(path.read_text() for path in (ROOT / "conf").rglob("*.yaml"))
    targets = re.findall(r"_target_: (\w[\w.]*)", text)
    assert len(targets) > 10
    assert distributions(targets) <= declared("sweep", "slurm", "ray")


def test_it_says_where_it_runs():
    """Signals, `fork` and `fsync` of folders are not to be had on Windows."""
    assert "Operating System :: POSIX" in PROJECT["classifiers"]
    low, high = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", PROJECT["requires-python"]).groups()
    versions = {f"Programming Language :: Python :: 3.{x}" for x in range(int(low), int(high))}
    named = {x for x in PROJECT["classifiers"] if x.startswith("Programming Language :: Python")}
    assert named - {"Programming Language :: Python :: 3"} == versions
