"""The trained networks that a model learns from, read before its training begins."""

import hashlib
from collections.abc import Sequence

import lightning.pytorch as L
import torch

from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.runs import trained
from mnist_lab.runs.trained import Trained


def load_teachers(
    data: L.LightningDataModule, model: L.LightningModule, trust: Sequence[str] = ()
) -> None:
    """Read the teachers of a model that has some (`Classifier.distil`), and hand them to it.

    Args:
        trust: packages beside `mnist_lab.models` whose classes their checkpoints may name.

    Raises:
        LabError: one cannot be read, or has other classes or channels than the model.
    """
    if not isinstance(model, Classifier) or model.distil is None:
        return
    teachers, checksums = [], []
    for path in model.distil.teachers:
        try:
            # Building a network draws weights; the student's random numbers stay what they were.
            with torch.random.fork_rng(devices=[]):
                teacher = trained.load(path, "cpu", trust)
            content = checkpoint.file_of(path).read_bytes()
        except LabError as error:
            raise LabError(f"distil.teachers={error}") from error
        _refuse_unlike(teacher, model, data)
        teachers.append(teacher.model)
        checksums.append(hashlib.sha256(content).hexdigest())
    model.distil.loaded(teachers, checksums)


def _refuse_unlike(teacher: Trained, model: Classifier, data: L.LightningDataModule) -> None:
    what = f"distil.teachers={teacher.path}"
    channels, own_channels = len(teacher.model.mean), len(model.mean)
    if channels != own_channels:
        raise LabError(f"{what}: has in_channels={channels}, the model has {own_channels}")
    if teacher.model.num_classes != model.num_classes:
        classes = teacher.model.num_classes
        raise LabError(f"{what}: knows {classes} classes, the model {model.num_classes}")
    if isinstance(data, DataModule):  # of a stranger's data nobody knows the classes' names
        student = Trained(model, data.classes, None, None, data.source.name)
        trained.refuse_other_classes(what, teacher.classes, student)
