"""The loss of a network that learns from others, against numbers worked out independently."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_lab import LabError
from mnist_lab.models import MLP
from mnist_lab.models.distillation import Distillation
from tests.models.test_classifier import make_trainer


class Saying(nn.Module):
    """Of every image the same logits, which it could learn."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: Tensor) -> Tensor:
        return self.logits


def distillation(logits: list[Tensor], weight: float, temperature: float) -> Distillation:
    made = Distillation(["x"] * len(logits), weight, temperature)
    made.loaded([Saying(each) for each in logits], ["0"] * len(logits))
    return made


def test_the_loss_worked_out_by_hand():
    """At T = 2 the teachers say (1/4, 3/4) and (1/2, 1/2), on the mean (3/8, 5/8)."""
    teachers = [torch.tensor([[0.0, 2 * math.log(3)]]), torch.tensor([[7.0, 7.0]])]
    student = torch.zeros(1, 2)  # (1/2, 1/2) at any T
    divergence = 3 / 8 * math.log(3 / 4) + 5 / 8 * math.log(5 / 4)
    loss = distillation(teachers, weight=0.25, temperature=2.0)(
        functional.cross_entropy(student, torch.tensor([0])), student, torch.zeros(1)
    )
    assert loss.item() == pytest.approx(0.75 * math.log(2) + 0.25 * 4 * divergence, abs=1e-6)


@pytest.mark.parametrize(("weight", "temperature"), [(0.9, 4.0), (0.3, 1.0), (1.0, 0.5)])
def test_loss_and_gradients_are_those_of_the_definition(weight, temperature):
    torch.manual_seed(0)
    teachers = [3 * torch.randn(6, 10) for _ in range(3)]
    student = (3 * torch.randn(6, 10)).requires_grad_()
    labels = torch.arange(6)
    distil = distillation(teachers, weight, temperature)
    plain = functional.cross_entropy(student, labels)
    loss = distil(plain, student, torch.zeros(6))
    loss.backward()

    exact = [each.double() / temperature for each in (student.detach(), *teachers)]
    own, *theirs = [each.softmax(1) for each in exact]
    mean = torch.stack(theirs).mean(0)
    divergence = functional.kl_div(own.log(), mean, reduction="batchmean")
    expected = (1 - weight) * plain.double() + weight * temperature**2 * divergence
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)

    of_labels = (student.detach().double().softmax(1) - torch.eye(10).double()[labels]) / 6
    of_teachers = temperature * (own - mean) / 6  # T**2, of which the softmax takes one
    gradient = (1 - weight) * of_labels + weight * of_teachers
    torch.testing.assert_close(student.grad.double(), gradient, rtol=1e-4, atol=1e-6)
    assert all(network.logits.grad is None for network in distil._networks)


def test_of_the_teacher_alone_at_temperature_1_it_is_soft_cross_entropy():
    """But for the teacher's own entropy, on which no gradient depends."""
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 5, 10).unbind()
    distil = distillation([teacher], weight=1.0, temperature=1.0)
    loss = distil(torch.tensor(123.0), student, torch.zeros(5))
    entropy = -(teacher.softmax(1) * teacher.log_softmax(1)).sum(1).mean()
    soft = functional.cross_entropy(student, teacher.softmax(1))
    torch.testing.assert_close(loss + entropy, soft)


def test_teachers_are_no_part_of_the_student():
    plain = MLP(hidden=[4])
    teacher = MLP(hidden=[16])
    student = MLP(hidden=[4], decay="weights", distil=Distillation(["x"]))
    student.distil.loaded([teacher], ["0"])
    assert student.state_dict().keys() == plain.state_dict().keys()
    assert len(list(student.parameters())) == len(list(plain.parameters()))
    assert teacher not in list(student.modules())
    assert dict(student.hparams) == dict(plain.hparams)


def test_without_train_nobody_has_loaded_them(digits):
    model = MLP(hidden=[4], distil=Distillation(["x"]))
    with pytest.raises(LabError, match=r"distil.teachers: are not loaded; mnist_lab.training"):
        make_trainer(max_epochs=1).fit(model, digits)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"teachers": []}, r"teachers=\[\]: "),
        ({"weight": -0.1}, "weight=-0.1: should be greater"),
        ({"weight": 1.1}, "weight=1.1: should be less"),
        ({"temperature": 0.0}, "temperature=0.0: should be greater"),
        ({"temperature": math.inf}, "temperature=inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings, told):
    with pytest.raises(ValueError, match=told):
        Distillation(**{"teachers": ["x"]} | settings)
