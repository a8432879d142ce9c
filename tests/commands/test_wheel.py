"""The built wheel works in an empty folder, away from the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forked import call

ROOT = Path(__file__).resolve().parents[2]


def test_wheel_carries_the_configuration(installed):
    packed = {
        p.relative_to(installed / "mnist_lab/conf") for p in installed.rglob("conf/**/*.yaml")
    }
    assert packed == {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert (installed / "mnist_lab/py.typed").exists()
    page = installed / "mnist_lab/export/page"
    assert {path.suffix for path in page.iterdir()} == {".js", ".css", ".jinja"}


@pytest.mark.slow
def test_a_run_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    code = "import mnist_lab; print(mnist_lab.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    command = [sys.executable, "-c", code]
    where = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    assert str(installed) in where
    arguments = ["data=digits", "trainer.max_epochs=1"]
    status, _, err = call("mnist_lab.train", *arguments, folder=tmp_path, PYTHONPATH=str(installed))
    assert status == 0, err
    (path,) = tmp_path.glob("outputs/digits/lenet/*/result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "completed"
    assert result["git"] is None
