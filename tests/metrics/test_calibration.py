"""Confidence held against accuracy, beside torchmetrics', scikit-learn's and by hand."""

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.special import log_softmax, softmax
from sklearn.metrics import brier_score_loss, log_loss
from torchmetrics.functional.classification import multiclass_calibration_error

from mnist_lab import LabError
from mnist_lab.metrics.calibration import brier_score, calibration, fitted_temperature


def test_calibration_error_is_that_of_torchmetrics():
    random = np.random.RandomState(0)
    table = random.dirichlet(np.full(5, 0.4), 2000)
    labels = random.randint(0, 5, 2000)
    labels[::2] = table[::2].argmax(1)
    for bins in (10, 15):
        expected = multiclass_calibration_error(
            torch.tensor(table), torch.tensor(labels), num_classes=5, n_bins=bins
        )
        measured = calibration(table, labels, bins)
        assert measured.error == pytest.approx(float(expected), abs=1e-6)
        assert measured.counts.sum() == 2000


def test_calibration_by_hand():
    table = np.array([[0.5, 0.5], [0.75, 0.25], [0.2, 0.8], [1.0, 0.0], [0.05, 0.95]])
    measured = calibration(table, [0, 1, 1, 0, 1], bins=4)
    # (0.25, 0.5], (0.5, 0.75], (0.75, 1]
    np.testing.assert_array_equal(measured.counts, [0, 1, 1, 3])
    np.testing.assert_allclose(measured.confidence, [np.nan, 0.5, 0.75, 2.75 / 3])
    np.testing.assert_allclose(measured.accuracy, [np.nan, 1, 0, 1])
    assert measured.error == pytest.approx((0.5 + 0.75 + 0.25) / 5)


@pytest.fixture(scope="module")
def guessed():
    """Logits of 500 images of four classes, and labels that are drawn by their softmax."""
    random = np.random.RandomState(0)
    logits = 2 * random.randn(500, 4)
    shares = softmax(logits, axis=1)
    return logits, np.array([random.choice(4, p=each) for each in shares])


def test_brier_score_is_that_of_sklearn(guessed):
    logits, labels = guessed
    shares = softmax(logits, axis=1)
    expected = brier_score_loss(labels, shares, labels=range(4), scale_by_half=False)
    assert brier_score(shares, labels) == pytest.approx(expected, rel=1e-12)
    assert brier_score([[0.0, 1.0], [0.75, 0.25]], [0, 0]) == pytest.approx((2 + 0.125) / 2)


def test_the_temperature_has_the_smallest_loss(guessed):
    logits, labels = guessed

    def loss(temperature):
        return log_loss(labels, softmax(logits / temperature, axis=1), labels=range(4))

    expected = optimize.minimize_scalar(loss, bounds=(0.1, 10), method="bounded",
                                        options={"xatol": 1e-8}).x  # fmt: skip
    found = fitted_temperature(logits, labels)
    assert found == pytest.approx(expected, rel=1e-5)
    assert found == pytest.approx(1, abs=0.15)  # they were drawn so
    # Of log-probabilities it is the same, and of logits that are too large so many times larger.
    assert fitted_temperature(log_softmax(logits, axis=1), labels) == pytest.approx(found, rel=1e-8)
    for factor in (0.01, 3, 400):
        assert fitted_temperature(factor * logits, labels) == pytest.approx(
            factor * found, rel=1e-8
        )


def test_the_temperature_by_hand():
    # Three of four are right: their probability should be 3/4, which is that of ln 3.
    assert fitted_temperature([[5.0, 0.0]] * 4, [0, 0, 1, 0]) == pytest.approx(5 / np.log(3))


@pytest.mark.parametrize(
    ("labels", "told"),
    [([0, 0, 0], "all 3 predictions are right"), ([1, 1, 0], "no better than chance")],
)
def test_where_no_temperature_is_the_best_none_is_given(labels, told):
    with pytest.raises(LabError, match=told):
        fitted_temperature([[2.0, 1.0]] * 3, labels)
