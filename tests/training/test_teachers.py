"""Runs that learn from others: what they learn, what is refused, and that they go on."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything

from mnist_lab import LabError, models
from mnist_lab.data import DataModule, Digits, RandomAffine
from mnist_lab.models import MLP, LeNet
from mnist_lab.models.distillation import Distillation
from mnist_lab.runs import folder
from mnist_lab.settings.conf import make
from mnist_lab.training import run
from mnist_lab.training.teachers import load_teachers
from mnist_lab.training.trainer import default_trainer
from tests.commands.runs import NOT_DRAWN, write_checkpoint
from tests.reliability.test_continuation import Cut, CutOff, assert_same_end, cut_and_continue, fit


def trained(path, model, source=None, epochs=2, augment=None, seed=0):
    seed_everything(seed, verbose=False)
    data = DataModule(source or Digits(), val_size=200, augment=augment)
    trainer = default_trainer(path, max_epochs=epochs, accelerator="cpu", callbacks=NOT_DRAWN)
    return run.train(data, model(), trainer)


@pytest.fixture(scope="module")
def teachers(tmp_path_factory):
    """Runs' folders of two networks of different sizes of images."""
    paths = [tmp_path_factory.mktemp("teacher") / name for name in ("mlp", "lenet")]
    fast = partial(torch.optim.Adam, lr=3e-3)
    trained(paths[0], partial(MLP, hidden=[64], optimizer=fast), epochs=4)
    trained(paths[1], partial(LeNet, optimizer=fast), epochs=4)
    return paths


class Mislabelled(Digits):
    """Every image is said to be of the next class."""

    def read(self, root, split):
        images, labels = super().read(root, split)
        return images, (labels + 1) % 10


@pytest.mark.slow
def test_a_student_learns_what_its_teachers_say_whatever_the_labels_are(teachers, tmp_path, digits):
    images, truth = digits.tensors("test")
    network = partial(MLP, hidden=[32], optimizer=partial(torch.optim.Adam, lr=3e-3))
    distil = Distillation(teachers, weight=1.0, temperature=2.0)
    for name, model in (("plain", network), ("student", partial(network, distil=distil))):
        trained(tmp_path / name, model, Mislabelled(), augment=RandomAffine(shift=1))
    judged = models.evaluate([models.load(path) for path in teachers], images, truth,
                             digits.classes)  # fmt: skip
    said = judged.log_probabilities.argmax(1)
    agreement = {
        name: (models.load(tmp_path / name).cpu()(images).argmax(1) == said).float().mean().item()
        for name in ("plain", "student")
    }
    assert agreement["student"] > 0.8
    assert agreement["plain"] < 0.2


@pytest.mark.parametrize("model", [LeNet, partial(MLP, hidden=[16], dropout=0.3)])
def test_of_no_weight_it_is_plain_training_bitwise(model, teachers, tmp_path):
    """Also of a network of another size than the images are stored in, and with random numbers."""
    distil = Distillation(teachers, weight=0.0)
    trained(tmp_path / "plain", model, epochs=1)
    trained(tmp_path / "student", partial(model, distil=distil), epochs=1)
    one, other = (models.read(tmp_path / name) for name in ("plain", "student"))
    assert one["state_dict"].keys() == other["state_dict"].keys()
    assert all(torch.equal(v, other["state_dict"][k]) for k, v in one["state_dict"].items())
    metrics = [(tmp_path / name / "metrics.csv").read_text() for name in ("plain", "student")]
    assert metrics[0] == metrics[1]


def test_teachers_judge_images_as_they_are_stored(teachers):
    """Not as they have been made for the student, which is of another size."""
    shown = []
    data = DataModule(Digits(), val_size=200)
    model = LeNet(distil=Distillation(teachers[:1]))
    load_teachers(data, model)
    (teacher,) = model.distil._networks
    teacher.register_forward_pre_hook(lambda _, images: shown.append(images[0].shape))
    trainer = default_trainer(
        "unused", fast_dev_run=True, accelerator="cpu", callbacks=NOT_DRAWN, logger=None
    )
    trainer.fit(model, data)
    assert shown == [(64, 1, 28, 28)]


def student(path):
    return {"class": MLP, "hidden": (16,), "dropout": 0.3, "distil": Distillation([path])}


def test_a_run_that_was_cut_off_continues_bitwise(teachers, tmp_path):
    settings = {"model": student(teachers[0])}
    fit(tmp_path / "whole", **settings)
    cuts = [Cut("before step", 3), Cut("before step", 13)]
    cut_and_continue(tmp_path / "cut", cuts, every=2, **settings)
    assert_same_end(tmp_path / "whole", tmp_path / "cut")


