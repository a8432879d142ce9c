"""The built wheel works in an empty folder, away from the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def python(site, cwd, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True
    )


def test_wheel_carries_the_configuration(installed):
    packed = {
        p.relative_to(installed / "mnist_lab/conf") for p in installed.rglob("conf/**/*.yaml")
    }
    assert packed == {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    assert (installed / "mnist_lab/py.typed").exists()
    page = installed / "mnist_lab/export/page"
    assert {path.suffix for path in page.iterdir()} == {".js", ".css", ".jinja"}


def test_a_run_from_the_wheel_in_an_empty_folder(installed, tmp_path):
    where = python(installed, tmp_path, "-c", "import mnist_lab; print(mnist_lab.__file__)")
    assert str(installed) in where.stdout
    done = python(
        installed, tmp_path, "-m", "mnist_lab.train", "data=digits", "trainer.max_epochs=1"
    )
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/digits/lenet/*/result.json")
    result = json.loads(path.read_text())
    assert result["status"] == "completed"
    assert result["git"] is None
