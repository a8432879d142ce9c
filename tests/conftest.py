"""What tests share: MNIST where it can be had, a small dataset without it, the command."""

import copy
import csv
import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from filelock import FileLock

from mnist_lab import compare, evaluate, predict, train
from mnist_lab.cli import command
from mnist_lab.data import DataModule, Digits
from mnist_lab.export import __main__ as export
from tests.forked import fork
from tests.scaling import slurm

ROOT = Path(__file__).resolve().parent.parent
os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start


def pytest_addoption(parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run tests marked slow")


def pytest_collection_modifyitems(config, items) -> None:
    for marker in (["gpu"] if not torch.cuda.is_available() else []) + (
        ["slurm"] if slurm.missing() else []
    ):
        items[:] = [item for item in items if not item.get_closest_marker(marker)]
    if not config.getoption("--slow"):
        left = [item for item in items if item.get_closest_marker("slow")]
        items[:] = [item for item in items if item not in left]
        config.hook.pytest_deselected(items=left)


def pytest_collection_finish() -> None:
    gc.freeze()  # each sweep looks for garbage, not in all that is imported here


def pytest_sessionfinish() -> None:
    gc.unfreeze()  # else nanobind takes what is left for leaks


def pytest_report_header(config) -> list[str]:
    lacking = slurm.missing()
    told = [f"left out: tests of Slurm, of which {', '.join(lacking)} are not here"] * bool(lacking)
    return told + ["left out: slow tests, which --slow runs"] * (not config.getoption("--slow"))


def pytest_configure() -> None:
    torch.set_num_threads(1)  # small tensors, and the same sums on every machine


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], Any]], Path]:
    """`made_once(name, make)`: a folder that `make(folder)` has filled for all of the workers."""
    common = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        common = common.parent

    def call(name: str, make: Callable[[Path], Any]) -> Path:
        folder, done = common / name, common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                make(folder)
                done.touch()
        return folder

    return call


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """A data root that holds verified MNIST files."""
    from mnist_lab.data import DataError

    root = Path(os.environ.get("MNIST_LAB_DATA", ROOT / "data"))
    mirror = os.environ.get("MNIST_LAB_MIRROR")
    if mirror is None and not (root / "mnist").is_dir():
        pytest.skip("no MNIST: set MNIST_LAB_MIRROR to a folder or URL with its .gz files")
    try:
        mnist_source().prepare(root, mirror)
    except DataError as error:
        pytest.skip(f"no MNIST: {error}")
    return root


def mnist_source():
    """The source that `conf/data/mnist.yaml` describes."""
    from hydra.utils import instantiate
    from omegaconf import OmegaConf

    return instantiate(OmegaConf.load(ROOT / "conf/data/mnist.yaml").source, _convert_="all")


@pytest.fixture
def digits() -> DataModule:
    """The bundled digits: 1,237 to train on, 200 for validation, 360 for test."""
    return DataModule(Digits(), val_size=200)


class Called(NamedTuple):
    status: int | None
    out: str
    err: str


def _command(name, main):
    """A fixture: `python -m mnist_lab.NAME ARGUMENTS` in an empty folder, within this process."""

    @pytest.fixture(name=f"lab_{name}")
    def fixture(tmp_path, monkeypatch, capsys):
        yield from _caller(name, main, tmp_path, monkeypatch, capsys)

    return fixture


def _caller(name, main, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    handlers = logging.root.handlers[:]

    def call(*arguments: str) -> Called:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments), f"hydra.job.name={name}"])
        status: int | None = 0
        try:
            command.run(main)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            print(stop.code if isinstance(stop.code, str) else "", file=sys.stderr)
        return Called(status, *capsys.readouterr())

    yield call
    logging.root.handlers = handlers
    assert "HYDRA_FULL_ERROR" not in os.environ
    assert not logging.getLogger("mnist_lab").disabled  # else its warnings would be lost


lab_train = _command("train", train.main)
lab_compare = _command("compare", compare.main)
lab_evaluate = _command("evaluate", evaluate.main)
lab_predict = _command("predict", predict.main)
lab_export = _command("export", export.main)


