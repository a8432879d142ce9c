"""What `python -m mnist_lab.train` refuses: in a line, and leaving everything as it was."""

import json

import pytest
import torch
import yaml

from tests.commands.test_train import FEW, QUICK

# Found when data, model and trainer are held against each other: these leave a log.
LATE = ("init_from=", "monitor=", "trainer.max_epochs=-1", "trainer.max_epochs=0")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.batch_size=abc", "data.batch_size=abc: should be a valid integer"),
        ("data.batch_size=-5", "data.batch_size=-5: should be greater than or equal to 1"),
        ("trainer.max_epochs=2.5", "trainer.max_epochs=2.5: should be a valid integer"),
        ("data.val_size=70000", "data: val_size must lie between 0 and 60000, not 70000"),
        ("data.val_size=1.5", "data: val_size=1.5: a fraction lies between 0 and 1"),
        ("threads=0", "threads=0: should be greater than or equal to 1"),
        ("threads=100000000", "threads=100000000: should be less than or equal to 1024"),
        ("artefacts=al", "artefacts=al: should be 'all' or 'few'"),
        ("seed=x", "seed=x: should be a valid integer"),
        ("seed=-1", "seed=-1: should be greater than or equal to 0"),
        ("mode=most", "mode=most: should be 'min' or 'max'"),
        ("+trainer.max_epoch=3", "trainer.max_epoch: no such setting; did you mean max_epochs?"),
        ("+sed=3", "sed: no such setting; did you mean seed?"),
        ("data.batch_sise=3", "data.batch_sise: no such setting; did you mean batch_size?"),
        ("model=null", "a group takes the name of a choice; mnist_lab.train --help lists them"),
        ("data=folder", "data.root: a value is missing"),
        ("model=lenett", "model=lenett: no such choice; did you mean lenet?"),
        ("optimizer.lr=-1", "optimizer.lr: Invalid learning rate: -1"),
        ("trainer.accelerator=abacus", "trainer: You selected an invalid accelerator name"),
        ("trainer.accelerator=cuda", "trainer: "),
        ("model.image_size=8", "model: image_size=8 is too small"),
        ("trainer.max_epochs=-1", "trainer.max_epochs=-1: must be at least 1"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: must be at least 1"),
        ("optimizer.lr=fast", "optimizer.lr=fast: should be a valid number"),
        ("augment.degrees=3", "augment.degrees: no such setting\n"),
        ("lenet", "lenet: should be a setting, KEY=VALUE"),
        ("model.hidden=[1,", "model.hidden=[1,: cannot be read"),
        ("+seed=3", "seed: is set without a +"),
        ("sweep=a", "sweep=a: names a sweep, which takes -m"),
        ("init_from=nowhere", "init_from=nowhere: there is no such file"),
        ("monitor=val/acuracy", "monitor=val/acuracy: no such metric; did you mean val/accuracy?"),
    ],
)
def test_bad_input_is_told_in_a_line_before_anything_is_done(
    override, told, lab_train, tmp_path, monkeypatch
):
    if override == "trainer.accelerator=cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    monkeypatch.setenv("MNIST_LAB_DATA", str(tmp_path / "data"))
    called = lab_train(override)
    assert called.status == 1
    assert told in called.err
    assert "Traceback" not in called.err
    assert len(called.err.splitlines()) == 1
    assert not (tmp_path / "data").exists()
    assert not list(tmp_path.rglob("*.ckpt"))
    assert not list(tmp_path.rglob("config.yaml"))  # by which a run is known
    assert override.startswith(LATE) or not list(tmp_path.glob("outputs/*/*/*"))


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["data.device=cuda:99"], "data.device=cuda:99: cannot be used: "),
        (
            ["model=mlp", "model.resize=pad", "model.image_size=20"],
            "model.resize=pad: cannot shrink images",
        ),
        (["+trainer.max_steps=0"], "trainer.max_steps=0: nothing would be trained"),
        (["trainer.precision=bf16-true"], "bf16-true: sums would stall; bf16-mixed has none"),
        (["+trainer.limit_test_batches=0.01"], "limit_test_batches=0.01: nothing of 1 test"),
        (["+trainer.limit_train_batches=0"], "limit_train_batches=0: nothing would be trained"),
        (["+trainer.overfit_batches=0.05"], "trainer: You requested to check 0.05 of the"),
        (["+trainer.limit_test_batches=0"], "limit_test_batches=0: it is test=false that leaves"),
        (["+model.in_channels=3"], "model.in_channels=3: the images have 1"),
        (["monitor=val/loss", "mode=max"], "mode=max: of val/loss less is better"),
        (["model=bn_cnn", "data.batch_size=1"], "data.batch_size=1: batch normalisation needs two"),
        (
            ["trainer.callbacks.last=null", "checkpoint_every_n_steps=7"],
            "checkpoint_every_n_steps=7: no callback of this run writes last.ckpt",
        ),
        (["+trainer.max_time=00:00:00:09"], "max_time (a Timer): a run that ends by the clock"),
        (["+trainer.val_check_interval=00:00:00:09"], "val_check_interval: a run that ends by the"),
    ],
)
def test_settings_that_do_not_go_together_are_told_in_a_line(overrides, told, lab_train, tmp_path):
    called = lab_train(*QUICK, *overrides)
    assert called.status == 1
    assert told in called.err
    assert "Traceback" not in called.err
    assert not list(tmp_path.rglob("config.yaml"))  # by which a run is known


def test_a_folder_that_another_may_be_starting_in_is_not_removed(lab_train, tmp_path):
    (tmp_path / "X").mkdir()
    for refused in ("sweep=a", "optimizer.lr=-1", "data=folder"):
        called = lab_train(refused, "hydra.run.dir=X")
        assert called.status == 1
        assert [path for path in (tmp_path / "X").iterdir() if path.name != ".lock"] == []
    assert lab_train("sweep=a", "hydra.run.dir=Y").status == 1
    assert not (tmp_path / "Y").exists()


def test_what_is_no_run_is_not_written_over(lab_train, tmp_path):
    (tmp_path / "predictions.csv").write_text("mine")
    called = lab_train(*QUICK, "hydra.run.dir=.")
    assert called.status == 1
    assert "holds something that is no run: predictions.csv" in called.err
    assert (tmp_path / "predictions.csv").read_text() == "mine"


def test_a_refused_resume_leaves_the_run_as_it_was(lab_train, tmp_path):
    assert lab_train(*FEW, "trainer.max_epochs=1", "hydra.run.dir=run").status == 0
    kept = ("result.json", "config.yaml", "checkpoints/last.ckpt", "metrics.csv")
    before = {name: (tmp_path / "run" / name).read_bytes() for name in kept}
    longer = ["resume=run", "trainer.max_epochs=2"]
    for refused in ("trainer.accelerator=abacus", "data.device=cuda:99", "trust=mine"):
        called = lab_train(*longer, refused)
        assert called.status == 1, refused
        assert {name: (tmp_path / "run" / name).read_bytes() for name in kept} == before, refused
    called = lab_train(*longer, "checkpoint_every_n_steps=7")
    assert called.status == 0, called.err
    assert "Goes on after step 20, in epoch 2." in called.out
    assert json.loads((tmp_path / "run/result.json").read_text())["epochs"] == 2
    stored = yaml.safe_load((tmp_path / "run/config.yaml").read_text())
    assert stored["checkpoint_every_n_steps"] == 7
    assert stored["trainer"]["callbacks"]["last"]["every_n_steps"] == 7
