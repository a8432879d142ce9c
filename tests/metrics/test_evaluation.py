"""An evaluation's numbers against scikit-learn's, its predictions against the bare network's."""

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    log_loss,
    precision_recall_fscore_support,
)

from mnist_lab import LabError
from mnist_lab.data import Digits
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import MLP, LeNet
from mnist_lab.models.ensemble import SHIFTS, evaluate, outputs

NAMES = list("abcd")


@pytest.fixture(scope="module")
def guessed():
    """300 random predictions of four classes, of which the last never is the truth."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(300, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (300,), generator=generator)
    return Evaluation(logits.log_softmax(1), labels, NAMES)


@pytest.fixture(scope="module")
def split():
    images, labels = Digits().read(None, "test")
    return images, labels, [str(digit) for digit in range(10)]


def networks(count=1):
    torch.manual_seed(0)
    return [LeNet(normalize="none").eval() for _ in range(count)]


def shown(model, images):
    """Probabilities as the bare network has them."""
    with torch.no_grad():
        return model(images).double().softmax(1).numpy()


def test_numbers_are_those_of_sklearn(guessed):
    truth, guess = guessed.labels.numpy(), guessed.probabilities.numpy().argmax(1)
    assert guessed.accuracy == accuracy_score(truth, guess)
    loss = log_loss(truth, guessed.probabilities.numpy(), labels=range(4))
    assert float(guessed.scores.means["loss"]) == pytest.approx(loss, rel=1e-12)
    expected = confusion_matrix(truth, guess, labels=range(4))
    np.testing.assert_array_equal(guessed.scores.confusion, expected)
    values = precision_recall_fscore_support(truth, guess, labels=range(4), zero_division=0)
    for index, name in enumerate(NAMES):
        found = list(guessed.per_class[name].values())
        assert found == pytest.approx([each[index] for each in values], rel=1e-6)
    means = [guessed.accuracy, loss, *(each.mean() for each in values[:3])]
    assert list(guessed.metrics.values())[:5] == pytest.approx(means, rel=1e-6)
    assert list(guessed.metrics) == [
        "accuracy", "loss", "precision", "recall", "f1", "calibration_error", "brier_score"
    ]  # fmt: skip


def test_interval_is_wilsons(guessed):
    n, p, z = 300, guessed.accuracy, 1.959963984540054
    for bound in guessed.interval:  # where the score statistic is exactly z
        assert abs(bound - p) / np.sqrt(bound * (1 - bound) / n) == pytest.approx(z)


def test_calibration_error_is_the_mean_gap_by_confidence(guessed):
    probabilities, labels = guessed.probabilities.numpy(), guessed.labels.numpy()
    gaps = 0.0
    for lower in np.arange(15) / 15:
        sure = probabilities.max(1)
        chosen = (sure > lower) & (sure <= lower + 1 / 15)
        if chosen.any():
            hits = probabilities[chosen].argmax(1) == labels[chosen]
            gaps += chosen.sum() * abs(sure[chosen].mean() - hits.mean())
    assert guessed.calibration_error == pytest.approx(gaps / 300)


def test_another_temperature_divides_logits(guessed):
    logits = guessed.log_probabilities + torch.arange(300).unsqueeze(1)
    tempered = guessed.tempered(2.5)
    expected = torch.softmax(logits / 2.5, 1)
    np.testing.assert_allclose(tempered.probabilities, expected, rtol=1e-12)
    assert torch.equal(tempered.predictions, guessed.predictions)


def test_without_some(guessed):
    rest = guessed.without([0, 299, 7])
    kept = [i for i in range(300) if i not in (0, 7, 299)]
    hits = guessed.predictions[kept] == guessed.labels[kept]
    assert len(rest.labels) == 297
    assert rest.accuracy == hits.sum() / 297


def test_certain_mistakes_have_a_finite_loss():
    logits = torch.tensor([[0.0, 3000.0]], dtype=torch.float64)
    judged = Evaluation(logits.log_softmax(1), torch.tensor([0]), "ab")
    assert judged.metrics["loss"] == 3000


def test_one_network(split):
    images, labels, classes = split
    (model,) = networks()
    found = evaluate(model, images, labels, classes)
    np.testing.assert_allclose(found.probabilities, shown(model, images), rtol=1e-6)
    assert found.classes == classes
    assert torch.equal(found.labels, labels)
    # Other batches are summed in another order.
    again = evaluate(model, images, labels, classes, batch_size=7)
    np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-6)


def test_an_ensemble_has_the_mean_probability(split):
    images, _, _ = split
    members = [*networks(2), MLP(hidden=(16,), normalize="none")]
    expected = np.mean([shown(model, images) for model in members], 0)
    np.testing.assert_allclose(evaluate(members, *split).probabilities, expected, rtol=1e-6)


def test_what_softmax_leaves_out_is_the_energy(split):
    images, _, _ = split
    members = networks(2)
    with torch.no_grad():
        logits = [model(images).double().numpy() for model in members]
    alone = outputs(members[:1], images)
    found = alone.log_probabilities + alone.energies.unsqueeze(1)
    np.testing.assert_allclose(found, logits[0], atol=1e-6)
    together = outputs(members, images, batch_size=50).energies
    expected = np.mean([np.log(np.exp(each).sum(1)) for each in logits], 0)
    np.testing.assert_allclose(together, expected, atol=1e-6)


def test_shifts_are_the_nearest_and_averaged(split):
    images, labels, classes = split
    members = networks(2)
    assert len(SHIFTS) == len(set(SHIFTS)) == 25
    assert SHIFTS[0] == (0, 0)
    assert {abs(x) + abs(y) for x, y in SHIFTS[1:5]} == {1}
    assert set(SHIFTS[:9]) == {(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1)}
    # The digits' border of four pixels is black: what goes out and comes in is the same.
    moved = [images.roll((y, x), (2, 3)) for x, y in SHIFTS]
    for count in (2, 3, 5, 25):  # two and three lie to one side
        each = [shown(model, copy) for model in members for copy in moved[:count]]
        found = evaluate(members, images, labels, classes, tta=count)
        np.testing.assert_allclose(found.probabilities, np.mean(each, 0), rtol=1e-6)


def test_a_shift_brings_in_black(split):
    _, labels, classes = split
    (model,) = networks()
    full = torch.full((1, 1, 28, 28), 255, dtype=torch.uint8)
    right, down = SHIFTS[-1]
    assert (right, down) == (2, 2)
    copies = torch.zeros(25, 1, 28, 28, dtype=torch.uint8)
    for copy, (x, y) in zip(copies, SHIFTS, strict=True):
        copy[:, max(0, y) : 28 + min(0, y), max(0, x) : 28 + min(0, x)] = 255
    found = evaluate(model, full, labels[:1], classes, tta=25)
    np.testing.assert_allclose(found.probabilities[0], shown(model, copies).mean(0), rtol=1e-6)


def test_networks_stay_as_they_were(split):
    first, second = networks(2)
    first.train()
    evaluate([first, second], *split)
    assert first.training
    assert not second.training


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"models": []}, "0 networks, 360 images and 360 labels"),
        ({"labels": torch.zeros(3)}, "360 images and 3 labels"),
        ({"classes": NAMES}, "lenet knows 10 classes, the data have 4"),
        ({"images": torch.zeros(360, 3, 28, 28)}, "lenet takes 1 channels, the images have 3"),
        ({"tta": 0}, "tta must lie between 1 and 25, not 0"),
        ({"tta": 26}, "tta must lie between 1 and 25, not 26"),
        ({"batch_size": 0}, "batch_size=0: should be greater"),
    ],
)
def test_what_does_not_go_together_is_refused(change, told, split):
    images, labels, classes = split
    given = {"models": networks(), "images": images, "labels": labels, "classes": classes}
    with pytest.raises(LabError, match=told):
        evaluate(**(given | change))


def test_outputs_that_are_no_numbers_are_refused(split):
    (model,) = networks()
    with torch.no_grad():
        next(model.network.parameters()).fill_(float("nan"))
    with pytest.raises(LabError, match="not finite"):
        evaluate(model, *split)
