"""A run that was cut off anywhere and continued ends bitwise where an uninterrupted one does."""

import copy
import os
import signal
from functools import partial

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import Callback, GradientAccumulationScheduler

from mnist_lab import models
from mnist_lab.data import DataModule, Digits, RandomAffine
from mnist_lab.models import schedules
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer

BATCHES = 5  # in an epoch
EPOCHS = 4
NOT_DRAWN = {"figures": None, "report": None, "dashboard": None}


class CutOff(Exception):
    pass


def done(trainer):
    return trainer.fit_loop.epoch_loop.batch_progress.total.completed


class Cut(Callback):
    """Ends the process's work at a moment of the fit loop, as a kill would, or a signal."""

    def __init__(self, moment: str, at: int) -> None:
        self.moment, self.at = moment, at

    def on_train_batch_start(self, trainer, *_):
        if self.moment == "before step" and trainer.global_step == self.at:
            raise CutOff

        if self.moment == "before batch" and done(trainer) == self.at:
            raise CutOff

    def on_validation_start(self, trainer, _):
        if self.moment == "signal in validation" and trainer.current_epoch == self.at:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.moment == "validation" and trainer.current_epoch == self.at:
            raise CutOff

    def on_train_epoch_end(self, trainer, _):
        if self.moment == "epoch end" and trainer.current_epoch == self.at:
            raise CutOff

    def on_train_epoch_start(self, trainer, _):
        if self.moment == "epoch start" and trainer.current_epoch == self.at:
            raise CutOff


def fit(
    folder,
    cut=None,
    every=None,
    optimizer=None,
    scheduler=None,
    model=None,
    patience=99,
    val_size=100,
    callbacks=(),
    drawn=False,
    **settings,
):
    """One process's part of a run; the whole of it unless cut off."""
    seed_everything(3, verbose=False)
    data = DataModule(
        Digits(), batch_size=32, train_size=32 * BATCHES - 7, val_size=val_size, seed=3,
        augment=RandomAffine(10, 0.1, 2),
    )  # fmt: skip
    network = copy.deepcopy(model or {"class": models.ConvNet})
    network = network.pop("class")(
        **network,
        optimizer=optimizer or partial(torch.optim.SGD, lr=0.05, momentum=0.9),
        scheduler=scheduler or schedules.constant,
    )
    named = {"last": {"every_n_steps": every}, "early_stopping": {"patience": patience}}
    named |= {"figures": None, "report": None} if drawn else NOT_DRAWN
    trainer = default_trainer(
        folder, accelerator="cpu", **{"max_epochs": EPOCHS, **settings}, callbacks=named
    )
    trainer.callbacks[:0] = [*callbacks, *([] if cut is None else [cut])]
    return run.train(data, network, trainer, resume=True)


def cut_and_continue(folder, cuts, **settings):
    for cut in cuts:
        with pytest.raises((CutOff, SystemExit)):
            fit(folder, cut, **settings)
    return fit(folder, **settings)


