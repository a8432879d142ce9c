"""A loss or weights that are no longer finite end the run and are recorded."""

import json
import math

import pytest

from mnist_lab import models


def test_divergence_is_told_recorded_and_not_tried_again(lab_train, tmp_path):
    arguments = ["data=digits", "optimizer=sgd", "optimizer.lr=1e30", "hydra.run.dir=run",
                 "model=lenet_maxpool", "trainer.accelerator=cpu"]  # fmt: skip
    called = lab_train(*arguments)
    assert called.status == 1
    assert "step" in called.err
    assert "learning rate 1e+30" in called.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert result["status"] == "diverged"
    assert result["metrics"]["test/accuracy"] is None
    assert result["reason"] in called.err
    step = int(result["reason"].split("step ")[1].split(",")[0])
    assert step == result["steps"] <= 20
    again = lab_train(*arguments)
    assert again.status == 1
    assert "diverged before" in again.err
    assert "of outputs per image" not in again.out  # nothing was built or trained


def test_the_last_good_checkpoint_is_kept(lab_train, tmp_path):
    """The rate that ruins the weights is reached in the third epoch."""
    called = lab_train(
        "data=digits", "optimizer=sgd", "optimizer.lr=0.01", "scheduler=step",
        "scheduler.every=50", "scheduler.factor=1e32", "hydra.run.dir=run",
        "model=lenet_maxpool", "trainer.accelerator=cpu",
    )  # fmt: skip
    assert called.status == 1
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "diverged"
    last = models.read(tmp_path / "run/checkpoints/last.ckpt")
    assert last["global_step"] == 40
    assert all(math.isfinite(w.double().sum()) for w in last["state_dict"].values())
    models.load(tmp_path / "run")


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    from mnist_lab import Diverged
    from mnist_lab.models.checkpoint import CheckpointIO

    model = models.MLP(hidden=[4])
    model.network[1].weight.data[0, 0] = math.nan
    content = {"state_dict": model.state_dict(), "global_step": 7}
    with pytest.raises(Diverged, match=r"network.1.weight is not finite after step 7"):
        CheckpointIO().save_checkpoint(content, tmp_path / "x.ckpt")
    assert not list(tmp_path.iterdir())