@pytest.mark.parametrize("gone", [False, True])
def test_a_teacher_that_changed_meanwhile_is_told(gone, teachers, tmp_path):
    own = tmp_path / "teacher.ckpt"
    shutil.copy(models.checkpoint.file_of(teachers[0]), own)
    settings = {"model": student(own), "every": 1}
    with pytest.raises(CutOff):
        fit(tmp_path / "run", Cut("before step", 3), **settings)
    if gone:
        own.unlink()
    else:
        shutil.copy(models.checkpoint.file_of(teachers[1]), own)
    told = "there is no such file" if gone else "is not what this run began with"
    with pytest.raises(LabError, match=f"^distil.teachers={own}: {told}$"):
        fit(tmp_path / "run", **settings)


OF = {"name": "digits", "classes": list("0123456789")}


@pytest.mark.parametrize(
    ("settings", "described", "told"),
    [
        ({"num_classes": 3}, None, "knows 3 classes, the model 10"),
        ({}, {**OF, "classes": list("abcdefghij")}, "has the classes a, b, c"),
        ({"in_channels": 3}, OF, "in_channels=3, the model has 1"),
        (None, None, "not a readable checkpoint"),
    ],
)
def test_a_teacher_of_something_else_is_refused(settings, described, told, digits, tmp_path):
    path = tmp_path / "teacher.ckpt"
    if settings is None:
        path.write_text("x")
    else:
        write_checkpoint(path, described, **settings)
    model = MLP(hidden=[8], distil=Distillation([path]))
    trainer = default_trainer(tmp_path / "run", accelerator="cpu")
    with pytest.raises(LabError) as caught:
        run.train(digits, model, trainer)
    line = str(caught.value)
    assert line.startswith(f"distil.teachers={path}: ")
    assert told in line
    assert len(line.splitlines()) == 1
    assert not (tmp_path / "run").exists()


QUICK = ["data=digits", "trainer.max_epochs=1", "trainer.accelerator=cpu", "model.hidden=[8]"]
QUICK += [f"trainer.callbacks.{name}=null" for name in ("dashboard", "figures", "report")]


def test_by_the_command_and_from_python_it_is_the_same_run(teachers, lab_train, tmp_path):
    paths = [str(path) for path in teachers]
    typed = ["model=mlp", "seed=0", "distil=teachers", f"distil.teachers=[{','.join(paths)}]"]
    assert lab_train(*QUICK, *typed, "distil.weight=0.5", "hydra.run.dir=command").status == 0
    network = partial(
        MLP, hidden=[8], dropout=0.25, optimizer=make("optimizer/adam"),
        distil=make("distil/teachers", teachers=paths, weight=0.5),
    )  # fmt: skip
    result = trained("python", network, epochs=1)
    stored = json.loads(Path("command/result.json").read_text())
    assert (result.config_hash, result.metrics) == (stored["config_hash"], stored["metrics"])
    assert folder.read_config(Path("command"))["distil"] == {
        "_target_": "mnist_lab.models.distillation.Distillation",
        "teachers": paths, "weight": 0.5, "temperature": 4.0,
    }  # fmt: skip
    assert lab_train("resume=python", "trainer.max_epochs=2").status == 0
    assert models.read("python/checkpoints/last.ckpt")["epoch"] == 1


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A teacher of a class of the user's own, and the folder of a run that names it."""
    package = tmp_path / "packages" / "mine_taught"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from mnist_lab.models import LeNet\nclass Net(LeNet):\n    pass\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    path = tmp_path / "mine.ckpt"
    write_checkpoint(path, OF)
    content = torch.load(path)
    content["mnist_lab"]["class"] = "mine_taught.Net"
    torch.save(content, path)
    return path


def test_a_teachers_class_must_be_trusted_by_who_runs_the_command(mine, lab_train):
    typed = [*QUICK, "model=mlp", "distil=teachers", f"distil.teachers=[{mine}]"]
    called = lab_train(*typed, "hydra.run.dir=refused")
    told = f"distil.teachers={mine}: its class mine_taught.Net is not of mnist_lab.models; "
    assert called.status == 1
    assert called.err.startswith(told)
    assert "trust=[PACKAGE]" in called.err
    assert lab_train(*typed, "trust=[mine_taught]", "hydra.run.dir=run").status == 0
    # That the folder's file trusts it, which could be anybody's, doesn't count.
    called = lab_train("resume=run", "trainer.max_epochs=2")
    assert (called.status, called.err.startswith(told)) == (1, True)
    called = lab_train("resume=run", "trainer.max_epochs=2", "trust=[mine_taught]")
    assert called.status == 0, called.err
