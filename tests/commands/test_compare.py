"""The command `python -m mnist_lab.compare`, on real runs."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

SWEEP = ["-m", "data=digits", "model=mlp", "model.hidden=[16],[4]", "seed=0,1",
         "trainer.max_epochs=2", "trainer.callbacks.dashboard=null",
         "hydra.sweep.dir=sweep"]  # fmt: skip


@pytest.mark.slow
def test_a_sweep_is_compared_in_its_folder(lab_train, lab_compare, tmp_path):
    assert lab_train(*SWEEP).status == 0
    before = set(tmp_path.iterdir())
    called = lab_compare("runs=sweep")
    assert called.status == 0, called.err
    assert called.out.splitlines()[0] == "Reading 4 runs ..."
    assert "paired over 2 seeds" in called.out
    for hidden in ("[16]", "[4]"):
        results = [
            json.loads((path.parent / "result.json").read_text())
            for path in (tmp_path / "sweep").glob("*/config.yaml")
            if yaml.safe_load(path.read_text())["model"]["hidden"] == json.loads(hidden)
        ]
        tests = [100 * result["metrics"]["test/accuracy"] for result in results]
        (line,) = (x for x in called.out.splitlines() if "\u2502" in x and f"={hidden} " in x)
        assert f"{np.mean(tests):.2f} \u00b1 {np.std(tests, ddof=1):.2f}" in line
        assert f"{max(tests):.2f} \u2502 {min(tests):.2f}" in line
    made = {path.name for path in (tmp_path / "sweep").iterdir() if path.is_file()}
    figures = {f"compare_{name}.png" for name in ("groups", "curves", "costs", "recalls")}
    assert made >= {"compare.csv", "compare.md", "compare.html"} | figures
    groups = sorted((tmp_path / "sweep/compare_tensorboard").glob("*/*tfevents*"))
    assert [path.parent.name[:10] for path in groups] == ["1. hidden=", "2. hidden="]
    assert called.out.endswith("tensorboard --logdir sweep/compare_tensorboard\n")
    assert set(tmp_path.iterdir()) == before
    # What it wrote is no run.
    assert lab_compare("runs=sweep").status == 0


def test_several_folders_and_patterns_go_to_a_new_one(write_run, lab_compare, tmp_path):
    for name in "ab":
        write_run(name, model__norm=name)
    (tmp_path / "runs/sweep.json").write_text("{}")  # which a pattern matches, too
    for runs in ("runs=[runs/a,runs/b]", "runs=runs/*"):
        called = lab_compare(runs)
        assert called.status == 0, called.err
    made = [path.parent for path in (tmp_path / "outputs/comparisons").glob("*/compare.html")]
    assert len(made) == 2
    assert made[0].name in called.out or made[1].name in called.out
    called = lab_compare("runs=runs", "output=there/it/is")
    assert (tmp_path / "there/it/is/compare.csv").exists()
    assert not list((tmp_path / "runs").glob("compare*"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "runs=None: name a folder of runs"),
        (["runs=[]"], "runs=[]: name a folder"),
        (["runs=3"], "runs=3: no such folder"),
        (["runs=nowhere"], "runs=nowhere: no such folder"),
        (["runs=empty"], "runs=empty: there is no run in or below it"),
        (["runs=runs", "output=file"], "output=file: cannot be written to: "),
        (["runs=unfinished"], "none of 1 runs can be compared; unfinished/a: unfinished"),
        (["run=runs"], "run: no such setting; did you mean runs?"),
        (["-m", "runs=runs,empty"], "compare takes all runs at once, runs=[FOLDER,FOLDER], not -m"),
    ],
)
def test_errors_are_a_line(arguments, told, write_run, lab_compare, tmp_path):
    write_run("a")
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "unfinished").mkdir()
    config_yaml = (tmp_path / "runs/a/config.yaml").read_text()
    (tmp_path / "unfinished/a").mkdir()
    (tmp_path / "unfinished/a/config.yaml").write_text(config_yaml)
    called = lab_compare(*arguments)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert told in line
    assert len(called.out.splitlines()) <= 1  # how many are read: nothing is drawn or told
    assert not list(tmp_path.rglob("compare.*"))


def test_neither_torch_nor_lightning_is_imported(write_run, tmp_path):
    write_run("a")
    code = (
        "import sys; from mnist_lab import compare; from mnist_lab.cli import command; "
        "command.run(compare.main); "
        "assert not {'torch', 'lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "runs=runs"], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_help_imports_nothing_heavy(tmp_path):
    code = (
        "import atexit, sys; from mnist_lab import compare; "
        "atexit.register(lambda: print('heavy:', {'numpy', 'scipy', 'rich'} & set(sys.modules))); "
        "compare.main()"
    )
    done = subprocess.run([sys.executable, "-c", code, "--help"], cwd=tmp_path,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "heavy: set()" in done.stdout
    assert "runs: null" in done.stdout