def same(one, other):
    """Whether nested values are equal, tensors to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def assert_same_end(one, other):
    """Weights, optimizer, random state and history are the same to the last bit."""
    for name in ("last", "best"):
        a = models.read(one / "checkpoints" / f"{name}.ckpt")
        b = models.read(other / "checkpoints" / f"{name}.ckpt")
        assert a["state_dict"].keys() == b["state_dict"].keys()
        for key, value in a["state_dict"].items():
            assert torch.equal(value, b["state_dict"][key]), key
        for key in ("global_step", "epoch"):
            assert a[key] == b[key]
    assert same(a["optimizer_states"], b["optimizer_states"])
    assert same(a["callbacks"]["RandomState"], b["callbacks"]["RandomState"])
    assert (one / "metrics.csv").read_text() == (other / "metrics.csv").read_text()
    assert (one / "predictions.csv").read_text() == (other / "predictions.csv").read_text()


CONVNET = {
    "class": models.ConvNet,
    "widths": ((4,), (6,)),
    "dropout": 0.3,
    "hidden": (16,),
    "hidden_dropout": 0.4,
}
HARD = {"model": CONVNET, "scheduler": partial(schedules.onecycle, peak=0.1)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return folder, fit(folder, **HARD)


@pytest.mark.parametrize("every", [None, 1, 3])
@pytest.mark.parametrize(
    "cuts",
    [
        [("before step", 0)],
        [("before step", 3)],
        [("before step", 7)],
        [("before step", 10)],
        [("epoch start", 2)],
        [("validation", 0)],
        [("validation", 2)],
        [("epoch end", 1)],
        [("signal in validation", 1)],
        [("signal in validation", EPOCHS - 1)],
        [("before step", 4), ("before step", 13)],
        [("validation", 1), ("before step", 12), ("epoch start", 3), ("before step", 19)],
    ],
    ids=str,
)
def test_continued_is_bitwise_uninterrupted(cuts, every, tmp_path, whole):
    result = cut_and_continue(tmp_path, [Cut(*cut) for cut in cuts], every=every, **HARD)
    assert_same_end(whole[0], tmp_path)
    assert result.metrics == whole[1].metrics
    assert (result.steps, result.epochs) == (BATCHES * EPOCHS, EPOCHS)


def test_with_accumulated_gradients_too(tmp_path):
    settings = {**HARD, "accumulate_grad_batches": 3}
    assert fit(tmp_path / "whole", **settings).steps == 2 * EPOCHS
    for at in (1, 4, 7, 13):
        folder = tmp_path / f"{at}"
        cut_and_continue(folder, [Cut("before batch", at)], every=1, **settings)
        assert_same_end(tmp_path / "whole", folder)


def test_early_stopping_stops_at_the_same_epoch(tmp_path):
    settings = {"model": CONVNET, "patience": 1, "optimizer": partial(torch.optim.SGD, lr=1e-9)}
    result = fit(tmp_path / "whole", **settings)
    assert result.epochs == 2  # the second epoch was no better than the first
    for cuts in ([Cut("validation", 1)], [Cut("before step", 4)]):
        folder = tmp_path / cuts[0].moment
        cut_and_continue(folder, cuts, **settings)
        assert_same_end(tmp_path / "whole", folder)


def test_a_run_killed_after_early_stopping_does_not_train_on(tmp_path):
    settings = {"model": CONVNET, "patience": 1, "optimizer": partial(torch.optim.SGD, lr=1e-9)}
    first = fit(tmp_path, **settings)
    again = fit(tmp_path, **settings)
    assert (again.epochs, again.steps) == (first.epochs, first.steps) == (2, 2 * BATCHES)


def test_ties_go_to_the_same_epoch(tmp_path):
    """Three images: nearly every epoch is level with others in accuracy, none in loss."""
    settings = {"model": CONVNET, "val_size": 3}
    result = fit(tmp_path / "whole", **settings)
    assert result.best_epoch > 0
    for cuts in ([Cut("validation", 1)], [Cut("before step", 12)], [Cut("epoch end", 2)]):
        folder = tmp_path / cuts[0].moment
        assert cut_and_continue(folder, cuts, **settings).best_epoch == result.best_epoch
        assert_same_end(tmp_path / "whole", folder)


class Erring(models.ConvNet):
    """Its share of mistakes can be monitored, as something of which more is better."""

    metrics = (*models.ConvNet.metrics, "error")

    def on_validation_epoch_end(self):
        super().on_validation_epoch_end()
        counts = self.scores["val"].confusion
        self.log("val/error", 1 - counts.trace() / counts.sum())


class Scripted(models.MLP):
    """Its validation says what the script says, whatever it has learnt."""

    accuracies = (0.5, 0.4, 0.6, 0.7, 0.8, 0.9)

    def log_dict(self, values, *args, **kwargs):
        if "val/accuracy" in values:
            values = {**values, "val/accuracy": self.accuracies[self.current_epoch]}
        super().log_dict(values, *args, **kwargs)


def test_stopping_once_told_holds_until_the_least_number_of_epochs(tmp_path):
    """The second epoch was no better, those after it are: it ends with the fourth all the same."""
    settings = {"model": {"class": Scripted, "hidden": (8,)}, "patience": 1, "max_epochs": 6}
    settings["min_epochs"] = 4
    assert fit(tmp_path / "whole", **settings).epochs == 4
    for cut in (Cut("before step", 2 * BATCHES + 3), Cut("epoch start", 3)):
        result = cut_and_continue(tmp_path / cut.moment, [cut], every=3, **settings)
        assert result.epochs == 4
        assert_same_end(tmp_path / "whole", tmp_path / cut.moment)


@pytest.mark.parametrize("epochs", [EPOCHS, -1])
def test_a_number_of_steps_within_an_epoch(epochs, tmp_path):
    settings = {**HARD, "max_steps": BATCHES + 3, "max_epochs": epochs}
    assert fit(tmp_path / "whole", **settings).steps == BATCHES + 3
    for cut in (Cut("before step", 3), Cut("before step", BATCHES + 2), Cut("epoch end", 1)):
        folder = tmp_path / f"{cut.moment} {cut.at}"
        cut_and_continue(folder, [cut], every=1, **settings)
        assert_same_end(tmp_path / "whole", folder)


def test_gradients_accumulated_by_a_schedule(tmp_path):
    """1, then 2, then 5 batches to a step: 5 + 3 + 1 + 1 steps, which is what OneCycle is told."""
    by_epoch = GradientAccumulationScheduler({0: 1, 1: 2, 2: 5})
    settings = {**HARD, "callbacks": [by_epoch]}
    assert fit(tmp_path / "whole", **settings).steps == 10
    last = models.read(tmp_path / "whole/checkpoints/last.ckpt")
    assert last["lr_schedulers"][0]["total_steps"] == 10
    for at in (3, 7, 12):
        folder = tmp_path / f"{at}"
        cut_and_continue(folder, [Cut("before batch", at)], every=1, **settings)
        assert_same_end(tmp_path / "whole", folder)


def test_a_moved_folder_continues_and_keeps_its_best(tmp_path):
    """The worst epoch counts as the best: that is the first, so no later one may replace it."""
    erring = {**HARD["model"], "class": Erring}
    worst = {**HARD, "model": erring, "monitor": "val/error", "mode": "max"}
    result = fit(tmp_path / "whole", **worst)
    assert result.best_epoch < 3
    with pytest.raises(CutOff):
        fit(tmp_path / "before", Cut("before step", 17), **worst)
    (tmp_path / "before").rename(tmp_path / "after")
    fit(tmp_path / "after", **worst)
    assert_same_end(tmp_path / "whole", tmp_path / "after")


def test_dashboard_has_each_epoch_once(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    def steps(folder):
        events = EventAccumulator(str(folder / "tensorboard"), {"images": 0})
        events.Reload()
        tags = events.Tags()
        return {tag: [e.step for e in events.Scalars(tag)] for tag in tags["scalars"]} | {
            tag: [e.step for e in events.Images(tag)] for tag in tags["images"]
        }

    cuts = [Cut("before step", 7), Cut("epoch end", 2)]  # the latter with its values logged already
    fit(tmp_path / "whole", drawn=True, **HARD)
    cut_and_continue(tmp_path / "cut", cuts, every=3, drawn=True, **HARD)
    assert steps(tmp_path / "cut") == steps(tmp_path / "whole")
    cut = steps(tmp_path / "cut")
    assert len(cut["Loss/val"]) == len(cut["Loss/train"]) == EPOCHS


MODELS = {
    "mlp": {"class": models.MLP, "hidden": (16, 8), "dropout": 0.3, "norm": "after"},
    "lenet": {"class": models.LeNet},
    "lenet_maxpool": {"class": models.LeNet, "widths": (6, 10), "pool": "max", "image_size": 28},
    "convnet": CONVNET,
}


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_repeats_bitwise_and_continues_with_adam(name, tmp_path):
    settings = {"model": MODELS[name], "optimizer": partial(torch.optim.Adam, lr=0.01)}
    fit(tmp_path / "one", **settings)
    fit(tmp_path / "two", **settings)
    assert_same_end(tmp_path / "one", tmp_path / "two")
    cut_and_continue(tmp_path / "three", [Cut("before step", 8)], every=3, **settings)
    assert_same_end(tmp_path / "one", tmp_path / "three")
