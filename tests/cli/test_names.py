"""Names of folders, the log, and how threads wait."""

import logging
import os
import re
import subprocess
import sys

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from mnist_lab.cli.errors import reason_of
from mnist_lab.cli.names import MAX_JOB_NAME, job_name
from mnist_lab.system.log import LogFile
from tests.documents import ROOT


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["seed=1", "data.batch_size=32"], "batch_size-32_seed-1"),
        (["data.batch_size=32", "seed=1", "sweep=a", "study=b"], "batch_size-32_seed-1"),
        (["+trainer.max_steps=9", "++optimizer.lr=1e+30"], "lr-1e+30_max_steps-9"),
        (["data.seed=1", "seed=2"], "data.seed-1_seed-2"),
        (["data.root=/a/b", "data.device=cpu", "trainer.logger.tensorboard=null"], "job"),
        (["augment=none"], "augment-none"),
        (["data=mnist", "data.root=pics"], "data-mnist"),
    ],
)
def test_a_job_is_named_by_what_determines_its_result(overrides, name):
    assert job_name(overrides, "mnist_lab.data.IDXSource") == name
    (parsed,) = OverridesParser.create().parse_overrides([f"checkpoint=outputs/sweeps/a/{name}"])
    assert parsed.value() == f"outputs/sweeps/a/{name}"


class Unchecked:
    """A source of one's own, that says nothing of its files."""


@pytest.mark.parametrize(
    "source", ["mnist_lab.data.FolderSource", "tests.cli.test_names.Unchecked"]
)
def test_a_folder_whose_files_nobody_has_checked_is_part_of_a_jobs_name(source):
    assert job_name(["data=folder", "data.root=pics"], source) == "data-folder_root-pics"


@pytest.mark.parametrize(
    ("overrides", "start"),
    [
        (["init_from=/home/x/my_runs/a_b"], "init_from-a_b"),
        (["init_from=../runs/"], "init_from-runs"),
        (["model.hidden=[16,8]"], "hidden-16-8"),
        (["data.source.name='a b'"], "name-a-b"),
        (["~trainer.callbacks.best"], "trainer.callbacks.best"),
        (["optimizer.lr=1", *(f"model.setting_{i}={i}" for i in range(30))], "setting_0-0"),
    ],
)
def test_what_cannot_stand_in_a_name_becomes_a_hash(overrides, start):
    name = job_name(overrides)
    assert re.fullmatch(rf"{start}[\w.-]*-[0-9a-f]{{8}}", name, re.ASCII)
    assert len(name) <= MAX_JOB_NAME
    other = job_name([overrides[0] + "1", *overrides[1:]])
    assert other[-8:] != name[-8:]


def test_lists_that_read_alike_have_names_of_their_own():
    names = {job_name([f"model.widths={value}"]) for value in ("[[16,32]]", "[[16],[32]]")}
    assert len(names) == 2


def test_of_a_failed_task_the_reason_is_told():
    text = (
        "Job (task=0) failed during processing with trace:\n----------------------\n"
        "Traceback (most recent call last):\n  File \"x.py\", line 1\nKeyError: 'a'\n\n"
        "----------------------\nYou can check full logs with 'job.stderr(0)'"
    )
    assert reason_of(RuntimeError(text)) == "KeyError: 'a'"
    assert reason_of(RuntimeError("first\nsecond")) == "first"
    assert reason_of(RuntimeError()) == "RuntimeError"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_log_that_cannot_be_written_is_an_error(capfd):
    log = LogFile("/dev/full", delay=True)
    record = logging.LogRecord("name", logging.INFO, __file__, 1, "a line", None, None)
    with pytest.raises(OSError, match="No space left"):
        log.handle(record)
    assert capfd.readouterr().err == ""


def test_another_hydra_program_meets_nothing_of_ours(tmp_path):
    (tmp_path / "app.py").write_text(
        "import sys\n"
        "import hydra\n"
        "from hydra.core.plugins import Plugins\n"
        "from omegaconf import OmegaConf\n"
        "@hydra.main(version_base='1.3', config_path=None)\n"
        "def main(cfg):\n"
        "    print([name for name in Plugins.instance().class_name_to_class if 'lab' in name])\n"
        "    print([name for name in sys.modules if name.startswith('mnist_lab')])\n"
        "    print([name for name in ('moment', 'class_names', 'num_classes', 'run_folder',\n"
        "        'sweep_folder', 'job_name', 'text') if OmegaConf.has_resolver(name)])\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "app.py"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["[]", "[]", "[]"]


LOADS_TORCH = """
import importlib
from mnist_lab.cli import command
command.run(lambda: importlib.import_module("torch"))
"""


@pytest.mark.parametrize(
    ("given", "count"),
    [({}, 10_000), ({"GOMP_SPINCOUNT": "77"}, 77), ({"OMP_WAIT_POLICY": "PASSIVE"}, 0)],
)
def test_threads_fall_asleep_soon_unless_the_user_says_how_they_wait(given, count, tmp_path):
    """OpenMP itself tells its settings when torch has loaded it."""
    free = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    done = subprocess.run(
        [sys.executable, "-c", LOADS_TORCH], cwd=tmp_path, capture_output=True, text=True,
        env={**free, "OMP_DISPLAY_ENV": "VERBOSE", "PYTHONPATH": str(ROOT), **given},
    )  # fmt: skip
    assert done.returncode == 0
    assert f"GOMP_SPINCOUNT = '{count}'" in done.stderr
