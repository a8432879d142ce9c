"""Runs that are trained on attacked images: what they see, what they learn, that they go on."""

import json
from functools import partial
from pathlib import Path

import pytest
import torch

from mnist_lab import models
from mnist_lab.data import Digits
from mnist_lab.models import MLP, ConvNet, LeNet, ensemble
from mnist_lab.models.attacks import FGSM, PGD
from mnist_lab.runs import folder
from mnist_lab.settings.conf import make
from mnist_lab.settings.signatures import ConfigError
from mnist_lab.training.trainer import default_trainer
from tests.commands.runs import NOT_DRAWN
from tests.reliability.test_continuation import (
    BATCHES,
    EPOCHS,
    Cut,
    assert_same_end,
    cut_and_continue,
    fit,
)
from tests.training.test_teachers import QUICK, trained

FAST = {"hidden": [8], "dropout": 0.3, "norm": "after"}
WONG = FGSM(0.1, step_size=0.125, random_start=True)


def test_of_eps_0_it_is_plain_training_bitwise(tmp_path):
    """An attack draws nothing that drops units, and no norm's statistics are of its images."""
    for name, attack in (("plain", None), ("attacked", PGD(0.0, 2, random_start=False))):
        trained(tmp_path / name, partial(MLP, **FAST, attack=attack), epochs=1)
    one, other = (models.read(tmp_path / name) for name in ("plain", "attacked"))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    assert all(torch.equal(v, other["state_dict"][k]) for k, v in one["state_dict"].items())
    metrics = [(tmp_path / name / "metrics.csv").read_text() for name in ("plain", "attacked")]
    assert metrics[0] == metrics[1]


class Watched(PGD):
    """Keeps what it was asked for, and by which network."""

    def __init__(self, eps=0.1):
        super().__init__(eps, steps=1, step_size=0.1, random_start=False)
        self._seen = []

    def last(self, network, images, labels):
        found = super().last(network, images, labels)
        self._seen.append((images, labels, found, network.training, torch.is_grad_enabled()))
        return found


def test_each_batch_is_attacked_as_it_is_stored_in_eval_mode(digits):
    """Not as it has been made for the network, which is of another size."""
    torch.manual_seed(0)
    attack = Watched()
    model = LeNet(attack=attack)
    shown = []
    model.network.register_forward_pre_hook(
        lambda network, images: shown.append((network.training, images[0].detach()))
    )
    trainer = default_trainer(
        "unused", fast_dev_run=True, accelerator="cpu", callbacks=NOT_DRAWN, logger=None
    )
    trainer.fit(model, digits)
    ((images, _, found, training, _),) = attack._seen
    assert (images.shape, training) == ((64, 1, 28, 28), False)
    stored = {tuple(image.flatten().tolist()) for image in digits.tensors("train")[0]}
    rows = (images * 255).round().to(torch.uint8).flatten(1).tolist()
    assert {tuple(row) for row in rows} <= stored
    of_attack, of_update, *_ = shown
    assert (of_attack[0], of_update[0]) == (False, True)
    assert torch.equal(of_update[1], model.preprocess(found))
    assert 0.05 < (found - images).abs().max() <= 0.1 + 1e-6


def test_norms_are_told_of_attacked_images_once_a_step(tmp_path):
    model = partial(ConvNet, widths=((4,),), kernel_sizes=(3,), norm="before", attack=WONG)
    result = trained(tmp_path / "run", model, epochs=1)
    counts = [value for key, value in models.read(tmp_path / "run")["state_dict"].items()
              if key.endswith("num_batches_tracked")]  # fmt: skip
    assert set(map(int, counts)) == {result.steps}


def test_what_was_trained_on_attacked_images_withstands_more(tmp_path):
    images, labels = Digits().read(None, "test")
    network = partial(MLP, hidden=[64], dropout=0.0, optimizer=partial(torch.optim.Adam, lr=3e-3))
    left = {}
    for name, attack in (("plain", None), ("robust", FGSM(0.05, 0.0625, random_start=True))):
        trained(tmp_path / name, partial(network, attack=attack), epochs=12)
        model = models.load(tmp_path / name)
        attacked = ensemble.attacked(model, images, labels, PGD(0.05, steps=5, step_size=0.02))
        left[name] = (model(attacked).argmax(1) == labels).float().mean().item()
    assert left["robust"] > left["plain"] + 0.1


@pytest.mark.parametrize("attack", [WONG, PGD(0.1, steps=2, step_size=0.08)])
def test_a_run_that_was_cut_off_continues_bitwise(attack, tmp_path):
    settings = {"model": {"class": MLP, **FAST, "attack": attack}}
    assert fit(tmp_path / "whole", **settings).steps == BATCHES * EPOCHS
    cuts = [Cut("before step", 3), Cut("before step", 13)]
    cut_and_continue(tmp_path / "cut", cuts, every=2, **settings)
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


def test_by_the_command_and_from_python_it_is_the_same_run(lab_train):
    typed = ["model=mlp", "seed=0", "attack=fgsm", "attack.eps=0.2", "attack.random_start=true"]
    assert lab_train(*QUICK, *typed, "hydra.run.dir=command").status == 0
    attack = make("attack/fgsm", eps=0.2, random_start=True)
    network = partial(
        MLP, hidden=[8], dropout=0.25, optimizer=make("optimizer/adam"), attack=attack
    )
    result = trained("python", network, epochs=1)
    stored = json.loads(Path("command/result.json").read_text())
    assert (result.config_hash, result.metrics) == (stored["config_hash"], stored["metrics"])
    assert folder.read_config(Path("command"))["attack"] == {
        "_target_": "mnist_lab.models.attacks.FGSM",
        "eps": 0.2,
        "step_size": None,
        "random_start": True,
    }
    assert lab_train("resume=python", "trainer.max_epochs=2").status == 0
    assert models.read("python/checkpoints/last.ckpt")["epoch"] == 1


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        (["attack=pgd", "attack.restarts=3"], "attack.restarts: training takes one ascent, not 3"),
        (["attack=pgd", "attack.steps=-1"], "attack.steps=-1: should be greater"),
        (["attack=fgsm", "attack.eps=2"], "attack.eps=2: should be less"),
        (["attack=pdg"], "attack=pdg: no such choice; did you mean pgd?"),
        (["attack=fgsm", "attack._target_=mnist_lab.data.Stripe"], "attack"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(typed, told, lab_train):
    called = lab_train(*QUICK, "model=mlp", *typed, "hydra.run.dir=run")
    assert called.status == 1
    (line,) = called.err.strip().splitlines()
    assert line.startswith(told)
    assert not Path("run/config.yaml").exists()


def test_a_model_from_python_refuses_restarts_too():
    with pytest.raises(ConfigError, match="attack: training takes one ascent, not 2"):
        MLP(attack=PGD(restarts=2))