@pytest.fixture
def start(tmp_path):
    """`start(*arguments)`: a process that runs `python -m mnist_lab.train` in an empty folder."""
    started = []

    def call(*arguments):
        environment = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
        process = fork(
            "mnist_lab.train", *arguments, streams=[0, 1, 2], folder=tmp_path, **environment
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.join()


@pytest.fixture
def write_run(tmp_path):
    """A folder below `tmp_path / "runs"` as a finished run leaves it, with values as given."""

    def write(
        name: str,
        *,
        seed: int = 0,
        val: float | None = 0.9,
        test: float = 0.9,
        recalls: tuple[float, ...] = (0.8, 0.9, 1.0),
        right: list[bool] | None = None,
        result: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Path:
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        choice = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.001}
        plain: dict[str, Any] = {
            "data": {"_target_": "mnist_lab.data.DataModule", "root": "data", "batch_size": 64,
                     "val_size": 200, "split_seed": 0, "augment": None, "seed": seed,
                     "source": {"_target_": "mnist_lab.data.Digits"}},
            "augment": None,
            "model": {"_target_": "mnist_lab.models.LeNet", "name": "lenet", "norm": "after",
                      "optimizer": choice},
            "optimizer": choice,
            "trainer": {"_target_": "lightning.pytorch.Trainer", "max_epochs": 2,
                        "default_root_dir": "${folder}"},
            "seed": seed, "monitor": "val/accuracy", "mode": "max", "folder": "${folder}",
        }  # fmt: skip
        plain = copy.deepcopy(plain)
        for key, value in settings.items():
            *groups, last = key.split("__")
            group = plain
            for each in groups:
                group = group[each]
            group[last] = value
        for inner, outer in (("data", "augment"), ("model", "optimizer")):
            plain[inner][outer] = copy.deepcopy(plain[outer])
        (folder / "config.yaml").write_text(yaml.safe_dump(plain))
        content = {
            "status": "completed",
            "metrics": {"val/loss": 0.3, "val/accuracy": val, "test/loss": 0.4,
                        "test/accuracy": test},
            "per_class": {str(i): {"precision": 1.0, "recall": r, "f1": 1.0, "support": 100}
                          for i, r in enumerate(recalls)},
            "epochs": 2, "parameters": 61706, "seconds": {"fit": 5.0, "test": None}, "seed": seed,
            "dataset": "digits", "model": plain["model"]["name"], "device": "cpu",
            "versions": {"torch": "2.11"},
        } | (result or {})  # fmt: skip
        (folder / "result.json").write_text(json.dumps(content))
        with open(folder / "metrics.csv", "w", newline="") as file:
            rows = [["epoch", "train/accuracy", "val/accuracy"], [0, 0.5, 0.6], [1, 0.8, val]]
            csv.writer(file).writerows(rows)
        guesses = [0 if good else 1 for good in right or [True]]
        table = [["index", "truth", "prediction", "confidence"]]
        table += [[i, 0, guess, 0.9] for i, guess in enumerate(guesses)]
        with open(folder / "predictions.csv", "w", newline="") as file:
            csv.writer(file).writerows(table)
        return folder

    return write


@pytest.fixture(scope="session")
def browser():
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield started
        started.close()


HEAVY = {"torch", "lightning", "numpy", "pydantic", "polars", "PIL", "matplotlib"}


@pytest.fixture
def heavy_imports(tmp_path):
    """`heavy_imports(module, *arguments)`: what `python -m module` loaded that takes long."""

    def call(module: str, *arguments: str) -> set[str]:
        code = (
            "import runpy, sys\n"
            f"try:\n    runpy.run_module({module!r}, run_name='__main__')\n"
            "except SystemExit:\n    pass\n"
            f"print('LOADED', *({HEAVY!r} & sys.modules.keys()))\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=tmp_path,
            env={k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"},
            capture_output=True,
            text=True,
            check=True,
        )
        *_, last = done.stdout.splitlines()
        loaded, *names = last.split()
        assert loaded == "LOADED"
        return set(names)

    return call


@pytest.fixture
def mounted() -> Iterator[Callable[[Path, str], Path]]:
    """`mounted(folder, size)`: the folder, made a file system of its own of this size."""
    folders: list[Path] = []

    def mount(folder: Path, size: str) -> Path:
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True).returncode:
            pytest.skip("mounting is not permitted here")
        folders.append(folder)
        return folder

    yield mount
    for folder in folders:
        subprocess.run(["umount", "-l", str(folder)], check=True)
