"""docs/extending.md: the package that it shows, built, installed beside ours, and run."""

import json
import os
import re
import shlex

import numpy as np
import pytest
import yaml

from tests import documents
from tests.commands.runs import install_built
from tests.forked import call

PAGE = "docs/extending.md"


def write_package(folder):
    """The package's files, each of which begins with its name in a comment."""
    for language in ("toml", "python", "yaml"):
        for block in documents.blocks(PAGE, language):
            name, text = re.fullmatch(r"# (\S+)\n(.*)", block, re.DOTALL).groups()
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)


@pytest.fixture(scope="module")
def beside(installed, tmp_path_factory):
    """A site with the wheels of ours and of the package, and an empty folder."""
    folder = tmp_path_factory.mktemp("extending")
    write_package(folder / "package")
    site = folder / "site"
    install_built(folder / "package", site)
    (folder / "empty").mkdir()
    return [site, installed], folder / "empty"


def run(beside, program, *arguments):
    """Exit status, output and errors."""
    sites, empty = beside
    return call(program, *arguments, folder=empty, PYTHONPATH=os.pathsep.join(map(str, sites)))


@pytest.mark.slow
def test_every_command_takes_what_the_package_brings(beside):
    folder = beside[1]
    images = np.random.default_rng(0).integers(0, 128, (4, 28, 28), np.uint8)
    images[[0, 1], 3] += 127
    images[[2, 3], :, 3] += 127
    np.savez(folder / "bars.npz", images)
    for line in documents.lines(PAGE):
        python, option, *arguments = shlex.split(line)
        assert (python, option) == ("python", "-m")
        status, *told = run(beside, *arguments)
        assert status == 0, (line, told)
    result = json.loads((folder / "outputs/bars/result.json").read_text())
    assert (result["dataset"], result["model"]) == ("bars", "two_layers")
    assert result["metrics"]["test/accuracy"] > 0.6
    assert "largest" in (folder / "outputs/bars/metrics.csv").read_text().splitlines()[0]
    config = yaml.safe_load((folder / "outputs/bars/config.yaml").read_text())
    assert config["model"]["label_smoothing"] == 0.0  # of _shared
    assert config["scheduler"] == {"_target_": "mine.parts.halving", "_partial_": True, "times": 2}
    rows = (folder / "predictions.csv").read_text().splitlines()
    assert rows[0].split(",")[-2:] == ["p_row", "p_column"]
    assert len(rows) == 5
    compared = (folder / "outputs/sweeps/bars/compare.md").read_text()
    assert "two_layers" in (folder / "outputs/bars/report.html").read_text()
    assert "model.width=16" in compared or "width=16" in compared
    # By their names in the package's folder, as ours.
    report = (folder / "outputs/bars/report.html").read_text()
    assert "halving" in report
    assert "mine.parts.halving" not in report.split("<pre")[0]
    (folder / "own.py").write_text(
        "from mnist_lab.settings import make\nprint(make('model/two_layers', width=64).hparams)\n"
    )
    _, out, err = run(beside, folder / "own.py")
    assert re.search('"width": +64', out), err


def test_a_run_of_a_package_that_brings_no_folder_needs_trust(beside):
    (beside[1] / "trust.py").write_text(
        "from mnist_lab.runs.trust import vouch\n"
        "from mnist_lab.settings import packages\n"
        "stored = {'augment': {'_target_': 'mine.parts.invert', '_partial_': True}}\n"
        "vouch(stored)\n"
        "print('trusted')\n"
        "packages.folders.cache_clear()\n"
        "packages.entry_points = lambda group: []\n"
        "vouch(stored)\n"
    )
    _, out, err = run(beside, beside[1] / "trust.py")
    assert out == "trusted\n", err
    assert "mine.parts.invert: is not of mnist_lab, lightning" in err.splitlines()[-1]


def test_a_folder_on_the_search_path_stands_beside_ours(lab_train, tmp_path):
    (tmp_path / "more/model").mkdir(parents=True)
    (tmp_path / "more/model/small.yaml").write_text(
        "defaults: [_shared, _self_]\n_target_: mnist_lab.models.MLP\nhidden: [8]\n"
    )
    called = lab_train(f"hydra.searchpath=[file://{tmp_path}/more]", "model=small", "data=digits",
                       "trainer.max_epochs=1", "hydra.run.dir=run")  # fmt: skip
    assert called.status == 0, called.err
    config = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert config["model"]["hidden"] == [8]
    assert config["model"]["image_size"] == 28
    assert json.loads((tmp_path / "run/result.json").read_text())["model"] == "small"
