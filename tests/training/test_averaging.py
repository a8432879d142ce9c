"""Averaged weights, against means of the weights that were there after each step."""

import os
import signal

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, LambdaCallback

from mnist_lab import LabError
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import ConvNet, checkpoint, evaluate
from mnist_lab.training import default_trainer, train
from mnist_lab.training.averaging import AveragedWeights

BATCHES = 5  # an epoch of 1,237 images


class Trained:
    """A small run: its folder, its result, and the weights after each of its steps."""

    def __init__(self, folder, *, epochs=3, stop=None, resume=False, val_size=200, **settings):
        self.folder, self.weights = folder, []

        def after_step(trainer, model, *_):
            self.weights.append({k: v.clone() for k, v in model.state_dict().items()})
            if trainer.global_step == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        seed_everything(0, verbose=False)
        self.data = DataModule(Digits(), val_size=val_size, batch_size=256)
        self.model = ConvNet(widths=[[2], [2]], image_size=8)
        callbacks = {
            "ema": AveragedWeights(**settings),
            "record": LambdaCallback(on_train_batch_end=after_step),
            "dashboard": None,
            "figures": None,
            "report": None,
        }
        trainer = default_trainer(folder, max_epochs=epochs, accelerator="cpu", callbacks=callbacks)
        self.result = train(self.data, self.model, trainer, resume=resume)

    def stored(self, name="last"):
        return checkpoint.read(self.folder / "checkpoints" / f"{name}.ckpt")


def assert_same(one, other, exact=True):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(
            tensor, other[name], rtol=0 if exact else 1e-5, atol=0 if exact else 1e-6, msg=name
        )


def exponential(weights, decay):
    """The moving average of one after the other, in double precision."""
    mean = {name: tensor.double() for name, tensor in weights[0].items()}
    for count, later in enumerate(weights[1:], 1):
        kept = min(decay, (1 + count) / (10 + count))
        mean = {k: kept * v + (1 - kept) * later[k].double() for k, v in mean.items()}
    return mean


def plain_mean(weights):
    return {k: torch.stack([each[k].double() for each in weights]).mean(0) for k in weights[0]}


def floats(weights):
    """What is averaged: all but the count of batches."""
    return {k: v.double() for k, v in weights.items() if v.is_floating_point()}


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_an_exponential_average_of_the_weights_after_each_step(tmp_path, decay):
    run = Trained(tmp_path, decay=decay)
    expected = exponential(run.weights, decay)
    assert len(run.weights) == 3 * BATCHES
    content = run.stored()
    assert_same(
        floats(content["state_dict"]), {k: expected[k] for k in floats(run.weights[0])}, False
    )
    assert_same(content["current_model_state"], run.weights[-1])


@pytest.mark.parametrize(("decay", "first"), [(None, 0), (None, 1), (0.9, 1)])
def test_what_came_before_the_first_epoch_that_counts_is_forgotten(tmp_path, decay, first):
    run = Trained(tmp_path, decay=decay, from_epoch=first)
    counted = run.weights[first * BATCHES :]
    expected = exponential(counted, decay) if decay else plain_mean(counted[BATCHES - 1 :: BATCHES])
    content = run.stored()["state_dict"]
    assert_same(floats(content), {k: expected[k] for k in floats(content)}, False)


def test_before_the_first_that_count_the_weights_are_their_own_mean(tmp_path):
    run = Trained(tmp_path, decay=0.9, from_epoch=9)
    assert_same(run.stored()["state_dict"], run.weights[-1])


@pytest.mark.parametrize("decay", [0.9, None])
def test_it_is_the_average_that_is_validated_tested_and_stored(tmp_path, decay):
    run = Trained(tmp_path, decay=decay)
    best = run.stored("best")
    averages = (
        exponential(run.weights[: (best["epoch"] + 1) * BATCHES], decay)
        if decay
        else plain_mean(run.weights[BATCHES - 1 : (best["epoch"] + 1) * BATCHES : BATCHES])
    )
    assert_same(floats(best["state_dict"]), {k: averages[k] for k in floats(run.weights[0])}, False)
    run.model.load_state_dict(best["state_dict"])
    for split in ("val", "test"):
        images, labels = run.data.tensors(split)
        judged = evaluate(run.model, images, labels, run.data.classes)
        told = run.result.metrics[f"{split}/loss"]
        assert told == pytest.approx(judged.scores.means["loss"].item(), rel=1e-4)
    assert run.result.weights == "averaged"


def test_without_validation_the_average_at_the_end_is_tested(tmp_path):
    run = Trained(tmp_path, decay=0.9, val_size=0)
    average = exponential(run.weights, 0.9)
    run.model.load_state_dict({k: average[k].to(v.dtype) for k, v in run.weights[-1].items()})
    images, labels = run.data.tensors("test")
    judged = evaluate(run.model, images, labels, run.data.classes)
    loss = judged.scores.means["loss"].item()
    assert run.result.metrics["test/loss"] == pytest.approx(loss, rel=1e-5)
    run.model.load_state_dict(run.weights[-1])
    judged = evaluate(run.model, images, labels, run.data.classes)
    assert judged.scores.means["loss"].item() != pytest.approx(loss, rel=1e-3)


def test_two_averages_are_refused(tmp_path):
    callbacks = {"ema": AveragedWeights(), "mine": EMAWeightAveraging()}
    trainer = default_trainer(tmp_path, callbacks=callbacks)
    with pytest.raises(LabError, match="AveragedWeights and EMAWeightAveraging"):
        train(DataModule(Digits(), val_size=200), ConvNet(), trainer)


@pytest.mark.parametrize("stop", [7, 2 * BATCHES])
@pytest.mark.parametrize("decay", [0.9, None])
def test_a_run_that_was_ended_and_continued_is_bitwise_the_whole_one(tmp_path, decay, stop):
    whole = Trained(tmp_path / "whole", decay=decay, from_epoch=1)
    with pytest.raises(SystemExit):
        Trained(tmp_path / "cut", decay=decay, from_epoch=1, stop=stop)
    cut = Trained(tmp_path / "cut", decay=decay, from_epoch=1, resume=True)
    for part in ("state_dict", "current_model_state"):
        assert_same(cut.stored()[part], whole.stored()[part])
    assert cut.result.metrics == whole.result.metrics


@pytest.mark.parametrize("settings", [{"decay": 0.0}, {"decay": 1.0}, {"from_epoch": -1}])
def test_refused_in_a_line(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        AveragedWeights(**settings)
